"""Every option of every command, one dataclass per concern."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vaegan.config.model_config import PRESETS
from vaegan.config.options import option

OBJECTIVES = {"gan": {"likelihood": "laplace"}, "reconstruction": {"likelihood": "gaussian"}}
"""What a VAE is for, and the options that differ: sharp edges are the better start of a GAN, small errors the better
copies."""


OPTIMIZERS = ("muon", "adam")
DURATION_OPTIONS = ("steps", "images", "minutes")
"""The options of `Length`, of which one is in force."""
D_WARMUP_STEPS_ENCODER_INIT, D_WARMUP_STEPS_RANDOM_INIT = 50, 200
"""Steps of a head start: a discriminator that begins as the encoder needs few."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The size of the networks."""

    preset: str | None = option(
        None, "Network size.", choices=tuple(PRESETS), default_text="small on a CPU, base on a GPU"
    )
    latent_dim: int | None = option(None, "Length of the latent vector.", min=1, max=4096, default_text="the preset's")


@dataclass(frozen=True, kw_only=True)
class DurationSettings:
    """How long to train: at most one of the three."""

    steps: int | None = option(
        None,
        "Length in optimizer steps.",
        min=1,
        is_count=True,
        resume_locked=False,
        default_text="the preset's pictures",
    )
    images: int | None = option(
        None,
        "Length in pictures seen, e.g. 300k.",
        min=1,
        is_count=True,
        resume_locked=False,
        default_text="the preset's",
    )
    minutes: float | None = option(
        None,
        "Length in minutes: measured on the first steps, then fixed.",
        exclusive_min=0,
        resume_locked=False,
        default_text="",
    )


@dataclass(frozen=True, kw_only=True)
class IntervalSettings:
    """How often to look and to save, and where else to log."""

    checkpoint_every: int | None = option(
        None,
        "Steps between checkpoints.",
        min=1,
        is_count=True,
        resume_locked=False,
        default_text="a tenth of the run, less often in a short one",
    )
    sample_every: int | None = option(
        None, "Steps between previews.", min=1, is_count=True, resume_locked=False, default_text="as checkpoints"
    )
    evaluate_every: int | None = option(
        None,
        "Steps between light evaluations (KID against held-out pictures); 0 turns them off.",
        min=0,
        is_count=True,
        resume_locked=False,
        default_text="under 3 % of the time",
    )
    log_every: int = option(50, "Steps between lines of metrics.jsonl.", min=1, resume_locked=False)
    keep_checkpoints: int = option(3, "Newest checkpoints to keep.", min=1, resume_locked=False)
    tensorboard: bool = option(
        False, "Also log to RUN/tensorboard, for TensorBoard; needs vaegan[tensorboard].", resume_locked=False
    )


@dataclass(frozen=True, kw_only=True)
class DeviceSettings:
    """Where and how exactly to compute."""

    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps.", resume_locked=False)
    precision: str = option(
        "auto",
        "bf16 autocast where the processor has it, or plain fp32.",
        choices=("auto", "bf16", "fp32"),
    )
    cache: str = option(
        "auto",
        "Hold the set in memory, or read each batch from the set's files (mapped); the steps are the same.",
        choices=("auto", "memory", "mapped"),
        resume_locked=False,
        default_text="mapped where the set takes over 40 % of the memory",
    )


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What both trainers share."""

    batch_size: int = option(
        32,
        "Pictures per step; auto tries several on a GPU.",
        min=1,
        max=65536,
        is_count=True,
        auto_value="auto",
        default_text="32",
    )
    ema_halflife: int = option(5_000, "Half-life of the averaged weights, in pictures.", min=0, is_count=True)
    mirror: bool = option(True, "Mirror half of the training pictures.")
    seed: int = option(0, "Seed of everything random in the run.", min=0, max=2**31 - 1)


@dataclass(frozen=True, kw_only=True)
class VAESettings(DeviceSettings, IntervalSettings, DurationSettings, ModelSettings, TrainingSettings):
    """Options of train-vae."""

    latent_dim: int | None = option(
        None,
        "Length of the latent vector; auto tries several on a tenth of the run.",
        min=1,
        max=4096,
        is_count=True,
        auto_value="auto",
        default_text="the preset's",
    )
    objective: str = option(
        "gan",
        "A GAN's start, or faithful pictures: sets --likelihood where it is left out.",
        choices=tuple(OBJECTIVES),
    )
    likelihood: str = option(
        OBJECTIVES["gan"]["likelihood"],
        "What the decoder's output means.",
        choices="vaegan.losses.vae:LIKELIHOODS",
        default_text="{gan[likelihood]}; for reconstruction {reconstruction[likelihood]}".format(**OBJECTIVES),
    )
    beta: float = option(1.0, "Weight of the KL term.", min=0)
    kl_warmup: int = option(10_000, "Pictures over which the KL term's weight rises to beta.", min=0, is_count=True)
    free_bits: float = option(0.0, "Bits a latent axis may tell of a picture at no cost.", min=0, max=64)
    optimizer: str = option(
        "muon", "muon learns more of each picture, adam steps are a little faster.", choices=OPTIMIZERS
    )
    lr: float = option(2e-3, "Learning rate.", exclusive_min=0, max=1)
    lr_decay_start: int = option(
        15_000,
        "Pictures after which the learning rate falls as one over their root; 0 never.",
        min=0,
        is_count=True,
    )
    grad_clip: float = option(0.0, "Largest norm of the gradient, longer ones are shortened to it; 0 for none.", min=0)
    lr_warmup: int = option(5_000, "Pictures over which the learning rate rises to its value.", min=0, is_count=True)
    train_augment: float = option(
        0.05,
        "Shift, zoom and light of each training picture vary by this share, anew each time; 0 for none.",
        min=0,
        max=0.5,
    )


@dataclass(frozen=True, kw_only=True)
class GANSettings(DeviceSettings, IntervalSettings, DurationSettings, ModelSettings, TrainingSettings):
    """Options of train-gan."""

    loss: str = option("relativistic", "Adversarial loss.", choices="vaegan.losses.gan:LOSSES")
    gamma: float = option(1.0, "Weight of the R1 and R2 gradient penalties; 0 turns them off.", min=0)
    gamma_final: float | None = option(
        None, "What gamma becomes over --gamma-anneal-images pictures.", min=0, default_text="as --gamma"
    )
    gamma_anneal_images: int = option(
        200_000, "Pictures over which gamma goes to --gamma-final, by a cosine.", min=1, is_count=True
    )
    gp_interval: int = option(8, "Steps between penalties, which count that much more.", min=1)
    optimizer: str = option("adam", "Of both networks.", choices=OPTIMIZERS)
    lr_g: float = option(4e-4, "Learning rate of the generator.", exclusive_min=0, max=1)
    lr_d: float = option(5e-4, "Learning rate of the discriminator.", exclusive_min=0, max=1)
    lr_decay_start: int = option(
        20_000, "Pictures after which both rates fall as one over their root; 0 never.", min=0, is_count=True
    )
    update_clip: float = option(
        0.7, "With Adam: largest root mean square of an update, in units of the rate; 0 for any.", min=0
    )
    augment: str = option("none", "Augmentations of what the discriminator sees: names joined by commas, or none.")
    ada_target: float | None = option(
        None,
        "Augment only as often as keeps the discriminator's overfitting on held-out faces, 0 to 1, here: try 0.3.",
        exclusive_min=0,
        max=1,
        default_text="augment always",
    )
    prior: str | None = option(
        None,
        "What latents are drawn from; mixture is what the VAE found of its latents.",
        choices=("normal", "uniform", "mixture"),
        default_text="the VAE's; normal from scratch",
    )
    minibatch_std: bool | None = option(
        None,
        "Show the discriminator how much pictures differ, so that samples that repeat give themselves away.",
        default_text="minibatch-std with --from-vae, else no-minibatch-std",
    )
    init_d_from_encoder: bool = option(True, "With --from-vae: start the discriminator's trunk from the VAE's encoder.")
    recon_weight: float = option(
        16.0,
        "With --from-vae: how strongly encoded training faces are held to decode to themselves; 0 lets go.",
        min=0,
    )
    recon_fraction: float = option(
        0.5, "With --from-vae: share of each batch that is encoded training faces.", min=0, max=1
    )
    d_warmup_steps: int | None = option(
        None,
        "Steps of the discriminator alone before a generator that comes from a VAE moves.",
        min=0,
        default_text="50, or 200 with --no-init-d-from-encoder",
    )
    on_collapse: str = option(
        "rollback",
        "When samples show mode collapse: stop, go back to the best checkpoint with gentler settings, or ignore.",
        choices=("stop", "rollback", "ignore"),
        resume_locked=False,
    )

    def with_start_defaults(self, from_vae: bool) -> GANSettings:
        """Settings whose defaults follow from how the GAN starts, filled in: what a run's config.json tells."""
        told, alone = self.minibatch_std, self.d_warmup_steps
        return replace(
            self,
            minibatch_std=from_vae if told is None else told,
            d_warmup_steps=(D_WARMUP_STEPS_ENCODER_INIT if self.init_d_from_encoder else D_WARMUP_STEPS_RANDOM_INIT)
            if alone is None
            else alone,
        )


@dataclass(frozen=True, kw_only=True)
class PreprocessSettings:
    """Options of preprocess. Those that are not `fixed` change how the work is done, never a byte of the set."""

    size: int = option(64, "Side of the square pictures, in pixels: 32, 64, 128 or 256.", min=32, max=256)
    fit: str = option(
        "crop",
        "How a rectangle becomes a square; smart crops to where the most detail is.",
        choices=("crop", "pad", "stretch", "smart"),
    )
    crop_position: str = option(
        "center", "With --fit crop: which part is kept.", choices=("center", "top", "bottom", "left", "right")
    )
    pad_mode: str = option("edge", "With --fit pad: what surrounds the picture.", choices=("edge", "color", "blur"))
    background: str = option("white", "Colour behind transparent pictures and of --pad-mode color: a name or #rrggbb.")
    grayscale: bool = option(False, "Store one channel instead of three.")
    frames: str = option("first", "Frames of an animation to take.", choices=("first", "all"))
    min_side: int = option(0, "Skip pictures whose shorter side has fewer pixels.", min=0)
    max_aspect: float | None = option(
        None, "Skip pictures whose longer side is more than so many times the shorter.", min=1, default_text=""
    )
    max_pixels: int = option(
        200_000_000, "Skip pictures of more pixels, e.g. 50M.", min=1, is_count=True, default_text="200M"
    )
    dedupe: str = option(
        "exact",
        "Drop files of the same bytes (exact), also pictures that look the same (near), or none (off).",
        choices=("exact", "near", "off"),
    )
    val_fraction: float = option(0.1, "Share of the pictures kept for validation.", min=0, max=0.5)
    group_by: str | None = option(
        None,
        "Regular expression: pictures whose path matches it with the same text stay on one side of the split.",
        default_text="",
    )
    strict: bool = option(False, "Fail, and write nothing, when any file is skipped.", resume_locked=False)
    workers: int | None = option(
        None, "Worker processes.", min=1, max=4096, resume_locked=False, default_text="one a core"
    )
    pool: str = option(
        "local", "Where the workers are: this machine, or a Ray cluster.", choices=("local", "ray"), resume_locked=False
    )
    ray_address: str | None = option(
        None, "With --pool ray: the cluster's address.", resume_locked=False, default_text="a running one"
    )


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """Options of sample."""

    n: int = option(64, "How many pictures.", min=1, max=1_000_000, is_count=True)
    seed: int = option(0, "Seed of the first picture; the next has the next seed.", min=0, max=2**31 - 1)
    truncation: float = option(
        1.0, "Below 1 pulls latents to the average face: less varied, more typical.", min=0, max=2
    )
    scale: int = option(1, "Enlargement of the pictures, a whole number.", min=1, max=16)


@dataclass(frozen=True, kw_only=True)
class ReconstructSettings:
    """Options of reconstruct, and of info --outliers."""

    n: int = option(64, "At most so many pictures.", min=1, max=8192, is_count=True)
    scale: int = option(1, "Enlargement of the pictures, a whole number.", min=1, max=16)


@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """Options of decode."""

    scale: int = option(1, "Enlargement of the pictures, a whole number.", min=1, max=16)


@dataclass(frozen=True, kw_only=True)
class AnimationSettings:
    """Options of whatever writes an animation."""

    format: str | None = option(
        None,
        "The animation's format; mp4 needs vaegan[video].",
        choices=("gif", "webp", "mp4"),
        default_text="as --out ends, else gif",
    )


@dataclass(frozen=True, kw_only=True)
class TimelapseSettings(AnimationSettings):
    """Options of timelapse."""

    fps: float | None = option(
        None, "Previews per second.", min=0.5, max=60, default_text="what plays for 6 seconds, 1 to 16"
    )
    frames: int = option(240, "At most so many previews, evenly chosen.", min=2, max=10_000)
    hold_last: float = option(2.0, "Seconds that the last preview stays.", min=0, max=60)
    captions: bool = option(True, "Write the step above every preview.")
    scale: int = option(1, "Enlargement, a whole number.", min=1, max=16)


@dataclass(frozen=True, kw_only=True)
class InterpolateSettings(AnimationSettings):
    """Options of interpolate."""

    fps: float = option(16.0, "Frames per second of the animation; a GIF shows 50 at most.", min=1, max=120)
    frames: int = option(32, "Pictures from one face to the next.", min=2, max=10_000)
    path: str | None = option(
        None,
        "Path between two latents: great arc or straight line.",
        choices=("slerp", "lerp"),
        default_text="slerp; lerp where the prior is uniform",
    )
    method: str | None = option(None, "The same by longer names.", choices=("spherical", "linear"), default_text="")
    easing: str = option(
        "linear", "Keep one speed (linear), or slow down at every face (smooth).", choices=("linear", "smooth")
    )
    loop: bool = option(False, "Walk on from the last face to the first.")
    ping_pong: bool = option(True, "Without --loop: play the way back too, so that the animation does not jump.")
    scale: int = option(4, "Enlargement of the animation, a whole number.", min=1, max=16)
    truncation: float = option(1.0, "With seeds: below 1 pulls latents to the average face.", min=0, max=2)
    invert_steps: int = option(
        0,
        "With pictures: steps that move each latent to where it decodes closest to its picture.",
        min=0,
        max=100_000,
        is_count=True,
    )

    @property
    def interpolation_method(self) -> str | None:
        """What --path or --method says: slerp, lerp, or nothing."""
        return self.path or {"spherical": "slerp", "linear": "lerp"}.get(self.method or "")


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """Options of evaluate and compare."""

    n: int = option(2000, "How many pictures to compare.", min=16, max=1_000_000, is_count=True)
    seed: int = option(0, "Seed of the first picture, and of the choice of real ones.", min=0, max=2**31 - 1)
    inception: str | None = option(
        None,
        "Also the field's standard, FID, KID, precision and recall with Inception: a weights file of torch-fidelity,"
        " or the word download. Needs vaegan[metrics].",
        default_text="",
    )


@dataclass(frozen=True, kw_only=True)
class ExploreSettings:
    """Options of explore."""

    port: int | None = option(
        None, "Port on this machine.", min=1, max=65535, default_text="8765, or the next free one"
    )
    browser: bool = option(True, "Open the page in a browser.")


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Options of demo."""

    minutes: float = option(10.0, "How long the whole demo may take on this machine.", min=0.1, max=10_000)
    n: int = option(4000, "How many faces to draw.", min=16, max=1_000_000, is_count=True)
    seed: int = option(0, "Seed of the faces and of the training.", min=0, max=2**31 - 1)
