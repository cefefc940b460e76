"""What a run is and how it goes, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaegan.config.options import option_fields
from vaegan.config.settings import DURATION_OPTIONS, GANSettings, VAESettings
from vaegan.errors import printable
from vaegan.report.charts import Series

MIN_KID_RATIO = 1.25
"""How much worse than its best the last KIDs are to be worth a word."""
NUM_RECENT_EVALUATIONS = 2
"""How many of the last looks have to agree."""


def format_duration(seconds: float) -> str:
    """A duration: 45 s, 12 min, 3 h 20 min."""
    if not 0 <= seconds < 1e12:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _format_count(value: object) -> str:
    """A count as people write it, 5,221; anything else as it is."""
    return f"{value:,}" if type(value) is int and abs(value) < 10**15 else printable(value)


def _format_option(value: object) -> str:
    """An option's value; on and off for what can only be that, no more digits of a number than anyone asks for."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.6g}" if isinstance(value, float) else printable(value)


def describe_run(config: Mapping[str, Any]) -> str:
    """What was trained on what, in a few sentences."""
    model, options, data = config["model"], config["options"], config["data"]
    counts = data.get("counts") if isinstance(data.get("counts"), dict) else {}
    kind = "A VAE" if config["kind"] == "vae" else "A GAN"
    size, channels = printable(model.get("size")), "grey" if model.get("channels") == 1 else "colour"
    said = (
        f"{kind} for {channels} pictures of {size}x{size} pixels with {printable(model.get('latent_dim'))} latents"
        f" (preset {printable(options.get('preset'))}), trained on {_format_count(counts.get('train'))} pictures;"
        f" {_format_count(counts.get('val'))} were held out."
    )
    source = config.get("from_vae")
    if source:
        return (
            f"{said} Its generator started from a VAE's decoder, trained for {_format_count(source.get('step'))} steps."
        )
    return said if config["kind"] == "vae" else f"{said} Its generator started from scratch."


def input_paths(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the run read, by name."""
    rows = [("set", printable(config["data"].get("path"), 300))]
    if config.get("from_vae"):
        rows.append(("VAE", printable(config["from_vae"].get("path"), 300)))
    return rows


def settings_table_rows(config: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Every option: flag, value, and what it means."""
    fields = option_fields(VAESettings if config["kind"] == "vae" else GANSettings)
    rows = []
    for name, field in fields.items():
        value = config["options"].get(name)
        if (
            value is None
            and name in DURATION_OPTIONS
            and any(config["options"].get(other) for other in DURATION_OPTIONS)
        ):
            continue
        said = _format_option(value) if value is not None else field.option.default_text or "-"
        rows.append((field.flag, said, field.option.help))
    return rows


def describe_device(config: Mapping[str, Any]) -> str:
    """What it was trained on, in a few words; empty where that was not recorded."""
    found = config.get("machine")
    if not isinstance(found, dict):
        return ""
    device, processor = printable(found.get("device")), printable(found.get("processor"))
    return f"{processor}, {printable(found.get('cores'))} cores" if device == "cpu" else device


def metric_warnings(
    series_by_metric: Mapping[str, Series], latest_metrics: Mapping[str, float], has_best: bool
) -> list[str]:
    """What the numbers of a run should make a user look at.

    lines: see `vaegan.report.training_charts.read_lines`; newest: the newest value of every metric.
    """
    found = []
    skipped, retreats = latest_metrics.get("skipped_steps", 0.0), latest_metrics.get("rollbacks", 0.0)
    if skipped >= 1:
        found.append(f"{skipped:.0f} steps were left out because their gradients were not finite.")
    if retreats >= 1:
        found.append(
            f"Training went back to an earlier checkpoint {retreats:.0f} times, with half the learning rate each time:"
            " a lower learning rate from the start may serve better."
        )
    if said := past_best_warning(series_by_metric, latest_metrics.get("kid_stderr", 0.0), has_best):
        found.append(said)
    return found


def past_best_warning(series_by_metric: Mapping[str, Series], kid_stderr: float, has_best: bool) -> str:
    """Say that samples were clearly closer to held-out pictures once, by the last two looks; empty otherwise.

    error: of a look's KID. As all looks are of the same latents, it is large beside the noise of their differences.
    """
    kid = series_by_metric.get("kid")
    if kid is None:
        return ""
    looks = [(value, images) for images, value in zip(kid.images_seen, kid.values, strict=True) if images > 0]
    if len(looks) <= NUM_RECENT_EVALUATIONS:
        return ""
    best, after = min(looks)
    if min(value for value, _ in looks[-NUM_RECENT_EVALUATIONS:]) <= max(best * MIN_KID_RATIO, best + kid_stderr):
        return ""
    use = ": --best uses the weights of then" if has_best else ""
    return (
        f"Samples were closer to held-out pictures after {after:,.0f} pictures (KID {best:.3g}) than they are now"
        f" ({looks[-1][0]:.3g}){use}."
    )
