"""Parameters and training speed of every preset, VAE and GAN: the numbers in the README's table of sizes.

python -m benchmarks.presets [--size 64] [--seconds 20] [--presets tiny small ...]
"""

from __future__ import annotations

import argparse
import os
import platform

import torch

from vaegan.config.model_config import PRESETS, ModelConfig
from vaegan.config.settings import GANSettings, VAESettings
from vaegan.data.sampler import BatchSampler
from vaegan.training.distributed import DistributedContext
from vaegan.training.duration import measure_step_seconds
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.precision import choose_device_context
from vaegan.training.vae_trainer import VAETrainer

PICTURES = 4096


def millions(model: torch.nn.Module) -> str:
    """Parameters of a network."""
    return f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f} M"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20.0, help="of timing, per network")
    parser.add_argument("--presets", nargs="+", choices=tuple(PRESETS), default=list(PRESETS))
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    place = choose_device_context(options.device, "auto")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {place.device}, {place.precision}")
    pictures = torch.randint(0, 256, (PICTURES, 3, options.size, options.size), dtype=torch.uint8)
    print(f"{'':8s}{'VAE':>10s}{'pictures/s':>12s}{'G':>10s}{'D':>10s}{'pictures/s':>12s}")
    for preset in options.presets:
        row = PRESETS[preset]
        config = ModelConfig(options.size, 3, row.latent_dim, row.base_channels)
        vae = VAETrainer(config, VAESettings(), place, pictures, pictures[:8])
        gan = GANTrainer(config, GANSettings(d_warmup_steps=0), place, None)
        speeds = []
        for trainer in (vae, gan):
            batch = trainer.settings.batch_size
            batches = BatchSampler(pictures, batch, 0, place.device)
            speeds.append(
                f"{batch / measure_step_seconds(trainer, batches, options.seconds, DistributedContext()):.0f}"
            )
        networks = [millions(model) for model in (vae.vae, gan.generator, gan.discriminator)]
        print(f"{preset:8s}{networks[0]:>10s}{speeds[0]:>12s}{networks[1]:>10s}{networks[2]:>10s}{speeds[1]:>12s}")


if __name__ == "__main__":
    main()
