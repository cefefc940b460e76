"""vaegan's workloads: its trainers and data loading, called as the training loop calls them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.speed.plain import NETWORKS
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import GANSettings, VAESettings
from vaegan.data.dataset import open_dataset
from vaegan.data.memmap import ImageArray
from vaegan.data.sampler import BatchSampler
from vaegan.models.vae import VAE
from vaegan.training.augment import random_hflip
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.monitor import MetricAverager
from vaegan.training.precision import DeviceContext, choose_device_context
from vaegan.training.trainer import Trainer
from vaegan.training.vae_trainer import VAETrainer
from vaegan.utils.images import to_float

LOG_EVERY = 50
PENALTY_INTERVAL = 8
START_STEP = 2**20
"""A step after every warm-up, at the start of an interval of lazy gradient penalties."""


def _device_context() -> DeviceContext:
    """Return the fastest device and precision, with the setting of threads that `vaegan train-*` has."""
    torch.set_flush_denormal(True)
    return choose_device_context("auto", "auto")


def _make_workload(trainer: Trainer, sampler: BatchSampler, num_steps: int) -> Callable[[], int]:
    averager, step = MetricAverager(), START_STEP

    def run() -> int:
        nonlocal step
        for _ in range(num_steps):
            averager.add(trainer.step(sampler[step], step) or {})  # None for a skipped step
            step += 1
            if step % LOG_EVERY == 0:
                averager.pop_means()
        return num_steps * sampler.batch_size

    return run


def train_vae(data: str, batch_size: int, width: int, latent_dim: int, **_: object) -> Callable[[], int]:
    device_ctx = _device_context()
    train, val = open_dataset(Path(data)).load()
    config = ModelConfig(train.shape[-1], train.shape[1], latent_dim, width, **NETWORKS)
    trainer = VAETrainer(config, VAESettings(batch_size=batch_size), device_ctx, train, val)
    return _make_workload(trainer, BatchSampler(train, batch_size, 0, device_ctx.device), 1)


def train_gan(
    data: str,
    batch_size: int,
    width: int,
    latent_dim: int,
    loss: str,
    gamma: float,
    from_vae: bool = False,
    **_: object,
) -> Callable[[], int]:
    """Return GAN steps. gamma: weight of the lazy gradient penalties; from_vae: start from an untrained VAE."""
    device_ctx = _device_context()
    train, val = open_dataset(Path(data)).load()
    config = ModelConfig(train.shape[-1], train.shape[1], latent_dim, width, **NETWORKS)
    settings = GANSettings(batch_size=batch_size, loss=loss, gamma=gamma)
    vae = VAE(config) if from_vae else None
    trainer = GANTrainer(config, settings, device_ctx, vae, None, (train, val))
    sampler = BatchSampler(train, batch_size, 0, device_ctx.device)
    return _make_workload(trainer, sampler, PENALTY_INTERVAL if gamma else 1)


def train_gan_cached(data: str, batch_size: int, width: int, latent_dim: int, cache: str) -> Callable[[], int]:
    """Return GAN steps without gradient penalties. cache: "memory" or "mmap"."""
    dataset = open_dataset(Path(data))
    train: ImageArray = dataset.open_memmap()[0] if cache == "mmap" else dataset.load()[0]
    config = ModelConfig(dataset.size, dataset.channels, latent_dim, width, **NETWORKS)
    device_ctx = _device_context()
    settings = GANSettings(batch_size=batch_size, loss="non-saturating", gamma=0)
    trainer = GANTrainer(config, settings, device_ctx, None)
    return _make_workload(trainer, BatchSampler(train, batch_size, 0, device_ctx.device), 1)


def load_batches(data: str, batch_size: int, **_: object) -> Callable[[], int]:
    """Return data loading alone: flipped float batches as the networks receive them."""
    train, _val = open_dataset(Path(data)).load()
    sampler, step = BatchSampler(train, batch_size, 0), 0

    def run() -> int:
        nonlocal step
        images = random_hflip(to_float(sampler[step]), torch.rand(batch_size))
        step += 1
        return len(images.to(memory_format=torch.channels_last))

    return run


def peak() -> Callable[[], int]:
    """Return a large matrix product in the faster precision; one "image" is a million operations."""
    device = choose_device_context("auto", "auto").device
    size = 8192 if device.type == "cuda" else 2048

    def make_product(dtype: torch.dtype) -> Callable[[], float]:
        a, b = (torch.randn(size, size).to(device, dtype) for _ in range(2))
        return lambda: (a @ b)[0, 0].item()

    def time_once(product: Callable[[], float]) -> float:
        start_time = time.perf_counter()
        product()
        return time.perf_counter() - start_time

    products = [make_product(dtype) for dtype in (torch.float32, torch.bfloat16)]
    fastest = min(products, key=lambda product: min(time_once(product) for _ in range(3)))

    def run() -> int:
        fastest()
        return 2 * size**3 // 10**6

    return run
