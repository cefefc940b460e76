"""Measure one lot of pictures against the real ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.data.memmap import strided_subset
from vaegan.evaluation.feature_spaces import FeatureSpaces
from vaegan.evaluation.metric_specs import MEAN_OF_SCALES
from vaegan.metrics.distances import frechet_distance, kid
from vaegan.metrics.ndb import ndb
from vaegan.metrics.prdc import (
    DEFAULT_K,
    birthday_support_size,
    count_duplicate_pairs,
    find_memorized,
    kth_neighbor_distances,
    prdc,
)
from vaegan.metrics.random_features import LEVELS
from vaegan.metrics.sliced_wasserstein import NUM_PATCHES, PATCH_SIZE, swd_per_level
from vaegan.utils.images import to_float
from vaegan.utils.neighbors import find_nearest

MetricDict = dict[str, float | None]
MAX_SWD_IMAGES = 2048
EVAL_WHITENING_IMAGES = 2048
PATCHES_PER_IMAGE = 128


@dataclass(frozen=True)
class FeatureSet:
    """Pictures uint8 [N, C, S, S] and their features by space."""

    images: Tensor
    features: dict[str, Tensor]


class Reference:
    """Real pictures, as everything is measured against them."""

    def __init__(
        self, feature_spaces: FeatureSpaces, train_images: Tensor, val_images: Tensor, num_images: int, seed: int
    ) -> None:
        """Take `n` training pictures as the floor, what real pictures get; those left over are what bins are cut by.

        train, held_out: uint8 [., C, S, S]; n: at most three quarters of the training pictures.
        """
        self.feature_spaces = feature_spaces
        order = torch.randperm(len(train_images), generator=torch.Generator().manual_seed(seed))
        self.max_patches = NUM_PATCHES
        self.train_images = train_images = train_images[order]
        some = max(num_images, min(EVAL_WHITENING_IMAGES, len(train_images)))
        features = feature_spaces.fit_whitening(train_images[:some])
        self.train_features = (
            torch.cat([features["set"], feature_spaces(train_images[some:], "set")["set"]])
            if some < len(train_images)
            else features["set"]
        )
        self.mirrored_train_features = feature_spaces(train_images.flip(-1), "set")["set"]
        self.ndb_reference = self.train_features[num_images:]
        self.real_baseline = FeatureSet(
            train_images[:num_images], {name: values[:num_images] for name, values in features.items()}
        )
        self.val = FeatureSet(val_images, feature_spaces(val_images))
        self.duplicate_radius = float(kth_neighbor_distances(self.real_baseline.features["set"], 1).median()) / 2

    def extract_features(self, images: Tensor) -> FeatureSet:
        """Pictures with their features."""
        return FeatureSet(images, self.feature_spaces(images))

    def compute_metrics(self, feature_set: FeatureSet) -> MetricDict:
        """Every measure of one lot, by name; None where there are too few pictures for it."""
        numbers: MetricDict = {}
        for space in self.feature_spaces.names:
            real, fake = self.val.features[space], feature_set.features[space]
            numbers[f"frechet_{space}"] = frechet_distance(real, fake)
            numbers[f"kid_{space}"], error = kid(real, fake)
            numbers[f"kid_{space}_error"] = None if math.isnan(error) else error
        for name in ("frechet_{}", "kid_{}", "kid_{}_error"):
            parts = [numbers[name.format(level)] for level in LEVELS]
            known = [part for part in parts if part is not None]
            numbers[name.format(MEAN_OF_SCALES)] = sum(known) / len(known) if known else None
        return (
            numbers
            | self._prdc(feature_set)
            | self._sliced_wasserstein(feature_set)
            | self._ndb_and_duplicates(feature_set)
        )

    def find_nearest_train(self, feature_set: FeatureSet) -> tuple[Tensor, Tensor]:
        """Distance to, and row of, each picture's nearest training picture; mirrors come after all of those."""
        return find_nearest(feature_set.features["set"], torch.cat([self.train_features, self.mirrored_train_features]))

    def _prdc(self, feature_set: FeatureSet) -> MetricDict:
        """Precision and the like in the learned space, coverage in others too; as many pictures of either side."""
        count = min(len(feature_set.images), len(self.val.images))
        names = ("precision", "recall", "density", "coverage", "coverage_fine", "coverage_coarse")
        numbers: MetricDict = dict.fromkeys(names)
        if count > DEFAULT_K:
            for space, suffix in (("set", ""), ("fine", "_fine"), ("coarse", "_coarse")):
                found = prdc(strided_subset(self.val.features[space], count), feature_set.features[space][:count])
                numbers[f"coverage{suffix}"] = found.coverage
                if not suffix:
                    numbers |= {"precision": found.precision, "recall": found.recall, "density": found.density}
        return numbers

    def _sliced_wasserstein(self, feature_set: FeatureSet) -> MetricDict:
        real, fake = (strided_subset(part.images, MAX_SWD_IMAGES) for part in (self.val, feature_set))
        if real.shape[-1] // 4 < PATCH_SIZE:
            return {}
        patches = min(self.max_patches, PATCHES_PER_IMAGE * min(len(real), len(fake)))
        levels = swd_per_level(to_float(real), to_float(fake), patches)
        return {
            "sliced_wasserstein": sum(level.swd for level in levels) / len(levels),
            **{f"sliced_wasserstein_{index}": level.swd for index, level in enumerate(levels)},
            "channel_mean": max(level.mean_shift for level in levels),
            "channel_deviation": max(level.std_shift for level in levels),
        }

    def _ndb_and_duplicates(self, feature_set: FeatureSet) -> MetricDict:
        fake = feature_set.features["set"]
        bins = ndb(self.ndb_reference[::2], self.ndb_reference[1::2], fake)
        pairs = count_duplicate_pairs(fake, self.duplicate_radius)
        # the floor's pictures are training pictures: held-out ones say what new faces get
        new = self.val.features["set"] if feature_set is self.real_baseline else fake
        near, _ = find_memorized(new, self.train_features, self.mirrored_train_features)
        return {
            "ndb_over_k": bins.ndb_over_k,
            "ndb_missing": bins.num_missing / bins.num_bins,
            "duplicate_pairs": float(pairs),
            "birthday_support": birthday_support_size(len(fake), pairs),
            "memorized_fraction": float(near.double().mean()),
        }
