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

from vaegan.checkpoint import METADATA_KEY, load_tensors, open_safetensors
from vaegan.data.dataset import PreparedDataset
from vaegan.data.image_files import read_images
from vaegan.errors import VaeganError
from vaegan.events import EventHandler, FileWritten, TaskProgress, WarningMessage
from vaegan.inference.model import INFERENCE_BATCH_SIZE, Model
from vaegan.inference.sample import provenance_note
from vaegan.metrics.image_quality import psnr, ssim
from vaegan.run_lookup import dataset_for, preprocess_settings_for
from vaegan.utils.files import check_has_file_name, file_sha256, write_bytes
from vaegan.utils.images import enlarge, make_grid, save_png, to_float

LATENTS_KEY, NAMES_KEY = "latents", "names"
LATENTS_METADATA_PREFIX = '{"latents_of"'


@dataclass(frozen=True)
class Reconstructions:
    """Pictures and their reconstructions, uint8 [N, C, S, S] each; PSNR in dB and SSIM, float [N], and their names."""

    names: list[str]
    images: Tensor
    decoded: Tensor
    psnr: Tensor
    ssim: Tensor

    def subset(self, rows: Tensor) -> Reconstructions:
        """Those of `rows`, int64 [n], in that order."""
        names = [self.names[row] for row in rows.tolist()]
        return Reconstructions(names, self.images[rows], self.decoded[rows], self.psnr[rows], self.ssim[rows])

    def to_records(self) -> list[dict[str, str | float]]:
        """Name and errors of every picture, as JSON can say it."""
        errors = zip(self.names, self.psnr.tolist(), self.ssim.tolist(), strict=True)
        return [{"picture": name, "psnr": round(a, 3), "ssim": round(b, 4)} for name, a, b in errors]

    def table_rows(self) -> list[tuple[str, str, str]]:
        """The same, as cells to read."""
        return [(str(row["picture"]), f"{row['psnr']:.2f}", f"{row['ssim']:.3f}") for row in self.to_records()]


def _reconstruct_batch(model: Model, names: list[str], images: Tensor) -> Reconstructions:
    decoded = model.reconstruct(images)
    real, made = to_float(images), to_float(decoded)
    return Reconstructions(names, images, decoded, psnr(real, made), ssim(real, made))


def _concatenate(parts: Sequence[Reconstructions]) -> Reconstructions:
    tensors = [(part.images, part.decoded, part.psnr, part.ssim) for part in parts]
    return Reconstructions(
        [name for part in parts for name in part.names], *(torch.cat(rows) for rows in zip(*tensors))
    )


def reconstruct_files(model: Model, sources: Sequence[Path], max_images: int, emit: EventHandler) -> Reconstructions:
    """Reconstruct the first `n` pictures of files, folders or prepared sets.

    Raises VaeganError where the model has no encoder, or no source is a picture.
    """
    parts: list[Reconstructions] = []
    done = 0
    for names, pictures in read_images(sources, preprocess_settings_for(model.info), emit):
        parts.append(_reconstruct_batch(model, names[: max_images - done], pictures[: max_images - done]))
        done += len(parts[-1].names)
        if done >= max_images:
            break
    return _concatenate(parts)


def find_outliers(
    model: Model, data: Path | None, num_images: int, emit: EventHandler
) -> tuple[PreparedDataset, Reconstructions]:
    """The `n` pictures of a set, seen in training or not, that are reconstructed worst, the worst first.

    data: a prepared set (the one that the model was trained on). Raises VaeganError as `reconstruct` does.
    """
    prepared = dataset_for(model.info, data, emit)
    splits = [
        (f"{path} ({split})", picture)
        for pictures, names, split in zip(prepared.load(), prepared.image_names(), ("train", "val"), strict=True)
        for path, picture in zip(names, pictures, strict=True)
    ]
    kept: Reconstructions | None = None
    for start in range(0, len(splits), INFERENCE_BATCH_SIZE):
        names, pictures = zip(*splits[start : start + INFERENCE_BATCH_SIZE], strict=True)
        found = _reconstruct_batch(model, list(names), torch.stack(pictures))
        both = found if kept is None else _concatenate([kept, found])
        kept = both.subset(both.psnr.argsort(stable=True)[:num_images])
        emit(TaskProgress("Reconstructing", min(start + INFERENCE_BATCH_SIZE, len(splits)), len(splits)))
    if kept is None:
        raise VaeganError(f"{prepared.path} holds no pictures")
    return prepared, kept


def save_reconstructions(
    model: Model, reconstructions: Reconstructions, scale: int, path: Path, emit: EventHandler
) -> None:
    """Write a sheet: every picture with its reconstruction to the right of it."""
    sheet = torch.stack([reconstructions.images, reconstructions.decoded], 1).flatten(0, 1)
    columns = 2 * math.ceil(math.sqrt(len(reconstructions.names) / 2))
    save_png(enlarge(make_grid(sheet, columns), scale), path, provenance_note(model, "pictures and reconstructions"))
    emit(FileWritten("reconstructions", path))


def check_latents_path(path: Path, force: bool) -> None:
    """Raise VaeganError where `path` is no place for latents: a folder, or a file that is no latents of ours."""
    check_has_file_name(path)
    if path.is_dir() or path.suffix != ".safetensors":
        raise VaeganError(f"--out {path}: name a .safetensors file, such as {path.with_suffix('')}.safetensors")
    if path.exists() and not force and not _is_latents_file(path):
        raise VaeganError(f"{path} exists and holds no latents of vaegan: choose another --out, or add --force")


def _is_latents_file(path: Path) -> bool:
    try:
        with open_safetensors(path) as file:
            return str((file.metadata() or {}).get(METADATA_KEY, "")).startswith(LATENTS_METADATA_PREFIX)
    except VaeganError:
        return False


def serialize_latents(model: Model, names: Sequence[str], latents: Tensor) -> bytes:
    """A safetensors file of latents [N, d] of `model` and their N names: see `encode`."""
    text = torch.frombuffer(bytearray(json.dumps(list(names)).encode()), dtype=torch.uint8)
    said = {"latents_of": file_sha256(model.info.path), "kind": model.info.kind, "step": model.info.step}
    if model.encoder is not None:
        said["encoder"] = _encoder_sha256(model.encoder)
    return save({LATENTS_KEY: latents.contiguous(), NAMES_KEY: text}, {METADATA_KEY: json.dumps(said)})


def _encoder_sha256(encoder: nn.Module) -> str:
    """SHA-256 of an encoder's weights: a VAE's, and that of a GAN which started from it, are the same."""
    found = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def encode_files(model: Model, sources: Sequence[Path], path: Path, emit: EventHandler) -> int:
    """Write the posterior means of pictures to `path`: "latents" float32 [N, d] and "names"; returns N.

    "names" is uint8: a JSON list of N texts in UTF-8. Raises VaeganError as `reconstruct` does.
    """
    names: list[str] = []
    latents: list[Tensor] = []
    for part, pictures in read_images(sources, preprocess_settings_for(model.info), emit):
        latents.append(model.encode(pictures))
        names += part
    write_bytes(path, serialize_latents(model, names, torch.cat(latents)))
    emit(FileWritten("latents", path))
    return len(names)


def read_latents(path: Path, model: Model, emit: EventHandler) -> Tensor:
    """Read float32 [N, d] from the tensor "latents" of a safetensors file, ours or not.

    Latents of other weights are told. Raises VaeganError for anything that the model cannot decode.
    """
    if not path.is_file():
        raise VaeganError(f"{path} does not exist: make it with vaegan encode, or give a .safetensors file")
    with open_safetensors(path) as file:
        metadata = file.metadata() or {}
    tensors, wanted = load_tensors(path), model.latent_dim
    latents = tensors.get(LATENTS_KEY)
    if latents is None:
        raise VaeganError(f"{path} holds no tensor {LATENTS_KEY!r}: make it with vaegan encode")
    if latents.dim() != 2 or latents.shape[1] != wanted or not latents.is_floating_point() or not len(latents):
        raise VaeganError(
            f"{path} holds latents of shape {list(latents.shape)} and type {latents.dtype}: {model.info.path}"
            f" decodes floats of shape [N, {wanted}]"
        )
    if not latents.isfinite().all():
        raise VaeganError(f"{path} holds latents that are not finite")
    said = metadata.get(METADATA_KEY, "")
    same = file_sha256(model.info.path) in said or (
        model.encoder is not None and _encoder_sha256(model.encoder) in said
    )
    if said.startswith(LATENTS_METADATA_PREFIX) and not same:
        emit(WarningMessage(f"{path} was encoded by other weights than {model.info.path}: the faces will be others"))
    return latents.float()
