"""Features of random convolutions at three scales, which need no download.

Random convolutional networks are useful feature extractors (Saxe et al. 2011, "On random weights and unsupervised
feature learning"), and they favor no model under evaluation. Three networks look at the image at three resolutions:
together they see coarse content and fine texture. Weights are derived from a hash, so they are the same everywhere.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = ("fine", "middle", "coarse")
WIDTHS = (16, 32, 64)
LAYOUT_GRID = 4
LAYOUT_DIM = 128
RANDOM_FEATURE_DIM = sum(WIDTHS) + LAYOUT_DIM
SEED = "vaegan features 1"


def hash_to_uniform(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return numbers determined by a name, uniform in [-sqrt(3), sqrt(3)] (mean 0, variance 1), float32.

    They are SHAKE-128 (FIPS 202) of the name, read as little-endian 32-bit integers: the same on every machine and in
    every version of torch.

    Args:
        name: any text.
        shape: shape of the result.

    Returns:
        float32 of that shape.
    """
    count = math.prod(shape)
    digest = bytearray(hashlib.shake_128(name.encode()).digest(4 * count))
    digest_bytes = torch.frombuffer(digest, dtype=torch.uint8).view(count, 4).to(torch.int64)
    integers = (digest_bytes * torch.tensor([1, 1 << 8, 1 << 16, 1 << 24])).sum(1)
    return ((integers.double() + 0.5) / 2**31 - 1).mul(math.sqrt(3)).float().view(shape)


def pool_factors(size: int) -> dict[str, int]:
    """Return the factor by which each level reduces an image.

    Args:
        size: side of the images in pixels.

    Returns:
        factor by level: "fine", "middle" and "coarse". The coarse one sees 16x16 pixels, or 8x8 of 32x32.
    """
    coarse = max(4, size // 16)
    return {"fine": 1, "middle": 2 if coarse < 8 else 4, "coarse": coarse}


class RandomFeatures(nn.Module):
    """Images -> features at three levels, from random convolutions that are never trained.

    Each level has two kinds of features. Texture and contrast: the log standard deviation of each filter's response,
    in three layers. Content and its position: a random projection of the last layer, averaged to a 4x4 grid.
    """

    def __init__(self) -> None:
        super().__init__()
        for level in LEVELS:
            channels = 3
            for layer, width in enumerate(WIDTHS):
                name = f"{SEED}/{level}/{layer}"
                weight = hash_to_uniform(f"{name}/weight", (width, channels, 3, 3)) * math.sqrt(2 / (9 * channels))
                self.register_buffer(f"{level}_{layer}_weight", weight)
                self.register_buffer(f"{level}_{layer}_bias", hash_to_uniform(f"{name}/bias", (width,)) * 0.2)
                channels = width
            num_cells = channels * LAYOUT_GRID * LAYOUT_GRID
            projection = hash_to_uniform(f"{SEED}/{level}/layout", (LAYOUT_DIM, num_cells)) / math.sqrt(num_cells)
            self.register_buffer(f"{level}_layout", projection)

    @torch.no_grad()
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Map images to features.

        Args:
            images: float [N, 1 or 3, S, S] in [-1, 1].

        Returns:
            float32 [N, RANDOM_FEATURE_DIM] by level.
        """
        images = images.float().contiguous(memory_format=torch.channels_last)
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        return {
            level: self._level_features(level, F.avg_pool2d(images, factor) if factor > 1 else images)
            for level, factor in pool_factors(images.shape[-1]).items()
        }

    def _level_features(self, level: str, x: Tensor) -> Tensor:
        features = []
        for layer in range(len(WIDTHS)):
            weight, bias = self.get_buffer(f"{level}_{layer}_weight"), self.get_buffer(f"{level}_{layer}_bias")
            x = F.leaky_relu(F.conv2d(x, weight, bias, stride=1 if layer == 0 else 2, padding=1), 0.2, inplace=True)
            variance = x.square().mean((2, 3)) - x.mean((2, 3)).square()
            features.append((variance.clamp_min(0) + 1e-4).log() / 2)
        layout = F.adaptive_avg_pool2d(x, LAYOUT_GRID).flatten(1)
        features.append(layout @ self.get_buffer(f"{level}_layout").T)
        return torch.cat(features, 1)


class Whitening:
    """Standardization and partial whitening of features, by the moments of the training images.

    x -> (2 (C + 1)^-1)^(1/2) (x - mean) / std, where C is the correlation matrix. Directions of little variance are
    amplified at most to twice their variance. Many correlated features no longer hide the others, which makes distances
    such as KID more precise.
    """

    def __init__(self, reference: Tensor) -> None:
        reference = reference.double()
        mean, std = reference.mean(0), reference.std(0).clamp_min(1e-6)
        values, vectors = torch.linalg.eigh(torch.cov(((reference - mean) / std).T).view(len(mean), -1))
        sqrt_inverse = vectors * (2 / (values.clamp_min(0) + 1)).sqrt() @ vectors.T
        self.mean, self.matrix = mean.float(), (sqrt_inverse / std[:, None]).float()

    def __call__(self, features: Tensor) -> Tensor:
        whitened: Tensor = (features - self.mean) @ self.matrix
        return whitened


def concat_features(batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Concatenate the features of several batches, level by level.

    Args:
        batches: for each batch, features [N, d] by level.

    Returns:
        features of all batches by level.
    """
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
