"""Which numbers of metrics.jsonl make which chart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vaegan.report.charts import Line, chart
from vaegan.report.html_page import details

MAX_OTHERS = 40
LARGEST = 1e100
"""What is larger, or no number, is not drawn."""


@dataclass(frozen=True)
class Panel:
    """A chart: its title, what it shows, and the metrics in it by the label of each."""

    title: str
    note: str
    metrics: Mapping[str, str]


PANELS = (
    Panel(
        "Distance of samples",
        "KID to held-out pictures, lower is better",
        {"kid": "mean", "kid_fine": "fine", "kid_middle": "middle", "kid_coarse": "coarse"},
    ),
    Panel("Losses", "of generator and discriminator", {"loss_g": "generator", "loss_d": "discriminator"}),
    Panel("Margin", "how much more real real pictures look to the discriminator", {"margin": "real - generated"}),
    Panel(
        "Variety of samples",
        "beside held-out pictures; 1 is as varied",
        {"coverage": "coverage", "diversity": "diversity", "repeated": "repeated"},
    ),
    Panel("Overfitting", "1: the discriminator takes held-out pictures for generated", {"overfitting": "share"}),
    Panel("Augmentation", "share of pictures that each augmentation changes", {"augment_share": "share"}),
    Panel("Drift", "0: draws as its VAE's decoder did; 1: any other face", {"drift": "distance"}),
    Panel("Anchor", "distance of encoded faces to their originals, in features", {"anchor": "distance"}),
    Panel("Gradient penalties", "before their weight", {"r1": "R1, on real", "r2": "R2, on generated"}),
    Panel(
        "Reconstruction",
        "nats per picture, lower is better",
        {"reconstruction": "in training", "held_out_reconstruction": "held out"},
    ),
    Panel("KL divergence", "nats that latents say of a picture", {"kl": "in training", "held_out_kl": "held out"}),
    Panel("PSNR", "of reconstructions in dB", {"train_psnr": "training", "held_out_psnr": "held out"}),
    Panel("SSIM", "of reconstructions, 1 is best", {"held_out_ssim": "held out"}),
    Panel("Active latents", "how many are used", {"active_units": "latents"}),
    Panel("Left out", "steps whose gradients were not finite, so far", {"skipped": "steps"}),
)
HIDDEN = {"step", "images", "images_per_second", "seconds", "kid_error", "retreats"}


def read_lines(metrics: Iterable[Mapping[str, float]]) -> dict[str, Line]:
    """Every metric's finite values over pictures seen, by its name."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for numbers in metrics:
        images = numbers.get("images", math.nan)
        for name, value in numbers.items():
            if name not in HIDDEN and abs(value) < LARGEST and 0 <= images < LARGEST:
                xs, ys = found.setdefault(name, ([], []))
                xs.append(images)
                ys.append(value)
    return {name: Line(name, xs, ys) for name, (xs, ys) in found.items()}


def curves(lines: Mapping[str, Line]) -> str:
    """Charts of all metrics, as HTML: those that are known by their panels, the others one each, folded away."""
    shown, left = [], dict(lines)
    for panel in PANELS:
        found = [(label, left.pop(name)) for name, label in panel.metrics.items() if name in left]
        if found:
            renamed = [Line(label, line.images, line.values) for label, line in found]
            shown.append(chart(panel.title, panel.note, renamed))
    charts = f'<div class="charts">{"".join(shown)}</div>' if shown else ""
    named = sorted(left.items())  # the order in which a resumed run first says them may be another
    others = [chart(name.replace("_", " "), "as in metrics.jsonl", [line]) for name, line in named][:MAX_OTHERS]
    return charts + (details("More numbers", f'<div class="charts">{"".join(others)}</div>') if others else "")
