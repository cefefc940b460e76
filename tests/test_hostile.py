"""Files from strangers: whatever they say, the answer is a picture or one clear line, soon and in little memory."""

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
from vaegan.data.dataset import open_dataset
from vaegan.errors import VaeganError
from vaegan.events import ignore_event
from vaegan.inference.info import describe_path
from vaegan.inference.model import load
from vaegan.run_dir import RunDir
from vaegan.training.distributed import DistributedContext
from vaegan.training.setup import TrainRequest, find_source_vae, resolve_setup
from vaegan.training.train import _load_vae

GOLDEN = Path(__file__).parent / "golden" / "format-2"
STEP = "checkpoints/step-0000002"
MEGABYTE = 2**20
NASTY = [
    *(None, True, False, -1, 0, 1, 3, 4097, 10**6, 10**12, 10**30, -(10**18), 2.5, 1e308, float("nan"), float("inf")),
    *(
        "",
        "x",
        "7",
        "vae",
        "/etc/passwd",
        "../../..",
        "a\nb",
        "\x1b[31m",
        "\ud800",
        "y" * 100_000,
        [],
        [[]],
        [1, 2],
        {},
    ),
    *({"a": {"b": []}}, [0] * 5000),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A set, a VAE run and a GAN run, the smallest there are, to spoil."""
    place = tmp_path_factory.mktemp("hostile") / "files"
    shutil.copytree(GOLDEN, place)
    return place


def spoil_json(value, chance):
    """The same JSON with one thing in it replaced, removed or added."""
    value = json.loads(json.dumps(value))
    holder = value
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = chance.choice(keys)
        if isinstance(holder[key], (dict, list)) and holder[key] and chance.random() < 0.7:
            holder = holder[key]
            continue
        action = chance.random()
        if action < 0.8:
            holder[key] = chance.choice(NASTY)
        elif action < 0.9:
            del holder[key]
        elif isinstance(holder, dict):
            holder[chance.choice(["new", "size", "__metadata__", "x" * 300])] = chance.choice(NASTY)
        return value


def spoil_bytes(content, chance):
    """Flip bits, cut, lengthen, or repeat a piece."""
    content, action = bytearray(content), chance.randrange(4)
    if action == 0:
        for _ in range(chance.choice([1, 3, 30])):
            content[chance.randrange(min(len(content), chance.choice([64, 4096, 10**9])))] ^= 1 << chance.randrange(8)
    elif action == 1:
        del content[chance.randrange(len(content)) :]
    elif action == 2:
        content += chance.randbytes(chance.choice([1, 8, 5000]))
    else:
        start = chance.randrange(len(content))
        content[start : start + 40] = chance.randbytes(40)
    return bytes(content)


def spoil_header(content, chance):
    """Change what a safetensors file says of itself: its length, its tensors, its metadata."""
    (length,) = struct.unpack("<Q", content[:8])
    if chance.random() < 0.15:
        huge = chance.choice([0, 1, length - 1, length + 1, 10**6, 2**31, 2**40, 2**63, 2**64 - 1])
        return struct.pack("<Q", huge) + content[8:]
    header = json.loads(content[8 : 8 + length])
    said = header.get("__metadata__", {})
    if "vaegan" in said and chance.random() < 0.5:
        said["vaegan"] = json.dumps(spoil_json(json.loads(said["vaegan"]), chance))
    elif chance.random() < 0.3:
        name = chance.choice([name for name in header if name != "__metadata__"])
        header[name]["dtype"] = chance.choice(["F16", "BF16", "F64", "I8", "BOOL", "F8_E4M3", "F4", "C64", "Q7", ""])
    else:
        header = spoil_json(header, chance)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def spoil(content, name, chance):
    """Spoil a file's content in one of many ways."""
    if chance.random() < 0.3:
        return spoil_bytes(content, chance)
    if name.endswith(".safetensors"):
        return spoil_header(content, chance)
    lines = [json.loads(line) for line in content.splitlines()] if name.endswith("l") else [json.loads(content)]
    lines[-1] = spoil_json(lines[-1], chance)
    return "\n".join(map(json.dumps, lines)).encode()


def opened(path):
    """What `sample` and `train-gan --from-vae` do with weights, and `info` with everything."""
    assert all(str(value).isprintable() for value in describe_path(path).values())
    model = load(path, "cpu")
    model.sample(1)


def from_vae(files, path):
    job = resolve_setup(
        TrainRequest("gan", RunDir(files / "new"), {"device": "cpu"}, files / "set", path, None, False),
        ignore_event,
        DistributedContext(),
    )
    _load_vae(job.vae_weights)


def resumed(files, kind):
    run = RunDir(files / kind)
    job = resolve_setup(
        TrainRequest(kind, run, {"device": "cpu"}, files / "set", None, None, False), ignore_event, DistributedContext()
    )
    run.remove_partial_files()
    newest = run.latest_checkpoint(ignore_event)
    if newest is None:
        find_source_vae(job)
    else:
        read_checkpoint(newest)
    run.truncate_metrics(2)


ATTACKS = {
    "vae/model.safetensors": [lambda files: opened(files / "vae"), lambda files: from_vae(files, files / "vae")],
    "gan/model.safetensors": [lambda files: opened(files / "gan/model.safetensors")],
    "vae/config.json": [lambda files: opened(files / "vae"), lambda files: resumed(files, "vae")],
    "gan/config.json": [lambda files: opened(files / "gan"), lambda files: resumed(files, "gan")],
    "gan/metrics.jsonl": [lambda files: describe_path(files / "gan"), lambda files: resumed(files, "gan")],
    f"vae/{STEP}/state.json": [lambda files: resumed(files, "vae")],
    f"vae/{STEP}/training.safetensors": [lambda files: resumed(files, "vae")],
    "set/set.json": [lambda files: describe_path(files / "set"), lambda files: open_dataset(files / "set").load()],
    "set/images-00000.safetensors": [lambda files: open_dataset(files / "set").load()],
}


def attack(files, seed):
    """Spoil one file, use it, put it back; return whether it was refused. Anything but one clear line fails."""
    chance = random.Random(seed)
    name = chance.choice(list(ATTACKS))
    path = files / name
    content = path.read_bytes()
    refused = 0
    try:
        path.write_bytes(spoil(content, name, chance))
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


def peak():
    """The most memory that this process ever had, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@settings(max_examples=300)
@given(seed=st.integers(0, 2**32))
def test_spoiled_files_are_used_or_refused_in_one_line(files, seed):
    attack(files, seed)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="peak memory is read in a POSIX way")
def test_ten_thousand_spoiled_files_in_bounded_memory(files):
    for seed in range(100):
        attack(files, seed)
    before = peak()
    refused = sum(bool(attack(files, seed)) for seed in range(10_000))
    assert peak() - before < 100 * MEGABYTE
    assert 5_000 < refused < 10_000


@pytest.mark.skipif(os.name != "posix", reason="peak memory is read in a POSIX way")
@pytest.mark.parametrize(
    "changes",
    [{"width": 512, "size": 256, "latent_dim": 4096}, {"latent_dim": 10**12}, {"width": 10**9}, {"size": 10**6}],
)
def test_a_small_file_that_claims_to_be_a_giant_allocates_nothing(files, tmp_path, changes):
    path = tmp_path / "giant.safetensors"
    said = {
        "format_version": 2,
        "kind": "vae",
        "step": 1,
        "images_seen": 1,
        "config": {"size": 32, "base_channels": 4} | changes,
    }
    save_file({"decoder.proj_in.weight": torch.zeros(2)}, path, {"vaegan": json.dumps(said)})
    before = peak()
    for use in (lambda: load(path, "cpu"), lambda: from_vae(files, path)):
        with pytest.raises(VaeganError, match=r"giant\.safetensors|32x32"):
            use()
    assert peak() - before < 50 * MEGABYTE


def test_a_run_whose_config_claims_a_giant_is_refused_before_it_is_built(files, copy, here, capsys):
    from vaegan.cli import main

    run = copy(files / "vae")
    config = json.loads((run / "config.json").read_text())
    config["model"] |= {"width": 512, "latent_dim": 4096}
    (run / "config.json").write_text(json.dumps(config))
    assert main(["train-vae", str(files / "set"), "--run", str(run), "--steps", "3"]) == 1
    assert "is of another model than" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors | {"decoder.first.bias": torch.zeros(7)}, r"decoder.first.bias is float32 \[7\]"),
        (lambda tensors: {name: part.half() for name, part in tensors.items()}, "is float16"),
        (lambda tensors: tensors | {"extra": torch.zeros(1)}, "extra is not known"),
        (lambda tensors: tensors | {"x\n" * 99: torch.zeros(1)}, "is not known"),
        (lambda tensors: {name: part for name, part in tensors.items() if "bias" not in name}, "is missing"),
        (lambda tensors: tensors | {"decoder.first.bias": torch.zeros(64, dtype=torch.uint8)}, "of another type"),
    ],
)
def test_tensors_that_do_not_fit_are_named(files, copy, change, words):
    path = copy(files / "vae" / "model.safetensors")
    tensors = load_file(path)
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    said = json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]
    save_file(change(tensors), path, said)
    with pytest.raises(
        VaeganError, match=rf"model\.safetensors does not fit its own config: tensor .*{words}"
    ) as caught:
        load(path, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [2**20 + 1, 10**8, 2**63, 2**64 - 1])
def test_an_absurd_header_is_not_read(tmp_path, length):
    path = tmp_path / "absurd.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", length))
        file.truncate(200 * MEGABYTE)  # a hole: it takes no room
    with pytest.raises(VaeganError, match=rf"absurd\.safetensors.*a header of {length} bytes"):
        load(path, "cpu")


@pytest.mark.parametrize(("file", "what"), [("vae/config.json", "vae"), ("set/set.json", "set")])
def test_a_future_format_says_what_to_do(files, copy, file, what):
    place = copy(files / what)
    said = json.loads((place / Path(file).name).read_text()) | {"format_version": 7}
    (place / Path(file).name).write_text(json.dumps(said))
    with pytest.raises(VaeganError, match="has format 7, this vaegan reads up to 1: upgrade vaegan"):
        describe_path(place)


def test_json_without_end_is_not_read_whole(tmp_path, files, copy):
    run = copy(files / "vae")
    with (run / "config.json").open("r+b") as file:
        file.truncate(2 * 2**30)
    with pytest.raises(VaeganError, match=r"config\.json is damaged: longer than"):
        describe_path(run)
