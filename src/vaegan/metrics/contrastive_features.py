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

DIM = 128
WIDTHS = (16, 32, 64, 128)
SIDE = 64
VIEWS = 36_000
BATCH = 128
TEMPERATURE = 0.2
RATE = 2e-3
JITTER = 0.4
ZOOM = (0.6, 1.1)
SHIFT = 0.25


class LearnedFeatures(nn.Module):
    """Float [N, C, S, S] in [-1, 1] -> features [N, 128]; pictures above 64 pixels are averaged down first."""

    def __init__(self, channels: int) -> None:
        """Build for pictures of 1 or 3 channels."""
        super().__init__()
        layers: list[nn.Module] = []
        for width in WIDTHS:
            layers += [nn.Conv2d(channels, width, 3, 2, 1), nn.GroupNorm(8, width), nn.LeakyReLU(0.2)]
            channels = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(4 * channels, DIM)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return features [N, 128]."""
        small = _small(pictures)
        return self.head(F.adaptive_avg_pool2d(self.body(small), 2).flatten(1))  # type: ignore[no-any-return]


def _small(pictures: Tensor) -> Tensor:
    return F.avg_pool2d(pictures, pictures.shape[-1] // SIDE) if pictures.shape[-1] > SIDE else pictures


def _view(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, zoom, mirror and tint each picture at random."""
    count, channels = pictures.shape[:2]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(*shape).uniform_(low, high, generator=generator)

    zoom = uniform(*ZOOM, count)
    place = torch.zeros(count, 2, 3)
    place[:, 0, 0] = zoom * uniform(-1, 1, count).sign()
    place[:, 1, 1] = zoom
    place[:, :, 2] = uniform(-SHIFT, SHIFT, count, 2)
    where = F.affine_grid(place, list(pictures.shape), align_corners=False)
    moved = F.grid_sample(pictures, where, padding_mode="reflection", align_corners=False)
    noise = torch.randn(count, channels, channels, generator=generator)
    tint = torch.eye(channels) + JITTER / 2 * noise
    light = uniform(-JITTER, JITTER, count, channels, 1, 1) * 0.4
    return torch.einsum("nij,njhw->nihw", tint, moved) * uniform(1 - JITTER / 2, 1 + JITTER / 2, count, 1, 1, 1) + light


def _bent(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Move every pixel by a smooth random field."""
    count, _, side, _ = pictures.shape
    field = torch.randn(count, 2, 6, 6, generator=generator) * 0.1
    field = F.interpolate(field, size=side, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    where = F.affine_grid(torch.eye(2, 3).expand(count, 2, 3), list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, where + field, padding_mode="reflection", align_corners=False)


def _spoiled(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Make each picture something that is no whole face, in one of four ways."""
    count, _, side, _ = pictures.shape
    other = pictures[torch.randperm(count, generator=generator)]
    patches = F.interpolate(torch.randn(count, 1, 4, 4, generator=generator), size=side, mode="bicubic") > 0
    blurred = F.avg_pool2d(F.pad(pictures, (2, 2, 2, 2), mode="reflect"), 5, 1)
    ways = (
        _bent(pictures, generator),
        torch.where(patches, pictures, other),
        (pictures + other) / 2,
        blurred + 0.1 * torch.randn(pictures.shape, generator=generator),
    )
    chosen = torch.randint(len(ways), (count,), generator=generator)
    return torch.stack(ways)[chosen, torch.arange(count)]


def learn_features(
    pictures: Callable[[Tensor], Tensor], count: int, channels: int, on_step: Callable[[int, int], None]
) -> LearnedFeatures:
    """Train features on `count` pictures; returns the network, ready to use.

    pictures: gives rows (long [B]) of the training pictures as float [B, C, S, S] in [-1, 1]; on_step(done, total)
    hears of progress. Deterministic on one machine. Raises ValueError for fewer than 2 pictures.
    """
    if count < 2:
        raise ValueError(f"{count} pictures: expected at least 2")
    batch = min(BATCH, count)
    steps = max(2, min(VIEWS, 16 * count) // (2 * batch))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = LearnedFeatures(channels).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        project = nn.Sequential(nn.Linear(DIM, DIM), nn.LeakyReLU(0.2), nn.Linear(DIM, 64))
    optimizer = torch.optim.Adam([*network.parameters(), *project.parameters()], RATE, fused=True)
    generator = torch.Generator().manual_seed(0)
    partner = torch.arange(2 * batch).roll(batch)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 10) * (1 + math.cos(math.pi * step / steps)) / 2
        rows = torch.randperm(count, generator=generator)[:batch]
        seen = _small(pictures(rows))
        half = batch // 2
        seen = torch.cat([seen[: batch - half], _spoiled(seen[batch - half :], generator)])
        views = torch.cat([_view(seen, generator), _view(seen, generator)])
        codes = F.normalize(project(network(views.contiguous(memory_format=torch.channels_last))), dim=1)
        likeness = (codes @ codes.T / TEMPERATURE).fill_diagonal_(-1e9)
        loss = F.cross_entropy(likeness, partner)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        on_step(step + 1, steps)
    return network.eval().requires_grad_(False)
