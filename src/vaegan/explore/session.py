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

from vaegan.data.image_files import read_pictures
from vaegan.errors import UsageError, VaeganError
from vaegan.events import Emit, ignore
from vaegan.explore.latent_map import COLUMNS, Atlas, make_atlas
from vaegan.inference.invert import invert, quality
from vaegan.inference.model import Model, load
from vaegan.inference.reconstruct import pack
from vaegan.inference.sample import note_of
from vaegan.models.interpolation import default_path, walk
from vaegan.models.layers import Up
from vaegan.models.vae import Decoder
from vaegan.run_lookup import preprocess_settings_for, source_vae_for
from vaegan.utils.animation import save_animation
from vaegan.utils.images import enlarge, png_bytes, to_pil, to_uint8
from vaegan.utils.video import HINT, has_video

AXES = 8
STOPS = 7
REACH = 3.0
LIMIT = 20.0
"""Latents are kept within this: no normal draw is as far from 0."""
MAX_PIXELS = 50_000_000
MAX_SEED = 2**31 - 1
MAX_STEPS = 400
MAX_KEYS = 24
FRAMES = 24
FPS = 16
NO_MP4 = f"MP4 needs PyAV: {HINT}, then start vaegan explore again"
WIDTH = 384
"""Files are enlarged by the whole number that brings them to about this width."""


def rgba(pictures: Tensor) -> bytes:
    """uint8 [N, C, S, S] -> N * S * S * 4 bytes, as a canvas takes them."""
    colours = pictures.expand(-1, 3, -1, -1)
    alpha = torch.full_like(pictures[:, :1], 255)
    return bytes(torch.cat([colours, alpha], 1).permute(0, 2, 3, 1).contiguous().flatten().numpy())


@dataclass(frozen=True)
class Studio:
    """A model, the VAE that it came from where there is one, and the map of its faces."""

    models: dict[str, Model]
    atlas: Atlas
    name: str
    notes: list[str] = field(default_factory=list)

    @property
    def model(self) -> Model:
        """The model that was asked for."""
        return next(iter(self.models.values()))

    @property
    def axes(self) -> int:
        """How many leading axes have sliders."""
        return min(AXES, self.model.latent_dim)

    def about(self) -> dict[str, Any]:
        """All that the page needs to know before the first face."""
        config, weights = self.model.weights.config, self.model.weights
        return {
            "name": self.name,
            "decoders": list(self.models),
            "trained": f"{weights.kind.upper()} at step {weights.step:,}, {weights.images:,} pictures",
            "size": config.size,
            "latent_dim": config.latent_dim,
            "axes": self.axes,
            "stops": STOPS,
            "reach": REACH,
            "encoder": self.model.encoder is not None,
            "faces": len(self.atlas.latents),
            "tile": self.atlas.tile,
            "columns": COLUMNS,
            "map": self.atlas.said,
            "encoded": self.atlas.encoded,
            "notes": self.notes,
            "no_mp4": "" if has_video() else NO_MP4,
        }

    @torch.inference_mode()
    def draw(self, latents: Tensor, decoder: int = 0) -> Tensor:
        """Latents float [n, d] -> pictures uint8 [n, C, S, S], as few rows as there are: quick, to be looked at.

        A seed's picture may differ from `Model.decode`'s by rounding.
        """
        return to_uint8(self._quick[decoder](latents.to(self.model.device))).cpu()

    @cached_property
    def _quick(self) -> list[Decoder]:
        """The decoders with kernels that are made once."""
        copies = [deepcopy(model.decoder) for model in self.models.values()]
        for copy in copies:
            copy.layers = nn.ModuleList(layer.fixed() if isinstance(layer, Up) else layer for layer in copy.layers)
        return copies

    def strip(self, latent: Tensor, axis: int, decoder: int = 0) -> bytes:
        """RGBA of [d]'s faces with one axis moved from -3 to 3, side by side."""
        moved = latent.repeat(STOPS, 1)
        moved[:, axis] = torch.linspace(-REACH, REACH, STOPS)
        row = self.draw(moved, decoder)
        return rgba(row.permute(1, 2, 0, 3).flatten(2)[None])

    def seed(self, seed: int, truncation: float) -> list[float]:
        """The latent that `vaegan sample` draws for a seed."""
        latent: list[float] = self.model.latents([min(max(seed, 0), MAX_SEED)], truncation)[0].tolist()
        return latent

    def encode(self, content: bytes, steps: int) -> dict[str, Any]:
        """The latent of a picture file, squared as the model's set was, and how close its face comes.

        steps: of gradient descent through the decoder, after the encoder's answer or from the average face. Raises
        VaeganError where the file is no picture, or there is no encoder and no steps.
        """
        picture = self._read(content)
        model = self.model
        if model.encoder is None and not steps:
            raise VaeganError("there is no encoder here: tick Fit, which looks for the face step by step")
        found = torch.zeros(1, model.latent_dim) if model.encoder is None else model.encode(picture)
        if steps:
            found = invert(model, picture, found, min(steps, MAX_STEPS), ignore)
        error = float(quality(model, picture, found)[0])
        seen = base64.b64encode(png_bytes(to_pil(picture[0]))).decode()
        return {"latent": found[0].tolist(), "psnr": round(error, 1), "picture": f"data:image/png;base64,{seen}"}

    def _read(self, content: bytes) -> Tensor:
        settings = preprocess_settings_for(self.model.weights)
        settings = replace(settings, max_pixels=min(settings.max_pixels, MAX_PIXELS))
        with tempfile.TemporaryDirectory(prefix="vaegan-") as folder:
            path = Path(folder) / "picture"  # in a folder and without an ending, even an archive is none
            path.write_bytes(content)
            try:
                _, pictures = next(read_pictures([Path(folder)], settings, ignore))
            except VaeganError as error:
                raise VaeganError(str(error).replace(str(path), "this file")) from error
        return pictures[:1]

    def _scale(self) -> int:
        return max(1, WIDTH // self.model.weights.config.size)

    def png(self, latent: Tensor, decoder: int) -> bytes:
        """One face as a PNG, enlarged."""
        model = list(self.models.values())[decoder]
        picture = enlarge(model.decode(latent[None])[0], self._scale())
        return png_bytes(to_pil(picture), note_of(model, "a face from vaegan explore"))

    def walk(self, keys: Tensor, decoder: int, loop: bool, ending: str) -> bytes:
        """A walk from face to face as an endless GIF (`ending` ".gif") or an MP4 (".mp4"), enlarged.

        Raises VaeganError for an MP4 without PyAV.
        """
        if ending == ".mp4" and not has_video():
            raise VaeganError(NO_MP4)
        model = list(self.models.values())[decoder]
        path = walk(keys, FRAMES, default_path(model.weights.config.prior), "smooth", loop)
        frames = enlarge(model.decode(path), self._scale())
        with tempfile.TemporaryDirectory(prefix="vaegan-") as folder:
            place = Path(folder) / f"walk{ending}"
            save_animation(_Listed(frames), place, FPS, note_of(model, f"a walk between {len(keys)} faces"))
            return place.read_bytes()

    def latents(self, latents: Tensor) -> bytes:
        """Latents [n, d] as the file that `vaegan encode` would write and `vaegan decode` reads."""
        return pack(self.model, [f"explore {row}" for row in range(len(latents))], latents)

    def read_latents(self, value: object, most: int = MAX_KEYS) -> Tensor:
        """Latents [n, d] from JSON's lists. Raises UsageError for anything else."""
        length = self.model.latent_dim
        rows = value if isinstance(value, list) else []
        if not 1 <= len(rows) <= most or not all(isinstance(row, list) and len(row) == length for row in rows):
            raise UsageError(f"expected 1 to {most} latents of {length} numbers")
        if not all(type(number) in (int, float) for row in rows for number in row):
            raise UsageError("expected latents of numbers")
        try:
            return tamed(torch.tensor([[float(number) for number in row] for row in rows]))
        except OverflowError:
            raise UsageError("expected latents of numbers that a computer can hold") from None


class _Listed:
    """Frames uint8 [N, C, H, W] that can be gone through again."""

    def __init__(self, frames: Tensor) -> None:
        self.frames: Sequence[Tensor] = list(frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Any:
        return iter(self.frames)


def tamed(latents: Tensor) -> Tensor:
    """Latents as finite numbers that a decoder was made for."""
    return latents.nan_to_num(0.0, LIMIT, -LIMIT).clamp(-LIMIT, LIMIT)


def leave_cores() -> None:
    """Draw on half of the cores: the browser needs the others, and threads that wait for a core hold up all."""
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))


def open_studio(path: Path, name: str, device: str, emit: Emit) -> Studio:
    """Load a checkpoint, and beside a GAN the VAE that it came from; place faces on the map.

    Raises VaeganError where the checkpoint is missing or damaged.
    """
    model = load(path, device)
    models, notes = {model.weights.kind.upper(): model}, []
    if model.weights.kind == "gan":
        vae = source_vae_for(model.weights, emit)
        try:
            if vae is not None and (found := load(vae, device)).latent_dim == model.latent_dim:
                models["VAE"] = found
        except VaeganError as error:
            notes.append(f"The VAE beside the GAN is not shown: {error}.")
        if model.encoder is not None and "VAE" not in models and not notes:
            notes.append("The VAE that this GAN came from is gone: only the GAN is shown.")
    return Studio(models, make_atlas(model, emit), name, notes)
