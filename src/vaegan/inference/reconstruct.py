"""Pictures to latents and back, as files: pairs side by side, latents as safetensors, and a set's outliers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from vaegan.checkpoint import METADATA, load_tensors, opened
from vaegan.data.dataset import PreparedSet
from vaegan.data.image_files import read_pictures
from vaegan.errors import VaeganError
from vaegan.events import Counted, Emit, Warned, Wrote
from vaegan.inference.model import BATCH, Model
from vaegan.inference.sample import note_of
from vaegan.metrics.image_quality import psnr, ssim
from vaegan.run_lookup import dataset_for, preprocess_settings_for
from vaegan.utils.files import refuse_nameless, sha256, write_bytes
from vaegan.utils.images import enlarge, grid, save_png, to_float

LATENTS, NAMES = "latents", "names"
OURS = '{"latents_of"'


@dataclass(frozen=True)
class Pairs:
    """Pictures and their reconstructions, uint8 [N, C, S, S] each; PSNR in dB and SSIM, float [N], and their names."""

    names: list[str]
    pictures: Tensor
    decoded: Tensor
    psnr: Tensor
    ssim: Tensor

    def take(self, rows: Tensor) -> Pairs:
        """Those of `rows`, int64 [n], in that order."""
        names = [self.names[row] for row in rows.tolist()]
        return Pairs(names, self.pictures[rows], self.decoded[rows], self.psnr[rows], self.ssim[rows])

    def rows(self) -> list[dict[str, str | float]]:
        """Name and errors of every picture, as JSON can say it."""
        errors = zip(self.names, self.psnr.tolist(), self.ssim.tolist(), strict=True)
        return [{"picture": name, "psnr": round(a, 3), "ssim": round(b, 4)} for name, a, b in errors]

    def table(self) -> list[tuple[str, str, str]]:
        """The same, as cells to read."""
        return [(str(row["picture"]), f"{row['psnr']:.2f}", f"{row['ssim']:.3f}") for row in self.rows()]


def _pairs(model: Model, names: list[str], pictures: Tensor) -> Pairs:
    decoded = model.reconstruct(pictures)
    real, made = to_float(pictures), to_float(decoded)
    return Pairs(names, pictures, decoded, psnr(real, made), ssim(real, made))


def _joined(parts: Sequence[Pairs]) -> Pairs:
    tensors = [(part.pictures, part.decoded, part.psnr, part.ssim) for part in parts]
    return Pairs([name for part in parts for name in part.names], *(torch.cat(rows) for rows in zip(*tensors)))  # noqa: B905


def reconstruct(model: Model, sources: Sequence[Path], n: int, emit: Emit) -> Pairs:
    """Reconstruct the first `n` pictures of files, folders or prepared sets.

    Raises VaeganError where the model has no encoder, or no source is a picture.
    """
    parts: list[Pairs] = []
    done = 0
    for names, pictures in read_pictures(sources, preprocess_settings_for(model.weights), emit):
        parts.append(_pairs(model, names[: n - done], pictures[: n - done]))
        done += len(parts[-1].names)
        if done >= n:
            break
    return _joined(parts)


def outliers(model: Model, data: Path | None, n: int, emit: Emit) -> tuple[PreparedSet, Pairs]:
    """The `n` pictures of a set, seen in training or not, that are reconstructed worst, the worst first.

    data: a prepared set (the one that the model was trained on). Raises VaeganError as `reconstruct` does.
    """
    prepared = dataset_for(model.weights, data, emit)
    splits = [
        (f"{path} ({split})", picture)
        for pictures, names, split in zip(prepared.load(), prepared.names(), ("train", "held-out"), strict=True)
        for path, picture in zip(names, pictures, strict=True)
    ]
    kept: Pairs | None = None
    for start in range(0, len(splits), BATCH):
        names, pictures = zip(*splits[start : start + BATCH], strict=True)
        found = _pairs(model, list(names), torch.stack(pictures))
        both = found if kept is None else _joined([kept, found])
        kept = both.take(both.psnr.argsort(stable=True)[:n])
        emit(Counted("Reconstructing", min(start + BATCH, len(splits)), len(splits)))
    if kept is None:
        raise VaeganError(f"{prepared.path} holds no pictures")
    return prepared, kept


def write_pairs(model: Model, pairs: Pairs, scale: int, path: Path, emit: Emit) -> None:
    """Write a sheet: every picture with its reconstruction to the right of it."""
    sheet = torch.stack([pairs.pictures, pairs.decoded], 1).flatten(0, 1)
    columns = 2 * math.ceil(math.sqrt(len(pairs.names) / 2))
    save_png(enlarge(grid(sheet, columns), scale), path, note_of(model, "pictures and reconstructions"))
    emit(Wrote("reconstructions", path))


def check_latents(path: Path, force: bool) -> None:
    """Raise VaeganError where `path` is no place for latents: a folder, or a file that is no latents of ours."""
    refuse_nameless(path)
    if path.is_dir() or path.suffix != ".safetensors":
        raise VaeganError(f"--out {path}: name a .safetensors file, such as {path.with_suffix('')}.safetensors")
    if path.exists() and not force and not _is_latents(path):
        raise VaeganError(f"{path} exists and holds no latents of vaegan: choose another --out, or add --force")


def _is_latents(path: Path) -> bool:
    try:
        with opened(path) as file:
            return str((file.metadata() or {}).get(METADATA, "")).startswith(OURS)
    except VaeganError:
        return False


def pack(model: Model, names: Sequence[str], latents: Tensor) -> bytes:
    """A safetensors file of latents [N, d] of `model` and their N names: see `encode`."""
    text = torch.frombuffer(bytearray(json.dumps(list(names)).encode()), dtype=torch.uint8)
    said = {"latents_of": sha256(model.weights.path), "kind": model.weights.kind, "step": model.weights.step}
    if model.encoder is not None:
        said["encoder"] = _identity(model.encoder)
    return save({LATENTS: latents.contiguous(), NAMES: text}, {METADATA: json.dumps(said)})


def _identity(encoder: nn.Module) -> str:
    """SHA-256 of an encoder's weights: a VAE's, and that of a GAN which started from it, are the same."""
    found = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def encode(model: Model, sources: Sequence[Path], path: Path, emit: Emit) -> int:
    """Write the posterior means of pictures to `path`: "latents" float32 [N, d] and "names"; returns N.

    "names" is uint8: a JSON list of N texts in UTF-8. Raises VaeganError as `reconstruct` does.
    """
    names: list[str] = []
    latents: list[Tensor] = []
    for part, pictures in read_pictures(sources, preprocess_settings_for(model.weights), emit):
        latents.append(model.encode(pictures))
        names += part
    write_bytes(path, pack(model, names, torch.cat(latents)))
    emit(Wrote("latents", path))
    return len(names)


def read_latents(path: Path, model: Model, emit: Emit) -> Tensor:
    """Read float32 [N, d] from the tensor "latents" of a safetensors file, ours or not.

    Latents of other weights are told. Raises VaeganError for anything that the model cannot decode.
    """
    if not path.is_file():
        raise VaeganError(f"{path} does not exist: make it with vaegan encode, or give a .safetensors file")
    with opened(path) as file:
        metadata = file.metadata() or {}
    tensors, wanted = load_tensors(path), model.latent_dim
    latents = tensors.get(LATENTS)
    if latents is None:
        raise VaeganError(f"{path} holds no tensor {LATENTS!r}: make it with vaegan encode")
    if latents.dim() != 2 or latents.shape[1] != wanted or not latents.is_floating_point() or not len(latents):
        raise VaeganError(
            f"{path} holds latents of shape {list(latents.shape)} and type {latents.dtype}: {model.weights.path}"
            f" decodes floats of shape [N, {wanted}]"
        )
    if not latents.isfinite().all():
        raise VaeganError(f"{path} holds latents that are not finite")
    said = metadata.get(METADATA, "")
    same = sha256(model.weights.path) in said or (model.encoder is not None and _identity(model.encoder) in said)
    if said.startswith(OURS) and not same:
        emit(Warned(f"{path} was encoded by other weights than {model.weights.path}: the faces will be others"))
    return latents.float()
