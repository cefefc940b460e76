"""Features learned from the training images by a small network, without labels.

It is contrastive learning: two random views of an image get similar features, views of different images get different
ones (SimCLR, Chen et al. 2020, 2002.05709, eq. 1). Half of each batch are distorted images, which count as images of
their own (CSI, Tack et al. 2020, 2007.08176, eq. 4). So images that are not realistic faces get features far from those
of faces. Training takes seconds on a CPU and uses a fixed seed.
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
LR_WARMUP_STEPS = 10
COLOR_JITTER_STRENGTH = 0.4
ZOOM_RANGE = (0.6, 1.1)
MAX_SHIFT = 0.25


class ContrastiveFeatures(nn.Module):
    """Images float [N, C, S, S] in [-1, 1] -> features [N, 128]; larger images are averaged to 64x64."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in LAYER_WIDTHS:
            layers += [nn.Conv2d(channels, width, 3, 2, 1), nn.GroupNorm(8, width), nn.LeakyReLU(0.2)]
            channels = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(4 * channels, CONTRASTIVE_DIM)

    def forward(self, images: Tensor) -> Tensor:
        """Map images to features.

        Args:
            images: float [N, C, S, S] in [-1, 1].

        Returns:
            [N, 128].
        """
        images = _shrink_to_input_size(images)
        return self.head(F.adaptive_avg_pool2d(self.body(images), 2).flatten(1))  # type: ignore[no-any-return]


def _shrink_to_input_size(images: Tensor) -> Tensor:
    return F.avg_pool2d(images, images.shape[-1] // INPUT_SIZE) if images.shape[-1] > INPUT_SIZE else images


def _random_view(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, zoom, mirror and recolor each image at random."""
    count, channels = images.shape[:2]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(*shape).uniform_(low, high, generator=generator)

    # Geometry: zoom and shift both axes, mirror the horizontal one
    zoom = uniform(*ZOOM_RANGE, count)
    affine = torch.zeros(count, 2, 3)
    affine[:, 0, 0] = zoom * uniform(-1, 1, count).sign()
    affine[:, 1, 1] = zoom
    affine[:, :, 2] = uniform(-MAX_SHIFT, MAX_SHIFT, count, 2)
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    views = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    # Color: mix the channels, scale the contrast, shift the brightness
    noise = torch.randn(count, channels, channels, generator=generator)
    mixing = torch.eye(channels) + COLOR_JITTER_STRENGTH / 2 * noise
    brightness = uniform(-COLOR_JITTER_STRENGTH, COLOR_JITTER_STRENGTH, count, channels, 1, 1) * 0.4
    contrast = uniform(1 - COLOR_JITTER_STRENGTH / 2, 1 + COLOR_JITTER_STRENGTH / 2, count, 1, 1, 1)
    return torch.einsum("nij,njhw->nihw", mixing, views) * contrast + brightness


def _elastic_warp(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move every pixel by a smooth random field."""
    count, _, size, _ = images.shape
    field = torch.randn(count, 2, 6, 6, generator=generator) * 0.1
    field = F.interpolate(field, size=size, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    grid = F.affine_grid(torch.eye(2, 3).expand(count, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid + field, padding_mode="reflection", align_corners=False)


def _make_negatives(images: Tensor, generator: torch.Generator) -> Tensor:
    """Distort each image: warp it, replace patches by another image, blend with another, or blur it."""
    count, _, size, _ = images.shape
    other = images[torch.randperm(count, generator=generator)]
    mask = F.interpolate(torch.randn(count, 1, 4, 4, generator=generator), size=size, mode="bicubic") > 0
    blurred = F.avg_pool2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), 5, 1)
    distorted = (
        _elastic_warp(images, generator),
        torch.where(mask, images, other),
        (images + other) / 2,
        blurred + 0.1 * torch.randn(images.shape, generator=generator),
    )
    chosen = torch.randint(len(distorted), (count,), generator=generator)
    return torch.stack(distorted)[chosen, torch.arange(count)]


def _info_nce_loss(embeddings: Tensor) -> Tensor:
    """Return the loss (2002.05709, eq. 1) of embeddings [2 B, d]; rows i and i + B are views of one image."""
    embeddings = F.normalize(embeddings, dim=1)
    similarity = (embeddings @ embeddings.T / TEMPERATURE).fill_diagonal_(-1e9)
    partner = torch.arange(len(embeddings)).roll(len(embeddings) // 2)
    return F.cross_entropy(similarity, partner)


def train_contrastive_features(
    load_images: Callable[[Tensor], Tensor], num_images: int, channels: int, on_step: Callable[[int, int], None]
) -> ContrastiveFeatures:
    """Train a feature network; deterministic on one machine.

    Args:
        load_images: Maps rows, long [B], to training images, float [B, C, S, S] in [-1, 1].
        num_images: number of training images, at least 2.
        channels: channels of an image.
        on_step: Called with (steps done, total steps).

    Returns:
        The network, in evaluation mode and without gradients.

    Raises:
        ValueError: if there are fewer than 2 images.
    """
    if num_images < 2:
        raise ValueError(f"{num_images} images: expected at least 2")
    batch_size = min(CONTRASTIVE_BATCH_SIZE, num_images)
    num_negatives = batch_size // 2
    total_steps = max(2, min(MAX_TRAIN_VIEWS, 16 * num_images) // (2 * batch_size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ContrastiveFeatures(channels).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        projection = nn.Sequential(
            nn.Linear(CONTRASTIVE_DIM, CONTRASTIVE_DIM), nn.LeakyReLU(0.2), nn.Linear(CONTRASTIVE_DIM, 64)
        )
    optimizer = torch.optim.Adam([*network.parameters(), *projection.parameters()], CONTRASTIVE_LR, fused=True)
    generator = torch.Generator().manual_seed(0)
    for step in range(total_steps):
        # Learning rate: short warm-up and cosine decay
        cosine = (1 + math.cos(math.pi * step / total_steps)) / 2
        for group in optimizer.param_groups:
            group["lr"] = CONTRASTIVE_LR * min(1.0, (step + 1) / LR_WARMUP_STEPS) * cosine

        # Two views of each image; the last half of the batch are negatives
        rows = torch.randperm(num_images, generator=generator)[:batch_size]
        images = _shrink_to_input_size(load_images(rows))
        positives, negatives = images.tensor_split([batch_size - num_negatives])
        images = torch.cat([positives, _make_negatives(negatives, generator)])
        views = torch.cat([_random_view(images, generator), _random_view(images, generator)])

        # Optimizer step
        loss = _info_nce_loss(projection(network(views.contiguous(memory_format=torch.channels_last))))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        on_step(step + 1, total_steps)
    return network.eval().requires_grad_(False)
