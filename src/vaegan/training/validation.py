"""A light evaluation beside the steps, so that a long run says early how good its pictures are."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vaegan.checkpoint import score_of
from vaegan.data.memmap import Pictures, some_of
from vaegan.errors import VaeganError
from vaegan.metrics.distances import kid
from vaegan.metrics.diversity import effective_rank
from vaegan.metrics.prdc import manifold, radii, repeated
from vaegan.metrics.random_features import LEVELS, RandomFeatures, Whitening, concatenated
from vaegan.utils.images import to_float

PICTURES = 512
FITTED = 1024
FEW = 8
BATCH = 64
SPACING = 16_000
LOOKS = 50
NAME = "watch.best"
NEVER = -1
NEARLY = 0.5
"""Of the usual distance of a held-out picture to the next: samples closer than that repeat each other."""


def spacing(total: int, batch_size: int, preview_every: int, folds: bool) -> int:
    """Steps between looks that cost under 3 % of the training: at least 16,000 pictures, at most 50 looks a run.

    folds: whether samples need the posterior folded, as previews do anyway: then only where a preview is due.
    """
    every = max(math.ceil(SPACING / batch_size), math.ceil(total / LOOKS))
    return math.ceil(every / preview_every) * preview_every if folds else every


class Watch:
    """KID of a fixed set of samples against held-out pictures, in random features at three scales; and its best."""

    def __init__(self, train: Pictures, held_out: Tensor, device: torch.device) -> None:
        """train, held_out: uint8 [N, C, S, S]; without at least 8 held-out pictures nothing is ever measured."""
        self.best, self.best_step = math.inf, NEVER
        self.device, self.sources = device, (some_of(train, FITTED), some_of(held_out, PICTURES))
        self.able = min(len(train), len(held_out)) >= FEW
        self._real: dict[str, Tensor] | None = None
        self._whitening: dict[str, Whitening] = {}
        self._network = RandomFeatures().to(device) if self.able else None

    @property
    def pictures(self) -> int:
        """How many samples a look takes."""
        return PICTURES

    def _features(self, pictures: Tensor) -> dict[str, Tensor]:
        assert self._network is not None
        parts = [self._network(to_float(part.to(self.device))) for part in torch.split(pictures, BATCH)]
        return {name: values.cpu() for name, values in concatenated(parts).items()}

    @torch.no_grad()
    def look(self, samples: Tensor) -> dict[str, float]:
        """Measure uint8 [N, C, S, S], N >= 8, in features of three scales.

        kid: the mean over the scales (1801.01401), its error, and each scale; coverage: share of the held-out pictures
        that have a sample near (2002.09797, eq. 4), likewise; diversity: effective rank of the samples beside that of
        the held-out pictures; both of as many samples as held-out pictures, where those are fewer; repeated: share of
        the samples that are nearly another one, by the coarse scale.
        """
        train, held_out = self.sources
        if self._real is None:
            self._whitening = {name: Whitening(values) for name, values in self._features(train).items()}
            self._real = self._white(self._features(held_out))
        fake, found = self._white(self._features(samples)), {}
        errors = []
        for level in LEVELS:
            found[f"kid_{level}"], error = kid(self._real[level], fake[level])
            errors.append(error)
        mean = sum(found.values()) / len(LEVELS)
        return {"kid": mean, "kid_error": sum(errors) / len(errors), **found, **self._variety(fake)}

    def _variety(self, fake: dict[str, Tensor]) -> dict[str, float]:
        assert self._real is not None
        real, coarse = self._real, LEVELS[-1]
        few = min(len(real[coarse]), len(fake[coarse]))  # more samples would reach more, along more directions
        covered = [manifold(real[level], fake[level][:few]).coverage for level in LEVELS]
        ranks = [effective_rank(fake[level][:few]) / max(effective_rank(real[level]), 1e-9) for level in LEVELS]
        near = float(radii(real[coarse], 1).median()) * NEARLY
        return {
            "coverage": sum(covered) / len(covered),
            "diversity": sum(ranks) / len(ranks),
            "repeated": float(repeated(fake[coarse], near).double().mean()),
        }

    def _white(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._whitening[name](values) for name, values in features.items()}

    def improves(self, value: float, step: int) -> bool:
        """Take down the KID of a step and say whether it is the best so far."""
        if not value < self.best:
            return False
        self.best, self.best_step = value, step
        return True

    def stateful(self) -> dict[str, Tensor]:
        """The best so far and its step, float64 [2]."""
        return {NAME: torch.tensor([self.best, self.best_step], dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor], weights: Path) -> None:
        """Put back what `stateful` gave; of an older version's run, the score that its best `weights` say, if any."""
        self.best, self.best_step = math.inf, NEVER
        found = tensors.get(NAME)
        if found is not None and found.shape == (2,):
            self.best, self.best_step = float(found[0]), int(found[1])
            return
        with contextlib.suppress(VaeganError):
            self.best = score_of(weights)
