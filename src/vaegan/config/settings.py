"""The options of train-vae and train-gan: one dataclass per concern, and one per command."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from vaegan.config.model_config import PRESETS
from vaegan.config.options import MAX_SEED, option, runtime_option

OBJECTIVES = {"gan": {"likelihood": "laplace"}, "reconstruction": {"likelihood": "gaussian"}}
"""Defaults set by --objective: Laplace gives sharper edges for a GAN to start from, Gaussian smaller errors."""

OPTIMIZERS = ("muon", "adam")

DURATION_OPTIONS = ("steps", "images", "minutes")
"""The options of `DurationSettings`, of which at most one may be given."""

OTHER_OPTIONS = "Optimization"
OPTION_GROUPS = {
    "Length (one of them)": ("minutes", "images", "steps"),
    "Model": ("preset", "latent_dim", "prior"),
    "Classes": ("cond", "balance"),
    "Starting from a VAE or a GAN": (
        *("init_d_from_encoder", "freeze_d", "d_warmup_steps"),
        *("recon_weight", "recon_fraction", "recon_fraction_final", "recon_fade"),
    ),
    "Loss": (
        *("objective", "likelihood", "beta", "kl_warmup", "free_bits"),
        *("loss", "gamma", "gamma_final", "gamma_anneal_images", "gp_interval", "minibatch_std", "d_recon_weight"),
        "patch_weight",
    ),
    "Augmentation": ("mirror", "train_augment", "augment", "ada_target"),
    OTHER_OPTIONS: (),
    "Checkpoints and logging": (
        *("checkpoint_every", "keep_checkpoints", "sample_every", "evaluate_every", "log_every", "log"),
        *("stop_when", "on_collapse"),
    ),
    "Hardware": ("device", "precision", "cache"),
}
"""The groups in which help shows the options of train-vae and train-gan. All others are in OTHER_OPTIONS."""

CLASS_OPTIONS = OPTION_GROUPS["Classes"]
"""The options that config.json has only where there are classes."""

MAX_TRUNK_LAYERS = 6
"""Layers of the discriminator before its head, at 256 pixels."""
FLAT_EVALUATIONS = 6
"""Evaluations without a better KID after which --stop-when flat stops."""

D_WARMUP_STEPS_ENCODER_INIT = 50  # shorter, because the discriminator starts from the VAE's encoder
D_WARMUP_STEPS_RANDOM_INIT = 200
D_WARMUP_MAX_FRACTION = 0.1
"""Largest share of a run's steps that the default warm-up of the discriminator takes."""
D_RECON_WEIGHT = 5.0
LR_G, LR_G_ROUGH_VAE = 4e-4, 8e-4
GAMMA, GAMMA_FINE_VAE = 1.0, 0.1
"""Defaults of --lr-g and --gamma, and what they become where the VAE to start from leaves out much (rough), or little
(fine)."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Size of the networks."""

    preset: str | None = option(
        None, "Network size.", choices=tuple(PRESETS), default_text="base with CUDA, else small"
    )
    latent_dim: int | None = option(
        None, "Length of the latent vector z.", min=1, max=4096, default_text="the preset's"
    )


@dataclass(frozen=True, kw_only=True)
class DurationSettings:
    """Duration of the training, in one of three units."""

    steps: int | None = runtime_option(
        None, "Duration in optimizer steps.", min=1, is_count=True, default_text="the preset's images"
    )
    images: int | None = runtime_option(
        None,
        "Duration in images seen, e.g. 300k.",
        min=1,
        is_count=True,
        default_text="the preset's; fewer for small datasets",
    )
    minutes: float | None = runtime_option(
        None,
        "Duration in minutes. Timed steps give the number of steps, which is corrected where the speed changes.",
        exclusive_min=0,
    )
    stop_when: str = runtime_option(
        "end",
        "Stop at the end of that length (end), or earlier where the KID of the run's own evaluations has not improved"
        f" for {FLAT_EVALUATIONS} evaluations (flat).",
        choices=("end", "flat"),
        default_text="end; flat for a GAN of few images or with a start",
    )


@dataclass(frozen=True, kw_only=True)
class IntervalSettings:
    """Intervals of checkpoints, previews, evaluations and log lines."""

    checkpoint_every: int | None = runtime_option(
        None,
        "Steps between checkpoints.",
        min=1,
        is_count=True,
        default_text="a tenth of the run; less often in a short one, or where a prior is fitted each time",
    )
    sample_every: int | None = runtime_option(
        None, "Steps between preview grids.", min=1, is_count=True, default_text="--checkpoint-every"
    )
    evaluate_every: int | None = runtime_option(
        None,
        "Steps between quick evaluations (KID against validation images); 0 = off.",
        min=0,
        is_count=True,
        default_text="every 16,000 images (2,500 with --stop-when flat), at most about 50 times",
    )
    log_every: int = runtime_option(50, "Steps between lines of metrics.jsonl.", min=1)
    keep_checkpoints: int = runtime_option(3, "Number of most recent checkpoints to keep.", min=1)
    log: str = runtime_option(
        "none",
        "Also log to TensorBoard (in RUN/tensorboard), Weights & Biases or MLflow; needs the extra of that name.",
        choices=("none", "tensorboard", "wandb", "mlflow"),
    )


@dataclass(frozen=True, kw_only=True)
class DeviceSettings:
    """Device, floating-point precision and where the images are kept."""

    device: str = runtime_option("auto", "Device to compute on: auto, cpu, cuda, cuda:1 or mps.", metavar="DEVICE")
    precision: str = option(
        "auto", "Precision: fp32, bf16 autocast, or bf16 where it is faster (auto).", choices=("auto", "bf16", "fp32")
    )
    cache: str = runtime_option(
        "auto",
        "Keep the dataset in memory, or memory-map it from disk (mmap). The results are the same.",
        choices=("auto", "memory", "mmap"),
        default_text="auto: mmap for a dataset over 40 % of the memory",
    )


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Options that the training of a VAE and that of a GAN have in common."""

    batch_size: int = option(
        32,
        "Images per optimizer step; auto measures several sizes on a GPU.",
        min=1,
        max=65536,
        is_count=True,
        auto_value="auto",
    )
    ema_halflife: int = option(
        5_000, "Half-life of the EMA of the weights, in images; 0 = no averaging.", min=0, is_count=True
    )
    mirror: bool = option(True, "Flip half of the training images horizontally.")
    seed: int = option(0, "Seed of all random numbers of the run.", min=0, max=MAX_SEED)
    cond: str | None = option(
        None,
        "Label of the dataset whose values become the classes of a conditional model; not a number.",
        metavar="LABEL",
        default_text="unconditional, or the classes of the run to start from",
    )
    balance: bool = option(False, "With classes: draw all of them equally often, whatever their number of images.")


@dataclass(frozen=True, kw_only=True)
class VAESettings(DeviceSettings, IntervalSettings, DurationSettings, ModelSettings, TrainingSettings):
    """Options of train-vae."""

    latent_dim: int | None = option(
        None,
        "Length of the latent vector z; auto trains several lengths for a tenth of the run and compares them.",
        min=1,
        max=4096,
        is_count=True,
        auto_value="auto",
        default_text="the preset's",
    )
    objective: str = option(
        "gan",
        "Best initialization for a GAN (gan), or smallest errors (reconstruction). Sets the default of --likelihood.",
        choices=tuple(OBJECTIVES),
    )
    likelihood: str = option(
        OBJECTIVES["gan"]["likelihood"],
        "Distribution p(x|z) of an image given its latent, which defines the reconstruction loss.",
        choices="vaegan.losses.vae:LIKELIHOODS",
        default_text="{gan[likelihood]}; {reconstruction[likelihood]} with --objective reconstruction".format(
            **OBJECTIVES
        ),
    )
    beta: float = option(1.0, "Weight of the KL divergence; 0 = off.", min=0)
    kl_warmup: int = option(
        10_000, "Images over which the KL weight rises linearly to --beta; 0 = no warm-up.", min=0, is_count=True
    )
    free_bits: float = option(
        0.0, "KL divergence per latent dimension, in bits, that is not penalized; 0 = penalize all.", min=0, max=64
    )
    optimizer: str = option(
        "muon", "Optimizer: muon learns more per image, adam has slightly faster steps.", choices=OPTIMIZERS
    )
    lr: float = option(2e-3, "Learning rate.", exclusive_min=0, max=1)
    lr_decay_start: int = option(
        15_000, "Images after which the learning rate decays as 1/sqrt(images); 0 = constant.", min=0, is_count=True
    )
    grad_clip: float = option(0.0, "Maximum norm of the gradient; 0 = no clipping.", min=0)
    lr_warmup: int = option(
        5_000, "Images over which the learning rate rises linearly to --lr; 0 = no warm-up.", min=0, is_count=True
    )
    train_augment: float = option(
        0.05, "Maximum random shift, zoom and color change of training images, as a fraction; 0 = off.", min=0, max=0.5
    )


@dataclass(frozen=True, kw_only=True)
class GANSettings(DeviceSettings, IntervalSettings, DurationSettings, ModelSettings, TrainingSettings):
    """Options of train-gan."""

    loss: str = option("relativistic", "Adversarial loss.", choices="vaegan.losses.gan:LOSSES")
    gamma: float | None = option(
        None,
        "Weight of the R1 and R2 gradient penalties; 0 = off.",
        min=0,
        default_text=f"{GAMMA:g}; after a VAE less the better it reconstructs, at least {GAMMA_FINE_VAE:g}",
    )
    gamma_final: float | None = option(
        None, "Final gamma: cosine schedule over --gamma-anneal-images.", min=0, default_text="--gamma"
    )
    gamma_anneal_images: int = option(
        200_000, "Images over which gamma changes to --gamma-final.", min=1, is_count=True
    )
    gp_interval: int = option(
        8, "Apply the gradient penalties every N steps, multiplied by N (lazy regularization).", min=1
    )
    optimizer: str = option("adam", "Optimizer of both networks.", choices=OPTIMIZERS)
    lr_g: float | None = option(
        None,
        "Learning rate of the generator.",
        exclusive_min=0,
        max=1,
        default_text=f"{LR_G:g}; after a VAE more the worse it reconstructs, at most {LR_G_ROUGH_VAE:g}",
    )
    lr_d: float = option(5e-4, "Learning rate of the discriminator.", exclusive_min=0, max=1)
    lr_decay_start: int = option(
        20_000, "Images after which both learning rates decay as 1/sqrt(images); 0 = constant.", min=0, is_count=True
    )
    update_clip: float = option(
        0.7, "Maximum RMS of an Adam update, relative to the learning rate; 0 = no limit.", min=0
    )
    augment: str = option(
        "none",
        "Augmentation of the discriminator's inputs: color, translation and cutout, joined by commas, or none.",
        metavar="NAMES",
    )
    ada_target: float | None = option(
        None,
        "Adapt the probability of --augment (ADA) to keep the overfitting measure r_v at this value, e.g. 0.3.",
        exclusive_min=0,
        max=1,
        default_text="augment all images",
    )
    prior: str | None = option(
        None,
        "Distribution of the latents; mixture is the Gaussian mixture that was fitted to the VAE's latents.",
        choices=("normal", "uniform", "mixture"),
        default_text="that of the VAE or GAN to start from, else normal",
    )
    minibatch_std: bool | None = option(
        None,
        "Add a minibatch standard deviation feature to the discriminator, which counteracts mode collapse.",
        default_text="minibatch-std with --from-vae, that of the GAN with --from-gan, else no-minibatch-std",
    )
    d_recon_weight: float | None = option(
        None,
        "Weight of the loss with which the discriminator reconstructs small real images from its features, so that"
        " these keep what is in an image; less where the VAE reconstructs well; 0 = off.",
        min=0,
        default_text=f"{D_RECON_WEIGHT:g} with a VAE's encoder, else 0",
    )
    patch_weight: float = option(
        10.0,
        "Weight of the loss that asks for the same 3x3 patches as in real images: calm areas, and edges as sharp;"
        " 0 = off.",
        min=0,
    )
    init_d_from_encoder: bool = option(
        True, "With a start: initialize the discriminator's trunk from the VAE's encoder."
    )
    recon_weight: float = option(
        16.0,
        "With a start: weight of the reconstruction loss on encoded images, in discriminator features; 0 = off.",
        min=0,
    )
    recon_fraction: float = option(
        0.5,
        "With a start: initial fraction of each batch whose latents are encoded training images; 0 = none.",
        min=0,
        max=1,
    )
    recon_fraction_final: float = option(
        0.125,
        "With a start: value that --recon-fraction falls to over --recon-fade images.",
        min=0,
        max=1,
    )
    recon_fade: int = option(
        60_000,
        "With a start: images over which --recon-fraction falls to --recon-fraction-final; 0 = it stays.",
        min=0,
        is_count=True,
    )
    d_warmup_steps: int | None = option(
        None,
        "Steps that train only the discriminator before the generator starts; 0 = none.",
        min=0,
        default_text=(
            f"with a start {D_WARMUP_STEPS_ENCODER_INIT}, or {D_WARMUP_STEPS_RANDOM_INIT} with a random discriminator,"
            f" at most {D_WARMUP_MAX_FRACTION:.0%} of the run; else 0"
        ),
    )
    freeze_d: int = option(
        0,
        "With a start: number of the discriminator's first layers, from the image on, that are not"
        " trained (FreezeD); 0 = train all.",
        min=0,
        max=MAX_TRUNK_LAYERS,
    )
    on_collapse: str = runtime_option(
        "rollback",
        "On mode collapse: stop, roll back to the best checkpoint with gentler settings, or ignore it.",
        choices=("stop", "rollback", "ignore"),
    )

    def with_start_defaults(
        self, from_vae: bool, has_start: bool, has_trained_d: bool, has_encoder: bool
    ) -> GANSettings:
        """Fill in the defaults that depend on what the networks start from.

        Args:
            from_vae: whether the generator starts from a VAE.
            has_start: whether it starts from a VAE or from another GAN.
            has_trained_d: whether the discriminator starts from a trained one, or from a VAE's encoder.
            has_encoder: whether what it starts from has the encoder of a VAE.

        Returns:
            the settings, with `minibatch_std`, `d_recon_weight` and `d_warmup_steps` set.
        """
        minibatch_std, d_warmup_steps, d_recon_weight = self.minibatch_std, self.d_warmup_steps, self.d_recon_weight
        if d_recon_weight is None:
            d_recon_weight = D_RECON_WEIGHT if has_encoder else 0.0
        if minibatch_std is None:
            minibatch_std = from_vae
        if d_warmup_steps is None and not has_start:
            d_warmup_steps = 0
        elif d_warmup_steps is None:
            d_warmup_steps = D_WARMUP_STEPS_ENCODER_INIT if has_trained_d else D_WARMUP_STEPS_RANDOM_INIT
        return replace(self, minibatch_std=minibatch_std, d_warmup_steps=d_warmup_steps, d_recon_weight=d_recon_weight)


def group_options(names: Iterable[str]) -> dict[str, list[str]]:
    """Return those of `names` that are in each group of `OPTION_GROUPS`, by its title.

    Args:
        names: names of options.

    Returns:
        names by title; those of no group are under `OTHER_OPTIONS`.
    """
    remaining = list(names)
    groups = {title: [name for name in group if name in remaining] for title, group in OPTION_GROUPS.items()}
    grouped = {name for group in groups.values() for name in group}
    groups[OTHER_OPTIONS] = [name for name in remaining if name not in grouped]
    return groups
