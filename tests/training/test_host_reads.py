"""A step reads few values from the device: on a GPU, each read waits for all of its work."""

import traceback
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import vaegan
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import GANSettings, VAESettings
from vaegan.models.vae import VAE
from vaegan.training.augment import ADA_INTERVAL
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.monitor import MetricAverager
from vaegan.training.precision import DeviceContext
from vaegan.training.vae_trainer import VAETrainer

CPU = DeviceContext(torch.device("cpu"), "fp32")
CONFIG = ModelConfig(32, 3, 8, 8)
SOURCE = str(Path(vaegan.__file__).parent)
READING_OPS = {torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.masked_select}
"""item, float, int and bool; and what has a shape that depends on values."""
READING_METHODS = ("tolist", "cpu", "numpy")
ON_THE_CPU = {"_count_step", "recon_rows"}
"""Functions that read tensors which are on the CPU beside any device."""


class ReadCounter(TorchDispatchMode):
    """Counts reads by the function of vaegan that reads."""

    def __init__(self):
        super().__init__()
        self.reads = Counter()

    def count(self):
        caller = [frame.name for frame in traceback.extract_stack() if frame.filename.startswith(SOURCE)][-1]
        if caller not in ON_THE_CPU:
            self.reads[caller] += 1

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        packet = function._overloadpacket
        is_mask = packet is torch.ops.aten.index and any(x is not None and x.dtype == torch.bool for x in args[1])
        if packet in READING_OPS or is_mask:
            self.count()
        return function(*args, **(kwargs or {}))


@pytest.fixture
def counter(monkeypatch):
    counter = ReadCounter()

    def counted(method):
        def read(tensor, *args, **kwargs):
            counter.count()
            return method(tensor, *args, **kwargs)

        return read

    for name in READING_METHODS:
        monkeypatch.setattr(torch.Tensor, name, counted(getattr(torch.Tensor, name)))
    return counter


def count_reads(counter, trainer, images, steps):
    trainer.step(images, 0)  # creates the state of the optimizers
    counter.reads.clear()
    with counter:
        for step in steps:
            assert trainer.step(images, step) is not None
    return counter.reads


def images(count):
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_step_of_a_vae_reads_only_whether_it_is_finite(counter, optimizer):
    settings = VAESettings(preset="tiny", optimizer=optimizer, free_bits=0.1, grad_clip=1.0)
    trainer = VAETrainer(CONFIG, settings, CPU, images(16), images(4))
    assert count_reads(counter, trainer, images(8), [1, 2]) == {"are_all_finite": 2}


@pytest.mark.parametrize("options", [{}, {"loss": "hinge"}, {"augment": "color,translation,cutout", "ada_target": 0.3}])
def test_a_step_of_a_gan_reads_only_whether_both_updates_are_finite(counter, options):
    settings = GANSettings(preset="tiny", d_warmup_steps=0, update_clip=0.7, gp_interval=2, **options)
    trainer = GANTrainer(CONFIG, settings, CPU, VAE(CONFIG), None, (images(16), images(8)))
    steps = range(1, 2 * ADA_INTERVAL + 1)
    expected = {"are_all_finite": 2 * len(steps), "step": 2 * len(steps)}  # `step` of ClippedAdam, on a CPU only
    if "ada_target" in options:
        expected["update"] = len(steps) // ADA_INTERVAL
    assert count_reads(counter, trainer, images(8), steps) == expected


def test_metrics_are_read_together_when_they_are_logged(counter):
    averager = MetricAverager()
    with counter:
        averager.add({"loss": torch.tensor(1.0), "kl": torch.tensor(2.0)})
        averager.add({"loss": torch.tensor(3.0)})
        assert not counter.reads
        assert averager.pop_means() == {"loss": 2.0, "kl": 2.0}
        assert averager.pop_means() == {}
    assert counter.reads == {"pop_means": 1}
