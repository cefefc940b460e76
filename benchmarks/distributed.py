"""Throughput of both trainers as two processes against one: `python -m benchmarks.distributed`.

Pictures per second of whole steps, without previews and checkpoints, on pictures of noise (what is in them costs
nothing). The effective batch is the same in every row. Rows are measured in turn, several times; medians are shown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROWS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1)}


def measure(kind: str, preset: str, size: int, batch: int, steps: int) -> None:
    """One process's part: time `steps` steps after three; the first process prints pictures per second."""
    import torch

    from vaegan.config.model_config import PRESETS, ModelConfig
    from vaegan.config.settings import GANSettings, VAESettings
    from vaegan.training.accumulation import GradientAccumulator
    from vaegan.training.distributed import init_distributed
    from vaegan.training.gan_trainer import GANTrainer
    from vaegan.training.precision import DeviceContext
    from vaegan.training.vae_trainer import VAETrainer

    row, place = PRESETS[preset], DeviceContext(torch.device("cpu"), "fp32")
    config = ModelConfig(size, 3, row.latent_dim, row.base_channels)
    with init_distributed() as world:
        pictures = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
        shares = GradientAccumulator(world, batch)
        if kind == "vae":
            trainer = VAETrainer(config, VAESettings(batch_size=batch), place, pictures, pictures, shares)
        else:
            trainer = GANTrainer(config, GANSettings(batch_size=batch), place, None, shares)
        mine = pictures[world.local_slice(batch)]
        for step in range(steps + 3):
            if step == 3:
                world.any_rank(False)
                began = time.perf_counter()
            trainer.step(mine, step)
        world.any_rank(False)
        if world.is_main_process:
            print(json.dumps(steps * batch / (time.perf_counter() - began)))


def start(processes: int, threads: int, arguments: list[str]) -> float:
    """Measure in fresh processes; returns pictures per second."""
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "--"]
    done = subprocess.run(
        [*command, "benchmarks.distributed", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", metavar="KIND")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    said = parser.parse_args()
    if said.measure:
        measure(said.measure, said.preset, said.size, said.batch, said.steps)
        return
    print(f"{said.preset} at {said.size}x{said.size}, batches of {said.batch}, {os.cpu_count()} cores, fp32")
    for kind in ("vae", "gan"):
        arguments = [f"--measure={kind}", f"--preset={said.preset}", f"--size={said.size}", f"--batch={said.batch}"]
        found: dict[str, list[float]] = {name: [] for name in ROWS}
        for _ in range(said.repeats):
            for name, (processes, threads) in ROWS.items():
                found[name].append(start(processes, threads, [*arguments, f"--steps={said.steps}"]))
        medians = {name: statistics.median(rates) for name, rates in found.items()}
        for name, rate in medians.items():
            ratio = rate / medians["1 process, 2 threads"]
            print(f"{kind}  {name:<28}{rate:8.1f} pictures/s  x{ratio:.2f}")


if __name__ == "__main__":
    main()
