"""The state of one explorer: its models and latent map, and everything that is computed from latents."""

from __future__ import annotations

import base64
import shlex
import tempfile
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaegan.checkpoint import WEIGHTS_FILE
from vaegan.data.image_files import read_images
from vaegan.errors import UsageError, VaeganError
from vaegan.events import EventHandler, ignore_event
from vaegan.explore.attribute_sliders import AttributeSliders
from vaegan.explore.latent_map import TILES_PER_ROW, LatentMap, make_latent_map
from vaegan.inference.invert import decode_psnr, encode_or_center, invert
from vaegan.inference.model import Model, load
from vaegan.inference.reconstruct import serialize_latents
from vaegan.inference.sample import provenance_note
from vaegan.models.interpolation import default_method, interpolate_path
from vaegan.models.layers import FilteredUpsampleConv
from vaegan.models.vae import Decoder
from vaegan.run_lookup import preprocess_settings_for, source_vae_for
from vaegan.utils.animation import save_animation
from vaegan.utils.images import enlarge, png_bytes, to_pil, to_uint8
from vaegan.utils.video import VIDEO_INSTALL_HINT, has_pyav

MAX_SLIDER_DIMS = 8
STRIP_FRAMES = 7
STRIP_RANGE = 3.0
"""A strip shows the values from -STRIP_RANGE to STRIP_RANGE of one latent dimension."""
MAX_LATENT_ABS = 20.0
MAX_UPLOAD_PIXELS = 50_000_000
MAX_SEED = 2**31 - 1
NUM_FIRST_SEEDS = 64
MAX_INVERT_STEPS = 400
MAX_KEYFRAMES = 24
FRAMES_PER_SEGMENT = 24
ANIMATION_FPS = 16
MP4_UNAVAILABLE = f"MP4 needs PyAV: {VIDEO_INSTALL_HINT}, then start vaegan explore again"
TARGET_WIDTH = 384
"""Saved images are enlarged by a whole factor to at most this width."""


@dataclass(frozen=True)
class ExploreSession:
    """The explored model, the VAE that a GAN was initialized from if it is available, and the latent map."""

    models: dict[str, Model]  # the explored model first; the keys "GAN" and "VAE" are shown on the page
    latent_map: LatentMap
    name: str  # the title of the page, and the beginning of the names of saved files
    notes: list[str]
    sliders: AttributeSliders

    @property
    def model(self) -> Model:
        """The explored model."""
        return next(iter(self.models.values()))

    def model_at(self, decoder_index: int, class_number: int = 0) -> Model:
        """Return the model of a decoder on the page, and of the chosen class.

        Args:
            decoder_index: index of the decoder.
            class_number: number of the class; ignored by an unconditional model.

        Returns:
            an unconditional model.
        """
        model = list(self.models.values())[decoder_index]
        return model.for_class(self.model.classes[class_number]) if model.classes else model

    @property
    def num_slider_dims(self) -> int:
        """Number of latent dimensions with a slider."""
        return min(MAX_SLIDER_DIMS, self.model.latent_dim)

    def describe(self) -> dict[str, Any]:
        """Return what the page shows before the first image.

        Returns:
            values with a JSON form by name.
        """
        info = self.model.info
        return {
            "name": self.name,
            "checkpoint": shlex.quote(str(info.path.parent if info.path.name == WEIGHTS_FILE else info.path)),
            "first_seed": self.first_seed(),
            "training_info": f"{info.kind.upper()} at step {info.step:,} ({info.images_seen:,} images seen)",
            "decoders": list(self.models),
            "classes": list(self.model.classes),
            "class_label": info.config.class_label,
            "map_classes": self.latent_map.class_numbers,
            "has_encoder": self.model.encoder is not None,
            "image_size": info.config.size,
            "latent_dim": info.config.latent_dim,
            "num_slider_dims": self.num_slider_dims,
            "strip_frames": STRIP_FRAMES,
            "strip_range": STRIP_RANGE,
            "num_map_images": len(self.latent_map.latents),
            "tile_size": self.latent_map.tile_size,
            "tiles_per_row": TILES_PER_ROW,
            "map_description": self.latent_map.description,
            "map_is_encoded": self.latent_map.is_encoded,
            "attributes": self.sliders.describe(),
            "notes": self.notes,
            "mp4_unavailable": "" if has_pyav() else MP4_UNAVAILABLE,
        }

    def first_seed(self) -> int:
        """Return the seed of the first face: among the first ones, that nearest to the center of its own kind.

        Returns:
            the seed.
        """
        seeds, model = range(NUM_FIRST_SEEDS), self.model_at(0)
        distances = model.latents_from_seeds(seeds) - model.latents_from_seeds(seeds, truncation=0.0)
        return int(distances.norm(dim=1).argmin())

    @torch.inference_mode()
    def decode_fast(self, latents: Tensor, decoder_index: int = 0, class_number: int = 0) -> Tensor:
        """Decode latents with low latency.

        `Model.decode` always decodes full batches, so that an image does not depend on the batch size. This decodes
        only the given latents, so the images may differ from those of `Model.decode` by rounding.

        Args:
            latents: float [n, d].
            decoder_index: index of the decoder.
            class_number: as in `model_at`.

        Returns:
            uint8 [n, C, S, S].
        """
        decoder = self._fast_decoders[decoder_index]
        if decoder.class_embedding is not None:
            decoder = decoder.for_class(class_number)
        return to_uint8(decoder(latents.to(self.model.device))).cpu()

    @cached_property
    def _fast_decoders(self) -> list[Decoder]:
        """Copies of the decoders with precomputed upsampling kernels."""
        decoders = [deepcopy(model.decoder) for model in self.models.values()]
        for decoder in decoders:
            for index, layer in enumerate(decoder.layers):
                if isinstance(layer, FilteredUpsampleConv):
                    decoder.layers[index] = layer.to_frozen()
        return decoders

    def render_strip(self, latent: Tensor, dim: int, decoder_index: int = 0, class_number: int = 0) -> bytes:
        """Render a latent traversal as one row of images.

        Args:
            latent: float [d].
            dim: the dimension that varies.
            decoder_index: index of the decoder.
            class_number: as in `model_at`.

        Returns:
            RGBA pixels.
        """
        latents = latent.repeat(STRIP_FRAMES, 1)
        latents[:, dim] = torch.linspace(-STRIP_RANGE, STRIP_RANGE, STRIP_FRAMES)
        images = self.decode_fast(latents, decoder_index, class_number)
        return to_rgba_bytes(images.permute(1, 2, 0, 3).flatten(2)[None])

    def seed_latent(self, seed: int, truncation: float, class_number: int = 0) -> list[float]:
        """Return the latent that `vaegan sample` uses for a seed.

        Args:
            seed: the seed.
            truncation: as in `Model.latents_from_seeds`.
            class_number: as in `model_at`.

        Returns:
            d numbers.
        """
        model = self.model_at(0, class_number)
        latent: list[float] = model.latents_from_seeds([min(max(seed, 0), MAX_SEED)], truncation)[0].tolist()
        return latent

    def encode_image_file(self, file_bytes: bytes, invert_steps: int, class_number: int = 0) -> dict[str, Any]:
        """Return the latent of an image file, its reconstruction PSNR in dB, and the cropped image.

        Args:
            file_bytes: the image file.
            invert_steps: steps of optimization after the encoder, or from z = 0 without an encoder.
            class_number: class of an image for a model without an encoder. With one, the class that reconstructs the
                image best is taken.

        Returns:
            "latent", PSNR of its reconstruction in dB, the number of the class, and the cropped image.

        Raises:
            VaeganError: The file is not an image, or there is no encoder and `invert_steps` is 0.
        """
        image = self._read_image(file_bytes)
        model = self.model
        if model.encoder is None and not invert_steps:
            raise VaeganError("this model has no encoder: its latent must be optimized (steps)")
        latent = encode_or_center(model, image, invert_steps, ignore_event)
        if model.encoder is not None and model.classes:
            class_number = model.classes.index(model.best_classes(image, latent)[0])
        model = self.model_at(0, class_number)
        if invert_steps:
            latent = invert(model, image, latent, min(invert_steps, MAX_INVERT_STEPS), ignore_event)
        psnr = float(decode_psnr(model, image, latent)[0])
        png = base64.b64encode(png_bytes(to_pil(image[0]))).decode()
        return {
            "latent": latent[0].tolist(),
            "psnr": round(psnr, 1),
            "class": class_number,
            "image": f"data:image/png;base64,{png}",
        }

    def _read_image(self, file_bytes: bytes) -> Tensor:
        settings = preprocess_settings_for(self.model.info, ignore_event)
        settings = replace(settings, max_pixels=min(settings.max_pixels, MAX_UPLOAD_PIXELS))
        with tempfile.TemporaryDirectory(prefix="vaegan-") as folder:
            # A file in a folder and without a suffix is never read as an archive.
            path = Path(folder) / "upload"
            path.write_bytes(file_bytes)
            try:
                _, images = next(read_images([Path(folder)], settings, ignore_event))
            except VaeganError as error:
                raise VaeganError(str(error).replace(str(path), "this file")) from error
        return images[:1]

    def _enlarge_factor(self) -> int:
        return max(1, TARGET_WIDTH // self.model.info.config.size)

    def render_png(self, latent: Tensor, decoder_index: int, class_number: int = 0) -> bytes:
        """Render the image of a latent as an enlarged PNG.

        Args:
            latent: float [d].
            decoder_index: index of the decoder.
            class_number: as in `model_at`.

        Returns:
            PNG.
        """
        model = self.model_at(decoder_index, class_number)
        image = enlarge(model.decode(latent[None])[0], self._enlarge_factor())
        return png_bytes(to_pil(image), provenance_note(model, "an image from vaegan explore"))

    def render_interpolation(
        self, keyframes: Tensor, decoder_index: int, loop: bool, suffix: str, class_number: int = 0
    ) -> bytes:
        """Render the interpolation between keyframes as an enlarged animation.

        Args:
            keyframes: latents, float [k, d].
            decoder_index: index of the decoder.
            loop: end with the way from the last keyframe back to the first.
            suffix: ".gif" or ".mp4".
            class_number: as in `model_at`.

        Returns:
            the file's bytes.

        Raises:
            VaeganError: if a package for MP4 is missing.
        """
        if suffix == ".mp4" and not has_pyav():
            raise VaeganError(MP4_UNAVAILABLE)
        model = self.model_at(decoder_index, class_number)
        method = default_method(model.info.config.prior)
        latents = interpolate_path(keyframes, FRAMES_PER_SEGMENT, method, "smooth", loop)
        frames = enlarge(model.decode(latents), self._enlarge_factor())
        note = provenance_note(model, f"an interpolation between {len(keyframes)} latents")
        with tempfile.TemporaryDirectory(prefix="vaegan-") as folder:
            path = Path(folder) / f"interpolation{suffix}"
            save_animation(list(frames), path, ANIMATION_FPS, note)
            return path.read_bytes()

    def pack_latents(self, latents: Tensor, class_number: int = 0) -> bytes:
        """Return latents as a file for `vaegan decode`, in the format of `vaegan encode`.

        Args:
            latents: float [n, d].
            class_number: as in `model_at`.

        Returns:
            the file's bytes.
        """
        names, classes = [f"explore {row}" for row in range(len(latents))], None
        if self.model.classes:
            classes = [self.model.classes[class_number]] * len(latents)
        return serialize_latents(self.model, names, latents, classes)

    def parse_latents(self, value: object, max_count: int = MAX_KEYFRAMES) -> Tensor:
        """Convert JSON lists to latents.

        Args:
            value: from JSON.
            max_count: largest number of latents.

        Returns:
            float [n, d].

        Raises:
            UsageError: for anything else.
        """
        latent_dim = self.model.latent_dim
        rows = value if isinstance(value, list) else []
        if not 1 <= len(rows) <= max_count or not all(isinstance(row, list) and len(row) == latent_dim for row in rows):
            raise UsageError(f"expected 1 to {max_count} latents of {latent_dim} numbers")
        if not all(type(number) in (int, float) for row in rows for number in row):
            raise UsageError("expected latents of numbers")
        try:
            return sanitize_latents(torch.tensor([[float(number) for number in row] for row in rows]))
        except OverflowError:
            raise UsageError("a latent contains an integer that is too large for a float") from None


def to_rgba_bytes(images: Tensor) -> bytes:
    """Convert images to the pixel format of an HTML canvas.

    Args:
        images: uint8 [N, C, S, S].

    Returns:
        N * S * S * 4 bytes.
    """
    rgb = images.expand(-1, 3, -1, -1)
    alpha = torch.full_like(images[:, :1], 255)
    return bytes(torch.cat([rgb, alpha], 1).permute(0, 2, 3, 1).contiguous().flatten().numpy())


def sanitize_latents(latents: Tensor) -> Tensor:
    """Replace NaN by 0 and clamp to +-MAX_LATENT_ABS, far outside of the prior.

    Args:
        latents: float, any shape.

    Returns:
        float, of the same shape.
    """
    return latents.nan_to_num(0.0, MAX_LATENT_ABS, -MAX_LATENT_ABS).clamp(-MAX_LATENT_ABS, MAX_LATENT_ABS)


def limit_torch_threads() -> None:
    """Use half of the CPU cores for decoding, because the browser needs the others."""
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))


def open_session(path: Path, name: str, device: str, emit: EventHandler) -> ExploreSession:
    """Load a checkpoint and, for a GAN, the VAE that it was initialized from, and make the latent map.

    Args:
        path: run, checkpoint or weights file.
        name: name on the page.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        emit: receives notes and progress.

    Returns:
        the session.

    Raises:
        VaeganError: if the checkpoint cannot be read.
    """
    model = load(path, device)
    models, notes = {model.info.kind.upper(): model}, []
    if model.info.kind == "gan":
        vae_path = source_vae_for(model.info, emit)
        try:
            if vae_path is not None and (vae := load(vae_path, device)).latent_dim == model.latent_dim:
                models["VAE"] = vae
        except VaeganError as error:
            notes.append(f"The VAE of this GAN is not shown: {error}.")
        if model.encoder is not None and "VAE" not in models and not notes:
            notes.append("The VAE that this GAN was initialized from is gone: only the GAN is shown.")
    sliders = AttributeSliders(model)
    if sliders.error:
        notes.append(f"Attributes are not shown: {sliders.error}.")
    return ExploreSession(models, make_latent_map(model, emit), name, notes, sliders)
