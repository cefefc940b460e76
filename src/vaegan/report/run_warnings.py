"""What a run is and how it goes, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaegan.config.options import options_of
from vaegan.config.settings import LENGTHS, GANSettings, VAESettings
from vaegan.errors import shown
from vaegan.report.charts import Line

WORSE = 1.25
"""How much worse than its best the last KIDs are to be worth a word."""
LOOKS = 2
"""How many of the last looks have to agree."""


def spent(seconds: float) -> str:
    """A duration: 45 s, 12 min, 3 h 20 min."""
    if not 0 <= seconds < 1e12:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _counted(value: object) -> str:
    """A count as people write it, 5,221; anything else as it is."""
    return f"{value:,}" if type(value) is int and abs(value) < 10**15 else shown(value)


def _chosen(value: object) -> str:
    """An option's value; on and off for what can only be that, no more digits of a number than anyone asks for."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.6g}" if isinstance(value, float) else shown(value)


def summary(config: Mapping[str, Any]) -> str:
    """What was trained on what, in a few sentences."""
    model, options, data = config["model"], config["options"], config["data"]
    counts = data.get("counts") if isinstance(data.get("counts"), dict) else {}
    kind = "A VAE" if config["kind"] == "vae" else "A GAN"
    size, channels = shown(model.get("size")), "grey" if model.get("channels") == 1 else "colour"
    said = (
        f"{kind} for {channels} pictures of {size}x{size} pixels with {shown(model.get('latent_dim'))} latents"
        f" (preset {shown(options.get('preset'))}), trained on {_counted(counts.get('train'))} pictures;"
        f" {_counted(counts.get('held-out'))} were held out."
    )
    source = config.get("from_vae")
    if source:
        return f"{said} Its generator started from a VAE's decoder, trained for {_counted(source.get('step'))} steps."
    return said if config["kind"] == "vae" else f"{said} Its generator started from scratch."


def places(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the run read, by name."""
    rows = [("set", shown(config["data"].get("path"), 300))]
    if config.get("from_vae"):
        rows.append(("VAE", shown(config["from_vae"].get("path"), 300)))
    return rows


def settings_rows(config: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Every option: flag, value, and what it means."""
    fields = options_of(VAESettings if config["kind"] == "vae" else GANSettings)
    rows = []
    for name, field in fields.items():
        value = config["options"].get(name)
        if value is None and name in LENGTHS and any(config["options"].get(other) for other in LENGTHS):
            continue
        said = _chosen(value) if value is not None else field.option.shown or "-"
        rows.append((field.flag, said, field.option.help))
    return rows


def machine(config: Mapping[str, Any]) -> str:
    """What it was trained on, in a few words; empty where that was not recorded."""
    found = config.get("machine")
    if not isinstance(found, dict):
        return ""
    device, processor = shown(found.get("device")), shown(found.get("processor"))
    return f"{processor}, {shown(found.get('cores'))} cores" if device == "cpu" else device


def warnings(lines: Mapping[str, Line], newest: Mapping[str, float], has_best: bool) -> list[str]:
    """What the numbers of a run should make a user look at.

    lines: see `vaegan.report.training_charts.read_lines`; newest: the newest value of every metric.
    """
    found = []
    skipped, retreats = newest.get("skipped", 0.0), newest.get("retreats", 0.0)
    if skipped >= 1:
        found.append(f"{skipped:.0f} steps were left out because their gradients were not finite.")
    if retreats >= 1:
        found.append(
            f"Training went back to an earlier checkpoint {retreats:.0f} times, with half the learning rate each time:"
            " a lower learning rate from the start may serve better."
        )
    if said := better_days(lines, newest.get("kid_error", 0.0), has_best):
        found.append(said)
    return found


def better_days(lines: Mapping[str, Line], error: float, has_best: bool) -> str:
    """Say that samples were clearly closer to held-out pictures once, by the last two looks; empty otherwise.

    error: of a look's KID. As all looks are of the same latents, it is large beside the noise of their differences.
    """
    kid = lines.get("kid")
    if kid is None:
        return ""
    looks = [(value, images) for images, value in zip(kid.images, kid.values, strict=True) if images > 0]
    if len(looks) <= LOOKS:
        return ""
    best, after = min(looks)
    if min(value for value, _ in looks[-LOOKS:]) <= max(best * WORSE, best + error):
        return ""
    use = ": --best uses the weights of then" if has_best else ""
    return (
        f"Samples were closer to held-out pictures after {after:,.0f} pictures (KID {best:.3g}) than they are now"
        f" ({looks[-1][0]:.3g}){use}."
    )
