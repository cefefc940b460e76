"""--batch-size auto, on a GPU that is only pretended."""

import json
from types import SimpleNamespace

import pytest
import torch

from training.pieces import VAE
from vaegan.cli import main
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import VAESettings
from vaegan.data.dataset import open_dataset
from vaegan.errors import UsageError
from vaegan.events import Note
from vaegan.training import autotune, precision
from vaegan.training.distributed import DistributedContext
from vaegan.training.precision import DeviceContext, configure_cuda
from vaegan.training.setup import TrainSetup
from vaegan.training.train import train_vae


@pytest.mark.parametrize(
    ("rates", "size"),
    [
        ({32: 100, 64: 190, 128: 350, 256: 380}, 128),  # the last doubling gains 9 %
        ({32: 100, 64: 105}, 32),
        ({32: 100, 64: 190, 128: 350, 256: None}, 128),  # out of memory
        ({32: 100, 64: 200, 128: 400, 256: 800}, 256),  # the most that is tried
    ],
)
def test_the_batch_is_doubled_until_that_gains_little(rates, size):
    found, measured = autotune.search_batch_size(rates.__getitem__, 32, 256)
    assert found == size
    assert measured == {tried: rate for tried, rate in rates.items() if rate is not None}


@pytest.fixture
def pretended(prepared, monkeypatch):
    """A job on a GPU that holds 16 pictures, and what is needed to try batches on it."""
    place = DeviceContext(torch.device("cuda"), "bf16")
    job = TrainSetup(None, VAESettings(batch_size=4), ModelConfig(), open_dataset(prepared), place, None)

    def build(tried):
        if tried.settings.batch_size > 32:
            raise torch.OutOfMemoryError("CUDA out of memory")
        parts = 1 if tried.settings.batch_size <= 16 else 2
        return SimpleNamespace(accumulator=SimpleNamespace(num_micro_batches=parts)), tried.settings.batch_size, None

    monkeypatch.setattr(autotune, "measure_step_seconds", lambda trainer, batches, seconds, world: 0.01)
    return job, build


def test_a_batch_that_must_be_cut_up_does_not_fit(pretended):
    job, build = pretended
    events = []
    tuned = autotune.tune_batch_size(job, build, events.append, DistributedContext())
    assert tuned.settings.batch_size == 16
    assert tuned.batch_size_trials == {"batch_size": 16, "images_per_second": {"4": 400.0, "8": 800.0, "16": 1600.0}}
    assert "Taking batches of 16 images" in events[0].text


def test_errors_other_than_memory_are_not_hidden(pretended):
    def broken(tried):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        autotune.tune_batch_size(pretended[0], broken, [].append, DistributedContext())


def test_processes_that_share_a_batch_are_refused(pretended):
    with pytest.raises(UsageError, match="--batch-size auto: 2 processes share each batch"):
        autotune.tune_batch_size(*pretended, [].append, DistributedContext(0, 2))


def test_on_a_cpu_the_usual_size_is_taken_recorded_and_kept(prepared, tmp_path):
    events = []
    options = {**VAE, "batch_size": "auto", "on_event": events.append}
    run = train_vae(prepared, tmp_path / "run", steps=1, **options)
    assert any(isinstance(event, Note) and "Taking batches of 32 images" in event.text for event in events)
    said = json.loads((run / "config.json").read_text())
    assert said["options"]["batch_size"] == 32 and said["batch_size_trials"] == {
        "batch_size": 32,
        "images_per_second": {},
    }
    train_vae(prepared, run, steps=2, **options)
    again = json.loads((run / "config.json").read_text())
    assert again["options"]["batch_size"] == 32 and again["batch_size_trials"] == said["batch_size_trials"]


def test_a_batch_size_that_is_none(prepared, capsys):
    assert main(["train-vae", str(prepared), "--batch-size", "many"]) == 2
    assert (
        "--batch-size many: expected a whole number, at least 1 and at most 65,536, or auto" in capsys.readouterr().err
    )


def test_tf32_is_for_those_who_did_not_ask_for_fp32():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    try:
        configure_cuda("bf16")
        assert torch.get_float32_matmul_precision() == "high" and torch.backends.cudnn.benchmark
        configure_cuda("fp32")
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.benchmark = before[1]


def test_a_cpu_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(precision, "configure_cuda", lambda precision: 1 / 0)
    assert precision.choose_device_context("cpu", "fp32").precision == "fp32"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_finds_a_batch_size(prepared, tmp_path):
    run = train_vae(prepared, tmp_path / "run", steps=2, preset="tiny", batch_size="auto", device="cuda")
    said = json.loads((run / "config.json").read_text())
    assert (
        said["options"]["batch_size"] == said["batch_size_trials"]["batch_size"] >= 32
        and said["batch_size_trials"]["images_per_second"]
    )
