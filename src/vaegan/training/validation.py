"""A light evaluation beside the steps, so that a long run says early how good its pictures are."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vaegan.checkpoint import saved_kid
from vaegan.data.memmap import ImageArray, strided_subset
from vaegan.errors import VaeganError
from vaegan.metrics.dimensionality import effective_rank
from vaegan.metrics.distances import kid
from vaegan.metrics.prdc import has_near_duplicate, kth_neighbor_distances, prdc
from vaegan.metrics.random_features import LEVELS, RandomFeatures, Whitening, concat_features
from vaegan.utils.images import to_float

QUICK_EVAL_IMAGES = 512
FEATURE_WHITENING_IMAGES = 1024
MIN_EVAL_IMAGES = 8
FEATURE_BATCH_SIZE = 64
MIN_IMAGES_PER_EVALUATION = 16_000
MAX_EVALUATIONS = 50
BEST_KID_STATE_KEY = "watch.best"
NO_BEST_STEP = -1
DUPLICATE_DISTANCE_RATIO = 0.5
"""Of the usual distance of a held-out picture to the next: samples closer than that repeat each other."""


def evaluation_interval(total_steps: int, batch_size: int, sample_every: int, needs_whitening: bool) -> int:
    """Steps between looks that cost under 3 % of the training: at least 16,000 pictures, at most 50 looks a run.

    folds: whether samples need the posterior folded, as previews do anyway: then only where a preview is due.
    """
    every = max(math.ceil(MIN_IMAGES_PER_EVALUATION / batch_size), math.ceil(total_steps / MAX_EVALUATIONS))
    return math.ceil(every / sample_every) * sample_every if needs_whitening else every


class QuickEvaluator:
    """KID of a fixed set of samples against held-out pictures, in random features at three scales; and its best."""

    def __init__(self, train_images: ImageArray, val_images: Tensor, device: torch.device) -> None:
        """train, held_out: uint8 [N, C, S, S]; without at least 8 held-out pictures nothing is ever measured."""
        self.best_kid, self.best_step = math.inf, NO_BEST_STEP
        self.device, self.train_val_images = (
            device,
            (strided_subset(train_images, FEATURE_WHITENING_IMAGES), strided_subset(val_images, QUICK_EVAL_IMAGES)),
        )
        self.is_enabled = min(len(train_images), len(val_images)) >= MIN_EVAL_IMAGES
        self._val_features: dict[str, Tensor] | None = None
        self._feature_whitening: dict[str, Whitening] = {}
        self._feature_network = RandomFeatures().to(device) if self.is_enabled else None

    @property
    def num_samples(self) -> int:
        """How many samples a look takes."""
        return QUICK_EVAL_IMAGES

    def _extract_features(self, images: Tensor) -> dict[str, Tensor]:
        assert self._feature_network is not None
        parts = [
            self._feature_network(to_float(part.to(self.device))) for part in torch.split(images, FEATURE_BATCH_SIZE)
        ]
        return {name: values.cpu() for name, values in concat_features(parts).items()}

    @torch.no_grad()
    def evaluate(self, samples: Tensor) -> dict[str, float]:
        """Measure uint8 [N, C, S, S], N >= 8, in features of three scales.

        kid: the mean over the scales (1801.01401), its error, and each scale; coverage: share of the held-out pictures
        that have a sample near (2002.09797, eq. 4), likewise; diversity: effective rank of the samples beside that of
        the held-out pictures; both of as many samples as held-out pictures, where those are fewer; repeated: share of
        the samples that are nearly another one, by the coarse scale.
        """
        train, held_out = self.train_val_images
        if self._val_features is None:
            self._feature_whitening = {
                name: Whitening(values) for name, values in self._extract_features(train).items()
            }
            self._val_features = self._whiten_features(self._extract_features(held_out))
        fake, found = self._whiten_features(self._extract_features(samples)), {}
        errors = []
        for level in LEVELS:
            found[f"kid_{level}"], error = kid(self._val_features[level], fake[level])
            errors.append(error)
        mean = sum(found.values()) / len(LEVELS)
        return {"kid": mean, "kid_stderr": sum(errors) / len(errors), **found, **self._coverage_and_diversity(fake)}

    def _coverage_and_diversity(self, fake_features: dict[str, Tensor]) -> dict[str, float]:
        assert self._val_features is not None
        real, coarse = self._val_features, LEVELS[-1]
        few = min(len(real[coarse]), len(fake_features[coarse]))  # more samples would reach more, along more directions
        covered = [prdc(real[level], fake_features[level][:few]).coverage for level in LEVELS]
        ranks = [
            effective_rank(fake_features[level][:few]) / max(effective_rank(real[level]), 1e-9) for level in LEVELS
        ]
        near = float(kth_neighbor_distances(real[coarse], 1).median()) * DUPLICATE_DISTANCE_RATIO
        return {
            "coverage": sum(covered) / len(covered),
            "effective_rank_ratio": sum(ranks) / len(ranks),
            "duplicate_fraction": float(has_near_duplicate(fake_features[coarse], near).double().mean()),
        }

    def _whiten_features(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._feature_whitening[name](values) for name, values in features.items()}

    def update_best(self, kid_value: float, step: int) -> bool:
        """Take down the KID of a step and say whether it is the best so far."""
        if not kid_value < self.best_kid:
            return False
        self.best_kid, self.best_step = kid_value, step
        return True

    def state_dict(self) -> dict[str, Tensor]:
        """The best so far and its step, float64 [2]."""
        return {BEST_KID_STATE_KEY: torch.tensor([self.best_kid, self.best_step], dtype=torch.float64)}

    def load_state_dict(self, tensors: Mapping[str, Tensor], best_weights_path: Path) -> None:
        """Put back what `stateful` gave; of an older version's run, the score that its best `weights` say, if any."""
        self.best_kid, self.best_step = math.inf, NO_BEST_STEP
        found = tensors.get(BEST_KID_STATE_KEY)
        if found is not None and found.shape == (2,):
            self.best_kid, self.best_step = float(found[0]), int(found[1])
            return
        with contextlib.suppress(VaeganError):
            self.best_kid = saved_kid(best_weights_path)
