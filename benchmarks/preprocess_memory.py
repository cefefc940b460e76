"""Measure the memory of `vaegan preprocess` over all its processes, for growing numbers of images. Linux only.

python -m benchmarks.preprocess_memory [--counts 10k,100k] [--size 64] [--dedupe near]

Draws small, distinct JPEGs, prepares them with two workers, and reads the resident memory of the main process and the
workers from /proc twice a second. Memory pages that processes share are counted once per process, so the true sum is
lower.
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

NUM_MARKS = 10
SAMPLE_SECONDS = 0.5


def write_jpegs(folder: Path, count: int) -> None:
    """Write JPEGs of 96 x 80 pixels: drawn faces, each blended with random color patches."""
    rng = random.Random(0)
    faces = [draw_face(random_face(0, index)).resize((96, 80)) for index in range(64)]
    for index in range(count):
        face = faces[index % len(faces)].copy()
        patches = Image.frombytes("RGB", (6, 5), rng.randbytes(90)).resize(face.size, Image.Resampling.BICUBIC)
        subfolder = folder / f"{index // 1000:04d}"
        subfolder.mkdir(parents=True, exist_ok=True)
        Image.blend(face, patches, 0.6).save(subfolder / f"{index:08d}.jpg", quality=80)


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def process_tree(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants."""
    pids = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        for child in children:
            pids += process_tree(int(child))
    return pids


def measure(source: Path, out: Path, arguments: list[str]) -> tuple[list[tuple[int, int]], float]:
    """Run `vaegan preprocess`; return samples (bytes of the main process, bytes of all) and the seconds it took."""
    start_time = time.perf_counter()
    command = [sys.executable, "-m", "vaegan", "preprocess", str(source), "--out", str(out), "-q", *arguments]
    samples = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            sizes = [resident_bytes(pid) for pid in process_tree(process.pid)]
            samples.append((sizes[0], sum(sizes)))
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        sys.exit(f"preprocess exited with status {process.returncode}")
    return samples, time.perf_counter() - start_time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="10k,100k", help="numbers of images, separated by commas")
    parser.add_argument("--size", default="64")
    parser.add_argument("--dedupe", default="near")
    args = parser.parse_args()
    print("| images | seconds | peak, main process | peak, all processes | all processes, at each tenth of the time |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temp_dir:
        for text in args.counts.split(","):
            count, source = parse_count(text), Path(temp_dir, text)
            write_jpegs(source, count)
            arguments = ["--size", args.size, "--dedupe", args.dedupe, "--workers", "2"]
            samples, seconds = measure(source, Path(temp_dir, f"set-{text}"), arguments)
            main_peak, total_peak = (max(sizes) >> 20 for sizes in zip(*samples, strict=True))
            marks = (samples[len(samples) * mark // NUM_MARKS][1] >> 20 for mark in range(NUM_MARKS))
            curve = " ".join(map(str, marks))
            print(f"| {count:,} | {seconds:.0f} | {main_peak} MiB | {total_peak} MiB | {curve} |", flush=True)


if __name__ == "__main__":
    main()
