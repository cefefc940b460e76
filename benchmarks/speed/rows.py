"""The rows of the speed table: what is measured, against which reference, and the goal."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.pairs import Bench, PairedResult, compare_commands, compare_workers, run_pairs
from benchmarks.speed.processes import Timing, time_command
from vaegan.config.model_config import PRESETS
from vaegan.data.dataset import FEATURES_FILE
from vaegan.losses.gan import LOSSES

SIZE, BATCH_SIZE, PRESET = 64, 32, "small"
NUM_FACES = 4096
MEMORY_ROW_IMAGES = 8300
MODEL_OPTIONS = {"width": PRESETS[PRESET].base_channels, "latent_dim": PRESETS[PRESET].latent_dim}
_output_numbers = itertools.count()


@dataclass(frozen=True)
class Row:
    """A row of the table. `goal` is the intended ratio or value, in words."""

    name: str
    description: str
    measure: Callable[[Bench], PairedResult]
    goal: str = ""


def _data_options(bench: Bench) -> dict[str, Any]:
    faces = bench.inputs.get("faces", count=bench.choose(NUM_FACES, 1024), size=SIZE)
    return {"folder": str(faces / "folder"), "data": str(faces / "set"), "size": SIZE, "batch_size": BATCH_SIZE}


def _train_vae(bench: Bench) -> PairedResult:
    options = _data_options(bench) | MODEL_OPTIONS
    return compare_workers(bench, "plain.train_vae", "ours.train_vae", options, roofline=True)


def _train_gan(loss: str, gamma: float, from_vae: bool = False) -> Callable[[Bench], PairedResult]:
    gan_options = MODEL_OPTIONS | {"loss": loss, "gamma": gamma, "from_vae": from_vae}

    def measure(bench: Bench) -> PairedResult:
        options = _data_options(bench) | gan_options
        return compare_workers(bench, "plain.train_gan", "ours.train_gan", options, roofline=True)

    return measure


def _feed(bench: Bench) -> PairedResult:
    return compare_workers(bench, "plain.load_batches", "ours.load_batches", _data_options(bench))


def _cache(bench: Bench) -> PairedResult:
    num_images = bench.options.num_images
    data = bench.inputs.get("noise", count=num_images, size=SIZE) / "set"
    result = compare_workers(
        bench,
        "ours.train_gan_cached",
        "ours.train_gan_cached",
        {"data": str(data), "batch_size": BATCH_SIZE} | MODEL_OPTIONS,
        reference_options={"cache": "memory"},
        our_options={"cache": "mmap"},
    )
    result.notes = f"{num_images:,} images, memory-mapped against in RAM; mapped pages count as memory"
    return result


def _minutes(bench: Bench) -> PairedResult:
    data, minutes = _data_options(bench)["data"], bench.options.minutes
    notes = f"train-vae, train-gan --minutes {minutes:g}: requested against actual time, 1 is right"
    result = PairedResult("s", notes=notes)
    for kind in ("vae", "gan"):
        options = ["--minutes", str(minutes), "--preset", PRESET, "--run", str(_out_path(bench)), "-q"]
        result.ours.append(time_command(["vaegan", f"train-{kind}", data, *options], 1))
        result.reference.append(Timing(1, minutes * 60, 0.0, 0))
    return result


def _out_path(bench: Bench, suffix: str = "") -> Path:
    return bench.inputs.root / f"out-{next(_output_numbers)}{suffix}"


def _models(bench: Bench) -> tuple[str, list[str]]:
    """Return the path of vaegan's weights, and the arguments for the plain generator."""
    folder = bench.inputs.get("models", size=SIZE, **MODEL_OPTIONS)
    width, latent_dim = MODEL_OPTIONS["width"], MODEL_OPTIONS["latent_dim"]
    return str(folder / "model.safetensors"), [
        str(folder / "plain.safetensors"),
        str(width),
        str(SIZE),
        str(latent_dim),
    ]


def _script(name: str, *arguments: object) -> list[str]:
    return ["benchmarks.speed.scripts", name, *map(str, arguments)]


def _preprocess(bench: Bench) -> PairedResult:
    count = bench.choose(500, 40)
    source = bench.inputs.get("jpegs", count=count) / "jpegs"
    result = compare_commands(
        bench,
        "images/s",
        count,
        lambda: _script("preprocess", source, _out_path(bench), SIZE),
        lambda: ["vaegan", "preprocess", str(source), "--out", str(_out_path(bench)), "--size", str(SIZE), "-q"],
    )
    result.notes = f"{count} JPEGs of 1024 pixels"
    return result


def _sample(count: int, quick: int, separate: bool) -> Callable[[Bench], PairedResult]:
    def measure(bench: Bench) -> PairedResult:
        model, plain = _models(bench)
        num_images = bench.choose(count, quick)
        script, suffix, extra_args = ("sample", "", ["--separate"]) if separate else ("grid", ".png", [])
        result = compare_commands(
            bench,
            "images/s" if separate else "s",
            num_images,
            lambda: _script(script, *plain, num_images, _out_path(bench, suffix)),
            lambda: [
                "vaegan",
                "sample",
                model,
                "-n",
                str(num_images),
                "--out",
                str(_out_path(bench, suffix)),
                *extra_args,
                "-q",
            ],
        )
        result.notes = f"{num_images:,} images" if separate else ""
        for path in bench.inputs.root.glob("out-*"):
            shutil.rmtree(path, ignore_errors=True)
        return result

    return measure


def _interpolate(bench: Bench) -> PairedResult:
    model, plain = _models(bench)
    return compare_commands(
        bench,
        "s",
        32,
        lambda: _script("interpolate", *plain, 32, _out_path(bench)),
        lambda: ["vaegan", "interpolate", model, "--seeds", "0,1", "--out", str(_out_path(bench, ".gif")), "-q"],
    )


def _evaluate(bench: Bench) -> PairedResult:
    model, plain = _models(bench)
    count = bench.choose(200, 16)
    faces = bench.inputs.get("faces", count=bench.choose(NUM_FACES, 256), size=SIZE)
    if not (faces / "set" / FEATURES_FILE).exists():
        time_command(
            ["vaegan", "evaluate", model, str(faces / "set"), "-n", "16", "--out", str(_out_path(bench)), "-q"], 1
        )
    result = compare_commands(
        bench,
        "s",
        2 * count,
        lambda: _script("evaluate", faces / "folder", *plain, count),
        lambda: [
            "vaegan",
            "evaluate",
            model,
            str(faces / "set"),
            "-n",
            str(count),
            "--out",
            str(_out_path(bench)),
            "-q",
        ],
    )
    result.notes = f"{count} samples, all of our metrics against FID alone with Inception, cached features"
    return result


def _start_help(bench: Bench) -> PairedResult:
    return compare_commands(bench, "CPU s", 1, lambda: _script("help"), lambda: ["vaegan", "--help"])


def _start_sample(bench: Bench) -> PairedResult:
    model, plain = _models(bench)
    return compare_commands(
        bench,
        "CPU s",
        1,
        lambda: _script("grid", *plain, 1, _out_path(bench, ".png")),
        lambda: ["vaegan", "sample", model, "-n", "1", "--out", str(_out_path(bench, ".png")), "-q"],
    )


def _memory(kind: str) -> Callable[[Bench], PairedResult]:
    def measure(bench: Bench) -> PairedResult:
        data = bench.inputs.get("noise", count=MEMORY_ROW_IMAGES, size=SIZE) / "set"
        options = ["--steps", str(bench.choose(200, 16)), "--preset", PRESET, "-q"]
        command = ["vaegan", f"train-{kind}", str(data), "--run", str(_out_path(bench)), *options]
        return run_pairs(PairedResult("MB"), 1, None, lambda: time_command(command, 1))

    return measure


TRAIN_DESCRIPTION = "against DataLoader and plain PyTorch"
ROWS = (
    Row("train-vae", TRAIN_DESCRIPTION, _train_vae, "2.5x"),
    *(Row(f"train-gan-{name}", TRAIN_DESCRIPTION, _train_gan(name, 0.0), "2.5x, 60 % of peak") for name in LOSSES),
    *(
        Row(
            f"train-gan-{name}-r1r2",
            "lazy R1 and R2 against exact penalties at every step",
            _train_gan(name, 1.0),
            "4x",
        )
        for name in LOSSES
    ),
    Row(
        "train-gan-default",
        "default recipe after a VAE, with its reconstruction loss, against a plain loop without",
        _train_gan("relativistic", 1.0, True),
    ),
    Row("feed", "batches as the networks receive them, against a DataLoader with two workers", _feed),
    Row("preprocess", "against a loop of PIL and torchvision", _preprocess),
    Row("sample-1", "one image, including the start, against a plain script", _sample(1, 1, False)),
    Row("sample-64", "a grid, including the start, against a plain script", _sample(64, 64, False)),
    Row("sample-10000", "one file per image, against torchvision's save_image", _sample(10_000, 300, True), "4x"),
    Row("interpolate", "strip and GIF, including the start, against a plain script", _interpolate),
    Row("evaluate", "against FID with Inception", _evaluate),
    Row("start-help", "vaegan --help against a bare Typer app's", _start_help, "0.67x (1.5x the CPU time)"),
    Row("start-sample", "vaegan sample -n 1 against a plain script", _start_sample),
    Row("cache", "memory-mapped dataset against one in RAM", _cache, "0.9x"),
    Row("minutes", "", _minutes, "0.87x to 1.18x"),
    *(
        Row(
            f"memory-train-{kind}",
            f"peak of the command on {MEMORY_ROW_IMAGES:,} images",
            _memory(kind),
            "1,500 MB",
        )
        for kind in ("vae", "gan")
    ),
)
