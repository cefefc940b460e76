"""Compare the speed of `vaegan preprocess` with a plain loop, on small images and on large JPEGs.

python -m benchmarks.preprocess_speed [--faces FOLDER] [--count 2000] [--pairs 5] [--size 64]

The plain loop is torchvision's usual recipe in one process: PIL open, convert, Resize, CenterCrop, save as PNG. vaegan
uses two workers and does more: it hashes every file, finds duplicates, and writes a manifest and shards. Both run in
turn, and the medians of wall-clock and CPU time are printed. The last table compares scaled JPEG decoding with full
decoding.
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

from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.preprocess import decoding
from vaegan.data.preprocess.preprocess import prepare
from vaegan.data.preprocess.records import FileLocation, Task
from vaegan.data.preprocess.tasks import run_task
from vaegan.demo.faces import draw_face, random_face

NUM_WORKERS = 2
MAX_COMPARED_FILES = 200


def preprocess_plain(source: Path, out: Path, size: int) -> None:
    """Resize and crop all images of a folder as a user would with torchvision."""
    transform = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size)])
    out.mkdir()
    for path in sorted(source.iterdir()):
        with Image.open(path) as image:
            transform(image.convert("RGB")).save(out / f"{path.stem}.png")


def write_jpegs(folder: Path, count: int, grain_strength: float, side: int = 1024) -> None:
    """Write drawn faces with grain as in photographs, as JPEGs of quality 90."""
    folder.mkdir()
    rng = random.Random(0)
    grain = [Image.effect_noise((side, side), 24).convert("RGB") for _ in range(4)]
    faces = [draw_face(random_face(0, index)).resize((side, side), Image.Resampling.BICUBIC) for index in range(50)]
    for index in range(count):
        face = Image.blend(faces[index % len(faces)], grain[index % len(grain)], grain_strength)
        # a patch of random color makes every file different
        face.paste((rng.randrange(256), rng.randrange(256), rng.randrange(256)), (0, 0, side // 4, side // 16))
        face.save(folder / f"{index:05d}.jpg", quality=90)


def cpu_seconds() -> float:
    """Return the CPU time of this process and its ended children; other programs do not change it."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def compare_speed(name: str, folder: Path, work_dir: Path, size: int, num_pairs: int) -> None:
    """Measure both programs in turn and print a row of the table."""
    programs = {
        "plain": lambda: preprocess_plain(folder, work_dir / "plain", size),
        "vaegan": lambda: prepare([folder], work_dir / "vaegan", size=size, workers=NUM_WORKERS),
    }
    wall: dict[str, list[float]] = {program: [] for program in programs}
    cpu: dict[str, list[float]] = {program: [] for program in programs}
    count = len(list(folder.iterdir()))
    for _ in range(num_pairs):
        for program, run in programs.items():
            start_time, start_cpu = time.perf_counter(), cpu_seconds()
            run()
            wall[program].append(time.perf_counter() - start_time)
            cpu[program].append(cpu_seconds() - start_cpu)
        for program in programs:
            shutil.rmtree(work_dir / program)
    plain, ours = (statistics.median(wall[program]) for program in programs)
    plain_cpu, our_cpu = (1000 * statistics.median(cpu[program]) / count for program in programs)
    ratios = [a / b for a, b in zip(wall["plain"], wall["vaegan"], strict=True)]
    print(
        f"| {name} | {count:,} | {plain:.2f} s ({count / plain:,.0f}/s) | {ours:.2f} s ({count / ours:,.0f}/s) |"
        f" {statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f}) |"
        f" {plain_cpu:.2f} / {our_cpu:.2f} ms |",
        flush=True,
    )


def compare_decoding(name: str, folder: Path, size: int) -> None:
    """Print the differences between scaled and full JPEG decoding, in levels of 255."""
    settings, default_scale = PreprocessSettings(size=size), decoding.DRAFT_SCALE
    paths = sorted(folder.iterdir())[:MAX_COMPARED_FILES]
    largest, num_values, num_over_8, means = 0, 0, 0, []
    for path in paths:
        pixels = []
        for scale in (default_scale, 10**6):
            decoding.DRAFT_SCALE = scale
            pixels.append(run_task(Task(0, FileLocation(str(path))), settings).images[0].pixels)
        differences = [abs(a - b) for a, b in zip(*pixels, strict=True)]
        largest = max(largest, *differences)
        num_values += len(differences)
        num_over_8 += sum(difference > 8 for difference in differences)
        means.append(statistics.mean(differences))
    decoding.DRAFT_SCALE = default_scale
    fraction = 100 * num_over_8 / num_values
    print(f"| {name} | {len(paths)} | {largest} | {statistics.mean(means):.3f} | {fraction:.4f} % |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, metavar="FOLDER", help="a folder of small images, without subfolders")
    parser.add_argument("--count", type=int, default=2000, help="number of 1024-pixel JPEGs to draw")
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each program")
    parser.add_argument("--size", type=int, default=64)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temp_dir:
        work_dir = Path(temp_dir)
        folders = {} if args.faces is None else {"faces": args.faces}
        for kind, grain_strength, count in (("smooth", 0.08, args.count), ("grainy", 0.3, args.count // 4)):
            folder = work_dir / kind
            write_jpegs(folder, count, grain_strength)
            mean_kb = statistics.mean(path.stat().st_size for path in folder.iterdir()) / 1000
            folders[f"{kind} 1024-pixel JPEGs, {mean_kb:.0f} kB each"] = folder
        print(f"{platform.machine()}, {os.cpu_count()} cores, {NUM_WORKERS} workers, {args.size}x{args.size} pixels")
        if hasattr(os, "getloadavg"):
            print(f"load average at the start {os.getloadavg()[0]:.1f}")
        print("| images | count | plain loop | vaegan preprocess | speed-up (median, range) | CPU time per image |")
        print("|---|---|---|---|---|---|")
        for name, folder in folders.items():
            compare_speed(name, folder, work_dir, args.size, args.pairs)
        print("\n| scaled against full decoding | images | largest difference | mean | values that differ by over 8 |")
        print("|---|---|---|---|---|")
        for name, folder in folders.items():
            compare_decoding(name, folder, args.size)


if __name__ == "__main__":
    main()
