"""The real images of a dataset, and all metrics of other images against them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.data.memmap import strided_subset
from vaegan.evaluation.feature_spaces import FeatureSpaces
from vaegan.evaluation.metric_specs import LEARNED_SPACE, MEAN_OF_SCALES, MetricDict
from vaegan.metrics.distances import frechet_distance, kid
from vaegan.metrics.ndb import ndb
from vaegan.metrics.prdc import (
    DEFAULT_K,
    birthday_support_size,
    count_duplicate_pairs,
    duplicate_radius,
    find_memorized,
    prdc,
)
from vaegan.metrics.random_features import LEVELS
from vaegan.metrics.sliced_wasserstein import NUM_PATCHES, PATCH_SIZE, swd_per_level
from vaegan.metrics.texture import BAND_NAMES, QUANTILES, band_powers, local_deviation
from vaegan.utils.images import to_float
from vaegan.utils.neighbors import find_nearest

MAX_SWD_IMAGES = 2048
MAX_TEXTURE_IMAGES = 512
EVAL_WHITENING_IMAGES = 2048
PATCHES_PER_IMAGE = 128


@dataclass(frozen=True)
class FeatureSet:
    """Images uint8 [N, C, S, S] and their features [N, d] by space."""

    images: Tensor
    features: dict[str, Tensor]


class Reference:
    """Real images, and the metrics of other images against the validation images.

    Args:
        train_images: uint8 [N, C, S, S].
        val_images: uint8 [M, C, S, S].
        num_images: size of the real baseline, at most three quarters of N.

    Attributes:
        train_order: row of each of `train_images` in the dataset; they are shuffled.
        real_baseline: training images that are measured like generated ones, to show the best possible values.
    """

    def __init__(
        self, feature_spaces: FeatureSpaces, train_images: Tensor, val_images: Tensor, num_images: int, seed: int
    ) -> None:
        self.feature_spaces = feature_spaces
        self.max_patches = NUM_PATCHES
        order = torch.randperm(len(train_images), generator=torch.Generator().manual_seed(seed))
        self.train_order, self.train_images = order, train_images[order]
        train_images = self.train_images

        # the whitening needs all spaces of some images, the rest of the training images only the learned space
        num_whitening = max(num_images, min(EVAL_WHITENING_IMAGES, len(train_images)))
        features = feature_spaces.fit_whitening(train_images[:num_whitening])
        self.train_features = features[LEARNED_SPACE]
        if num_whitening < len(train_images):
            others = feature_spaces(train_images[num_whitening:], LEARNED_SPACE)[LEARNED_SPACE]
            self.train_features = torch.cat([self.train_features, others])
        self.mirrored_train_features = feature_spaces(train_images.flip(-1), LEARNED_SPACE)[LEARNED_SPACE]

        self.real_baseline = FeatureSet(
            train_images[:num_images], {name: values[:num_images] for name, values in features.items()}
        )
        self.ndb_reference = self.train_features[num_images:]
        self.val = FeatureSet(val_images, feature_spaces(val_images))
        self.duplicate_radius = duplicate_radius(self.real_baseline.features[LEARNED_SPACE])

    def extract_features(self, images: Tensor) -> FeatureSet:
        """Extract the features of uint8 [N, C, S, S] in all spaces.

        Args:
            images: uint8 [N, C, S, S].

        Returns:
            images and features.
        """
        return FeatureSet(images, self.feature_spaces(images))

    def compute_metrics(self, feature_set: FeatureSet) -> MetricDict:
        """Compute all metrics by name; None if there are too few images for one.

        Args:
            feature_set: images and their features.

        Returns:
            value by name; None if there are too few images for one.
        """
        return (
            self._distances(feature_set)
            | self._prdc(feature_set)
            | self._sliced_wasserstein(feature_set)
            | self._texture(feature_set)
            | self._ndb_and_duplicates(feature_set)
        )

    def find_nearest_train(self, feature_set: FeatureSet) -> tuple[Tensor, Tensor]:
        """Find the training image nearest to each image, in learned features.

        Args:
            feature_set: N images and their features.

        Returns:
            distances, float [N], and rows, long [N]; row + M for a mirrored one of the M training images.
        """
        keys = torch.cat([self.train_features, self.mirrored_train_features])
        return find_nearest(feature_set.features[LEARNED_SPACE], keys)

    def _distances(self, feature_set: FeatureSet) -> MetricDict:
        metrics: MetricDict = {}
        for space in self.feature_spaces.names:
            real, fake = self.val.features[space], feature_set.features[space]
            metrics[f"frechet_{space}"] = frechet_distance(real, fake)
            metrics[f"kid_{space}"], stderr = kid(real, fake)
            metrics[f"kid_{space}_stderr"] = None if math.isnan(stderr) else stderr
        for name in ("frechet_{}", "kid_{}", "kid_{}_stderr"):
            values = [value for level in LEVELS if (value := metrics[name.format(level)]) is not None]
            metrics[name.format(MEAN_OF_SCALES)] = sum(values) / len(values) if values else None
        return metrics

    def _prdc(self, feature_set: FeatureSet) -> MetricDict:
        """Precision, recall and density in the learned space; coverage in others too. Equal numbers of images."""
        count = min(len(feature_set.images), len(self.val.images))
        names = ("precision", "recall", "density", "coverage", "coverage_fine", "coverage_coarse")
        metrics: MetricDict = dict.fromkeys(names)
        if count <= DEFAULT_K:
            return metrics
        for space, suffix in ((LEARNED_SPACE, ""), ("fine", "_fine"), ("coarse", "_coarse")):
            result = prdc(strided_subset(self.val.features[space], count), feature_set.features[space][:count])
            metrics[f"coverage{suffix}"] = result.coverage
            if space == LEARNED_SPACE:
                metrics |= {"precision": result.precision, "recall": result.recall, "density": result.density}
        return metrics

    def _sliced_wasserstein(self, feature_set: FeatureSet) -> MetricDict:
        real, fake = (strided_subset(part.images, MAX_SWD_IMAGES) for part in (self.val, feature_set))
        if real.shape[-1] // 4 < PATCH_SIZE:
            return {}
        num_patches = min(self.max_patches, PATCHES_PER_IMAGE * min(len(real), len(fake)))
        levels = swd_per_level(to_float(real), to_float(fake), num_patches)
        return {
            "sliced_wasserstein": sum(level.swd for level in levels) / len(levels),
            **{f"sliced_wasserstein_{index}": level.swd for index, level in enumerate(levels)},
            "channel_mean": max(level.mean_shift for level in levels),
            "channel_deviation": max(level.std_shift for level in levels),
        }

    def _texture(self, feature_set: FeatureSet) -> MetricDict:
        """Noise in calm areas: a quarter of all windows in luminance, half of them in color. Power relative to real."""
        real, fake = (strided_subset(part.images, MAX_TEXTURE_IMAGES) for part in (self.val, feature_set))
        deviation = local_deviation(fake)
        metrics: MetricDict = {"luminance_deviation": deviation.luminance[QUANTILES.index(0.25)]}
        metrics["chroma_deviation"] = deviation.chroma[QUANTILES.index(0.50)] if fake.shape[1] == 3 else None
        for name, power, real_power in zip(BAND_NAMES, band_powers(fake), band_powers(real), strict=True):
            metrics[f"power_{name}"] = power / real_power if real_power > 0 else None
        return metrics

    def _ndb_and_duplicates(self, feature_set: FeatureSet) -> MetricDict:
        fake = feature_set.features[LEARNED_SPACE]
        bins = ndb(self.ndb_reference[::2], self.ndb_reference[1::2], fake)
        num_pairs = count_duplicate_pairs(fake, self.duplicate_radius)
        # the real baseline consists of training images, so the value for new real images comes from validation images
        new = self.val.features[LEARNED_SPACE] if feature_set is self.real_baseline else fake
        is_memorized, _ = find_memorized(new, self.train_features, self.mirrored_train_features)
        return {
            "ndb_over_k": bins.ndb_over_k,
            "ndb_missing": bins.num_missing / bins.num_bins,
            "duplicate_pairs": float(num_pairs),
            "birthday_support": birthday_support_size(len(fake), num_pairs),
            "memorized_fraction": float(is_memorized.double().mean()),
        }
