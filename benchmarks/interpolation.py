"""Compare spherical and linear interpolation, between seeds and between encoded images, and measure the inversion.

python -m benchmarks.interpolation RUN DATA

Midpoints are computed between pairs of validation images and between as many pairs of seeds. "radius" is the length of
a latent divided by the square root of its dimension. "detail" is the mean absolute difference of neighboring pixels,
divided by that of the end points. Midpoints as typical as the end points have the same radius and detail 1.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from torch import Tensor, cat, tensor

from vaegan.data.dataset import open_dataset
from vaegan.events import ignore_event
from vaegan.inference.invert import decode_psnr, invert
from vaegan.inference.model import Model, load
from vaegan.models.interpolation import INTERPOLATION_METHODS

INVERSION_STEPS = (50, 100, 200, 400)
INVERTED_IMAGES = 16


def mean_radius(latents: Tensor) -> float:
    return float(latents.norm(dim=1).mean()) / int(latents.shape[1]) ** 0.5


def mean_detail(model: Model, latents: Tensor) -> float:
    images = model.decode(latents).float()
    return float(images.diff(dim=-1).abs().mean() + images.diff(dim=-2).abs().mean())


def compare_methods(model: Model, name: str, latents: Tensor) -> None:
    """Print radius and detail of the end points, and of the midpoints of every interpolation method."""
    end_detail = mean_detail(model, latents)
    print(f"{name:18} ends    radius {mean_radius(latents):.3f}  detail 1")
    for method, interpolate in INTERPOLATION_METHODS.items():
        pairs = zip(latents[::2], latents[1::2], strict=True)
        midpoints = cat([interpolate(a, b, tensor([0.5])) for a, b in pairs])
        detail = mean_detail(model, midpoints) / end_detail
        print(f"{'':18} {method:6}  radius {mean_radius(midpoints):.3f}  detail {detail:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("-n", type=int, default=256, help="number of images and of seeds")
    args = parser.parse_args()
    model = load(args.run)
    images = open_dataset(args.data).load()[1][: args.n - args.n % 2]
    compare_methods(model, "seeds", model.latents_from_seeds(range(len(images))))
    encoded = model.encode(images)
    compare_methods(model, "encoded images", encoded)
    images, encoded = images[:INVERTED_IMAGES], encoded[:INVERTED_IMAGES]
    print(f"encoder alone     PSNR {decode_psnr(model, images, encoded).mean():.2f} dB")
    for steps in INVERSION_STEPS:
        start_time = time.perf_counter()
        latents = invert(model, images, encoded, steps, ignore_event)
        seconds = time.perf_counter() - start_time
        psnr, radius = decode_psnr(model, images, latents).mean(), mean_radius(latents)
        print(
            f"{steps:4} steps        PSNR {psnr:.2f} dB  radius {radius:.3f}  {seconds:.1f} s for {len(images)} images"
        )


if __name__ == "__main__":
    main()
