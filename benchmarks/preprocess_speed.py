"""vaegan preprocess against the loop that a user would otherwise write, on comic faces and on large JPEGs.

python -m benchmarks.preprocess_speed [--faces FOLDER] [--count 2000] [--pairs 5] [--size 64]

The loop is torchvision's usual recipe in one process: PIL open, convert, Resize, CenterCrop, save as PNG. Ours has two
workers, and does more: every file is hashed, compared with all others, written down and put into shards. The two
run in turn, pair by pair; medians are compared, of the clock and of the CPU time that each takes for a picture. The
last table compares scaled JPEG decoding with full decoding.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from PIL import Image
from torchvision import transforms

from vaegan.config.settings import PreprocessSettings
from vaegan.data.preprocess import decoding
from vaegan.data.preprocess.preprocess import prepare
from vaegan.data.preprocess.records import FileLocation, Task
from vaegan.data.preprocess.tasks import run_task as prepare_one
from vaegan.demo.faces import draw_face, random_face

WORKERS = 2


def loop(source: Path, out: Path, size: int) -> None:
    """What a user writes."""
    squared = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size)])
    out.mkdir()
    for path in sorted(source.iterdir()):
        with Image.open(path) as picture:
            squared(picture.convert("RGB")).save(out / f"{path.stem}.png")


def draw(folder: Path, count: int, strength: float, side: int = 1024) -> None:
    """Drawn faces with more or less of the grain of photographs, as JPEGs of quality 90."""
    folder.mkdir()
    rng = random.Random(0)
    grain = [Image.effect_noise((side, side), 24).convert("RGB") for _ in range(4)]
    faces = [draw_face(random_face(0, number)).resize((side, side), Image.Resampling.BICUBIC) for number in range(50)]
    for number in range(count):
        face = Image.blend(faces[number % len(faces)], grain[number % len(grain)], strength)
        face.paste((rng.randrange(256), rng.randrange(256), rng.randrange(256)), (0, 0, side // 4, side // 16))
        face.save(folder / f"{number:05d}.jpg", quality=90)


def processor_seconds() -> float:
    """CPU time of this process and its ended children: what other programs on the machine do not change."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def compare(name: str, folder: Path, place: Path, size: int, pairs: int) -> None:
    times: dict[str, list[float]] = {"loop": [], "vaegan": []}
    spent: dict[str, list[float]] = {"loop": [], "vaegan": []}
    count = len(list(folder.iterdir()))
    ways = {
        "loop": lambda: loop(folder, place / "loop", size),
        "vaegan": lambda: prepare([folder], place / "set", size=size, workers=WORKERS),
    }
    for _ in range(pairs):
        for kind, way in ways.items():
            began, before = time.perf_counter(), processor_seconds()
            way()
            times[kind].append(time.perf_counter() - began)
            spent[kind].append(processor_seconds() - before)
        shutil.rmtree(place / "loop")
        shutil.rmtree(place / "set")
    loops, ours = (statistics.median(times[kind]) for kind in ("loop", "vaegan"))
    efforts = {kind: 1000 * statistics.median(seconds) / count for kind, seconds in spent.items()}
    ratios = [a / b for a, b in zip(times["loop"], times["vaegan"], strict=True)]
    print(
        f"| {name} | {count:,} | {loops:.2f} s ({count / loops:,.0f}/s) | {ours:.2f} s ({count / ours:,.0f}/s) |"
        f" {statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f}) |"
        f" {efforts['loop']:.2f} / {efforts['vaegan']:.2f} ms |",
        flush=True,
    )


def difference(name: str, folder: Path, size: int, most: int) -> None:
    """Squares from scaled decoding against those from full decoding, in levels of 255."""
    settings = PreprocessSettings(size=size)
    usual, worst, means, over = decoding.DRAFT_SCALE, 0, [], 0
    paths = sorted(folder.iterdir())[:most]
    values = 0
    for path in paths:
        squares = []
        for draft in (usual, 10**6):
            decoding.DRAFT_SCALE = draft
            squares.append(prepare_one(Task(0, FileLocation(str(path))), settings).images[0].pixels)
        levels = [abs(a - b) for a, b in zip(*squares, strict=True)]
        worst, values = max(worst, max(levels)), values + len(levels)
        over += sum(level > 8 for level in levels)
        means.append(sum(levels) / len(levels))
    decoding.DRAFT_SCALE = usual
    print(
        f"| {name} | {len(paths)} | {worst} | {statistics.mean(means):.3f} | {100 * over / values:.4f} % |", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, help="a flat folder of small pictures")
    parser.add_argument("--count", type=int, default=2000, help="how many 1024-pixel JPEGs to draw")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--size", type=int, default=64)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        folders = {}
        for kind, strength, count in (("smooth", 0.08, given.count), ("grainy", 0.3, given.count // 4)):
            draw(place / kind, count, strength)
            mean = statistics.mean(path.stat().st_size for path in (place / kind).iterdir()) / 1000
            folders[f"{kind} 1024-pixel JPEGs, {mean:.0f} kB each"] = place / kind
        if given.faces is not None:
            folders = {"faces": given.faces, **folders}
        print(f"{platform.machine()}, {os.cpu_count()} cores, {WORKERS} workers, squares of {given.size} pixels")
        print(f"load average at the start {os.getloadavg()[0]:.1f}")
        print("| pictures | number | loop | vaegan preprocess | speed-up (median, range of pairs) | CPU a picture |")
        print("|---|---|---|---|---|---|")
        for title, folder in folders.items():
            compare(title, folder, place, given.size, given.pairs)
        print(
            "\n| scaled against full decoding | pictures | largest difference | mean | values that differ by over 8 |"
        )
        print("|---|---|---|---|---|")
        for title, folder in folders.items():
            difference(title, folder, given.size, 200)


if __name__ == "__main__":
    main()
