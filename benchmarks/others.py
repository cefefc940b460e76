"""What others' tools come to on the same pictures, machine and minutes.

python -m benchmarks.others SET --minutes 12 --seeds 0 1 2 [--tools vaegan dcgan lightweight-gan] [--out FOLDER]

  vaegan           train-vae for a quarter of the minutes, train-gan --from-vae for the rest, defaults
  dcgan            PyTorch's DCGAN tutorial, its networks and numbers: width 64, latents of 100, batch normalisation,
                   binary cross-entropy, batches of 128, Adam at 2e-4 and 0.5, float32
  lightweight-gan  the package of that name (pip install lightweight-gan), its trainer and its command's defaults, but
                   batches of 32 in one part, as ours. It asks for a GPU; the CPU answers here

For every seed the tools take turns. The others have the wall time that ours took with all it does beside its steps, and
all of it for steps: previews, checkpoints and setting up are not counted. Their pictures are files of the set's size,
mirrored at random as ours are. Everything is measured as by `vaegan evaluate`, with 2,000 samples; the last row is real
pictures.
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

from benchmarks.arms import Plan, trained
from benchmarks.machine import threaded
from benchmarks.pretraining import ARMS, SHOWN
from benchmarks.speed.plain import dataloader
from vaegan.config.settings import EvaluateSettings
from vaegan.data.dataset import open_dataset
from vaegan.evaluation.evaluate import Evaluator
from vaegan.events import ignore_event
from vaegan.inference.model import load
from vaegan.utils.images import make_grid, save_png, to_pil, to_uint8

BATCH = 32
DRAWN = 100
TOOLS = ("vaegan", "dcgan", "lightweight-gan")
Draw = Callable[[int], Tensor]
"""Count -> pictures float [count, C, S, S] in [-1, 1]."""


def files(data: Path, place: Path) -> Path:
    """Write a set's training pictures as PNGs, in one class's folder."""
    folder = place / "files" / "faces"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        for index, picture in enumerate(open_dataset(data).load()[0]):
            to_pil(picture).save(folder / f"{index:06d}.png")
    return folder.parent


class DCGAN:
    """The tutorial's networks and loop."""

    LATENT, WIDTH, BATCH, RATE, BETAS = 100, 64, 128, 2e-4, (0.5, 0.999)

    def __init__(self, folder: Path, size: int, seed: int) -> None:
        torch.manual_seed(seed)
        doublings = size.bit_length() - 3  # from 4 pixels
        widths = [self.WIDTH * 2**level for level in range(doublings)]
        down: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        up: list[nn.Module] = [nn.ConvTranspose2d(self.LATENT, widths[-1], 4, 1, 0, bias=False)]
        for less, more in itertools.pairwise(widths):
            down += [nn.Conv2d(less, more, 4, 2, 1, bias=False), nn.BatchNorm2d(more), nn.LeakyReLU(0.2)]
        for less, more in reversed([*itertools.pairwise(widths)]):
            up += [nn.BatchNorm2d(more), nn.ReLU(), nn.ConvTranspose2d(more, less, 4, 2, 1, bias=False)]
        last = [nn.BatchNorm2d(widths[0]), nn.ReLU(), nn.ConvTranspose2d(widths[0], 3, 4, 2, 1, bias=False), nn.Tanh()]
        self.g = nn.Sequential(*up, *last).apply(self._begin)
        self.d = nn.Sequential(*down, nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False), nn.Flatten(0)).apply(self._begin)
        self.g_opt, self.d_opt = (
            torch.optim.Adam(net.parameters(), lr=self.RATE, betas=self.BETAS) for net in (self.g, self.d)
        )
        self.pictures = dataloader(str(folder), size, self.BATCH)
        self.loss = nn.BCEWithLogitsLoss()

    @staticmethod
    def _begin(layer: nn.Module) -> None:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)

    def step(self) -> int:
        real = next(self.pictures)
        fake = self.g(torch.randn(len(real), self.LATENT, 1, 1))
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        self.d_opt.zero_grad()
        self.loss(self.d(real), ones).backward()
        self.loss(self.d(fake.detach()), zeros).backward()
        self.d_opt.step()
        self.g_opt.zero_grad()
        self.loss(self.d(fake), ones).backward()
        self.g_opt.step()
        return len(real)

    @torch.no_grad()
    def draw(self, count: int) -> Tensor:
        """Draw as the tutorial does: batch normalisation still learning."""
        return self.g(torch.randn(count, self.LATENT, 1, 1))


class Lightweight:
    """The package's trainer on the CPU."""

    def __init__(self, folder: Path, size: int, seed: int, place: Path) -> None:
        torch.manual_seed(seed)
        with mock.patch("torch.cuda.is_available", lambda: True):  # which it asserts when it is imported
            package = importlib.import_module("lightweight_gan.lightweight_gan")
        on_cpu = types.ModuleType("torch")
        on_cpu.__dict__.update(torch.__dict__, device=lambda _: torch.device("cpu"))
        package.torch = on_cpu
        given = {"attn_res_layers": [], "disc_output_size": 1, "base_dir": str(place), "use_aim": False}
        self.trainer = package.Trainer(image_size=size, batch_size=BATCH, **given)
        self.trainer.set_data_src(str(folder))
        self.trainer.evaluate = self.trainer.save = lambda *_, **__: None
        with self._without_gpu():
            self.trainer.init_GAN()

    @staticmethod
    def _without_gpu() -> contextlib.ExitStack:
        """Let what is to be moved to a GPU stay where it is."""
        stack = contextlib.ExitStack()
        for kind in (nn.Module, Tensor):
            stack.enter_context(mock.patch.object(kind, "cuda", lambda what, *_: what))
        return stack

    def step(self) -> int:
        with self._without_gpu():
            self.trainer.train()
        return BATCH

    @torch.no_grad()
    def draw(self, count: int) -> Tensor:
        """Draw with the generator as it is: the package averages its weights from step 20,000 on only."""
        gan = self.trainer.GAN.eval()
        return gan.G(torch.randn(count, self.trainer.latent_dim)).clamp(0, 1) * 2 - 1


def worked(tool: DCGAN | Lightweight, seconds: float) -> int:
    """Train for so long; returns the pictures seen."""
    seen, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        seen += tool.step()
    return seen


def drawn(draw: Draw, count: int, seed: int) -> Tensor:
    """Pictures uint8 [count, C, S, S]."""
    torch.manual_seed(seed)
    parts = [to_uint8(draw(DRAWN)) for _ in range(-(-count // DRAWN))]
    return torch.cat(parts)[:count]


def say(rows: list[dict[str, Any]], real: dict[str, Any]) -> None:
    """Print a line for every tool: means over the seeds, and the range."""
    print(f"\n{'':18s}{'seconds':>9s}{'pictures':>10s}", *(f"{name:>24s}" for name in SHOWN))
    for tool in dict.fromkeys(row["tool"] for row in rows):
        own = [row for row in rows if row["tool"] == tool]
        cells = []
        for name in SHOWN:
            values = [row[name] for row in own]
            cells.append(f"{statistics.mean(values):.4f} ({min(values):.3f}-{max(values):.3f})")
        seconds, pictures = (statistics.mean(row[name] for row in own) for name in ("seconds", "pictures"))
        print(f"{tool:18s}{seconds:9.0f}{pictures:10,.0f}", *(f"{cell:>24s}" for cell in cells))
    print(f"{'real':37s}", *(f"{real[name]:>24.4f}" for name in SHOWN))


def taken(tool: str, seed: int, seconds: float, options: argparse.Namespace, out: Path) -> tuple[Tensor, int]:
    """One tool's turn: its samples and how many pictures it saw."""
    data = open_dataset(options.data)
    if tool == "vaegan":
        plan = Plan(options.data, out, options.minutes, options.preset)
        run, _, _ = trained(plan, ARMS["from-vae"], tool, seed)
        model = load(run, "cpu")
        return model.sample(options.n, seed), model.info.images_seen
    folder = files(options.data, out)
    other = DCGAN(folder, data.size, seed) if tool == "dcgan" else Lightweight(folder, data.size, seed, out)
    seen = worked(other, seconds)
    return drawn(other.draw, options.n, seed), seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="SET")
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--preset", default="small", help="of ours")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keeps our runs, and a sheet of what each drew")
    parser.add_argument("-n", type=int, default=EvaluateSettings().n)
    options = parser.parse_args()
    print(f"{threaded()}\n{options.data.name}, {options.minutes:g} minutes", flush=True)
    judge = Evaluator(
        open_dataset(options.data), EvaluateSettings(n=options.n), torch.device("cpu"), None, ignore_event
    )
    if len(judge.reference.train_images) < DCGAN.BATCH:
        parser.error(f"{options.data} has fewer training pictures than the tutorial's batches, {DCGAN.BATCH}")
    options.n, rows = judge.num_images, []
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        for seed in options.seeds:
            seconds = 60 * options.minutes
            for tool in sorted(options.tools, key=TOOLS.index):
                began = time.perf_counter()
                pictures, seen = taken(tool, seed, seconds, options, out)
                spent = time.perf_counter() - began
                seconds = spent if tool == "vaegan" else seconds
                save_png(make_grid(pictures[:64], columns=8), out / f"{tool}-{seed}.png")
                numbers = judge.compute_metrics(judge.reference.extract_features(pictures))
                rows.append({"tool": tool, "seed": seed, "seconds": round(spent, 1), "pictures": seen, **numbers})
                print(json.dumps(rows[-1]), flush=True)
        say(rows, judge.real_metrics())


if __name__ == "__main__":
    main()
