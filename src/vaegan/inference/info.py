"""What a path is: a prepared set, a run, a checkpoint or a weights file, in a few facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vaegan.checkpoint import WeightsInfo, parse_step, read_weights_info
from vaegan.data.dataset import is_dataset, open_dataset
from vaegan.diagnostics import describe_latent_usage, describe_reconstruction, vae_warnings
from vaegan.errors import VaeganError, printable
from vaegan.metrics_log import read_alarms, read_metrics
from vaegan.run_dir import RunDir

MAX_METRICS_SHOWN = 100
MAX_BETA = 1e12


def describe_path(path: Path) -> dict[str, Any]:
    """Return facts about `path`, in the order to show them. Raises VaeganError when it is nothing of ours."""
    if not path.exists():
        raise VaeganError(f"{path} does not exist: give a prepared set, a run, a checkpoint or a .safetensors file")
    if path.is_dir() and is_dataset(path):
        return _describe_dataset(path)
    if path.is_dir() and RunDir(path).exists():
        return _describe_run(RunDir(path))
    return _describe_weights(read_weights_info(path))


def _describe_dataset(path: Path) -> dict[str, Any]:
    prepared = open_dataset(path)
    counts, source = prepared.counts, prepared.info.get("source", [])
    return {
        "what": "prepared set",
        "path": str(path),
        "pictures": f"{counts['train']} to train on, {counts['val']} held out",
        "skipped files": skipped if type(skipped := counts.get("skipped", 0)) is int else printable(skipped),
        "size": f"{prepared.size}x{prepared.size}, {prepared.channels} channels, fit {printable(prepared.info.get('fit'))}",
        "source": printable(", ".join(map(str, source)) if isinstance(source, list) else source, 300),
        "fingerprint": printable(prepared.fingerprint[:16]),
        "made by": f"vaegan {printable(prepared.info.get('vaegan'))}",
    }


def _describe_weights(info: WeightsInfo) -> dict[str, Any]:
    config = info.config
    return {
        "what": f"{info.kind.upper()} weights",
        "path": str(info.path),
        "model": _describe_model(config.size, config.channels, config.latent_dim, config.base_channels, config.prior),
        "trained": f"{info.step} steps, {info.images_seen:,} pictures",
        "made by": f"vaegan {info.vaegan_version}",
    }


def _describe_model(size: object, channels: object, latent_dim: object, width: object, prior: object) -> str:
    return f"{size}x{size}, {channels} channels, {latent_dim} latents ({prior} prior), width {width}"


def _describe_run(run: RunDir) -> dict[str, Any]:
    config = run.read_config()
    options, model, plan = config["options"], config["model"], config["schedule"]
    saved = run.checkpoints()
    step = parse_step(saved[-1]) if saved else 0
    total, batch = int(plan.get("total_steps", 0)), int(options.get("batch_size", 0))
    facts: dict[str, Any] = {
        "what": f"{str(config['kind']).upper()} run",
        "path": str(run.path),
        "state": f"{'finished' if step >= total else 'unfinished'}: step {step} of {total}, {step * batch:,} pictures",
        "model": _describe_model(
            *(printable(model.get(key)) for key in ("size", "channels", "latent_dim", "width", "prior"))
        ),
        "data": printable(config["data"].get("path"), 300),
        "started from": printable((config.get("from_vae") or {}).get("path", "scratch"), 300),
        "precision": printable(plan.get("precision")),
        "checkpoints": ", ".join(path.name for path in saved) or "none",
    }
    if config["kind"] == "vae":
        del facts["started from"]
    probed = config.get("latent_dim_trials")
    if isinstance(probed, dict):
        facts["latent size"] = printable(probed.get("reason"), 300)
    newest = _latest_metrics(run)
    if config["kind"] == "vae":
        facts |= _diagnose_vae(newest, options, model, step * batch)
    if alarms := read_alarms(run.path):
        images, words = alarms[-1]
        facts["alarms"] = f"{len(alarms)}, the newest after {images:,} pictures: {words}"
    if newest:
        facts["last metrics"] = _metrics_line(newest)
    facts["made by"] = f"vaegan {printable(config.get('vaegan'))}"
    return facts


def _latest_metrics(run: RunDir) -> dict[str, float]:
    """The newest value of every metric."""
    newest: dict[str, float] = {}
    for line in read_metrics(run.path):
        newest |= line
    return newest


def _metrics_line(metrics: dict[str, float]) -> str:
    """Metrics on one line."""
    hidden = ("step", "images_seen", "images_per_second", "train_seconds")
    return ", ".join(
        f"{name} {value:.4g}" for name, value in list(metrics.items())[:MAX_METRICS_SHOWN] if name not in hidden
    )


def _diagnose_vae(
    metrics: dict[str, float], options: dict[str, Any], model: dict[str, Any], images_seen: int
) -> dict[str, str]:
    """How good a VAE's latent space is, and what is wrong with it; empty where nothing was measured."""
    beta, latent_dim = options.get("beta"), model.get("latent_dim")
    if not isinstance(beta, (int, float)) or not isinstance(latent_dim, int) or not 0 <= beta <= MAX_BETA:
        return {}
    said = {
        "held-out pictures": describe_reconstruction(metrics),
        "latents": describe_latent_usage(metrics, latent_dim),
        "warnings": "; ".join(vae_warnings(metrics, float(beta), latent_dim, images_seen)),
    }
    return {name: text for name, text in said.items() if text}
