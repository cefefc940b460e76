"""What a path is: a prepared set, a run, a checkpoint or a weights file, in a few facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vaegan.checkpoint import Weights, read_weights, step_named
from vaegan.data.dataset import is_prepared, open_set
from vaegan.errors import VaeganError, shown
from vaegan.metrics_log import alarms_of, metrics_of
from vaegan.run_dir import Run
from vaegan.vae_diagnostics import latents, quality, warnings

MAX_NAMES = 100
MAX_BETA = 1e12


def inspect(path: Path) -> dict[str, Any]:
    """Return facts about `path`, in the order to show them. Raises VaeganError when it is nothing of ours."""
    if not path.exists():
        raise VaeganError(f"{path} does not exist: give a prepared set, a run, a checkpoint or a .safetensors file")
    if path.is_dir() and is_prepared(path):
        return _set(path)
    if path.is_dir() and Run(path).exists():
        return _run(Run(path))
    return _weights(read_weights(path))


def _set(path: Path) -> dict[str, Any]:
    prepared = open_set(path)
    counts, source = prepared.counts, prepared.info.get("source", [])
    return {
        "what": "prepared set",
        "path": str(path),
        "pictures": f"{counts['train']} to train on, {counts['held-out']} held out",
        "skipped files": skipped if type(skipped := counts.get("skipped", 0)) is int else shown(skipped),
        "size": f"{prepared.size}x{prepared.size}, {prepared.channels} channels, fit {shown(prepared.info.get('fit'))}",
        "source": shown(", ".join(map(str, source)) if isinstance(source, list) else source, 300),
        "fingerprint": shown(prepared.fingerprint[:16]),
        "made by": f"vaegan {shown(prepared.info.get('vaegan'))}",
    }


def _weights(weights: Weights) -> dict[str, Any]:
    config = weights.config
    return {
        "what": f"{weights.kind.upper()} weights",
        "path": str(weights.path),
        "model": _model(config.size, config.channels, config.latent_dim, config.width, config.prior),
        "trained": f"{weights.step} steps, {weights.images:,} pictures",
        "made by": f"vaegan {weights.vaegan}",
    }


def _model(size: object, channels: object, latent_dim: object, width: object, prior: object) -> str:
    return f"{size}x{size}, {channels} channels, {latent_dim} latents ({prior} prior), width {width}"


def _run(run: Run) -> dict[str, Any]:
    config = run.config()
    options, model, plan = config["options"], config["model"], config["plan"]
    saved = run.checkpoints()
    step = step_named(saved[-1]) if saved else 0
    total, batch = int(plan.get("total", 0)), int(options.get("batch_size", 0))
    facts: dict[str, Any] = {
        "what": f"{str(config['kind']).upper()} run",
        "path": str(run.path),
        "state": f"{'finished' if step >= total else 'unfinished'}: step {step} of {total}, {step * batch:,} pictures",
        "model": _model(*(shown(model.get(key)) for key in ("size", "channels", "latent_dim", "width", "prior"))),
        "data": shown(config["data"].get("path"), 300),
        "started from": shown((config.get("from_vae") or {}).get("path", "scratch"), 300),
        "precision": shown(plan.get("precision")),
        "checkpoints": ", ".join(path.name for path in saved) or "none",
    }
    if config["kind"] == "vae":
        del facts["started from"]
    probed = config.get("probed")
    if isinstance(probed, dict):
        facts["latent size"] = shown(probed.get("why"), 300)
    newest = _newest_metrics(run)
    if config["kind"] == "vae":
        facts |= _diagnosis(newest, options, model, step * batch)
    if alarms := alarms_of(run.path):
        images, words = alarms[-1]
        facts["alarms"] = f"{len(alarms)}, the newest after {images:,} pictures: {words}"
    if newest:
        facts["last metrics"] = _said(newest)
    facts["made by"] = f"vaegan {shown(config.get('vaegan'))}"
    return facts


def _newest_metrics(run: Run) -> dict[str, float]:
    """The newest value of every metric."""
    newest: dict[str, float] = {}
    for line in metrics_of(run.path):
        newest |= line
    return newest


def _said(metrics: dict[str, float]) -> str:
    """Metrics on one line."""
    hidden = ("step", "images", "images_per_second", "seconds")
    return ", ".join(f"{name} {value:.4g}" for name, value in list(metrics.items())[:MAX_NAMES] if name not in hidden)


def _diagnosis(
    numbers: dict[str, float], options: dict[str, Any], model: dict[str, Any], images: int
) -> dict[str, str]:
    """How good a VAE's latent space is, and what is wrong with it; empty where nothing was measured."""
    beta, latent_dim = options.get("beta"), model.get("latent_dim")
    if not isinstance(beta, (int, float)) or not isinstance(latent_dim, int) or not 0 <= beta <= MAX_BETA:
        return {}
    said = {
        "held-out pictures": quality(numbers),
        "latents": latents(numbers, latent_dim),
        "warnings": "; ".join(warnings(numbers, float(beta), latent_dim, images)),
    }
    return {name: text for name, text in said.items() if text}
