"""Great arc against straight line, between seeds and between encoded pictures, and what optimization gains.

python -m benchmarks.walks RUN DATA: middles of walks between pairs of held-out pictures and between as many seeds.
"radius" is the latents' length over the square root of their dimension; "detail" the mean absolute difference of
neighbouring pixels, relative to the walks' own ends. Both are 1 where a middle is as typical as its ends.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from vaegan.data.dataset import open_dataset
from vaegan.events import ignore_event
from vaegan.inference.invert import decode_psnr, invert
from vaegan.inference.model import Model, load
from vaegan.models.interpolation import INTERPOLATION_METHODS

STEPS = (50, 100, 200, 400)


def radius(latents: Tensor) -> float:
    return float(latents.norm(dim=1).mean()) / latents.shape[1] ** 0.5


def detail(model: Model, latents: Tensor) -> float:
    pictures = model.decode(latents).float()
    return float(pictures.diff(dim=-1).abs().mean() + pictures.diff(dim=-2).abs().mean())


def compare(model: Model, name: str, keys: Tensor) -> None:
    half = torch.tensor([0.5])
    ends = detail(model, keys)
    print(f"{name:18} ends    radius {radius(keys):.3f}  detail 1")
    for path, go in INTERPOLATION_METHODS.items():
        middles = torch.cat([go(a, b, half) for a, b in zip(keys[::2], keys[1::2], strict=True)])
        print(f"{'':18} {path:6}  radius {radius(middles):.3f}  detail {detail(model, middles) / ends:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("-n", type=int, default=256)
    args = parser.parse_args()
    model = load(args.run)
    pictures = open_dataset(args.data).load()[1][: args.n - args.n % 2]
    compare(model, "seeds", model.latents_from_seeds(range(len(pictures))))
    encoded = model.encode(pictures)
    compare(model, "encoded pictures", encoded)
    few, start = pictures[:16], encoded[:16]
    print(f"encoder alone     PSNR {decode_psnr(model, few, start).mean():.2f} dB")
    for steps in STEPS:
        began = time.perf_counter()
        moved = invert(model, few, start, steps, ignore_event)
        spent = time.perf_counter() - began
        error = decode_psnr(model, few, moved).mean()
        print(f"{steps:4} steps        PSNR {error:.2f} dB  radius {radius(moved):.3f}  {spent:.1f} s for {len(few)}")


if __name__ == "__main__":
    main()
