"""Measure from how many images on each metric of `vaegan evaluate` tells rubbish from real images.

    python -m benchmarks.small_evaluation DATA [--counts 100 300 1000]

Of a dataset, COUNT images are taken, a tenth of them for validation, and feature networks are trained on the rest, as
`evaluate` does. Then the metrics of real images are compared with those of three kinds of rubbish. A metric holds if
it ranks the real images above all of them, for all seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import degradations
from vaegan.data.dataset import open_dataset
from vaegan.evaluation.feature_spaces import FeatureSpaces, channels_last
from vaegan.evaluation.metric_specs import LEARNED_SPACE, MetricDict
from vaegan.evaluation.reference import Reference
from vaegan.metrics.contrastive_features import train_contrastive_features
from vaegan.utils.images import to_float, to_uint8

METRICS = {
    "frechet_mean": -1,
    "kid_mean": -1,
    "coverage_fine": 1,
    "coverage_coarse": 1,
    "frechet_learned": -1,
    "kid_learned": -1,
    "precision": 1,
    "recall": 1,
    "density": 1,
    "coverage": 1,
    "ndb_over_k": -1,
    "sliced_wasserstein": -1,
}
"""By name, whether higher (1) or lower (-1) is better."""


def pink_noise(images: Tensor, seed: int) -> Tensor:
    """Return noise with the mean and the amplitude spectrum of the images, and random phases."""
    generator = torch.Generator().manual_seed(seed)
    values = to_float(images)
    mean = values.mean(0)
    amplitude = torch.fft.fft2(values - mean).abs().square().mean((0, 1)).sqrt()
    white = torch.fft.fft2(torch.randn(values.shape, generator=generator)) / values.shape[-1]
    return to_uint8(mean + torch.fft.ifft2(white * amplitude).real)


def patchwork(images: Tensor, seed: int) -> Tensor:
    """Return images whose sixteen tiles each come from the same place of another image."""
    generator = torch.Generator().manual_seed(seed)
    result, side = images.clone(), images.shape[-1] // 4
    for row in range(4):
        for column in range(4):
            order = torch.randperm(len(images), generator=generator)
            area = (
                slice(None),
                slice(None),
                slice(row * side, (row + 1) * side),
                slice(column * side, (column + 1) * side),
            )
            result[area] = images[order][area]
    return result


def ghosts(images: Tensor, seed: int) -> Tensor:
    """Return blurred means of four images each."""
    generator = torch.Generator().manual_seed(seed)
    values = to_float(images)
    mean = torch.stack([values[torch.randperm(len(values), generator=generator)] for _ in range(4)]).mean(0)
    return to_uint8(F.avg_pool2d(F.pad(mean, (2, 2, 2, 2), mode="reflect"), 5, 1))


def measure(images: Tensor, seed: int) -> dict[str, MetricDict]:
    """Return the metrics of real images and of rubbish for images, uint8 [N, C, S, S], of which a tenth validate."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    num_val = max(2, len(images) // 10)
    val, train = images[order[:num_val]], images[order[num_val:]]
    network = train_contrastive_features(
        lambda rows: to_float(train[rows]), len(train), train.shape[1], lambda done, total: None
    )
    spaces = FeatureSpaces({LEARNED_SPACE: channels_last(network)}, torch.device("cpu"))
    reference = Reference(spaces, train, val, 3 * len(train) // 4, seed)
    real = reference.real_baseline.images
    sets = {
        "pink noise": pink_noise(real, seed),
        "patchwork": patchwork(real, seed),
        "ghosts": ghosts(real, seed),
        "noise": degradations.add_noise(real, seed, 0.5),
    }
    return {
        "real": reference.compute_metrics(reference.real_baseline),
        **{name: reference.compute_metrics(reference.extract_features(rubbish)) for name, rubbish in sets.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[50, 100, 200, 300, 500, 1000, 2000])
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    train, val = open_dataset(args.data).load()
    images = torch.cat([train, val])
    for count in args.counts:
        if count > len(images):
            break
        held = dict.fromkeys(METRICS, 0)
        for seed in range(args.seeds):
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1000 + seed))
            columns = measure(images[order[:count]], seed)
            for name, sign in METRICS.items():
                values = [columns[column].get(name) for column in columns]
                if any(value is None for value in values):
                    held[name] = -1
                    continue
                real, *rubbish = [sign * (value or 0.0) for value in values]
                held[name] += all(real > value for value in rubbish)
            if seed == 0:
                for column, metrics in columns.items():
                    print(f"  {count:5d} {column:12s}", *(f"{name} {metrics.get(name) or 0:.3f}" for name in METRICS))
        print(
            f"{count:5d} images:",
            ", ".join(f"{name} {number}/{args.seeds}" for name, number in held.items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
