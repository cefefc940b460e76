"""Every row: what is measured, against what, and what the goal is."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.pairs import Bench, Found, commands, in_turn, workers
from benchmarks.speed.sides import Taken, run_command
from vaegan.config.model_config import PRESETS
from vaegan.data.dataset import FEATURES_FILE
from vaegan.losses.gan import LOSSES

SIZE, BATCH, PRESET = 64, 32, "small"
FACES = 4096
SET_OF_MEMORY = 8300
NETWORK = {"width": PRESETS[PRESET].base_channels, "latent_dim": PRESETS[PRESET].latent_dim}
_numbers = itertools.count()


@dataclass(frozen=True)
class Row:
    """A row of the table. `goal`: the issue's number in words, or nothing."""

    name: str
    about: str
    measure: Callable[[Bench], Found]
    goal: str = ""


def _fed(bench: Bench) -> dict[str, Any]:
    place = bench.material.get("faces", count=bench.number(FACES, 1024), size=SIZE)
    return {"folder": str(place / "folder"), "data": str(place / "set"), "size": SIZE, "batch": BATCH}


def _vae(bench: Bench) -> Found:
    return workers(bench, "plain.train_vae", "ours.train_vae", _fed(bench) | NETWORK, roofline=True)


def _gan(loss: str, gamma: float, from_vae: bool = False) -> Callable[[Bench], Found]:
    options = NETWORK | {"loss": loss, "gamma": gamma, "from_vae": from_vae}
    return lambda bench: workers(bench, "plain.train_gan", "ours.train_gan", _fed(bench) | options, roofline=True)


def _feeding(bench: Bench) -> Found:
    return workers(bench, "plain.feed", "ours.feed", _fed(bench))


def _cache(bench: Bench) -> Found:
    data = bench.material.get("generated", count=bench.effort.pictures, size=SIZE) / "set"
    options = {"data": str(data), "batch": BATCH} | NETWORK
    kept = ({"cache": "memory"}, {"cache": "mmap"})
    found = workers(bench, "ours.train_from", "ours.train_from", options, differing=kept)
    found.notes = f"{bench.effort.pictures:,} pictures on disk against in memory; mapped pages count as memory"
    return found


def _minutes(bench: Bench) -> Found:
    """The asked against the taken: a ratio of 1 is right."""
    data, minutes = _fed(bench)["data"], bench.effort.minutes
    found = Found("s", notes=f"train-vae, train-gan --minutes {minutes:g}, asked against taken: 1 is right")
    for kind in ("vae", "gan"):
        options = ["--minutes", str(minutes), "--preset", PRESET, "--run", str(_out(bench)), "-q"]
        found.ours.append(run_command(["vaegan", f"train-{kind}", data, *options], 1))
        found.reference.append(Taken(1, minutes * 60, 0.0, 0))
    return found


def _out(bench: Bench, suffix: str = "") -> Path:
    return bench.material.place / f"out-{next(_numbers)}{suffix}"


def _network(bench: Bench) -> tuple[str, list[str]]:
    """Ours, and what a plain script needs to know of its own."""
    place = bench.material.get("networks", size=SIZE, **NETWORK)
    plain = [str(place / "plain.safetensors"), *map(str, (NETWORK["width"], SIZE, NETWORK["latent_dim"]))]
    return str(place / "model.safetensors"), plain


def _script(name: str, *arguments: object) -> list[str]:
    return ["benchmarks.speed.scripts", name, *map(str, arguments)]


def _preprocess(bench: Bench) -> Found:
    count = bench.number(500, 40)
    source = bench.material.get("jpegs", count=count) / "jpegs"
    found = commands(
        bench,
        "pictures/s",
        count,
        lambda: _script("preprocess", source, _out(bench), SIZE),
        lambda: ["vaegan", "preprocess", str(source), "--out", str(_out(bench)), "--size", str(SIZE), "-q"],
    )
    found.notes = f"{count} JPEGs of 1024 pixels"
    return found


def _sample(count: int, quick: int, separate: bool) -> Callable[[Bench], Found]:
    def measure(bench: Bench) -> Found:
        model, plain = _network(bench)
        number = bench.number(count, quick)
        name, suffix, more = ("sample", "", ["--separate"]) if separate else ("sheet", ".png", [])
        found = commands(
            bench,
            "pictures/s" if separate else "s",
            number,
            lambda: _script(name, *plain, number, _out(bench, suffix)),
            lambda: ["vaegan", "sample", model, "-n", str(number), "--out", str(_out(bench, suffix)), *more, "-q"],
        )
        found.notes = f"{number:,} pictures" if separate else ""
        for place in bench.material.place.glob("out-*"):
            shutil.rmtree(place, ignore_errors=True)
        return found

    return measure


def _interpolate(bench: Bench) -> Found:
    model, plain = _network(bench)
    return commands(
        bench,
        "s",
        32,
        lambda: _script("interpolate", *plain, 32, _out(bench)),
        lambda: ["vaegan", "interpolate", model, "--seeds", "0,1", "--out", str(_out(bench, ".gif")), "-q"],
    )


def _evaluate(bench: Bench) -> Found:
    model, plain = _network(bench)
    count = bench.number(200, 16)
    place = bench.material.get("faces", count=bench.number(FACES, 256), size=SIZE)
    if not (place / "set" / FEATURES_FILE).exists():
        run_command(["vaegan", "evaluate", model, str(place / "set"), "-n", "16", "--out", str(_out(bench)), "-q"], 1)
    found = commands(
        bench,
        "s",
        2 * count,
        lambda: _script("evaluate", place / "folder", *plain, count),
        lambda: ["vaegan", "evaluate", model, str(place / "set"), "-n", str(count), "--out", str(_out(bench)), "-q"],
    )
    found.notes = f"{count} samples, all of our measures against FID alone with Inception, features kept"
    return found


def _help(bench: Bench) -> Found:
    return commands(bench, "CPU s", 1, lambda: _script("help"), lambda: ["vaegan", "--help"])


def _start(bench: Bench) -> Found:
    model, plain = _network(bench)
    return commands(
        bench,
        "CPU s",
        1,
        lambda: _script("sheet", *plain, 1, _out(bench, ".png")),
        lambda: ["vaegan", "sample", model, "-n", "1", "--out", str(_out(bench, ".png")), "-q"],
    )


def _memory(kind: str) -> Callable[[Bench], Found]:
    def measure(bench: Bench) -> Found:
        data = bench.material.get("generated", count=SET_OF_MEMORY, size=SIZE) / "set"
        steps = ["--steps", str(bench.number(200, 16)), "--preset", PRESET, "-q"]
        command = ["vaegan", f"train-{kind}", str(data), "--run", str(_out(bench)), *steps]
        return in_turn(Found("MB"), 1, None, lambda: run_command(command, 1))

    return measure


TRAINED = "against DataLoader and plain PyTorch"
ROWS = (
    Row("train-vae", TRAINED, _vae, "2.5x"),
    *(Row(f"train-gan-{name}", TRAINED, _gan(name, 0.0), "2.5x, 60 % of peak") for name in LOSSES),
    *(
        Row(f"train-gan-{name}-r1r2", "lazy R1 and R2 against exact ones at each step", _gan(name, 1.0), "4x")
        for name in LOSSES
    ),
    Row(
        "train-gan-default",
        "default recipe after a VAE, with its anchor, against a plain loop without",
        _gan("relativistic", 1.0, True),
    ),
    Row("feed", "pictures as networks take them, against a DataLoader of two workers", _feeding),
    Row("preprocess", "against a loop of PIL and torchvision", _preprocess),
    Row("sample-1", "one picture, with the start, against a plain script", _sample(1, 1, False)),
    Row("sample-64", "a sheet, with the start, against a plain script", _sample(64, 64, False)),
    Row("sample-10000", "a file each, against torchvision's save_image of each", _sample(10_000, 300, True), "4x"),
    Row("interpolate", "strip and GIF, with the start, against a plain script", _interpolate),
    Row("evaluate", "against FID with Inception", _evaluate),
    Row("start-help", "vaegan --help against a bare Typer app's", _help, "0.67x (1.5x the CPU time)"),
    Row("start-sample", "vaegan sample -n 1 against a plain script", _start),
    Row("cache", "the set on disk against in memory", _cache, "0.9x"),
    Row("minutes", "", _minutes, "0.87x to 1.18x"),
    *(
        Row(
            f"memory-train-{kind}",
            f"peak of the whole command on {SET_OF_MEMORY:,} pictures",
            _memory(kind),
            "1,500 MB",
        )
        for kind in ("vae", "gan")
    ),
)
