import json
import sys
from dataclasses import asdict

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vaegan.checkpoint import (
    find_weights,
    flatten_tensors,
    load_strict,
    load_tensors,
    read_weights_info,
    save_model,
    save_tensors,
    strip_prefix,
)
from vaegan.config.model_config import ModelConfig
from vaegan.errors import VaeganError
from vaegan.inference.model import load
from vaegan.models.vae import VAE

CONFIG = ModelConfig(32, 3, 4, 4)
SMALL = asdict(CONFIG)


@pytest.fixture
def published(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, VAE(CONFIG), "vae", CONFIG, 7, 224)
    return path


def respoken(path, **changes):
    """The same file, what it says of itself changed (None removes an entry)."""
    with safe_open(path, framework="pt") as file:
        said = json.loads(file.metadata()["vaegan"]) | changes
    said = {name: value for name, value in said.items() if value is not None}
    save_file(load_file(path), path, {"vaegan": json.dumps(said)})


def test_the_file_alone_says_what_it_is(published):
    weights = read_weights_info(published)
    assert (weights.kind, weights.config, weights.step, weights.images_seen) == ("vae", CONFIG, 7, 224)


def test_run_checkpoint_and_file_all_name_weights(gan_run):
    step = max((gan_run / "checkpoints").iterdir())
    names = [gan_run, gan_run / "model.safetensors", step, step / "model.safetensors"]
    samples = [load(name, "cpu").sample(3) for name in names]
    for other in samples[1:]:
        assert torch.equal(samples[0], other)


def test_a_run_without_published_weights_means_its_newest_checkpoint(copy, vae_run):
    run = copy(vae_run)
    (run / "model.safetensors").unlink()
    assert find_weights(run).parent.name == "step-0000004"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "diffusion"}, "cannot be used.*kind 'diffusion'"),
        ({"format_version": 2}, "format 2.*upgrade vaegan"),
        ({"format_version": None}, "cannot be used.*format_version"),
        ({"config": "{"}, "cannot be used"),
        ({"config": {"latent_dim": 10**12}}, "cannot be used.*--latent-dim 1000000000000"),
        ({"config": {"size": 48}}, "cannot be used.*48x48"),
        ({"config": {"surprise": 1}}, "cannot be used.*surprise"),
        ({"config": {"width": "wide"}}, "cannot be used.*--width wide"),
        ({"step": "many"}, "cannot be used"),
        ({"config": {**SMALL, "latent_dim": 5}}, r"tensor decoder.first.weight is"),
        ({"config": {**SMALL, "size": 64}}, r"tensor decoder.*is missing"),
        ({"config": {**SMALL, "prior": "mixture", "num_components": 2}}, r"tensor prior.*is missing"),
    ],
)
def test_metadata_that_lies_is_refused_in_one_line(published, changes, words):
    respoken(published, **changes)
    with pytest.raises(VaeganError, match=words) as caught:
        load(published, "cpu")
    assert "\n" not in str(caught.value) and "model.safetensors" in str(caught.value)


@pytest.mark.parametrize("keep", [0, 5, 50, 0.5, -1])
def test_truncated_files_are_refused(published, keep):
    content = published.read_bytes()
    published.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(VaeganError, match=r"model\.safetensors is damaged"):
        load(published, "cpu")


def test_other_files_and_places_are_refused(tmp_path, prepared):
    with pytest.raises(VaeganError, match="does not exist"):
        load(tmp_path / "none")
    with pytest.raises(VaeganError, match="holds no model"):
        load(tmp_path)
    with pytest.raises(VaeganError, match=r"prepared set, not a checkpoint.*vaegan train-vae"):
        load(prepared)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(VaeganError, match="not a model of vaegan"):
        load(tmp_path / "other.safetensors")
    (tmp_path / "picture.safetensors").write_bytes(b"\x89PNG" + b"x" * 99)
    with pytest.raises(VaeganError, match="damaged"):
        load(tmp_path / "picture.safetensors")


def test_fill_checks_names_shapes_and_types(tmp_path):
    model = torch.nn.Linear(2, 3)
    good = {name: torch.ones_like(tensor) for name, tensor in model.state_dict().items()}
    load_strict(model, good, tmp_path)
    assert model.weight.sum() == 6
    for spoiled, words in (
        ({"weight": good["weight"]}, "bias is missing"),
        (good | {"extra": torch.ones(1)}, "extra is not known"),
        (good | {"bias": torch.ones(4)}, r"bias is float32 \[4\], expected float32 \[3\]"),
        (good | {"bias": torch.ones(3).half()}, r"bias is float16"),
    ):
        with pytest.raises(VaeganError, match=words):
            load_strict(model, spoiled, tmp_path)


def test_trees_of_tensors_are_named_by_path(tmp_path):
    a, b = torch.ones(1), torch.zeros(2)
    flat = flatten_tensors({"x": {"y": a}, "xy": b})
    assert flat == {"x.y": a, "xy": b}
    assert strip_prefix(flat, "x") == {"y": a}
    save_file(flat, tmp_path / "t.safetensors")
    assert torch.equal(load_tensors(tmp_path / "t.safetensors")["xy"], b)


@pytest.mark.skipif(sys.platform == "win32", reason="permission bits are a POSIX matter")
def test_files_have_the_permissions_that_the_user_wants(tmp_path):
    (tmp_path / "plain").touch()
    save_tensors(tmp_path / "x.safetensors", {"x": torch.zeros(2)}, {})
    assert (tmp_path / "x.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
