"""Memory of vaegan preprocess over all its processes, as the number of pictures grows. Linux only (reads /proc).

python -m benchmarks.preprocess_memory [--counts 10k,100k] [--size 64] [--dedupe near]

Draws small JPEGs, all different, prepares them with two workers, and adds up the resident memory of the main process
and the workers twice a second. Pages that processes share are counted for each of them, so the truth is lower.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from PIL import Image

from vaegan.config.options import parse_count
from vaegan.demo.faces import draw_face, random_face

TENTHS = 10


def draw(folder: Path, count: int) -> None:
    """JPEGs of 96 x 80 pixels: drawn faces, each with its own coloured fields."""
    rng = random.Random(0)
    faces = [draw_face(random_face(0, number)).resize((96, 80)) for number in range(64)]
    for number in range(count):
        picture = faces[number % len(faces)].copy()
        fields = Image.frombytes("RGB", (6, 5), rng.randbytes(90)).resize(picture.size, Image.Resampling.BICUBIC)
        place = folder / f"{number // 1000:04d}"
        place.mkdir(parents=True, exist_ok=True)
        Image.blend(picture, fields, 0.6).save(place / f"{number:08d}.jpg", quality=80)


def resident(process: int) -> int:
    """Bytes of resident memory of a process; 0 when it has ended."""
    try:
        fields = Path(f"/proc/{process}/statm").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def tree(process: int) -> list[int]:
    """A process and all that descend from any of its threads."""
    found = [process]
    for listed in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = listed.read_text().split()
        except OSError:
            continue
        found += [below for child in children for below in tree(int(child))]
    return found


def measure(source: Path, out: Path, arguments: list[str]) -> tuple[list[tuple[float, int, int]], float]:
    """Run the command; return (seconds, bytes of the main process, bytes of all) samples, and the seconds it took."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "vaegan", "preprocess", str(source), "--out", str(out), "-q", *arguments]
    samples = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None:
            sizes = [resident(process) for process in tree(run.pid)]
            samples.append((time.perf_counter() - began, sizes[0], sum(sizes)))
            time.sleep(0.5)
    if run.returncode:
        sys.exit(f"preprocess ended with {run.returncode}")
    return samples, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="10k,100k")
    parser.add_argument("--size", default="64")
    parser.add_argument("--dedupe", default="near")
    given = parser.parse_args()
    print("| pictures | seconds | peak, main process | peak, all processes | all processes at each tenth of the time |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for text in given.counts.split(","):
            count, source = parse_count(text), Path(name, text)
            draw(source, count)
            arguments = ["--size", given.size, "--dedupe", given.dedupe, "--workers", "2"]
            samples, seconds = measure(source, Path(name, f"set-{text}"), arguments)
            marks = [samples[len(samples) * tenth // TENTHS][2] >> 20 for tenth in range(TENTHS)]
            main_peak, all_peak = (max(sample[at] for sample in samples) >> 20 for at in (1, 2))
            curve = " ".join(map(str, marks))
            print(f"| {count:,} | {seconds:.0f} | {main_peak} MiB | {all_peak} MiB | {curve} |", flush=True)


if __name__ == "__main__":
    main()
