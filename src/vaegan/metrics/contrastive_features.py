"""Features learned from a set without labels: a small network that tells its pictures apart.

Two altered views of one picture shall be near and views of other pictures far (SimCLR, Chen et al. 2020, 2002.05709,
eq. 1). Half of the pictures in a batch are spoiled ones (bent, blended, patched from two, blurred) that count as
pictures of their own (CSI, Tack et al. 2020, 2007.08176, eq. 4), so that what is no whole face lies away from faces.
It is trained on the training pictures only, on the CPU, from a fixed seed, in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONTRASTIVE_DIM = 128
LAYER_WIDTHS = (16, 32, 64, 128)
INPUT_SIZE = 64
MAX_TRAIN_VIEWS = 36_000
CONTRASTIVE_BATCH_SIZE = 128
TEMPERATURE = 0.2
CONTRASTIVE_LR = 2e-3
COLOR_JITTER_STRENGTH = 0.4
ZOOM_RANGE = (0.6, 1.1)
MAX_SHIFT = 0.25


class ContrastiveFeatures(nn.Module):
    """Float [N, C, S, S] in [-1, 1] -> features [N, 128]; pictures above 64 pixels are averaged down first."""

    def __init__(self, channels: int) -> None:
        """Build for pictures of 1 or 3 channels."""
        super().__init__()
        layers: list[nn.Module] = []
        for width in LAYER_WIDTHS:
            layers += [nn.Conv2d(channels, width, 3, 2, 1), nn.GroupNorm(8, width), nn.LeakyReLU(0.2)]
            channels = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(4 * channels, CONTRASTIVE_DIM)

    def forward(self, images: Tensor) -> Tensor:
        """Return features [N, 128]."""
        small = _shrink_to_input_size(images)
        return self.head(F.adaptive_avg_pool2d(self.body(small), 2).flatten(1))  # type: ignore[no-any-return]


def _shrink_to_input_size(images: Tensor) -> Tensor:
    return F.avg_pool2d(images, images.shape[-1] // INPUT_SIZE) if images.shape[-1] > INPUT_SIZE else images


def _random_view(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, zoom, mirror and tint each picture at random."""
    count, channels = images.shape[:2]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(*shape).uniform_(low, high, generator=generator)

    zoom = uniform(*ZOOM_RANGE, count)
    place = torch.zeros(count, 2, 3)
    place[:, 0, 0] = zoom * uniform(-1, 1, count).sign()
    place[:, 1, 1] = zoom
    place[:, :, 2] = uniform(-MAX_SHIFT, MAX_SHIFT, count, 2)
    where = F.affine_grid(place, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, where, padding_mode="reflection", align_corners=False)
    noise = torch.randn(count, channels, channels, generator=generator)
    tint = torch.eye(channels) + COLOR_JITTER_STRENGTH / 2 * noise
    light = uniform(-COLOR_JITTER_STRENGTH, COLOR_JITTER_STRENGTH, count, channels, 1, 1) * 0.4
    return (
        torch.einsum("nij,njhw->nihw", tint, moved)
        * uniform(1 - COLOR_JITTER_STRENGTH / 2, 1 + COLOR_JITTER_STRENGTH / 2, count, 1, 1, 1)
        + light
    )


def _elastic_warp(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move every pixel by a smooth random field."""
    count, _, side, _ = images.shape
    field = torch.randn(count, 2, 6, 6, generator=generator) * 0.1
    field = F.interpolate(field, size=side, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    where = F.affine_grid(torch.eye(2, 3).expand(count, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, where + field, padding_mode="reflection", align_corners=False)


def _make_negatives(images: Tensor, generator: torch.Generator) -> Tensor:
    """Make each picture something that is no whole face, in one of four ways."""
    count, _, side, _ = images.shape
    other = images[torch.randperm(count, generator=generator)]
    patches = F.interpolate(torch.randn(count, 1, 4, 4, generator=generator), size=side, mode="bicubic") > 0
    blurred = F.avg_pool2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), 5, 1)
    ways = (
        _elastic_warp(images, generator),
        torch.where(patches, images, other),
        (images + other) / 2,
        blurred + 0.1 * torch.randn(images.shape, generator=generator),
    )
    chosen = torch.randint(len(ways), (count,), generator=generator)
    return torch.stack(ways)[chosen, torch.arange(count)]


def train_contrastive_features(
    load_images: Callable[[Tensor], Tensor], num_images: int, channels: int, on_step: Callable[[int, int], None]
) -> ContrastiveFeatures:
    """Train features on `count` pictures; returns the network, ready to use.

    pictures: gives rows (long [B]) of the training pictures as float [B, C, S, S] in [-1, 1]; on_step(done, total)
    hears of progress. Deterministic on one machine. Raises ValueError for fewer than 2 pictures.
    """
    if num_images < 2:
        raise ValueError(f"{num_images} pictures: expected at least 2")
    batch = min(CONTRASTIVE_BATCH_SIZE, num_images)
    steps = max(2, min(MAX_TRAIN_VIEWS, 16 * num_images) // (2 * batch))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ContrastiveFeatures(channels).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        project = nn.Sequential(
            nn.Linear(CONTRASTIVE_DIM, CONTRASTIVE_DIM), nn.LeakyReLU(0.2), nn.Linear(CONTRASTIVE_DIM, 64)
        )
    optimizer = torch.optim.Adam([*network.parameters(), *project.parameters()], CONTRASTIVE_LR, fused=True)
    generator = torch.Generator().manual_seed(0)
    partner = torch.arange(2 * batch).roll(batch)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = CONTRASTIVE_LR * min(1.0, (step + 1) / 10) * (1 + math.cos(math.pi * step / steps)) / 2
        rows = torch.randperm(num_images, generator=generator)[:batch]
        seen = _shrink_to_input_size(load_images(rows))
        half = batch // 2
        seen = torch.cat([seen[: batch - half], _make_negatives(seen[batch - half :], generator)])
        views = torch.cat([_random_view(seen, generator), _random_view(seen, generator)])
        codes = F.normalize(project(network(views.contiguous(memory_format=torch.channels_last))), dim=1)
        likeness = (codes @ codes.T / TEMPERATURE).fill_diagonal_(-1e9)
        loss = F.cross_entropy(likeness, partner)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        on_step(step + 1, steps)
    return network.eval().requires_grad_(False)
