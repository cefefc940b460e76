"""Print parameters and training speed of every preset, VAE and GAN, as in the table of presets in the documentation.

python -m benchmarks.presets [--size 64] [--seconds 20] [--presets tiny small ...]
"""

from __future__ import annotations

import argparse
import os
import platform

import torch

from vaegan.config.model_config import PRESETS
from vaegan.config.settings import GANSettings, VAESettings
from vaegan.data.sampler import BatchSampler
from vaegan.training.distributed import DistributedContext
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.precision import choose_device_context
from vaegan.training.timings import measure_step_seconds
from vaegan.training.vae_trainer import VAETrainer

NUM_IMAGES = 4096


def count_parameters(model: torch.nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f} M"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="image size in pixels")
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of each measurement")
    parser.add_argument("--presets", nargs="+", choices=tuple(PRESETS), default=list(PRESETS))
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device_ctx = choose_device_context(args.device, "auto")
    processor = platform.processor() or platform.machine()
    print(f"{processor}, {os.cpu_count()} cores, {device_ctx.device}, {device_ctx.precision}")
    images = torch.randint(0, 256, (NUM_IMAGES, 3, args.size, args.size), dtype=torch.uint8)
    print(f"{'':8s}{'VAE':>10s}{'images/s':>12s}{'G':>10s}{'D':>10s}{'images/s':>12s}")
    for name in args.presets:
        preset = PRESETS[name]
        config = preset.model_config(args.size, 3)
        vae = VAETrainer(config, VAESettings(), device_ctx, images, images[:8])
        gan = GANTrainer(config, GANSettings(d_warmup_steps=0), device_ctx, None)
        speeds = []
        for trainer in (vae, gan):
            batch_size = trainer.settings.batch_size
            sampler = BatchSampler(images, batch_size, 0, device_ctx.device)
            step_seconds = measure_step_seconds(trainer, sampler, args.seconds, DistributedContext())
            speeds.append(f"{batch_size / step_seconds:.0f}")
        vae_size, g_size, d_size = (count_parameters(model) for model in (vae.vae, gan.generator, gan.discriminator))
        print(f"{name:8s}{vae_size:>10s}{speeds[0]:>12s}{g_size:>10s}{d_size:>10s}{speeds[1]:>12s}")


if __name__ == "__main__":
    main()
