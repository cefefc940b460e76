"""What a GAN's numbers warn of, in words, with what to do. The same words stand in metrics.jsonl.

A rule looks at the numbers so far and says whether something is wrong just now; its alarm is told when it begins, and
again only after it has ended in between.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

IN_A_ROW = 3
WON = 0.05
BLIND = 0.02
EXPLODED = 50.0
EARLIER = 8
HALF = 0.5
KNOWN_COVERAGE, KNOWN_DIVERSITY = 0.1, 0.3
LATE = 100_000
REPEATED = 0.1
BY_HEART = 0.6
WAY_OUT = "Raise --gamma, lower --lr-g, or start --from-vae; --best uses the weights that scored best"


@dataclass
class History:
    """Every value of every metric so far, by name, and how many pictures were seen."""

    images: int = 0
    values: dict[str, list[float]] = field(default_factory=dict)

    def last(self, name: str, count: int = 1) -> list[float]:
        """The newest `count` values, the newest last; none where there are fewer."""
        values = self.values.get(name, [])
        return values[-count:] if len(values) >= count else []

    def add(self, images: int, numbers: Mapping[str, float]) -> None:
        """Take in what was measured after `images` pictures."""
        self.images = images
        for name, value in numbers.items():
            self.values.setdefault(name, []).append(value)


def _winning(history: History) -> str:
    losses = history.last("loss_d", IN_A_ROW)
    alone = not history.last("loss_g", IN_A_ROW)  # as in its head start, which it is to win
    if not losses or alone or max(losses) >= WON:
        return ""
    return (
        f"the discriminator wins: its loss is {losses[-1]:.2g}, it tells generated faces from real ones nearly without"
        " error, and the generator learns little from it. Lower --lr-d, raise --gamma, or use --augment"
        " color,translation"
    )


def _blind(history: History) -> str:
    margins = history.last("margin", IN_A_ROW)
    if not margins or max(map(abs, margins)) >= BLIND:
        return ""
    return (
        f"the discriminator is blind: real faces look to it like generated ones (margin {margins[-1]:.2g}), so the"
        " generator learns nothing. Raise --lr-d or lower --gamma"
    )


def _penalty(history: History) -> str:
    for name in ("r1", "r2"):
        values = history.values.get(name, [])
        if len(values) <= EARLIER:
            continue
        usual = statistics.median(values[:-1])
        if values[-1] > EXPLODED * max(usual, 1e-3):
            return (
                f"the gradient penalty explodes: {name} is {values[-1]:.3g}, usually it was {usual:.3g}. Raise --gamma"
                " or lower --lr-d"
            )
    return ""


def _repeating(history: History) -> str:
    share = history.last("repeated")
    if not share or share[0] < REPEATED:
        return ""
    return f"mode collapse: {share[0]:.0%} of the samples are nearly another sample. {WAY_OUT}"


def _narrow(history: History) -> str:
    values = history.values.get("diversity", [])
    if not values:
        return ""
    best, now = min(1.0, max(values)), values[-1]  # noise varies along more directions than faces
    if best < KNOWN_DIVERSITY or now >= HALF * best:
        return ""
    fewer = f"{now:.0%} as many directions as real faces, at best {best:.0%}"
    return f"mode collapse: the samples vary along {fewer}. {WAY_OUT}"


def _uniform(history: History) -> str:
    """Never any better, so that there is nothing to go back to."""
    values = history.values.get("diversity", [])
    if not values or history.images < LATE or values[-1] >= KNOWN_DIVERSITY or _narrow(history):
        return ""
    return f"little variety: the samples vary along {values[-1]:.0%} as many directions as real faces. {WAY_OUT}"


def _forgetting(history: History) -> str:
    values = history.values.get("coverage", [])
    if not values or max(values) < KNOWN_COVERAGE or values[-1] >= HALF * max(values):
        return ""
    return (
        f"the generator forgets: {values[-1]:.0%} of the held-out faces have a sample near, at best it was"
        f" {max(values):.0%}. Raise --gamma, lower --lr-g, or raise --anchor; --best uses the weights that scored best"
    )


def _by_heart(history: History) -> str:
    share = history.last("overfitting")
    if not share or share[0] < BY_HEART:
        return ""
    return (
        f"the discriminator overfits: held-out faces look to it {share[0]:.0%} of the way to generated ones. Give more"
        " faces, or use --augment color,translation"
    )


Rule = Callable[[History], str]
RULES: dict[str, Rule] = {
    "discriminator_wins": _winning,
    "discriminator_blind": _blind,
    "penalty_explodes": _penalty,
    "repeating": _repeating,
    "narrow": _narrow,
    "uniform": _uniform,
    "forgetting": _forgetting,
    "discriminator_overfits": _by_heart,
}


COLLAPSES = frozenset({"repeating", "narrow", "forgetting"})
"""Alarms that mean mode collapse."""


@dataclass
class Alarms:
    """Which rules are broken. All follows from the numbers, so that a resumed run only has to hear them again.

    collapsed: the alarms of mode collapse that ring since the newest look at samples, and did not ring when they scored
    best; best: that score (KID), of looks after the first step.
    """

    history: History = field(default_factory=History)
    ringing: set[str] = field(default_factory=set)
    best: float = math.inf
    at_best: frozenset[str] = frozenset()
    collapsed: frozenset[str] = frozenset()

    def hear(self, images: int, numbers: Mapping[str, float]) -> dict[str, str]:
        """Take in numbers after `images` pictures; return the words of every alarm that begins, by its name."""
        self.history.add(images, numbers)
        found = {name: rule(self.history) for name, rule in RULES.items()}
        new = {name: text for name, text in found.items() if text and name not in self.ringing}
        self.ringing = {name for name, text in found.items() if text}
        if "kid" in numbers and images:
            self._judge(numbers["kid"])
        return new

    def _judge(self, kid: float) -> None:
        ringing = COLLAPSES & self.ringing
        if kid < self.best:
            self.best, self.at_best = kid, ringing
        self.collapsed = ringing - self.at_best
