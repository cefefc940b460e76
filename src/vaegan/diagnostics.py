"""What a GAN's numbers warn of, in words, with what to do. The same words stand in metrics.jsonl.

A rule looks at the numbers so far and says whether something is wrong just now; its alarm is told when it begins, and
again only after it has ended in between.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

CONSECUTIVE_VALUES = 3
D_WINS_MAX_LOSS = 0.05
D_BLIND_MAX_MARGIN = 0.02
PENALTY_EXPLOSION_FACTOR = 50.0
MIN_PENALTY_HISTORY = 8
DROP_RATIO = 0.5
MIN_BEST_COVERAGE, MIN_BEST_DIVERSITY = 0.1, 0.3
NEVER_DIVERSE_AFTER_IMAGES = 100_000
MAX_DUPLICATE_FRACTION = 0.1
MAX_ADA_RV = 0.6
COLLAPSE_ADVICE = "Raise --gamma, lower --lr-g, or start --from-vae; --best uses the weights that scored best"


@dataclass
class MetricHistory:
    """Every value of every metric so far, by name, and how many pictures were seen."""

    images_seen: int = 0
    values: dict[str, list[float]] = field(default_factory=dict)

    def last(self, name: str, count: int = 1) -> list[float]:
        """The newest `count` values, the newest last; none where there are fewer."""
        values = self.values.get(name, [])
        return values[-count:] if len(values) >= count else []

    def add(self, images_seen: int, metrics: Mapping[str, float]) -> None:
        """Take in what was measured after `images` pictures."""
        self.images_seen = images_seen
        for name, value in metrics.items():
            self.values.setdefault(name, []).append(value)


def _check_discriminator_wins(history: MetricHistory) -> str:
    losses = history.last("loss_d", CONSECUTIVE_VALUES)
    alone = not history.last("loss_g", CONSECUTIVE_VALUES)  # as in its head start, which it is to win
    if not losses or alone or max(losses) >= D_WINS_MAX_LOSS:
        return ""
    return (
        f"the discriminator wins: its loss is {losses[-1]:.2g}, it tells generated faces from real ones nearly without"
        " error, and the generator learns little from it. Lower --lr-d, raise --gamma, or use --augment"
        " color,translation"
    )


def _check_discriminator_blind(history: MetricHistory) -> str:
    margins = history.last("d_logit_margin", CONSECUTIVE_VALUES)
    if not margins or max(map(abs, margins)) >= D_BLIND_MAX_MARGIN:
        return ""
    return (
        f"the discriminator is blind: real faces look to it like generated ones (margin {margins[-1]:.2g}), so the"
        " generator learns nothing. Raise --lr-d or lower --gamma"
    )


def _check_penalty_explodes(history: MetricHistory) -> str:
    for name in ("r1_penalty", "r2_penalty"):
        values = history.values.get(name, [])
        if len(values) <= MIN_PENALTY_HISTORY:
            continue
        usual = statistics.median(values[:-1])
        if values[-1] > PENALTY_EXPLOSION_FACTOR * max(usual, 1e-3):
            return (
                f"the gradient penalty explodes: {name} is {values[-1]:.3g}, usually it was {usual:.3g}. Raise --gamma"
                " or lower --lr-d"
            )
    return ""


def _check_duplicate_samples(history: MetricHistory) -> str:
    share = history.last("duplicate_fraction")
    if not share or share[0] < MAX_DUPLICATE_FRACTION:
        return ""
    return f"mode collapse: {share[0]:.0%} of the samples are nearly another sample. {COLLAPSE_ADVICE}"


def _check_low_diversity(history: MetricHistory) -> str:
    values = history.values.get("effective_rank_ratio", [])
    if not values:
        return ""
    best, now = min(1.0, max(values)), values[-1]  # noise varies along more directions than faces
    if best < MIN_BEST_DIVERSITY or now >= DROP_RATIO * best:
        return ""
    fewer = f"{now:.0%} as many directions as real faces, at best {best:.0%}"
    return f"mode collapse: the samples vary along {fewer}. {COLLAPSE_ADVICE}"


def _check_never_diverse(history: MetricHistory) -> str:
    """Never any better, so that there is nothing to go back to."""
    values = history.values.get("effective_rank_ratio", [])
    if (
        not values
        or history.images_seen < NEVER_DIVERSE_AFTER_IMAGES
        or values[-1] >= MIN_BEST_DIVERSITY
        or _check_low_diversity(history)
    ):
        return ""
    return (
        f"little variety: the samples vary along {values[-1]:.0%} as many directions as real faces. {COLLAPSE_ADVICE}"
    )


def _check_coverage_drop(history: MetricHistory) -> str:
    values = history.values.get("coverage", [])
    if not values or max(values) < MIN_BEST_COVERAGE or values[-1] >= DROP_RATIO * max(values):
        return ""
    return (
        f"the generator forgets: {values[-1]:.0%} of the held-out faces have a sample near, at best it was"
        f" {max(values):.0%}. Raise --gamma, lower --lr-g, or raise --recon-weight; --best uses the weights that scored best"
    )


def _check_discriminator_overfits(history: MetricHistory) -> str:
    share = history.last("ada_rv")
    if not share or share[0] < MAX_ADA_RV:
        return ""
    return (
        f"the discriminator overfits: held-out faces look to it {share[0]:.0%} of the way to generated ones. Give more"
        " faces, or use --augment color,translation"
    )


AlarmRule = Callable[[MetricHistory], str]
ALARM_RULES: dict[str, AlarmRule] = {
    "discriminator_wins": _check_discriminator_wins,
    "discriminator_blind": _check_discriminator_blind,
    "penalty_explodes": _check_penalty_explodes,
    "duplicate_samples": _check_duplicate_samples,
    "low_diversity": _check_low_diversity,
    "uniform": _check_never_diverse,
    "coverage_drop": _check_coverage_drop,
    "discriminator_overfits": _check_discriminator_overfits,
}


COLLAPSE_ALARMS = frozenset({"duplicate_samples", "low_diversity", "coverage_drop"})
"""Alarms that mean mode collapse."""


@dataclass
class AlarmTracker:
    """Which rules are broken. All follows from the numbers, so that a resumed run only has to hear them again.

    collapsed: the alarms of mode collapse that ring since the newest look at samples, and did not ring when they scored
    best; best: that score (KID), of looks after the first step.
    """

    history: MetricHistory = field(default_factory=MetricHistory)
    active: set[str] = field(default_factory=set)
    best_kid: float = math.inf
    active_at_best: frozenset[str] = frozenset()
    collapse_alarms: frozenset[str] = frozenset()

    def update(self, images_seen: int, metrics: Mapping[str, float]) -> dict[str, str]:
        """Take in numbers after `images` pictures; return the words of every alarm that begins, by its name."""
        self.history.add(images_seen, metrics)
        found = {name: rule(self.history) for name, rule in ALARM_RULES.items()}
        new = {name: text for name, text in found.items() if text and name not in self.active}
        self.active = {name for name, text in found.items() if text}
        if "kid" in metrics and images_seen:
            self._update_collapse_alarms(metrics["kid"])
        return new

    def _update_collapse_alarms(self, kid: float) -> None:
        ringing = COLLAPSE_ALARMS & self.active
        if kid < self.best_kid:
            self.best_kid, self.active_at_best = kid, ringing
        self.collapse_alarms = ringing - self.active_at_best
