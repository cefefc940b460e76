"""Compare the training speed of two processes with that of one: `python -m benchmarks.distributed`.

Measures images per second of training steps on noise images, without previews and checkpoints. The global batch size
is the same in every row. Rows are measured in turn, several times, and medians are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROWS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1)}
BASELINE = "1 process, 2 threads"
WARMUP_STEPS = 3


def measure(kind: str, preset: str, size: int, batch_size: int, steps: int) -> None:
    """Time `steps` training steps in this process; the main process prints images per second."""
    import torch

    from vaegan.config.model_config import PRESETS
    from vaegan.config.settings import GANSettings, VAESettings
    from vaegan.training.accumulation import GradientAccumulator
    from vaegan.training.distributed import init_distributed
    from vaegan.training.gan_trainer import GANTrainer
    from vaegan.training.precision import DeviceContext
    from vaegan.training.trainer import Trainer
    from vaegan.training.vae_trainer import VAETrainer

    dimensions, device_ctx = PRESETS[preset], DeviceContext(torch.device("cpu"), "fp32")
    config = dimensions.model_config(size, 3)
    with init_distributed() as dist_ctx:
        images = torch.randint(0, 256, (batch_size, 3, size, size), dtype=torch.uint8)
        accumulator = GradientAccumulator(dist_ctx, batch_size)
        trainer: Trainer
        if kind == "vae":
            settings = VAESettings(batch_size=batch_size)
            trainer = VAETrainer(config, settings, device_ctx, images, images, accumulator)
        else:
            trainer = GANTrainer(config, GANSettings(batch_size=batch_size), device_ctx, None, accumulator)
        local_images = images[dist_ctx.local_slice(batch_size)]
        for step in range(WARMUP_STEPS + steps):
            if step == WARMUP_STEPS:
                dist_ctx.any_rank(False)  # barrier
                start_time = time.perf_counter()
            trainer.step(local_images, step)
        dist_ctx.any_rank(False)
        if dist_ctx.is_main_process:
            print(json.dumps(steps * batch_size / (time.perf_counter() - start_time)))


def measure_in_processes(num_processes: int, num_threads: int, arguments: list[str]) -> float:
    """Run this module in new processes; return images per second."""
    command = [sys.executable, "-m"]
    if num_processes > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={num_processes}", "-m", "--"]
    child = subprocess.run(
        [*command, "benchmarks.distributed", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": str(num_threads)},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(child.stdout.splitlines()[-1]))


def main() -> None:
    """Measure all rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", choices=("vae", "gan"), help=argparse.SUPPRESS)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64, help="global batch size")
    parser.add_argument("--steps", type=int, default=12, help="timed steps per measurement")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of every row")
    args = parser.parse_args()
    if args.measure:
        measure(args.measure, args.preset, args.size, args.batch_size, args.steps)
        return
    print(f"{args.preset} at {args.size}x{args.size}, batch size {args.batch_size}, {os.cpu_count()} cores, fp32")
    options = [f"--preset={args.preset}", f"--size={args.size}", f"--batch-size={args.batch_size}"]
    for kind in ("vae", "gan"):
        arguments = [f"--measure={kind}", *options, f"--steps={args.steps}"]
        speeds: dict[str, list[float]] = {name: [] for name in ROWS}
        for _ in range(args.repeats):
            for name, (num_processes, num_threads) in ROWS.items():
                speeds[name].append(measure_in_processes(num_processes, num_threads, arguments))
        medians = {name: statistics.median(values) for name, values in speeds.items()}
        for name, speed in medians.items():
            print(f"{kind}  {name:<28}{speed:8.1f} images/s  x{speed / medians[BASELINE]:.2f}")


if __name__ == "__main__":
    main()
