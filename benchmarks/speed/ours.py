"""The same work as vaegan does it: the trainers, fed and counted as the loop feeds and counts them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from vaegan.training.averager import MetricAverager

from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import GANSettings, VAESettings
from vaegan.data.dataset import open_dataset
from vaegan.data.memmap import ImageArray
from vaegan.data.sampler import BatchSampler
from vaegan.models.vae import VAE
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.precision import choose_device_context
from vaegan.training.trainer import Trainer
from vaegan.training.vae_trainer import VAETrainer, random_hflip
from vaegan.utils.images import to_float

LOG_EVERY = 50
CYCLE = 8
STEADY = 2**20
"""A step past every warm-up, and the first of a cycle of lazy penalties."""


def _unit(trainer: Trainer, batches: BatchSampler, steps: int) -> Callable[[], int]:
    """`steps` steps as the loop takes them."""
    tally, done = MetricAverager(), STEADY

    def unit() -> int:
        nonlocal done
        for _ in range(steps):
            tally.add(trainer.step(batches[done], done))
            done += 1
            if done % LOG_EVERY == 0:
                tally.pop_means()
        return steps * batches.batch_size

    return unit


def train_vae(data: str, batch: int, width: int, latent_dim: int, **_: object) -> Callable[[], int]:
    place = choose_device_context("auto", "auto")
    train, held_out = open_dataset(Path(data)).load()
    config = ModelConfig(train.shape[-1], train.shape[1], latent_dim, width)
    trainer = VAETrainer(config, VAESettings(batch_size=batch), place, train, held_out)
    return _unit(trainer, BatchSampler(train, batch, 0, place.device), 1)


def train_gan(
    data: str, batch: int, width: int, latent_dim: int, loss: str, gamma: float, from_vae: bool = False, **_: object
) -> Callable[[], int]:
    """gamma: weight of the lazy penalties; from_vae: with the anchor, as `--from-vae` has it, on untrained weights."""
    place = choose_device_context("auto", "auto")
    train, held_out = open_dataset(Path(data)).load()
    config = ModelConfig(train.shape[-1], train.shape[1], latent_dim, width)
    settings = GANSettings(batch_size=batch, loss=loss, gamma=gamma)
    vae = VAE(config) if from_vae else None
    trainer = GANTrainer(config, settings, place, vae, None, (train, held_out))
    return _unit(trainer, BatchSampler(train, batch, 0, place.device), CYCLE if gamma else 1)


def train_from(data: str, batch: int, width: int, latent_dim: int, cache: str, **_: object) -> Callable[[], int]:
    """The GAN's steps without penalties, its set in memory or on disk."""
    prepared = open_dataset(Path(data))
    train: ImageArray = prepared.open_memmap()[0] if cache == "mmap" else prepared.load()[0]
    config = ModelConfig(prepared.size, prepared.channels, latent_dim, width)
    place = choose_device_context("auto", "auto")
    trainer = GANTrainer(config, GANSettings(batch_size=batch, loss="non-saturating", gamma=0), place, None)
    return _unit(trainer, BatchSampler(train, batch, 0, place.device), 1)


def feed(data: str, batch: int, **_: object) -> Callable[[], int]:
    """Pictures as the networks take them, without a network."""
    train, _held_out = open_dataset(Path(data)).load()
    batches, step = BatchSampler(train, batch, 0), 0

    def unit() -> int:
        nonlocal step
        pictures = random_hflip(to_float(batches[step]), torch.rand(batch))
        step += 1
        return len(pictures.to(memory_format=torch.channels_last))

    return unit


def peak() -> Callable[[], int]:
    """Unit of the roofline: a large matrix product in the faster precision; its "pictures" are million operations."""
    place = choose_device_context("auto", "auto").device
    side = 8192 if place.type == "cuda" else 2048

    def product(kind: torch.dtype) -> Callable[[], None]:
        a, b = (torch.randn(side, side).to(place, kind) for _ in range(2))

        def run() -> None:
            (a @ b)[0, 0].item()

        return run

    found = {}
    for kind in (torch.float32, torch.bfloat16):
        run = product(kind)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
        found[min(times)] = run
    fastest = found[min(found)]

    def unit() -> int:
        fastest()
        return 2 * side**3 // 10**6

    return unit
