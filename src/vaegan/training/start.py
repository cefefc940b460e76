"""Start a run from the networks of another: train-vae --from and train-gan --from-gan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vaegan.checkpoint import (
    TRAINING_STATE_FILE,
    WeightsInfo,
    load_into_meta_model,
    load_strict,
    open_safetensors,
    read_checkpoint,
    read_weights_info,
    strip_prefix,
)
from vaegan.config.model_config import ModelConfig, channel_widths
from vaegan.config.options import build_settings
from vaegan.data.memmap import ImageArray
from vaegan.errors import VaeganError
from vaegan.models.class_embedding import make_class_embedding
from vaegan.models.discriminator import Discriminator, GANForInference, split_feature_decoder
from vaegan.models.growth import grow_decoder, grow_discriminator, grow_vae, grown_config
from vaegan.models.latent_whitening import undo_whitening, whiten_latents
from vaegan.models.prior import Prior
from vaegan.models.vae import VAE, Decoder
from vaegan.run_dir import find_run
from vaegan.run_lookup import find_source
from vaegan.training.distributed import DistributedContext
from vaegan.training.rng import derive_seed, fork_rng_with_seed

START_FLAGS = {"vae": "--from", "gan": "--from-gan"}
"""The option that names the start, by the kind of the run."""
LATENT_WHITENING_IMAGES, LATENT_WHITENING_BATCH_SIZE = 8192, 128


@dataclass(frozen=True)
class StartRun:
    """The trained run that a new one starts from.

    Attributes:
        weights: its weights.
        has_encoder: whether the weights hold an encoder, as those of a GAN from scratch do not.
        discriminator: tensors of its discriminator by name; None for a VAE, and where no checkpoint holds them.
        is_half_size: whether its images have half the side of the new ones, so that its networks grow by a stage.
        networks: its networks on the CPU, once `load_start_networks` has read them.
        config: sizes of these networks, with the prior that was fitted to the new dataset.
    """

    weights: WeightsInfo
    has_encoder: bool
    discriminator: Mapping[str, Tensor] | None = None
    is_half_size: bool = False
    networks: VAE | GANForInference | None = None
    config: ModelConfig | None = None

    def has_minibatch_std(self) -> bool | None:
        """Return whether the discriminator has the minibatch standard deviation feature.

        Returns:
            whether it has; None without a discriminator.
        """
        if self.discriminator is None:
            return None
        head, config = self.discriminator.get("head.weight"), self.weights.config
        num_features = 16 * channel_widths(config.base_channels, config.size)[-1]
        return head is not None and head.shape != (1, num_features)

    def for_images(self, size: int, channels: int) -> StartRun:
        """Return the start for images of another side, if it is half of it.

        Args:
            size: side of the new images.
            channels: their channels.

        Returns:
            the start, with `is_half_size` set.
        """
        config = self.weights.config
        return replace(self, is_half_size=(size, channels) == (2 * config.size, config.channels))

    def describe(self, num_images: int) -> str:
        """Say what is taken from the run.

        Args:
            num_images: training images of the new dataset.

        Returns:
            one line.
        """
        weights, taken = self.weights, ", ".join(self.taken())
        text = f"Starting from {weights.path} (step {weights.step:,}, {weights.images_seen:,} images): {taken}"
        if self.is_half_size:
            size = weights.config.size
            text += f"; grown from {size}x{size} to {2 * size}x{2 * size} pixels"
        if weights.kind == "gan" and self.has_encoder:
            fitted = "one normal"
            if self.config is not None and self.config.prior == "mixture":
                fitted = f"a mixture of {self.config.num_components}"
            text += f"; prior fitted to the encodings of the {num_images:,} new images: {fitted}"
        return text

    def taken(self) -> list[str]:
        """Return the names of the networks that are taken.

        Returns:
            such as "encoder" and "decoder".
        """
        if self.weights.kind == "vae":
            return ["encoder", "decoder"]
        taken = ["generator (EMA)", *(["encoder"] if self.has_encoder else [])]
        return [*taken, "discriminator"] if self.discriminator is not None else taken


def read_start(path: Path, kind: str) -> StartRun:
    """Read the description of the run to start from, and the discriminator of a GAN.

    The discriminator is in the checkpoint of the same step as the weights. A single weights file or an exported folder
    comes without one.

    Args:
        path: run, checkpoint, folder of `vaegan export --hub`, or weights file.
        kind: kind of the new run, "vae" or "gan".

    Returns:
        the start, without its networks.

    Raises:
        VaeganError: if it is of the other kind, or damaged.
    """
    weights = read_weights_info(path)
    if weights.kind != kind:
        raise VaeganError(f"{START_FLAGS[kind]} {path}: {_explain_other_kind(weights, path)}")
    checkpoint = _checkpoint_of(weights) if kind == "gan" else None
    if checkpoint is None:
        return StartRun(weights, _has_encoder(weights))
    discriminator = strip_prefix(read_checkpoint(checkpoint).tensors, "discriminator")
    return StartRun(weights, _has_encoder(weights), discriminator or None)


def _explain_other_kind(weights: WeightsInfo, path: Path) -> str:
    if weights.kind == "vae":
        return "this is a VAE; give it to --from-vae, or give --from-gan a run of vaegan train-gan"
    fine_tune = f"train it further with vaegan train-gan --from-gan {path}"
    run = find_run(weights.path)
    source = find_source(run, "from_vae") if run is not None else None
    vae = f" {source[0]}" if source is not None and source[0].is_file() else ""
    if not _has_encoder(weights):
        return f"this is a GAN without an encoder; {fine_tune}"
    return f"this is a GAN, whose generator has left the encoder behind; give the VAE{vae} it came from, or {fine_tune}"


def _checkpoint_of(weights: WeightsInfo) -> Path | None:
    """Return the checkpoint that a weights file is in, or that of the same step in its run; None without one."""
    run = find_run(weights.path)
    places = [weights.path.parent, *([run.checkpoint_path(weights.step)] if run is not None else [])]
    return next((place for place in places if (place / TRAINING_STATE_FILE).is_file()), None)


def _has_encoder(weights: WeightsInfo) -> bool:
    with open_safetensors(weights.path) as file:
        return any(name.startswith("encoder.") for name in file.keys())  # noqa: SIM118


def load_vae(weights: WeightsInfo) -> VAE:
    """Load a VAE, or encoder, generator and prior of a GAN, whose weights have the same names.

    Args:
        weights: description of the weights file.

    Returns:
        the networks on the CPU.

    Raises:
        VaeganError: if the file does not hold them.
    """
    with torch.device("meta"):
        vae = VAE(weights.config)
    load_into_meta_model(vae, weights.path)
    return vae.eval()


def load_start_networks(
    start: StartRun,
    train_images: ImageArray,
    seed: int,
    mirror: bool,
    dist_ctx: DistributedContext,
    model_config: ModelConfig | None = None,
    class_ids: Tensor | None = None,
) -> StartRun:
    """Load the networks of the run to start from, so that training can go on with another dataset.

    The latents of a VAE are brought back to what they were before whitening. Those of a GAN with an encoder are
    whitened anew, by the encodings of the new images, and the prior is fitted to them. That changes only the linear
    layers around the latents: the generator's images of an encoded image stay the same.

    Args:
        start: the start.
        train_images: of the new dataset, uint8 [N, C, S, S].
        seed: of the run.
        mirror: whether the run trains on mirror images as well.
        dist_ctx: the processes that train together.
        model_config: configuration of the new run, with its classes.
        class_ids: of a conditional run, the number of each image's class, int64 [N].

    Returns:
        the start with its networks, which are equal on all ranks.

    Raises:
        VaeganError: if the file is damaged, or the networks cannot grow.
    """
    start = dist_ctx.run_on_all_ranks(lambda: _read_networks(start, seed))
    vae = start.networks
    if isinstance(vae, VAE) and model_config is not None and model_config.num_classes > vae.config.num_classes:
        add_classes(vae, model_config)
        start = replace(start, config=vae.config)
    if start.weights.kind == "vae" or not isinstance(vae, VAE):
        return start
    # Rank 0 fits for all of them: the others could round differently.
    fitted = dist_ctx.run_on_all_ranks(
        lambda: whiten_with_images(vae, train_images, seed, mirror, class_ids) if dist_ctx.is_main_process else None
    )
    config = build_settings(ModelConfig, dist_ctx.broadcast(None if fitted is None else asdict(fitted.config)))
    if fitted is None:
        fitted = VAE(config)
        with torch.no_grad():
            for tensor in fitted.state_dict().values():
                tensor.zero_()
    dist_ctx.all_reduce_sum_(list(fitted.state_dict().values()))
    return replace(start, networks=GANForInference(fitted.decoder, fitted.encoder, fitted.prior), config=config)


def _read_networks(start: StartRun, seed: int) -> StartRun:
    """Return the start with its networks: a VAE without whitening, or generator and prior of a GAN from scratch."""
    weights, config, discriminator = start.weights, start.weights.config, start.discriminator
    networks: VAE | GANForInference
    if start.has_encoder:
        networks = undo_whitening(load_vae(weights))
        config = networks.config
    else:
        with torch.device("meta"):
            networks = GANForInference(Decoder(config), None, Prior(config))
        load_into_meta_model(networks, weights.path)
    if not start.is_half_size:
        return replace(start, networks=networks, config=config)
    new_config = grown_config(config)
    with fork_rng_with_seed(seed, "growth"):
        if isinstance(networks, VAE):
            networks = grow_vae(networks, new_config)
        else:
            networks = GANForInference(grow_decoder(networks.decoder, new_config), None, networks.prior)
        if discriminator is not None:
            old = Discriminator(config, bool(start.has_minibatch_std()))
            # its feature decoder is trained anew: the grown features have more channels
            load_strict(old, split_feature_decoder(discriminator)[0], weights.path)
            discriminator = grow_discriminator(old, new_config).state_dict()
    return replace(start, networks=networks, config=new_config, discriminator=discriminator)


def whitening_rows(num_images: int, latent_dim: int, seed: int) -> Tensor:
    """Choose the training images that whiten the latents.

    Args:
        num_images: number of training images.
        latent_dim: number of latents.
        seed: of the run.

    Returns:
        their rows in random order, int64 [n].
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "subset"))
    return torch.randperm(num_images, generator=generator)[: num_whitening_images(num_images, latent_dim)]


def num_whitening_images(num_images: int, latent_dim: int) -> int:
    """Return how many training images whiten the latents.

    Args:
        num_images: number of training images.
        latent_dim: number of latents.

    Returns:
        all, or of many images so many that a covariance can be estimated.
    """
    return min(num_images, max(LATENT_WHITENING_IMAGES, 16 * latent_dim))


def add_classes(vae: VAE, config: ModelConfig) -> None:
    """Make a VAE without classes conditional, in place.

    Its class embeddings are 0, so all classes decode alike.

    Args:
        vae: the VAE, whose prior is N(0, I).
        config: a configuration with the classes.
    """
    vae.config = replace(vae.config, classes=config.classes, class_label=config.class_label)
    vae.decoder.class_embedding = make_class_embedding(config.num_classes, len(vae.decoder.proj_in.weight))
    vae.prior = Prior(vae.config)


def whiten_with_images(
    vae: VAE, train_images: ImageArray, seed: int, mirror: bool, class_ids: Tensor | None = None
) -> VAE:
    """Whiten the latents of training images and fit the prior; see `whiten_latents`.

    Args:
        vae: the VAE; it is not changed.
        train_images: uint8 [N, C, S, S].
        seed: of the run.
        mirror: whether mirror images are trained on as well.
        class_ids: of a conditional VAE, the number of each image's class, int64 [N].

    Returns:
        the whitened VAE.

    Raises:
        VaeganError: if the latents are not finite, or huge.
    """
    all_rows = whitening_rows(len(train_images), vae.config.latent_dim, seed)
    images = (train_images[rows] for rows in torch.split(all_rows, LATENT_WHITENING_BATCH_SIZE))
    ids = None if class_ids is None else class_ids[all_rows]
    return whiten_latents(vae, images, derive_seed(seed, "fold") % 2**31, mirror, class_ids=ids)
