"""Load a trained model and sample, encode, decode and interpolate with it."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, cast

import torch
from torch import Tensor

from vaegan.checkpoint import WeightsInfo, check_weights_path, read_weights_info, save_model
from vaegan.errors import UsageError, VaeganError, error_text, printable
from vaegan.inference.class_weights import ClassChoice, class_hint, class_number, class_weights
from vaegan.inference.image_inputs import ImageInput, read_image_inputs
from vaegan.inference.networks import (
    INFERENCE_BATCH_SIZE,
    decode_in_batches,
    encode_in_batches,
    load_networks,
    pad_batch,
)
from vaegan.models.interpolation import default_method, interpolate_path
from vaegan.models.prior import Prior
from vaegan.models.vae import Decoder, Encoder
from vaegan.progress.reporter import log_warnings
from vaegan.run_dir import best_weights_of
from vaegan.run_lookup import preprocess_settings_for
from vaegan.utils.device import choose_device
from vaegan.utils.image_batch import ImageBatch, as_image_batch
from vaegan.utils.images import to_float

if TYPE_CHECKING:
    import numpy as np

    from vaegan.inference.attributes import AttributeSet

    LatentsInput = Tensor | np.ndarray | Sequence[Sequence[float]]


class Model:
    """A VAE, or a GAN's generator, which is a decoder too; it may come with the encoder of its VAE.

    Images are uint8 [N, C, S, S], latents float32 [N, d]. Both are on the CPU, whatever the model's device. Images that
    it returns are an `ImageBatch`: a tensor that shows itself in a notebook, with `.save(path)` and `.to_pil()`.

    `decoder` and `encoder` are ordinary `torch.nn.Module`s. The decoder maps latents [N, d] to images in [-1, 1].

    The networks are on `device`. The prior is on the CPU, so that a seed gives the same latent on every machine. The
    encoder is None for a GAN that was trained from scratch.

    A conditional model has `classes`. Its images depend on a latent and a class: `class_` is the name of one class, a
    name for each image, or class weights, float [N, num_classes], which can be between classes. `for_class` returns the
    unconditional model of one class. That one has a `class_name`, and a `class_label` whose value it is.
    """

    def __init__(
        self,
        info: WeightsInfo,
        decoder: Decoder,
        encoder: Encoder | None,
        prior: Prior,
        device: torch.device,
        class_name: str = "",
        class_label: str = "",
    ) -> None:
        self.info, self.decoder, self.encoder, self.prior, self.device = info, decoder, encoder, prior, device
        self.class_name, self.class_label = class_name, class_label

    def __repr__(self) -> str:
        config, info = self.info.config, self.info
        shape = f"{config.size}x{config.size} pixels, {config.channels} channels, {config.latent_dim} latents"
        classes = f", classes {printable(', '.join(config.classes))}" if config.classes else ""
        classes += f", class {self.class_name}" if self.class_name else ""
        return f"<Model: {info.kind.upper()} of {info.path} at step {info.step:,}, {shape}{classes}, on {self.device}>"

    @property
    def latent_dim(self) -> int:
        """Number of latents d."""
        return self.info.config.latent_dim

    # ---- Classes ----------------------------------------------------------------------------------------------------

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty for an unconditional model."""
        return self.info.config.classes

    def for_class(self, name: str) -> Model:
        """Return the model of one class. It is unconditional, and shares the weights of this one.

        Args:
            name: name of the class.

        Returns:
            the model.

        Raises:
            UsageError: if there is no such class, or this model is unconditional.
        """
        number = class_number(self, name)
        info = replace(self.info, config=replace(self.info.config, classes=(), class_label=""))
        decoder, prior = self.decoder.for_class(number), self.prior.for_class(number)
        return Model(info, decoder, self.encoder, prior, self.device, name, self.info.config.class_label)

    def classes_from_seeds(self, seeds: Sequence[int]) -> list[str] | None:
        """Return the class that each seed has where none is asked for.

        Classes are as frequent as among the training images.

        Args:
            seeds: whole numbers from 0.

        Returns:
            a name for each seed; None for an unconditional model.
        """
        if not self.classes:
            return None
        return [self.classes[number] for number in self.prior.sample_classes(seeds).tolist()]

    def class_weights(self, class_: ClassChoice, count: int) -> Tensor:
        """Return the class weights of images.

        Args:
            class_: as in `decode`.
            count: number of images.

        Returns:
            float32 [count, num_classes].

        Raises:
            UsageError: if there is no such class, none is given, or their number is not that of the images.
        """
        return class_weights(self, class_, count)

    def best_classes(self, images: Tensor, latents: Tensor) -> list[str]:
        """Return the class with which each image is reconstructed best: with the smallest squared error.

        Args:
            images: uint8 [N, C, S, S].
            latents: their latents, float [N, d].

        Returns:
            N names.
        """
        real = to_float(images)
        errors = [(to_float(self.decode(latents, name)) - real).square().flatten(1).mean(1) for name in self.classes]
        return [self.classes[number] for number in torch.stack(errors).argmin(0).tolist()]

    # ---- Latents and images -----------------------------------------------------------------------------------------

    def latents_from_seeds(
        self, seeds: Sequence[int], truncation: float = 1.0, class_: ClassChoice = None, reencode: int = 0
    ) -> Tensor:
        """Sample one latent per seed from the prior.

        Args:
            seeds: whole numbers from 0.
            truncation: a value below 1 moves each latent towards the mean of its own component of a mixture prior,
                which decodes to a typical face of its kind, or towards the mean of another prior.
            class_: as in `decode`; None for the classes of `classes_from_seeds`.
            reencode: how many times to decode the latents and encode the images; see `reencode`.

        Returns:
            float32 [len(seeds), d].

        Raises:
            UsageError: if there is no such class.
            VaeganError: if `reencode` is not 0 and the model has no encoder.
        """
        class_weights = self.class_weights(self.classes_from_seeds(seeds) if class_ is None else class_, len(seeds))
        return self.reencode(self.prior.sample_seeds(seeds, truncation, class_weights), reencode, class_weights)

    def reencode(self, latents: LatentsInput, times: int = 1, class_: ClassChoice = None) -> Tensor:
        """Decode latents and encode the images, which moves latents towards those of real images.

        An encoder that leaves out what it has not learned to see leaves out stray marks too. This is the sampling
        chain of a denoising autoencoder without its noise (Bengio et al. 2013, "Generalized denoising auto-encoders as
        generative models", arXiv 1305.6663). Images become calmer and more alike.

        Args:
            latents: float [N, d].
            times: how many times; 0 returns the latents.
            class_: as in `decode`.

        Returns:
            float32 [N, d]. A latent gives the same result however many there are.

        Raises:
            UsageError: as in `decode`, or if `times` is no whole number from 0.
            VaeganError: if `times` is not 0 and the model has no encoder.
        """
        latents = self._check_latents(latents)
        check_reencode(self, times)
        if not times:
            return latents
        weights, results = self.class_weights(class_, len(latents)), [torch.empty(0, self.latent_dim)]
        for start in range(0, len(latents), INFERENCE_BATCH_SIZE):
            rows = slice(start, start + INFERENCE_BATCH_SIZE)
            batch, batch_weights = pad_batch(latents[rows]), pad_batch(weights[rows])
            for _ in range(times):
                batch = self.encode(self.decode(batch, batch_weights))
            results.append(batch[: len(latents[rows])])
        return torch.cat(results)

    def decode(self, latents: LatentsInput, class_: ClassChoice = None) -> ImageBatch:
        """Decode latents to images.

        Args:
            latents: float [N, d]: a tensor, an array, or lists of numbers.
            class_: of a conditional model: a class, one for each image, or class weights, float [N, num_classes].

        Returns:
            uint8 [N, C, S, S].

        Raises:
            UsageError: if the latents have another shape or are not finite, or there is no such class.
        """
        latents = self._check_latents(latents)
        if not len(latents):
            config = self.info.config
            return as_image_batch(torch.empty(0, config.channels, config.size, config.size, dtype=torch.uint8))
        images = decode_in_batches(self.decoder, latents, self.class_weights(class_, len(latents)), self.device)
        return as_image_batch(images)

    def _check_latents(self, latents: Any) -> Tensor:
        """Return latents as a tensor. Raises UsageError for another shape, and for NaN and infinite numbers."""
        try:
            checked = torch.as_tensor(latents, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"latents: expected numbers of shape [N, {self.latent_dim}] ({error_text(error)})"
            ) from error
        if checked.dim() != 2 or checked.shape[1] != self.latent_dim:
            raise UsageError(f"latents of shape {list(checked.shape)}: expected [N, {self.latent_dim}]")
        if not checked.isfinite().all():
            raise UsageError("latents: there are NaN or infinite numbers among them")
        return checked

    def save(self, path: Path | str, force: bool = False) -> Path:
        """Write the weights as they are now into one file, which `vaegan.load` and all commands take.

        Args:
            path: the file; its name ends with .safetensors.
            force: allow to replace a file that is no weights file of vaegan.

        Returns:
            the path.

        Raises:
            VaeganError: if the path has another ending, cannot be written, or is another file and `force` is not given,
                and for the model of one class, whose weights are those of all classes.
        """
        path, info = Path(path), self.info
        if self.class_name:
            raise VaeganError(f"this is the class {self.class_name} of {info.path}: save the model of all classes")
        check_weights_path(path, force)
        networks = torch.nn.ModuleDict({"decoder": self.decoder, "prior": self.prior})
        if self.encoder is not None:
            networks["encoder"] = self.encoder
        save_model(path, networks, info.kind, info.config, info.step, info.images_seen, info.kid, info.image_options)
        return path

    def read_images(self, images: ImageInput | Sequence[ImageInput]) -> ImageBatch:
        """Return images as the model takes them, cropped and resized like its training images.

        Args:
            images: one or a sequence of: a path of an image, folder, .zip file or dataset; a Pillow image; an array
                [H, W, C] or [N, H, W, C]; a tensor [C, H, W] or [N, C, H, W]. uint8, or floats from 0 to 1.

        Returns:
            uint8 [N, C, S, S].

        Raises:
            VaeganError: if a file cannot be read, or a value is not an image.
        """
        shape = (self.info.config.channels, self.info.config.size, self.info.config.size)
        if isinstance(images, Tensor) and images.dtype == torch.uint8 and images.shape[1:] == shape:
            return as_image_batch(images)
        settings = preprocess_settings_for(self.info, log_warnings)
        return as_image_batch(read_image_inputs(images, settings, log_warnings))

    def encode(self, images: ImageInput | Sequence[ImageInput], seed: int | None = None) -> Tensor:
        """Encode images to the means of their posteriors, or with a seed to a sample of each.

        Args:
            images: what `read_images` reads: paths, Pillow images, arrays or tensors.
            seed: of the samples; None for the means.

        Returns:
            float32 [N, d].

        Raises:
            VaeganError: if the model has no encoder, or the images cannot be read.
        """
        if self.encoder is None:
            raise VaeganError(f"{self.info.path} holds no encoder: it is a GAN that was trained from scratch")
        images = self.read_images(images)
        if not len(images):
            return torch.empty(0, self.latent_dim)
        return encode_in_batches(self.encoder, images, seed, self.device)

    def reconstruct(
        self, images: ImageInput | Sequence[ImageInput], seed: int | None = None, class_: ClassChoice = None
    ) -> ImageBatch:
        """Encode and decode images.

        Args:
            images: as in `encode`.
            seed: as in `encode`.
            class_: as in `decode`; None for the class with which each image is reconstructed best.

        Returns:
            uint8 [N, C, S, S].

        Raises:
            VaeganError: if the model has no encoder, or the images have another shape or type than the model's.
        """
        images = self.read_images(images)
        latents = self.encode(images, seed)
        return self.decode(latents, self.best_classes(images, latents) if self.classes and class_ is None else class_)

    def sample_batches(
        self, seeds: Sequence[int], truncation: float = 1.0, class_: str | None = None, reencode: int = 0
    ) -> Iterator[ImageBatch]:
        """Sample images in batches, so that memory does not grow with their number.

        Args:
            seeds: one per image.
            truncation: as in `latents_from_seeds`.
            class_: as in `sample`.
            reencode: as in `latents_from_seeds`.

        Yields:
            uint8 [B, C, S, S], B at most INFERENCE_BATCH_SIZE.

        Raises:
            UsageError: if there is no such class.
            VaeganError: if `reencode` is not 0 and the model has no encoder.
        """
        for start in range(0, len(seeds), INFERENCE_BATCH_SIZE):
            batch = seeds[start : start + INFERENCE_BATCH_SIZE]
            classes = self.classes_from_seeds(batch) if class_ is None else class_
            yield self.decode(self.latents_from_seeds(batch, truncation, classes, reencode), classes)

    def sample(
        self,
        n: int = 64,
        seed: int = 0,
        truncation: float = 1.0,
        where: Mapping[str, str | bool | float] | None = None,
        class_: str | None = None,
        reencode: int = 0,
    ) -> ImageBatch:
        """Sample images. An image depends on its own seed only.

        Args:
            n: number of images, 0 or more.
            seed: of the first image; the next ones have the seeds `seed` + 1, `seed` + 2, ...
            truncation: as in `latents_from_seeds`.
            where: attributes that the images shall have, such as {"glasses": True, "hair_color": "red"}; the seeds of
                other images are passed over.
            class_: of a conditional model, the class of all images. By default each seed has a class of its own; the
                classes are as frequent as among the training images.
            reencode: as in `latents_from_seeds`.

        Returns:
            uint8 [n, C, S, S].

        Raises:
            UsageError: if `n` is negative, or there is no such attribute, value or class.
            VaeganError: if the model has no attributes, too few seeds have them, or `reencode` is not 0 and it has no
                encoder.
        """
        if n < 0:
            raise UsageError(f"n={n}: expected 0 or more images")
        if class_ is not None:
            return self.for_class(class_).sample(n, seed, truncation, where, reencode=reencode)
        seeds: Sequence[int] = range(seed, seed + n)
        if where and n:
            if self.classes:
                raise UsageError(
                    f"{self.info.path} is conditional, and --where chooses within a class: {class_hint(self)}"
                )
            from vaegan.inference.conditional_sampling import parse_conditions, sample_where

            conditions = parse_conditions(self.attributes, where)
            seeds = sample_where(self, conditions, n, seed, truncation, reencode=reencode).seeds
        classes = self.classes_from_seeds(seeds)
        return self.decode(self.latents_from_seeds(seeds, truncation, classes, reencode), classes)

    @cached_property
    def attributes(self) -> AttributeSet:
        """The attributes that `vaegan attributes` has learned. Raises VaeganError if there are none."""
        from vaegan.inference.attribute_files import attributes_path, load_attributes

        return load_attributes(attributes_path(self.info.path), self)

    def edit(
        self,
        images: ImageInput | Sequence[ImageInput],
        hold: str | Sequence[str] = (),
        strength: float = 1.0,
        class_: str | None = None,
        **values: str | bool | float,
    ) -> ImageBatch:
        """Reconstruct images with attributes changed, as in `model.edit(images, glasses=True)`.

        Args:
            images: as in `encode`.
            hold: name of an attribute that shall not change, several names, or "all".
            strength: factor on the change.
            class_: class of the images; by default the one with which each image is reconstructed best.
            **values: True, False, a value such as "red", or a change such as "+2"; see `vaegan.inference.edit`.

        Returns:
            uint8 [N, C, S, S].

        Raises:
            UsageError: if there is no such attribute or value, or nothing is to be changed.
            VaeganError: if the model has no encoder or no attributes.
        """
        from vaegan.inference.class_choice import choose_classes, map_by_class
        from vaegan.inference.edit import edit_until_visible, parse_changes

        changes = parse_changes(self.attributes, values)
        if not changes:
            raise UsageError("nothing to change: name an attribute, as in model.edit(images, glasses=True)")
        images = self.read_images(images)
        latents = self.encode(images)
        classes = choose_classes(self, images, latents, class_)

        def edit_rows(model: Model, rows: Tensor) -> Tensor:
            return edit_until_visible(model, self.attributes, latents[rows], changes, hold, strength)

        return self.decode(map_by_class(self, classes, len(latents), edit_rows), classes)

    def interpolate(
        self,
        keyframes: Sequence[int] | LatentsInput,
        frames: int = 32,
        method: str | None = None,
        truncation: float = 1.0,
        easing: str = "linear",
        loop: bool = False,
        class_: str | Sequence[str] | None = None,
        reencode: int = 0,
    ) -> ImageBatch:
        """Decode a path through seeds, or through latents such as those of `encode`.

        Args:
            keyframes: two or more seeds, or latents float [N, d]: a tensor or an array.
            frames: images from one keyframe to the next, both included.
            method: "slerp" or "lerp"; None takes the one that suits the prior.
            truncation: of seeds, as in `latents_from_seeds`.
            easing: "linear" or "smooth".
            loop: return from the last keyframe to the first.
            class_: of a conditional model, a class or one for each keyframe, between which the embedding is
                interpolated; None for those of `classes_from_seeds`. Latents need it.
            reencode: of seeds, as in `latents_from_seeds`.

        Returns:
            uint8 [segments * (frames - 1) + 1, C, S, S].

        Raises:
            UsageError: if there are fewer than two keyframes, or the method, the easing or a class is unknown, or the
                latents have another shape or are not finite.
        """
        if len(keyframes) < 2:
            raise UsageError(f"keyframes: expected two or more, not {len(keyframes)}")
        method = method or default_method(self.info.config.prior)
        if getattr(keyframes, "ndim", 1) == 2:
            latents = self._check_latents(keyframes).cpu()
            weights = self.class_weights(class_, len(latents))
        else:
            try:
                seeds = [operator.index(cast(SupportsIndex, seed)) for seed in keyframes]
            except TypeError as error:
                raise UsageError("keyframes: expected seeds, which are whole numbers, or latents [N, d]") from error
            weights = self.class_weights(self.classes_from_seeds(seeds) if class_ is None else class_, len(seeds))
            latents = self.latents_from_seeds(seeds, truncation, weights, reencode)
        path, class_path = (
            interpolate_path(values, frames, name, easing, loop)
            for values, name in ((latents, method), (weights, "lerp"))
        )
        return self.decode(path, class_path)


def load(path: Path | str, device: str = "auto", *, best: bool = False) -> Model:
    """Load a model from a run directory, a checkpoint directory or a .safetensors file.

    Args:
        path: run, checkpoint, folder of `vaegan export --hub`, or weights file.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        best: load the weights with the lowest KID of a run instead of the last ones.

    Returns:
        the model, ready to use.

    Raises:
        VaeganError: if the file is missing, damaged or not a model of vaegan, or the device is not available.
    """
    info = read_weights_info(best_weights_of(Path(path)) if best else Path(path))
    torch_device = choose_device(device)
    return Model(info, *load_networks(info, torch_device), torch_device)


def check_reencode(model: Model, times: int) -> None:
    """Check that a model can encode its images so many times.

    Args:
        model: the model.
        times: how many times.

    Raises:
        UsageError: if `times` is no whole number from 0.
        VaeganError: if it is not 0 and the model has no encoder.
    """
    if not isinstance(times, int) or times < 0:
        raise UsageError(f"reencode={times}: expected a whole number, 0 or more")
    if times and model.encoder is None:
        raise VaeganError(f"{model.info.path} cannot reencode: it is a GAN from scratch, which has no encoder")
