"""Describe a dataset, a run, a checkpoint, a weights file or a file of latents in a few facts."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from vaegan.checkpoint import WeightsInfo, parse_step, read_weights_info
from vaegan.data.dataset import is_dataset, open_dataset
from vaegan.data.labels import columns_from_json
from vaegan.diagnostics import describe_latent_usage, describe_reconstruction, vae_warnings
from vaegan.errors import VaeganError, printable
from vaegan.inference.latent_files import WEIGHTS_HASH_KEY, LatentsInfo, read_latents_info
from vaegan.metrics_log import read_alarms, read_metrics
from vaegan.run_dir import RunDir
from vaegan.utils.text import count_text, join_text

MAX_METRICS_SHOWN = 100
MAX_BETA = 1e12


def describe_path(path: Path) -> dict[str, Any]:
    """Return facts about a dataset, run, checkpoint, weights file or file of latents.

    Args:
        path: dataset, run, checkpoint, weights file or file of latents.

    Returns:
        strings and numbers by snake_case name, in the order to show them; the newest metrics of a run are a mapping.

    Raises:
        VaeganError: if `path` is none of these.
    """
    if not path.exists():
        raise VaeganError(f"{path} does not exist: give a dataset, a run, a checkpoint or a .safetensors file")
    if (path / "runs").is_dir() or (path / "data").is_dir():
        raise VaeganError(f"{path} is a folder of runs and datasets: list them with vaegan runs {path}")
    if path.is_dir() and is_dataset(path):
        return _describe_dataset(path)
    if path.is_dir() and RunDir(path).exists():
        return _describe_run(RunDir(path))
    latents = read_latents_info(path) if path.is_file() else None
    return _describe_weights(read_weights_info(path)) if latents is None else _describe_latents(path, latents)


def _describe_dataset(path: Path) -> dict[str, Any]:
    dataset = open_dataset(path)
    info, counts = dataset.info, dataset.counts
    skipped, sources = counts.get("skipped", 0), info.get("sources", [])
    return {
        "kind": "dataset",
        "path": str(path),
        "train_images": counts["train"],
        "val_images": counts["val"],
        "skipped_files": skipped if type(skipped) is int else printable(skipped),
        "image_size": f"{dataset.size}x{dataset.size}, {dataset.channels} channels",
        "fit": printable(info.get("fit")),
        "sources": printable(", ".join(map(str, sources)) if isinstance(sources, list) else sources, 300),
        **_describe_labels(info.get("labels")),
        "fingerprint": printable(dataset.fingerprint[:16]),
        "vaegan_version": printable(info.get("vaegan_version")),
    }


def _describe_labels(labels: Any) -> dict[str, str]:
    """Describe the labels of a dataset; nothing if it has none."""
    if not isinstance(labels, dict):
        return {}
    try:
        columns = ", ".join(column.describe() for column in columns_from_json(labels.get("columns")))
    except ValueError as error:
        return {"labels": f"damaged: {error}"}
    counts = f"{printable(labels.get('num_unlabeled'))} images have none"
    return {"labels": f"{printable(columns, 1000)}; {counts}", "labels_source": printable(labels.get("source"), 300)}


def _describe_weights(info: WeightsInfo) -> dict[str, Any]:
    return {
        "kind": f"{info.kind.upper()} weights",
        "path": str(info.path),
        "model": _describe_model(info.config.to_json()),
        **_describe_classes(info.config.to_json()),
        "step": info.step,
        "images_seen": info.images_seen,
        "vaegan_version": info.vaegan_version,
    }


def _describe_latents(path: Path, info: LatentsInfo) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "kind": "latents",
        "path": str(path),
        "shape": f"{count_text(info.count, 'latent')} of {info.latent_dim} dimensions, {info.dtype}",
    }
    if info.names:
        facts["images"] = printable(join_text(info.names, 300), 400)
    if info.classes:
        counts = [f"{name} ({count:,})" for name, count in Counter(info.classes).most_common()]
        facts["classes"] = printable(join_text(counts, 300), 400)
    if weights_hash := info.metadata.get(WEIGHTS_HASH_KEY):
        kind, step = (info.metadata.get(name) for name in ("kind", "step"))
        weights = f"{printable(kind).upper()} weights" if kind else "weights"
        at_step = f" at step {printable(step)}" if step else ""
        facts["encoded_by"] = f"{weights}{at_step}, SHA-256 {printable(weights_hash)[:16]}"
    facts["used_by"] = f"vaegan decode CKPT {path}; vaegan interpolate CKPT --latents {path}"
    return facts


def _describe_model(config: dict[str, Any]) -> str:
    keys = ("size", "channels", "latent_dim", "base_channels", "prior")
    size, channels, latent_dim, base_channels, prior = (printable(config.get(key)) for key in keys)
    details = ""
    if config.get("num_references"):
        leading_dim, num_references = printable(config.get("leading_dim")), printable(config.get("num_references"))
        groups = config.get("num_groups")
        in_groups = f" in {printable(groups)} groups from training images" if groups else ""
        details = f" of the first {leading_dim}{in_groups}, details from {num_references} encoded training images"
    num_color_layers = config.get("num_color_layers")
    color_layers = f", {printable(num_color_layers)} color layers" if num_color_layers else ""
    modulation = ", modulated by the latents" if config.get("modulation_dim") else ""
    skip_channels = config.get("skip_channels")
    skips = f", {printable(skip_channels)} skip channels" if skip_channels else ""
    return (
        f"{size}x{size}, {channels} channels, {latent_dim} latent dimensions ({prior} prior{details}),"
        f" {base_channels} base channels{color_layers}{modulation}{skips}"
    )


def _describe_classes(config: dict[str, Any]) -> dict[str, str]:
    """Describe the classes of a model; nothing if it is unconditional."""
    names, label = config.get("classes"), config.get("class_label")
    if not isinstance(names, (list, tuple)) or not names:
        return {}
    return {"classes": f"{printable(label)}: {printable(', '.join(map(str, names)), 1000)}"}


def _describe_run(run_dir: RunDir) -> dict[str, Any]:
    config = run_dir.read_config()
    options, schedule = config["options"], config["schedule"]
    model = _run_model(run_dir, config["model"])
    checkpoints = run_dir.checkpoints()
    step, total_steps = parse_step(checkpoints[-1]) if checkpoints else 0, int(schedule["total_steps"])
    images_seen = step * int(options.get("batch_size", 0))
    state = "finished" if step >= total_steps else "unfinished"
    facts: dict[str, Any] = {
        "kind": f"{config['kind'].upper()} run",
        "path": str(run_dir.path),
        "state": f"{state}: step {step} of {total_steps}, {images_seen:,} images seen",
        "model": _describe_model(model),
        **_describe_classes(model),
        "dataset": printable(config["data"].get("path"), 300),
    }
    if config.get("from_run"):
        facts["from_run"] = printable(config["from_run"].get("path"), 300)
    elif config["kind"] == "gan":
        facts["from_vae"] = printable((config.get("from_vae") or {}).get("path", "none: trained from scratch"), 300)
    facts["precision"] = printable(schedule.get("precision"))
    facts["checkpoints"] = ", ".join(path.name for path in checkpoints) or "none"
    trials = config.get("latent_dim_trials")
    if isinstance(trials, dict):
        facts["latent_dim_choice"] = printable(trials.get("reason"), 300)
    metrics = {name: value for line in read_metrics(run_dir.path) for name, value in line.items()}  # the newest values
    if config["kind"] == "vae":
        facts |= _diagnose_vae(metrics, options, model, images_seen)
    if alarms := read_alarms(run_dir.path):
        alarm_images_seen, message = alarms[-1]
        facts["alarms"] = f"{len(alarms)}, the newest after {alarm_images_seen:,} images: {message}"
    if metrics:
        facts["last_metrics"] = _shown_metrics(metrics)
    facts["vaegan_version"] = printable(config.get("vaegan_version"))
    return facts


def _run_model(run_dir: RunDir, planned: dict[str, Any]) -> dict[str, Any]:
    """Return the model's config as its weights have it, with the prior that was fitted; as planned without weights."""
    try:
        return read_weights_info(run_dir.weights_path).config.to_json()
    except VaeganError:
        return planned


def _shown_metrics(metrics: dict[str, float]) -> dict[str, float]:
    hidden = ("step", "images_seen", "images_per_second", "train_seconds")
    shown = [(name, value) for name, value in metrics.items() if name not in hidden and math.isfinite(value)]
    return {name: float(f"{value:.4g}") for name, value in shown[:MAX_METRICS_SHOWN]}


def _diagnose_vae(
    metrics: dict[str, float], options: dict[str, Any], model: dict[str, Any], images_seen: int
) -> dict[str, str]:
    """Describe reconstructions and latent space, with warnings; entries without measurements are left out."""
    beta, latent_dim = options.get("beta"), model.get("latent_dim")
    if not isinstance(beta, (int, float)) or not isinstance(latent_dim, int) or not 0 <= beta <= MAX_BETA:
        return {}
    facts = {
        "val_reconstruction": describe_reconstruction(metrics),
        "latents": describe_latent_usage(metrics, latent_dim),
        "warnings": "; ".join(vae_warnings(metrics, float(beta), latent_dim, images_seen)),
    }
    return {name: text for name, text in facts.items() if text}
