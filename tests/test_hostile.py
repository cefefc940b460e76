"""Hostile files: whatever they contain, they are used or refused in one line, soon and in little memory."""

import json
import os
import random
import shutil
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from fuzzing import damage
from vaegan.checkpoint import read_checkpoint
from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.errors import VaeganError
from vaegan.events import ignore_event
from vaegan.inference.info import describe_path
from vaegan.inference.model import load
from vaegan.run_dir import RunDir
from vaegan.training.distributed import DistributedContext
from vaegan.training.request import TrainRequest
from vaegan.training.resume import setup_resumed_run
from vaegan.training.setup import setup_new_run
from vaegan.training.start import load_vae

GOLDEN = Path(__file__).parent / "golden" / "format-2"
CHECKPOINT = "checkpoints/step-0000002"
MEGABYTE = 2**20


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A tiny dataset, VAE run and GAN run to damage."""
    path = tmp_path_factory.mktemp("hostile") / "files"
    shutil.copytree(GOLDEN, path)
    return path


def describe_and_sample(path):
    """Use weights as the commands `info` and `sample` do."""
    assert all(str(value).isprintable() for value in describe_path(path).values())
    load(path, "cpu").sample(1)


def start_gan_from(files, path):
    """Use weights as `train-gan --from-vae` does."""
    setup = setup_new_run(
        TrainRequest("gan", RunDir(files / "new"), {"device": "cpu"}, files / "set", path, None, False),
        ignore_event,
        DistributedContext(),
    )
    load_vae(setup.vae_weights)


def resume(files, kind):
    """Read a run as a resumed training does."""
    run_dir = RunDir(files / kind)
    request = TrainRequest(kind, run_dir, {"device": "cpu"}, files / "set", None, None, False)
    setup = setup_resumed_run(request, ignore_event, DistributedContext())
    if setup.checkpoint is not None:
        read_checkpoint(setup.checkpoint)
    run_dir.truncate_metrics(2)


ATTACKS = {
    "vae/model.safetensors": [
        lambda files: describe_and_sample(files / "vae"),
        lambda files: start_gan_from(files, files / "vae"),
    ],
    "gan/model.safetensors": [lambda files: describe_and_sample(files / "gan/model.safetensors")],
    "vae/config.json": [lambda files: describe_and_sample(files / "vae"), lambda files: resume(files, "vae")],
    "gan/config.json": [lambda files: describe_and_sample(files / "gan"), lambda files: resume(files, "gan")],
    "gan/metrics.jsonl": [lambda files: describe_path(files / "gan"), lambda files: resume(files, "gan")],
    f"vae/{CHECKPOINT}/state.json": [lambda files: resume(files, "vae")],
    f"vae/{CHECKPOINT}/training.safetensors": [lambda files: resume(files, "vae")],
    "set/set.json": [lambda files: describe_path(files / "set"), lambda files: open_dataset(files / "set").load()],
    "set/images-00000.safetensors": [lambda files: open_dataset(files / "set").load()],
}


def attack(files, seed):
    """Damage one file, use it, restore it; return how often it was refused. Any error but one clear line fails."""
    rng = random.Random(seed)
    name = rng.choice(list(ATTACKS))
    path = files / name
    contents = {file: file.read_bytes() for file in (path, path.parent / "state.json") if file.exists()}
    refused = 0
    try:
        damage(path, rng)
        for use in ATTACKS[name]:
            try:
                use(files)
            except VaeganError as error:
                refused += 1
                assert len(str(error).splitlines()) == 1 and len(str(error)) < 1500, str(error)[:500]
                assert str(files) in str(error), str(error)
                assert str(error).isprintable(), repr(str(error))
    finally:
        for file, content in contents.items():
            file.write_bytes(content)
    return refused


def peak_memory():
    """Return the peak memory of this process in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32))
def test_damaged_files_are_used_or_refused_in_one_line(files, seed):
    attack(files, seed)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the resource module is POSIX only")
def test_ten_thousand_damaged_files_in_bounded_memory(files):
    for seed in range(100):
        attack(files, seed)
    before = peak_memory()
    refused = sum(bool(attack(files, seed)) for seed in range(10_000))
    assert peak_memory() - before < 100 * MEGABYTE
    assert 5_000 < refused < 10_000


@pytest.mark.skipif(os.name != "posix", reason="the resource module is POSIX only")
@pytest.mark.parametrize(
    "changes",
    [
        {"base_channels": 512, "size": 256, "latent_dim": 4096},
        {"latent_dim": 10**12},
        {"base_channels": 10**9},
        {"size": 10**6},
    ],
)
def test_a_small_file_that_claims_a_giant_model_allocates_nothing(files, tmp_path, changes):
    path = tmp_path / "giant.safetensors"
    metadata = {
        "format_version": 2,
        "kind": "vae",
        "step": 1,
        "images_seen": 1,
        "config": {"size": 32, "base_channels": 4} | changes,
    }
    save_file({"decoder.proj_in.weight": torch.zeros(2)}, path, {"vaegan": json.dumps(metadata)})
    before = peak_memory()
    for use in (lambda: load(path, "cpu"), lambda: start_gan_from(files, path)):
        with pytest.raises(VaeganError, match=r"giant\.safetensors|32x32"):
            use()
    assert peak_memory() - before < 50 * MEGABYTE


def test_a_run_whose_config_claims_a_giant_model_is_refused_before_it_is_built(files, copy, here, capsys):
    run = copy(files / "vae")
    config = json.loads((run / "config.json").read_text())
    config["model"] |= {"base_channels": 512, "latent_dim": 4096}
    (run / "config.json").write_text(json.dumps(config))
    assert main(["train-vae", str(files / "set"), "--run", str(run), "--steps", "3"]) == 1
    assert "is of another model than" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors | {"decoder.proj_in.bias": torch.zeros(7)}, r"decoder.proj_in.bias is float32 \[7\]"),
        (lambda tensors: {name: part.half() for name, part in tensors.items()}, "is float16"),
        (lambda tensors: tensors | {"extra": torch.zeros(1)}, "extra is unexpected"),
        (lambda tensors: tensors | {"x\n" * 99: torch.zeros(1)}, "is unexpected"),
        (lambda tensors: {name: part for name, part in tensors.items() if "bias" not in name}, "is missing"),
        (lambda tensors: tensors | {"decoder.proj_in.bias": torch.zeros(64, dtype=torch.uint8)}, "of another type"),
    ],
)
def test_tensors_that_do_not_match_are_named(files, copy, change, message):
    path = copy(files / "vae" / "model.safetensors")
    tensors = load_file(path)
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    metadata = json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]
    save_file(change(tensors), path, metadata)
    with pytest.raises(
        VaeganError, match=rf"model\.safetensors does not match its model configuration: tensor .*{message}"
    ) as caught:
        load(path, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [2**20 + 1, 10**8, 2**63, 2**64 - 1])
def test_a_huge_header_is_not_read(tmp_path, length):
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", length))
        file.truncate(200 * MEGABYTE)  # a sparse file, which takes no disk space
    with pytest.raises(VaeganError, match=rf"huge\.safetensors.*a header of {length} bytes"):
        load(path, "cpu")


@pytest.mark.parametrize(("name", "file_name"), [("vae", "config.json"), ("set", "set.json")])
@pytest.mark.parametrize(
    ("version", "message"),
    [
        (7, "has format 7, this vaegan reads up to 2: upgrade vaegan"),
        (1, "has format 1, of vaegan 0.1: .* again"),
        (0, "is damaged"),
    ],
)
def test_other_formats_are_refused_with_the_way_out(files, copy, name, file_name, version, message):
    path = copy(files / name)
    content = json.loads((path / file_name).read_text()) | {"format_version": version}
    (path / file_name).write_text(json.dumps(content))
    with pytest.raises(VaeganError, match=message) as caught:
        describe_path(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


FORMAT_1_FILES = {
    "run": ("config.json", {"format_version": 1, "kind": "vae", "vaegan": "0.1.0", "model": {}, "options": {}}),
    "set": ("set.json", {"format_version": 1, "size": 32, "channels": 3, "vaegan": "0.1.0", "counts": {"train": 1}}),
}


@pytest.mark.parametrize("name", FORMAT_1_FILES)
@pytest.mark.parametrize("command", ["info", "train-vae", "train-gan"])
def test_runs_and_datasets_of_format_1_are_refused_in_one_line(tmp_path, capsys, name, command):
    path = tmp_path / name
    path.mkdir()
    file_name, content = FORMAT_1_FILES[name]
    (path / file_name).write_text(json.dumps(content))
    arguments = ["--run", str(path)] if name == "run" and command != "info" else [str(path)]
    assert main([command, *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"error: {path} has format 1, of vaegan 0.1" in line
    assert json.loads((path / file_name).read_text()) == content


@pytest.mark.parametrize("command", ["info", "sample", "train-gan"])
def test_weights_of_format_1_are_refused_in_one_line(tmp_path, files, here, capsys, command):
    path = tmp_path / "old.safetensors"
    metadata = {"format_version": 1, "kind": "vae", "config": {"size": 32, "width": 4}, "step": 1, "images": 8}
    save_file({"decoder.first.weight": torch.zeros(2)}, path, {"vaegan": json.dumps(metadata)})
    arguments = [str(files / "set"), "--from-vae", str(path)] if command == "train-gan" else [str(path)]
    assert main([command, *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"error: {path} cannot be used: its metadata says format 1, of vaegan 0.1" in line
    assert list(here.iterdir()) == []


def test_only_the_start_of_huge_json_is_read(files, copy):
    run = copy(files / "vae")
    with (run / "config.json").open("r+b") as file:
        file.truncate(2 * 2**30)
    with pytest.raises(VaeganError, match=r"config\.json is damaged: longer than"):
        describe_path(run)
