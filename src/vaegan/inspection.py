"""What a path is: a prepared set, a run, a checkpoint or a weights file, in a few facts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vaegan.checkpoint import Weights, read_weights
from vaegan.data.store import is_prepared, open_set
from vaegan.errors import VaeganError
from vaegan.run import Run


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
    counts = prepared.counts
    return {
        "what": "prepared set",
        "path": str(path),
        "pictures": f"{counts['train']} to train on, {counts['held-out']} held out",
        "skipped files": counts.get("skipped", 0),
        "size": f"{prepared.size}x{prepared.size}, {prepared.channels} channels, fit {prepared.info.get('fit')}",
        "source": ", ".join(map(str, prepared.info.get("source", []))),
        "fingerprint": prepared.fingerprint[:16],
        "made by": f"vaegan {prepared.info.get('vaegan')}",
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


def _model(size: int, channels: int, latent_dim: int, width: int, prior: str) -> str:
    return f"{size}x{size}, {channels} channels, {latent_dim} latents ({prior} prior), width {width}"


def _run(run: Run) -> dict[str, Any]:
    config = run.config()
    options, model, plan = config["options"], config["model"], config["plan"]
    saved = run.checkpoints()
    step = int(saved[-1].name.removeprefix("step-")) if saved else 0
    total, batch = int(plan.get("total", 0)), int(options.get("batch_size", 0))
    facts: dict[str, Any] = {
        "what": f"{str(config['kind']).upper()} run",
        "path": str(run.path),
        "state": f"{'finished' if step >= total else 'unfinished'}: step {step} of {total}, {step * batch:,} pictures",
        "model": _model(*(model.get(key) for key in ("size", "channels", "latent_dim", "width", "prior"))),
        "data": config["data"].get("path"),
        "started from": (config.get("from_vae") or {}).get("path", "scratch"),
        "precision": plan.get("precision"),
        "checkpoints": ", ".join(path.name for path in saved) or "none",
    }
    if config["kind"] == "vae":
        del facts["started from"]
    last = _last_metrics(run.path / "metrics.jsonl")
    if last:
        facts["last metrics"] = last
    facts["made by"] = f"vaegan {config.get('vaegan')}"
    return facts


def _last_metrics(path: Path) -> str:
    """The newest value of every metric, on one line."""
    newest: dict[str, Any] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                newest |= json.loads(line)
            except ValueError:
                continue
    hidden = ("step", "images", "images_per_second", "seconds")
    return ", ".join(f"{name} {value:.4g}" for name, value in newest.items() if name not in hidden)
