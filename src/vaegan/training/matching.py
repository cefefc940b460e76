"""What settings, dataset and start of a new run have to agree on: architecture, classes, prior."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vaegan.checkpoint import WeightsInfo, read_weights_info
from vaegan.config.model_config import PRESETS, ModelConfig, channel_widths
from vaegan.config.settings import GANSettings
from vaegan.data.classes import NO_CLASS, count_images, find_classes, read_class_ids
from vaegan.data.dataset import PreparedDataset
from vaegan.errors import UsageError, VaeganError, printable
from vaegan.models.growth import grown_config
from vaegan.training.request import TrainRequest, TrainSettings
from vaegan.training.start import START_FLAGS, StartRun
from vaegan.training.validation import MIN_EVAL_IMAGES
from vaegan.utils.text import join_text


def check_can_stop_flat(settings: TrainSettings, dataset: PreparedDataset, model_config: ModelConfig) -> None:
    """Check that --stop-when flat has evaluations to look at.

    Args:
        settings: options of the run.
        dataset: its dataset.
        model_config: its configuration; with classes, only images that have one count.

    Raises:
        UsageError: if the run has no evaluations.
    """
    if settings.stop_when != "flat":
        return
    if settings.evaluate_every == 0:
        raise UsageError(
            "--stop-when flat needs the evaluations that --evaluate-every 0 turns off: leave one of them out"
        )
    counts = count_images(dataset, model_config.class_label, model_config.classes)
    if min(counts.values()) < MIN_EVAL_IMAGES:
        with_class = " with a class" if model_config.classes else ""
        raise UsageError(
            f"--stop-when flat needs {MIN_EVAL_IMAGES} training and {MIN_EVAL_IMAGES} validation images{with_class},"
            f" {dataset.path} has {counts['train']} and {counts['val']}: leave it out, or prepare the dataset with a"
            " larger --val-fraction"
        )


def check_frozen_layers(
    settings: GANSettings, model_config: ModelConfig, source: WeightsInfo | None, start: StartRun | None
) -> None:
    """Check that the layers of --freeze-d exist, and are of a trained discriminator.

    Args:
        settings: options of the run.
        model_config: sizes of its networks.
        source: weights that it starts from, if any.
        start: the run of --from-gan, if any.

    Raises:
        UsageError: if they do not exist, or are not trained.
    """
    count, num_layers = settings.freeze_d, len(channel_widths(model_config.base_channels, model_config.size))
    if count and (cause := _random_layers_cause(settings, source, start)):
        raise UsageError(f"--freeze-d {count} keeps trained layers as they are, and here {cause}")
    if count > num_layers:
        raise UsageError(
            f"--freeze-d {count}: at {model_config.size} pixels at most {num_layers} layers can be frozen: give"
            f" --freeze-d {num_layers} or fewer"
        )


def _random_layers_cause(settings: GANSettings, source: WeightsInfo | None, start: StartRun | None) -> str:
    """Say why a discriminator's first layers would be random, and what to do; "" if they are trained."""
    if source is None:
        return "they are random: add --from-gan RUN or --from-vae RUN, or leave it out"
    if start is not None and start.is_half_size:
        return f"the first layers are new, as {source.path} was trained at half the size: leave it out"
    if starts_from_trained_discriminator(settings, source, start):
        return ""
    if start is not None and not start.has_encoder:
        return (
            f"they are random, as {source.path} has neither a discriminator nor an encoder: start from a run with"
            " checkpoints, or leave it out"
        )
    return "--no-init-d-from-encoder makes them random: leave one of the two out"


def starts_from_trained_discriminator(
    settings: GANSettings, source: WeightsInfo | None, start: StartRun | None
) -> bool:
    """Return whether a discriminator starts from a trained one, or from an encoder.

    Args:
        settings: options of the run.
        source: weights that it starts from, if any.
        start: the run of --from-gan, if any.

    Returns:
        whether it does.
    """
    if start is not None and start.discriminator is not None:
        return True
    has_encoder = start.has_encoder if start is not None else source is not None
    return has_encoder and settings.init_d_from_encoder


def match_classes(
    settings: TrainSettings, model_config: ModelConfig, dataset: PreparedDataset, source: WeightsInfo | None
) -> tuple[TrainSettings, ModelConfig]:
    """Return settings and config with the classes of the start, or else those of --cond.

    Args:
        settings: options of the run.
        model_config: configuration of its networks, with the start's classes.
        dataset: its dataset.
        source: weights that it starts from, if any.

    Returns:
        settings and config.

    Raises:
        UsageError: if --cond contradicts the start, or --balance has no classes.
        VaeganError: if the dataset has classes that the start does not know.
    """
    if source is not None and model_config.classes:
        label, path = model_config.class_label, source.path
        if settings.cond not in (None, label):
            raise UsageError(
                f"--cond {printable(settings.cond)} contradicts {path}, whose classes are the values of {label}: leave"
                " it out"
            )
        unknown = [name for name in find_classes(dataset, label) if name not in model_config.classes]
        if unknown:
            raise VaeganError(
                f"{dataset.path} has the {label} {join_text(unknown, 300)}, which {path} was not trained on; it knows"
                f" {join_text(model_config.classes, 300)}: start from a run without classes, or from nothing"
            )
        return replace(settings, cond=label), model_config
    if settings.cond is not None:
        classes = find_classes(dataset, settings.cond)
        return settings, replace(model_config, classes=classes, class_label=settings.cond)
    if settings.balance:
        raise UsageError("--balance draws classes equally often, and there are none: add --cond LABEL")
    return settings, model_config


def describe_classes(dataset: PreparedDataset, model_config: ModelConfig) -> str:
    """Say how many training images each class has, and how many have none.

    Args:
        dataset: the dataset.
        model_config: a configuration with classes.

    Returns:
        one line.
    """
    label, names = model_config.class_label, model_config.classes
    train = read_class_ids(dataset, label, names).train
    counts = train[train != NO_CLASS].bincount(minlength=len(names)).tolist()
    text = ", ".join(f"{name} {count:,}" for name, count in zip(names, counts, strict=True))
    num_missing = len(train) - sum(counts)
    left_out = f"; {num_missing:,} without it are left out" if num_missing else ""
    return f"Classes of {label}, by training images: {text[:1000]}{left_out}"


def match_discriminator(settings: GANSettings, start: StartRun) -> GANSettings:
    """Return the settings with the minibatch_std of the start.

    Args:
        settings: options of the run.
        start: the run of --from-gan.

    Returns:
        the settings.

    Raises:
        UsageError: if they ask for the other one.
    """
    has_minibatch_std = start.has_minibatch_std()
    if has_minibatch_std is None:
        return settings
    if settings.minibatch_std not in (None, has_minibatch_std):
        flags = {True: "--minibatch-std", False: "--no-minibatch-std"}
        raise UsageError(
            f"{flags[not has_minibatch_std]} contradicts {start.weights.path}, which was trained with"
            f" {flags[has_minibatch_std]}: leave it out"
        )
    return replace(settings, minibatch_std=has_minibatch_std)


def with_prior(model_config: ModelConfig, requested_prior: str | None, source: WeightsInfo | None) -> ModelConfig:
    """Return the config with the prior of --prior; a mixture can only come from a VAE or GAN that has one.

    Args:
        model_config: sizes of the networks, with the prior that was fitted, if any.
        requested_prior: value of --prior.
        source: weights that the run starts from.

    Returns:
        the config.

    Raises:
        UsageError: if a mixture is asked for and none was fitted.
    """
    if requested_prior in (None, model_config.prior):
        return model_config
    if requested_prior == "mixture":
        if source is None:
            raise UsageError("--prior mixture: it is fitted to a VAE's latents: add --from-vae")
        raise UsageError(f"--prior mixture: {source.path} has no fitted mixture: leave it out")
    return replace(model_config.with_normal_prior(), prior=requested_prior)


def read_vae_weights(path: Path) -> WeightsInfo:
    """Read the weights of --from-vae.

    Args:
        path: run, checkpoint or weights file.

    Returns:
        their description.

    Raises:
        VaeganError: if they are not a VAE's, or damaged.
    """
    weights = read_weights_info(path)
    if weights.kind != "vae":
        raise VaeganError(f"--from-vae {path}: this is a {weights.kind.upper()}; give a run of vaegan train-vae")
    return weights


def match_architecture(
    settings: TrainSettings, source: WeightsInfo, dataset: PreparedDataset, request: TrainRequest, is_half_size: bool
) -> tuple[TrainSettings, ModelConfig]:
    """Return settings and model config with the start's architecture.

    Args:
        settings: options of the run.
        source: weights that it starts from.
        dataset: its dataset.
        request: what the user asked for.
        is_half_size: whether the start's networks grow by a stage.

    Returns:
        settings and config.

    Raises:
        UsageError: if an option contradicts the start.
        VaeganError: if the dataset's images differ from those of the start.
    """
    config, path = source.config, source.path
    flag = "--from-vae" if request.from_vae is not None else START_FLAGS[request.kind]
    half_size = " or on images of half the size" if request.from_run is not None else ""
    if is_half_size:
        config = grown_config(config)
    if (dataset.size, dataset.channels) != (config.size, config.channels):
        grayscale_flag = " --grayscale" if config.channels == 1 else ""
        if dataset.channels < config.channels:
            grayscale_flag = " --no-grayscale"
        raise VaeganError(
            f"{dataset.path} holds {dataset.size}x{dataset.size} images of {dataset.channels} channels, but {path} was"
            f" trained on {config.size}x{config.size} of {config.channels}: preprocess them with --size"
            f" {config.size}{grayscale_flag}, or give {flag} a {source.kind.upper()} that was trained on such images"
            f"{half_size}"
        )
    if settings.latent_dim not in (None, config.latent_dim):
        raise UsageError(
            f"--latent-dim {settings.latent_dim} contradicts {path}, whose latents have {config.latent_dim}: leave it"
            " out"
        )
    presets = [name for name, preset in PRESETS.items() if preset.base_channels == config.base_channels]
    if settings.preset is not None and settings.preset not in presets:
        own_preset = presets[0] if presets else f"of {config.base_channels} base channels"
        raise UsageError(f"--preset {settings.preset} contradicts {path}, which is {own_preset}: leave it out")
    preset_name = settings.preset or (presets or ["small"])[0]
    return replace(settings, preset=preset_name, latent_dim=config.latent_dim), config
