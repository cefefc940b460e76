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

from vaegan.checkpoint import read_checkpoint
from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.errors import VaeganError
from vaegan.events import ignore_event
from vaegan.inference.info import describe_path
from vaegan.inference.model import load
from vaegan.run_dir import RunDir
from vaegan.training.distributed import DistributedContext
from vaegan.training.resume import setup_resumed_run
from vaegan.training.setup import TrainRequest, setup_new_run
from vaegan.training.train import _load_vae

GOLDEN = Path(__file__).parent / "golden" / "format-2"
CHECKPOINT = "checkpoints/step-0000002"
MEGABYTE = 2**20
NASTY_NUMBERS = [-1, 0, 1, 3, 4097, 10**6, 10**12, 10**30, -(10**18), 2.5, 1e308, float("nan"), float("inf")]
NASTY_STRINGS = ["", "x", "7", "vae", "/etc/passwd", "../../..", "a\nb", "\x1b[31m", "\ud800", "y" * 100_000]
NASTY_CONTAINERS = [[], [[]], [1, 2], {}, {"a": {"b": []}}, [0] * 5000]
NASTY = [None, True, False, *NASTY_NUMBERS, *NASTY_STRINGS, *NASTY_CONTAINERS]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A tiny dataset, VAE run and GAN run to damage."""
    path = tmp_path_factory.mktemp("hostile") / "files"
    shutil.copytree(GOLDEN, path)
    return path


def damage_json(value, rng):
    """Replace, remove or add one entry somewhere in a JSON value."""
    value = json.loads(json.dumps(value))
    parent = value
    while True:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        key = rng.choice(keys)
        if isinstance(parent[key], (dict, list)) and parent[key] and rng.random() < 0.7:
            parent = parent[key]
            continue
        action = rng.random()
        if action < 0.8:
            parent[key] = rng.choice(NASTY)
        elif action < 0.9:
            del parent[key]
        elif isinstance(parent, dict):
            parent[rng.choice(["new", "size", "__metadata__", "x" * 300])] = rng.choice(NASTY)
        return value


def damage_bytes(content, rng):
    """Flip bits, truncate, append, or overwrite a piece."""
    content, action = bytearray(content), rng.randrange(4)
    if action == 0:
        for _ in range(rng.choice([1, 3, 30])):
            content[rng.randrange(min(len(content), rng.choice([64, 4096, 10**9])))] ^= 1 << rng.randrange(8)
    elif action == 1:
        del content[rng.randrange(len(content)) :]
    elif action == 2:
        content += rng.randbytes(rng.choice([1, 8, 5000]))
    else:
        start = rng.randrange(len(content))
        content[start : start + 40] = rng.randbytes(40)
    return bytes(content)


def damage_header(content, rng):
    """Change the header of a safetensors file: its length, its tensors or its metadata."""
    (length,) = struct.unpack("<Q", content[:8])
    if rng.random() < 0.15:
        huge = rng.choice([0, 1, length - 1, length + 1, 10**6, 2**31, 2**40, 2**63, 2**64 - 1])
        return struct.pack("<Q", huge) + content[8:]
    header = json.loads(content[8 : 8 + length])
    metadata = header.get("__metadata__", {})
    if "vaegan" in metadata and rng.random() < 0.5:
        metadata["vaegan"] = json.dumps(damage_json(json.loads(metadata["vaegan"]), rng))
    elif rng.random() < 0.3:
        name = rng.choice([name for name in header if name != "__metadata__"])
        header[name]["dtype"] = rng.choice(["F16", "BF16", "F64", "I8", "BOOL", "F8_E4M3", "F4", "C64", "Q7", ""])
    else:
        header = damage_json(header, rng)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def damage(content, name, rng):
    """Damage the content of a file in one of many ways."""
    if rng.random() < 0.3:
        return damage_bytes(content, rng)
    if name.endswith(".safetensors"):
        return damage_header(content, rng)
    lines = [json.loads(line) for line in content.splitlines()] if name.endswith("l") else [json.loads(content)]
    lines[-1] = damage_json(lines[-1], rng)
    return "\n".join(map(json.dumps, lines)).encode()


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
    _load_vae(setup.vae_weights)


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
    content = path.read_bytes()
    refused = 0
    try:
        path.write_bytes(damage(content, name, rng))
        for use in ATTACKS[name]:
            try:
                use(files)
            except VaeganError as error:
                refused += 1
                assert len(str(error).splitlines()) == 1 and len(str(error)) < 1500, str(error)[:500]
                assert str(files) in str(error), str(error)
                assert str(error).isprintable(), repr(str(error))
    finally:
        path.write_bytes(content)
    return refused


def peak_memory():
    """Return the peak memory of this process in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@settings(max_examples=300)
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
