"""Ways to spoil real pictures, uint8 [N, 3, S, S] -> the same, which the measures must put in order."""

import math

import torch
import torch.nn.functional as F

from vaegan.utils.images import to_float, to_uint8


def noise(pictures, seed, strength=0.1):
    generator = torch.Generator().manual_seed(seed)
    return to_uint8(to_float(pictures) + strength * torch.randn(pictures.shape, generator=generator))


def blur(pictures, sigma=1.5):
    reach = math.ceil(3 * sigma)
    row = torch.exp(-((torch.arange(-reach, reach + 1) / sigma) ** 2) / 2)
    kernel = (row[:, None] * row / row.sum() ** 2).expand(3, 1, -1, -1)
    padded = F.pad(to_float(pictures), (reach,) * 4, mode="reflect")
    return to_uint8(F.conv2d(padded, kernel, groups=3))


def weave(pictures, strength=0.04):
    """Two pixels wide: lighter and darker squares of one pixel, as a chess board."""
    place = torch.arange(pictures.shape[-1])
    return to_uint8(to_float(pictures) + strength * ((place[:, None] + place) % 2 * 2 - 1))


def contrast(pictures, factor=1.3):
    return to_uint8(to_float(pictures) * factor)


def hues(pictures, degrees=40.0):
    """Turn every colour about the grey axis (Rodrigues' formula)."""
    angle, third = math.radians(degrees), 1 / 3
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) * math.sqrt(third)
    turn = torch.eye(3) * math.cos(angle) + cross * math.sin(angle) + torch.full((3, 3), third) * (1 - math.cos(angle))
    return to_uint8(torch.einsum("ij,njhw->nihw", turn, to_float(pictures)))


def dropped(pictures, kinds, count, seed):
    """`count` pictures, with replacement only where needed, of the half of the kinds that are left."""
    generator = torch.Generator().manual_seed(seed)
    names = sorted(set(kinds))
    order = torch.randperm(len(names), generator=generator).tolist()
    left = {names[index] for index in order[: len(names) // 2]}
    rows = torch.tensor([row for row, kind in enumerate(kinds) if kind in left])
    rows = rows[torch.randperm(len(rows), generator=generator)]
    return pictures[rows[torch.arange(count) % len(rows)]]
