"""Compare vaegan with other tools on the same images, machine and training time.

python -m benchmarks.other_tools DATA --minutes 12 --seeds 0 1 2 [--tools vaegan dcgan lightweight-gan] [--out FOLDER]

  vaegan           train-vae for a quarter of the minutes, train-gan --from-vae for the rest, default options
  dcgan            PyTorch's DCGAN tutorial with its networks and settings: width 64, 100 latents, batch norm, binary
                   cross-entropy, batches of 128, Adam with learning rate 2e-4 and beta1 0.5, float32
  lightweight-gan  the package of that name (pip install lightweight-gan) with its default options, but batches of 32
                   without accumulation, like vaegan. It requires a GPU; here its calls are redirected to the CPU

For every seed the tools run in turn. The other tools train for the wall-clock time that vaegan took in total; their
previews, checkpoints and setup are not counted. They read image files of the dataset's size, randomly flipped. All
samples are measured as in `vaegan evaluate`; the last row is for real images.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import json
import statistics
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from benchmarks.arms import Experiment, train_arm
from benchmarks.machine import describe_machine
from benchmarks.pretraining import ARMS, SHOWN_METRICS
from benchmarks.speed.plain import dataloader
from vaegan.config.tool_settings import EvaluateSettings
from vaegan.data.dataset import open_dataset
from vaegan.evaluation.evaluate import Evaluator
from vaegan.events import ignore_event
from vaegan.inference.model import load
from vaegan.utils.images import make_grid, save_png, to_pil, to_uint8

LIGHTWEIGHT_BATCH_SIZE = 32
SAMPLE_BATCH_SIZE = 100
TOOLS = ("vaegan", "dcgan", "lightweight-gan")


def write_image_files(data: Path, out: Path) -> Path:
    """Write the training images of a dataset as PNG files of one class; return the folder of the class folder."""
    folder = out / "files" / "faces"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        for index, image in enumerate(open_dataset(data).load()[0]):
            to_pil(image).save(folder / f"{index:06d}.png")
    return folder.parent


class DCGAN:
    """The networks and the training step of PyTorch's DCGAN tutorial."""

    LATENT_DIM, WIDTH, BATCH_SIZE, LEARNING_RATE, BETAS = 100, 64, 128, 2e-4, (0.5, 0.999)

    def __init__(self, folder: Path, size: int, seed: int) -> None:
        torch.manual_seed(seed)
        num_levels = size.bit_length() - 3  # doublings of the resolution from 4 pixels
        widths = [self.WIDTH * 2**level for level in range(num_levels)]
        down: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        up: list[nn.Module] = [nn.ConvTranspose2d(self.LATENT_DIM, widths[-1], 4, 1, 0, bias=False)]
        for narrow, wide in itertools.pairwise(widths):
            down += [nn.Conv2d(narrow, wide, 4, 2, 1, bias=False), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2)]
        for narrow, wide in reversed([*itertools.pairwise(widths)]):
            up += [nn.BatchNorm2d(wide), nn.ReLU(), nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False)]
        up += [nn.BatchNorm2d(widths[0]), nn.ReLU(), nn.ConvTranspose2d(widths[0], 3, 4, 2, 1, bias=False), nn.Tanh()]
        down += [nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False), nn.Flatten(0)]
        self.generator = nn.Sequential(*up).apply(self._init_weights)
        self.discriminator = nn.Sequential(*down).apply(self._init_weights)
        self.g_optimizer, self.d_optimizer = (
            torch.optim.Adam(network.parameters(), lr=self.LEARNING_RATE, betas=self.BETAS)
            for network in (self.generator, self.discriminator)
        )
        self.batches = dataloader(str(folder), size, self.BATCH_SIZE)
        self.loss = nn.BCEWithLogitsLoss()

    @staticmethod
    def _init_weights(layer: nn.Module) -> None:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)

    def step(self) -> int:
        """Train one step; return the batch size."""
        real = next(self.batches)
        fake = self.generate(len(real))
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        self.d_optimizer.zero_grad()
        self.loss(self.discriminator(real), ones).backward()
        self.loss(self.discriminator(fake.detach()), zeros).backward()
        self.d_optimizer.step()
        self.g_optimizer.zero_grad()
        self.loss(self.discriminator(fake), ones).backward()
        self.g_optimizer.step()
        return len(real)

    def generate(self, count: int) -> Tensor:
        """Generate images in [-1, 1], with batch norm in training mode as in the tutorial."""
        images: Tensor = self.generator(torch.randn(count, self.LATENT_DIM, 1, 1))
        return images


class LightweightGAN:
    """The trainer of the package lightweight-gan, on the CPU."""

    def __init__(self, folder: Path, size: int, seed: int, out: Path) -> None:
        torch.manual_seed(seed)
        with mock.patch("torch.cuda.is_available", lambda: True):  # the package asserts it on import
            package: Any = importlib.import_module("lightweight_gan.lightweight_gan")
        cpu_torch = types.ModuleType("torch")
        cpu_torch.__dict__.update(torch.__dict__, device=lambda _: torch.device("cpu"))
        package.torch = cpu_torch
        options = {"attn_res_layers": [], "disc_output_size": 1, "base_dir": str(out), "use_aim": False}
        self.trainer = package.Trainer(image_size=size, batch_size=LIGHTWEIGHT_BATCH_SIZE, **options)
        self.trainer.set_data_src(str(folder))
        self.trainer.evaluate = self.trainer.save = lambda *_, **__: None
        with self._ignore_cuda_calls():
            self.trainer.init_GAN()

    @staticmethod
    def _ignore_cuda_calls() -> contextlib.ExitStack:
        stack = contextlib.ExitStack()
        for cls in (nn.Module, Tensor):
            stack.enter_context(mock.patch.object(cls, "cuda", lambda self, *_: self))
        return stack

    def step(self) -> int:
        """Train one step; return the batch size."""
        with self._ignore_cuda_calls():
            self.trainer.train()
        return LIGHTWEIGHT_BATCH_SIZE

    def generate(self, count: int) -> Tensor:
        """Generate images in [-1, 1] without EMA, which the package only starts at step 20,000."""
        gan = self.trainer.GAN.eval()
        images: Tensor = gan.G(torch.randn(count, self.trainer.latent_dim)).clamp(0, 1)
        return images * 2 - 1


def train_for(tool: DCGAN | LightweightGAN, seconds: float) -> int:
    """Train for `seconds`; return the number of images seen."""
    images_seen, start_time = 0, time.perf_counter()
    while time.perf_counter() - start_time < seconds:
        images_seen += tool.step()
    return images_seen


@torch.no_grad()
def sample_images(generate: Callable[[int], Tensor], count: int, seed: int) -> Tensor:
    """Return uint8 [count, C, S, S] from a function that generates images in [-1, 1]."""
    torch.manual_seed(seed)
    batches = [to_uint8(generate(SAMPLE_BATCH_SIZE)) for _ in range(-(-count // SAMPLE_BATCH_SIZE))]
    return torch.cat(batches)[:count]


def run_tool(tool: str, seed: int, seconds: float, args: argparse.Namespace, out: Path) -> tuple[Tensor, int]:
    """Train a tool; return its samples and the number of images seen."""
    if tool == "vaegan":
        experiment = Experiment(args.data, out, args.minutes, args.preset)
        gan_run, _, _ = train_arm(experiment, ARMS["from-vae"], tool, seed)
        model = load(gan_run, "cpu")
        return model.sample(args.n, seed), model.info.images_seen
    folder, size = write_image_files(args.data, out), open_dataset(args.data).size
    other = DCGAN(folder, size, seed) if tool == "dcgan" else LightweightGAN(folder, size, seed, out)
    images_seen = train_for(other, seconds)
    return sample_images(other.generate, args.n, seed), images_seen


def print_summary(results: list[dict[str, Any]], real: dict[str, Any]) -> None:
    """Print means and ranges over the seeds for every tool."""
    print(f"\n{'':18s}{'seconds':>9s}{'images':>10s}", *(f"{name:>24s}" for name in SHOWN_METRICS))
    for tool in dict.fromkeys(result["tool"] for result in results):
        tool_results = [result for result in results if result["tool"] == tool]
        cells = []
        for name in SHOWN_METRICS:
            values = [result[name] for result in tool_results]
            cells.append(f"{statistics.mean(values):.4f} ({min(values):.3f}-{max(values):.3f})")
        seconds, images_seen = (
            statistics.mean(result[name] for result in tool_results) for name in ("seconds", "images_seen")
        )
        print(f"{tool:18s}{seconds:9.0f}{images_seen:10,.0f}", *(f"{cell:>24s}" for cell in cells))
    print(f"{'real':37s}", *(f"{real[name]:>24.4f}" for name in SHOWN_METRICS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA", help="prepared dataset")
    parser.add_argument("--minutes", type=float, default=12.0, help="training time of every tool")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--preset", default="small", help="preset of vaegan")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="keep vaegan's runs and a grid of every tool's samples"
    )
    parser.add_argument("-n", type=int, default=EvaluateSettings().n, help="number of samples to evaluate")
    args = parser.parse_args()
    print(f"{describe_machine(with_threads=True)}\n{args.data.name}, {args.minutes:g} minutes", flush=True)
    evaluator = Evaluator(open_dataset(args.data), EvaluateSettings(n=args.n), torch.device("cpu"), None, ignore_event)
    num_train = len(evaluator.reference.train_images)
    if num_train < DCGAN.BATCH_SIZE:
        parser.error(f"{args.data} has {num_train} training images: dcgan needs {DCGAN.BATCH_SIZE} for one batch")
    args.n, results = evaluator.num_images, []
    with tempfile.TemporaryDirectory() as temp_dir:
        out = args.out or Path(temp_dir)
        out.mkdir(parents=True, exist_ok=True)
        for seed in args.seeds:
            seconds = 60 * args.minutes
            for tool in sorted(args.tools, key=TOOLS.index):
                start_time = time.perf_counter()
                images, images_seen = run_tool(tool, seed, seconds, args, out)
                elapsed = time.perf_counter() - start_time
                if tool == "vaegan":
                    seconds = elapsed
                save_png(make_grid(images[:64], columns=8), out / f"{tool}-{seed}.png")
                metrics = evaluator.compute_metrics(evaluator.reference.extract_features(images))
                result = {"tool": tool, "seed": seed, "seconds": round(elapsed, 1), "images_seen": images_seen}
                results.append(result | metrics)
                print(json.dumps(results[-1]), flush=True)
        print_summary(results, evaluator.real_metrics())


if __name__ == "__main__":
    main()
