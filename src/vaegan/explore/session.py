"""What the page asks for, as bytes: faces, strips, encoded pictures, and files to keep."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaegan.data.image_files import read_images
from vaegan.errors import UsageError, VaeganError
from vaegan.events import EventHandler, ignore_event
from vaegan.explore.latent_map import TILES_PER_ROW, LatentMap, make_latent_map
from vaegan.inference.invert import decode_psnr, invert
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
MAX_LATENT_ABS = 20.0
"""Latents are kept within this: no normal draw is as far from 0."""
MAX_UPLOAD_PIXELS = 50_000_000
MAX_SEED = 2**31 - 1
MAX_INVERT_STEPS = 400
MAX_KEYFRAMES = 24
FRAMES_PER_SEGMENT = 24
ANIMATION_FPS = 16
MP4_UNAVAILABLE = f"MP4 needs PyAV: {VIDEO_INSTALL_HINT}, then start vaegan explore again"
TARGET_WIDTH = 384
"""Files are enlarged by the whole number that brings them to about this width."""


def to_rgba_bytes(images: Tensor) -> bytes:
    """uint8 [N, C, S, S] -> N * S * S * 4 bytes, as a canvas takes them."""
    colours = images.expand(-1, 3, -1, -1)
    alpha = torch.full_like(images[:, :1], 255)
    return bytes(torch.cat([colours, alpha], 1).permute(0, 2, 3, 1).contiguous().flatten().numpy())


@dataclass(frozen=True)
class ExploreSession:
    """A model, the VAE that it came from where there is one, and the map of its faces."""

    models: dict[str, Model]
    latent_map: LatentMap
    name: str
    notes: list[str] = field(default_factory=list)

    @property
    def model(self) -> Model:
        """The model that was asked for."""
        return next(iter(self.models.values()))

    @property
    def num_slider_dims(self) -> int:
        """How many leading axes have sliders."""
        return min(MAX_SLIDER_DIMS, self.model.latent_dim)

    def describe(self) -> dict[str, Any]:
        """All that the page needs to know before the first face."""
        config, weights = self.model.info.config, self.model.info
        return {
            "name": self.name,
            "decoders": list(self.models),
            "trained": f"{weights.kind.upper()} at step {weights.step:,}, {weights.images_seen:,} pictures",
            "size": config.size,
            "latent_dim": config.latent_dim,
            "axes": self.num_slider_dims,
            "stops": STRIP_FRAMES,
            "reach": STRIP_RANGE,
            "encoder": self.model.encoder is not None,
            "faces": len(self.latent_map.latents),
            "tile": self.latent_map.tile_size,
            "columns": TILES_PER_ROW,
            "map": self.latent_map.description,
            "encoded": self.latent_map.is_encoded,
            "notes": self.notes,
            "no_mp4": "" if has_pyav() else MP4_UNAVAILABLE,
        }

    @torch.inference_mode()
    def decode_fast(self, latents: Tensor, decoder_index: int = 0) -> Tensor:
        """Latents float [n, d] -> pictures uint8 [n, C, S, S], as few rows as there are: quick, to be looked at.

        A seed's picture may differ from `Model.decode`'s by rounding.
        """
        return to_uint8(self._fast_decoders[decoder_index](latents.to(self.model.device))).cpu()

    @cached_property
    def _fast_decoders(self) -> list[Decoder]:
        """The decoders with kernels that are made once."""
        copies = [deepcopy(model.decoder) for model in self.models.values()]
        for copy in copies:
            copy.layers = nn.ModuleList(
                layer.to_frozen() if isinstance(layer, FilteredUpsampleConv) else layer for layer in copy.layers
            )
        return copies

    def render_strip(self, latent: Tensor, dim: int, decoder_index: int = 0) -> bytes:
        """RGBA of [d]'s faces with one axis moved from -3 to 3, side by side."""
        moved = latent.repeat(STRIP_FRAMES, 1)
        moved[:, dim] = torch.linspace(-STRIP_RANGE, STRIP_RANGE, STRIP_FRAMES)
        row = self.decode_fast(moved, decoder_index)
        return to_rgba_bytes(row.permute(1, 2, 0, 3).flatten(2)[None])

    def seed_latent(self, seed: int, truncation: float) -> list[float]:
        """The latent that `vaegan sample` draws for a seed."""
        latent: list[float] = self.model.latents_from_seeds([min(max(seed, 0), MAX_SEED)], truncation)[0].tolist()
        return latent

    def encode_image_file(self, file_bytes: bytes, invert_steps: int) -> dict[str, Any]:
        """The latent of a picture file, squared as the model's set was, and how close its face comes.

        steps: of gradient descent through the decoder, after the encoder's answer or from the average face. Raises
        VaeganError where the file is no picture, or there is no encoder and no steps.
        """
        picture = self._read_image(file_bytes)
        model = self.model
        if model.encoder is None and not invert_steps:
            raise VaeganError("there is no encoder here: tick Fit, which looks for the face step by step")
        found = torch.zeros(1, model.latent_dim) if model.encoder is None else model.encode(picture)
        if invert_steps:
            found = invert(model, picture, found, min(invert_steps, MAX_INVERT_STEPS), ignore_event)
        error = float(decode_psnr(model, picture, found)[0])
        seen = base64.b64encode(png_bytes(to_pil(picture[0]))).decode()
        return {"latent": found[0].tolist(), "psnr": round(error, 1), "picture": f"data:image/png;base64,{seen}"}

    def _read_image(self, file_bytes: bytes) -> Tensor:
        settings = preprocess_settings_for(self.model.info)
        settings = replace(settings, max_pixels=min(settings.max_pixels, MAX_UPLOAD_PIXELS))
        with tempfile.TemporaryDirectory(prefix="vaegan-") as folder:
            path = Path(folder) / "picture"  # in a folder and without an ending, even an archive is none
            path.write_bytes(file_bytes)
            try:
                _, pictures = next(read_images([Path(folder)], settings, ignore_event))
            except VaeganError as error:
                raise VaeganError(str(error).replace(str(path), "this file")) from error
        return pictures[:1]

    def _enlarge_factor(self) -> int:
        return max(1, TARGET_WIDTH // self.model.info.config.size)

    def render_png(self, latent: Tensor, decoder_index: int) -> bytes:
        """One face as a PNG, enlarged."""
        model = list(self.models.values())[decoder_index]
        picture = enlarge(model.decode(latent[None])[0], self._enlarge_factor())
        return png_bytes(to_pil(picture), provenance_note(model, "a face from vaegan explore"))

    def render_interpolation(self, keyframes: Tensor, decoder_index: int, loop: bool, suffix: str) -> bytes:
        """A walk from face to face as an endless GIF (`ending` ".gif") or an MP4 (".mp4"), enlarged.

        Raises VaeganError for an MP4 without PyAV.
        """
        if suffix == ".mp4" and not has_pyav():
            raise VaeganError(MP4_UNAVAILABLE)
        model = list(self.models.values())[decoder_index]
        path = interpolate_path(keyframes, FRAMES_PER_SEGMENT, default_method(model.info.config.prior), "smooth", loop)
        frames = enlarge(model.decode(path), self._enlarge_factor())
        with tempfile.TemporaryDirectory(prefix="vaegan-") as folder:
            place = Path(folder) / f"walk{suffix}"
            save_animation(
                _FrameSequence(frames),
                place,
                ANIMATION_FPS,
                provenance_note(model, f"a walk between {len(keyframes)} faces"),
            )
            return place.read_bytes()

    def pack_latents(self, latents: Tensor) -> bytes:
        """Latents [n, d] as the file that `vaegan encode` would write and `vaegan decode` reads."""
        return serialize_latents(self.model, [f"explore {row}" for row in range(len(latents))], latents)

    def parse_latents(self, value: object, max_count: int = MAX_KEYFRAMES) -> Tensor:
        """Latents [n, d] from JSON's lists. Raises UsageError for anything else."""
        length = self.model.latent_dim
        rows = value if isinstance(value, list) else []
        if not 1 <= len(rows) <= max_count or not all(isinstance(row, list) and len(row) == length for row in rows):
            raise UsageError(f"expected 1 to {max_count} latents of {length} numbers")
        if not all(type(number) in (int, float) for row in rows for number in row):
            raise UsageError("expected latents of numbers")
        try:
            return sanitize_latents(torch.tensor([[float(number) for number in row] for row in rows]))
        except OverflowError:
            raise UsageError("expected latents of numbers that a computer can hold") from None


class _FrameSequence:
    """Frames uint8 [N, C, H, W] that can be gone through again."""

    def __init__(self, frames: Tensor) -> None:
        self.frames: Sequence[Tensor] = list(frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Any:
        return iter(self.frames)


def sanitize_latents(latents: Tensor) -> Tensor:
    """Latents as finite numbers that a decoder was made for."""
    return latents.nan_to_num(0.0, MAX_LATENT_ABS, -MAX_LATENT_ABS).clamp(-MAX_LATENT_ABS, MAX_LATENT_ABS)


def limit_torch_threads() -> None:
    """Draw on half of the cores: the browser needs the others, and threads that wait for a core hold up all."""
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))


def open_session(path: Path, name: str, device: str, emit: EventHandler) -> ExploreSession:
    """Load a checkpoint, and beside a GAN the VAE that it came from; place faces on the map.

    Raises VaeganError where the checkpoint is missing or damaged.
    """
    model = load(path, device)
    models, notes = {model.info.kind.upper(): model}, []
    if model.info.kind == "gan":
        vae = source_vae_for(model.info, emit)
        try:
            if vae is not None and (found := load(vae, device)).latent_dim == model.latent_dim:
                models["VAE"] = found
        except VaeganError as error:
            notes.append(f"The VAE beside the GAN is not shown: {error}.")
        if model.encoder is not None and "VAE" not in models and not notes:
            notes.append("The VAE that this GAN came from is gone: only the GAN is shown.")
    return ExploreSession(models, make_latent_map(model, emit), name, notes)
