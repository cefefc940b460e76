"""Measure one lot of pictures against the real ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.data.memmap import some_of
from vaegan.evaluation.feature_spaces import Spaces
from vaegan.evaluation.metric_specs import TOGETHER
from vaegan.metrics.distances import frechet, kid
from vaegan.metrics.ndb import bin_test
from vaegan.metrics.prdc import K, duplicates, manifold, memorised, radii, support
from vaegan.metrics.random_features import LEVELS
from vaegan.metrics.sliced_wasserstein import PATCH, PATCHES, pyramid_distances
from vaegan.utils.images import to_float
from vaegan.utils.neighbors import nearest

Numbers = dict[str, float | None]
PYRAMID_PICTURES = 2048
FITTED = 2048
PATCHES_A_PICTURE = 128


@dataclass(frozen=True)
class Lot:
    """Pictures uint8 [N, C, S, S] and their features by space."""

    pictures: Tensor
    features: dict[str, Tensor]


class Reference:
    """Real pictures, as everything is measured against them."""

    def __init__(self, spaces: Spaces, train: Tensor, held_out: Tensor, n: int, seed: int) -> None:
        """Take `n` training pictures as the floor, what real pictures get; those left over are what bins are cut by.

        train, held_out: uint8 [., C, S, S]; n: at most three quarters of the training pictures.
        """
        self.spaces = spaces
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        self.patches = PATCHES
        self.train_pictures = train = train[order]
        some = max(n, min(FITTED, len(train)))
        features = spaces.fit(train[:some])
        self.train = (
            torch.cat([features["set"], spaces(train[some:], "set")["set"]]) if some < len(train) else features["set"]
        )
        self.mirrored = spaces(train.flip(-1), "set")["set"]
        self.rest = self.train[n:]
        self.floor = Lot(train[:n], {name: values[:n] for name, values in features.items()})
        self.held_out = Lot(held_out, spaces(held_out))
        self.radius = float(radii(self.floor.features["set"], 1).median()) / 2

    def lot(self, pictures: Tensor) -> Lot:
        """Pictures with their features."""
        return Lot(pictures, self.spaces(pictures))

    def measure(self, lot: Lot) -> Numbers:
        """Every measure of one lot, by name; None where there are too few pictures for it."""
        numbers: Numbers = {}
        for space in self.spaces.names:
            real, fake = self.held_out.features[space], lot.features[space]
            numbers[f"frechet_{space}"] = frechet(real, fake)
            numbers[f"kid_{space}"], error = kid(real, fake)
            numbers[f"kid_{space}_error"] = None if math.isnan(error) else error
        for name in ("frechet_{}", "kid_{}", "kid_{}_error"):
            parts = [numbers[name.format(level)] for level in LEVELS]
            known = [part for part in parts if part is not None]
            numbers[name.format(TOGETHER)] = sum(known) / len(known) if known else None
        return numbers | self._manifolds(lot) | self._pyramid(lot) | self._kinds(lot)

    def nearest(self, lot: Lot) -> tuple[Tensor, Tensor]:
        """Distance to, and row of, each picture's nearest training picture; mirrors come after all of those."""
        return nearest(lot.features["set"], torch.cat([self.train, self.mirrored]))

    def _manifolds(self, lot: Lot) -> Numbers:
        """Precision and the like in the learned space, coverage in others too; as many pictures of either side."""
        count = min(len(lot.pictures), len(self.held_out.pictures))
        names = ("precision", "recall", "density", "coverage", "coverage_fine", "coverage_coarse")
        numbers: Numbers = dict.fromkeys(names)
        if count > K:
            for space, suffix in (("set", ""), ("fine", "_fine"), ("coarse", "_coarse")):
                found = manifold(some_of(self.held_out.features[space], count), lot.features[space][:count])
                numbers[f"coverage{suffix}"] = found.coverage
                if not suffix:
                    numbers |= {"precision": found.precision, "recall": found.recall, "density": found.density}
        return numbers

    def _pyramid(self, lot: Lot) -> Numbers:
        real, fake = (some_of(part.pictures, PYRAMID_PICTURES) for part in (self.held_out, lot))
        if real.shape[-1] // 4 < PATCH:
            return {}
        patches = min(self.patches, PATCHES_A_PICTURE * min(len(real), len(fake)))
        levels = pyramid_distances(to_float(real), to_float(fake), patches)
        return {
            "sliced_wasserstein": sum(level.sliced for level in levels) / len(levels),
            **{f"sliced_wasserstein_{index}": level.sliced for index, level in enumerate(levels)},
            "channel_mean": max(level.mean for level in levels),
            "channel_deviation": max(level.deviation for level in levels),
        }

    def _kinds(self, lot: Lot) -> Numbers:
        fake = lot.features["set"]
        bins = bin_test(self.rest[::2], self.rest[1::2], fake)
        pairs = duplicates(fake, self.radius)
        # the floor's pictures are training pictures: held-out ones say what new faces get
        new = self.held_out.features["set"] if lot is self.floor else fake
        near, _ = memorised(new, self.train, self.mirrored)
        return {
            "bins_different": bins.share,
            "bins_missing": bins.missing / bins.bins,
            "duplicates": float(pairs),
            "support": support(len(fake), pairs),
            "memorised": float(near.double().mean()),
        }
