"""Distance between the small patches of two sets of images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

PATCH_SIZE = 3
POSITIONS_PER_SIDE = 16
"""Patches begin at every 16th part of an image's side. One less fits from each offset."""


@dataclass(frozen=True)
class PatchFilters:
    """Directions in the space of patches, and where the patches of an image begin.

    Attributes:
        weights: float32 [F, C, PATCH_SIZE, PATCH_SIZE], of zero mean in each channel and unit norm.
        offset: rows and columns before the first patch.
    """

    weights: Tensor
    offset: tuple[int, int]

    @classmethod
    def from_noise(cls, noise: Tensor, position: int, size: int) -> PatchFilters:
        """Make filters of random numbers.

        They respond to changes of color within a patch, not to its mean color.

        Args:
            noise: standard normal float32 [F, C, PATCH_SIZE, PATCH_SIZE].
            position: a number from 0, of which the remainder selects the offset.
            size: side of the images in pixels.

        Returns:
            the filters.
        """
        weights = noise - noise.mean((2, 3), keepdim=True)
        weights = weights / weights.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
        stride = _stride(size)
        return cls(weights, (position // stride % stride, position % stride))

    def responses(self, images: Tensor) -> Tensor:
        """Return the inner products of patches and filters.

        Args:
            images: float [B, C, S, S].

        Returns:
            float32 [B, F, P], P being the number of patches of an image.
        """
        row, column = self.offset
        stride = _stride(images.shape[-1])
        side = images.shape[-1] - stride + 1  # the same from each offset: cuDNN tunes its algorithms for each shape
        part = images[:, :, row : row + side, column : column + side].float()
        return nn.functional.conv2d(part, self.weights, stride=stride).flatten(2)


def _stride(size: int) -> int:
    """Return the number of pixels from one patch to the next."""
    return max(1, size // POSITIONS_PER_SIDE)


def match_by_rank(responses: Tensor, real_responses: Tensor) -> Tensor:
    """Return for each response the real response of the same rank, among all those to the same filter.

    Their mean absolute difference is the Wasserstein distance of both sets, in its closed form for one dimension.
    Averaged over random directions, it is the sliced Wasserstein distance (Deshpande et al. 2018, arXiv 1803.11188,
    section 3). Heitz et al. 2021, arXiv 2006.07229, use it for textures, and Elnekave & Weiss 2022, arXiv 2203.11862,
    for patches of pixels.

    Args:
        responses: of generated images, float [B, F, P].
        real_responses: of as many real images, of the same shape.

    Returns:
        float [B, F, P].
    """
    rows, num_patches = len(responses), responses.shape[2]
    order = responses.transpose(0, 1).flatten(1).argsort(1)
    ranked = real_responses.transpose(0, 1).flatten(1).sort(1).values
    targets = torch.empty_like(ranked).scatter_(1, order, ranked)
    return targets.reshape(-1, rows, num_patches).transpose(0, 1)
