"""Features without a download: random convolutions whose weights are given by a hash, at three scales.

A random convolutional network keeps much of what tells pictures apart (Saxe et al. 2011, "On random weights and
unsupervised feature learning"); it knows no photographs and favours no model that is judged. Three networks look
at the picture at three resolutions, so that neither coarse content nor fine texture can hide.
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
    """Numbers of mean 0 and variance 1 that a name decides, uniform in [-sqrt(3), sqrt(3)], float32 of `shape`.

    SHAKE-128 (FIPS 202) of the name, read as little-endian 32-bit numbers: the same on every machine and in every
    version of torch.
    """
    count = math.prod(shape)
    content = bytearray(hashlib.shake_128(name.encode()).digest(4 * count))
    bits = torch.frombuffer(content, dtype=torch.uint8).view(count, 4).to(torch.int64)
    whole = (bits * torch.tensor([1, 1 << 8, 1 << 16, 1 << 24])).sum(1)
    return ((whole.double() + 0.5) / 2**31 - 1).mul(math.sqrt(3)).float().view(shape)


def pool_factors(size: int) -> dict[str, int]:
    """How many pixels each level averages over: the coarse level sees 16x16 pixels (8x8 of a 32x32 picture)."""
    coarse = max(4, size // 16)
    return {"fine": 1, "middle": 2 if coarse < 8 else 4, "coarse": coarse}


class RandomFeatures(nn.Module):
    """Pictures -> features at three levels: how strong each filter's response is, and where.

    Of each level: the logarithm of every filter's deviation over the picture (texture, contrast), for three layers,
    and a fixed random projection of the last layer averaged over a 4x4 layout (content). Weights are never trained.
    """

    def __init__(self) -> None:
        """Make the weights from the hash of their names."""
        super().__init__()
        for level in LEVELS:
            channels = 3
            for layer, width in enumerate(WIDTHS):
                name = f"{SEED}/{level}/{layer}"
                weight = hash_to_uniform(f"{name}/weight", (width, channels, 3, 3)) * math.sqrt(2 / (9 * channels))
                self.register_buffer(f"{level}_{layer}_weight", weight)
                self.register_buffer(f"{level}_{layer}_bias", hash_to_uniform(f"{name}/bias", (width,)) * 0.2)
                channels = width
            cells = channels * LAYOUT_GRID * LAYOUT_GRID
            project = hash_to_uniform(f"{SEED}/{level}/layout", (LAYOUT_DIM, cells)) / math.sqrt(cells)
            self.register_buffer(f"{level}_layout", project)

    @torch.no_grad()
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Float [N, C, S, S] in [-1, 1], C of 1 or 3 -> features of each level, float32 [N, 240]."""
        images = images.float().contiguous(memory_format=torch.channels_last)
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        found = {}
        for level, factor in pool_factors(images.shape[-1]).items():
            found[level] = self._level_features(level, F.avg_pool2d(images, factor) if factor > 1 else images)
        return found

    def _level_features(self, level: str, x: Tensor) -> Tensor:
        parts = []
        for layer in range(len(WIDTHS)):
            weight, bias = self.get_buffer(f"{level}_{layer}_weight"), self.get_buffer(f"{level}_{layer}_bias")
            x = F.leaky_relu(F.conv2d(x, weight, bias, stride=1 if layer == 0 else 2, padding=1), 0.2, inplace=True)
            variance = x.square().mean((2, 3)) - x.mean((2, 3)).square()
            parts.append((variance.clamp_min(0) + 1e-4).log() / 2)
        layout = F.adaptive_avg_pool2d(x, LAYOUT_GRID).flatten(1)
        parts.append(layout @ self.get_buffer(f"{level}_layout").T)
        return torch.cat(parts, 1)


class Whitening:
    """Features made comparable: standardised, then half-way whitened, by the moments of the training pictures.

    x -> (2 (C + 1)^-1)^(1/2) (x - mean) / deviation, C the correlations: directions that vary little count for at
    most twice their share, and the many features that rise and fall together do not drown the others. (Without it,
    the standard error of KID on 2,000 pictures is as large as the distance of a fine weave or of faint noise.)
    """

    def __init__(self, reference: Tensor) -> None:
        """Measure on float [N, d], N at least 2."""
        reference = reference.double()
        mean, scale = reference.mean(0), reference.std(0).clamp_min(1e-6)
        values, vectors = torch.linalg.eigh(torch.cov(((reference - mean) / scale).T).view(len(mean), -1))
        root = vectors * (2 / (values.clamp_min(0) + 1)).sqrt() @ vectors.T
        self.mean, self.matrix = mean.float(), (root / scale[:, None]).float()

    def __call__(self, features: Tensor) -> Tensor:
        """Float [N, d] -> float [N, d]."""
        white: Tensor = (features - self.mean) @ self.matrix
        return white


def concat_features(batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Join the features of batches, name by name."""
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
