"""A run that starts from another one: what it takes, what it fits anew, and that it resumes exactly."""

import json
import shutil

import pytest
import torch
from pieces import COMMON, interrupted_after

import vaegan
from comparing import assert_same_run
from vaegan.checkpoint import read_checkpoint, read_weights_info, strip_prefix
from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.demo.faces import write_faces
from vaegan.errors import VaeganError
from vaegan.models.latent_whitening import undo_whitening
from vaegan.training.start import load_vae
from vaegan.training.train import train_gan, train_vae
from vaegan.utils.files import file_sha256
from vaegan.utils.images import to_float

STILL = {"lr_g": 1e-9, "lr_d": 1e-9, "ema_halflife": 0}
"""So small that no weight of a GAN visibly moves."""


def prepared_faces(folder, count, seed, size, val_fraction):
    write_faces(folder / "faces", count, seed)
    options = ["--size", str(size), "--val-fraction", str(val_fraction), "-q"]
    assert main(["preprocess", str(folder / "faces"), "--out", str(folder / f"few-{size}"), *options]) == 0
    return folder / f"few-{size}"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another dataset of the same size."""
    return prepared_faces(tmp_path_factory.mktemp("other"), 32, 7, 32, 0.3)


@pytest.fixture(scope="module")
def scratch_run(prepared, tmp_path_factory):
    run = tmp_path_factory.mktemp("scratch") / "gan"
    return train_gan(prepared, run, steps=2, preset="tiny", latent_dim=8, **COMMON)


def config_of(run):
    return json.loads((run / "config.json").read_text())


def discriminator_of(run):
    return strip_prefix(read_checkpoint(sorted((run / "checkpoints").iterdir())[-1]).tensors, "discriminator")


def notes(train, *arguments, **options):
    """Train, and return the notes before the first step as one text."""
    told = []
    train(*arguments, on_event=told.append, **options)
    return "\n".join(event.text for event in told if hasattr(event, "text"))


def test_without_its_whitening_a_vae_reconstructs_and_samples_as_before(mixed_vae_run, prepared):
    whitened = load_vae(read_weights_info(mixed_vae_run))
    torch.nn.init.normal_(whitened.decoder.modulation.proj_out.weight, std=0.1)  # after few steps it is near 0
    torch.nn.init.normal_(whitened.decoder.latent_map.weight, std=0.1)
    plain = undo_whitening(whitened)
    assert not torch.equal(whitened.encoder.cov_factor, torch.eye(8))
    assert torch.equal(plain.encoder.cov_factor, torch.eye(8)) and plain.config.prior == "normal"
    images, noise = to_float(open_dataset(prepared).load()[1]), torch.randn(100, 8)
    with torch.no_grad():
        # in training the posterior is diagonal, so this is the VAE that training goes on with
        ours, theirs = plain.train()(images, noise[: len(images)])[0], whitened(images, noise[: len(images)])[0]
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_a_vae_starts_from_another_and_says_what_it_took(vae_run, other, tmp_path):
    text = notes(train_vae, other, tmp_path / "new", from_run=vae_run, steps=1, lr=1e-9, ema_halflife=0, **COMMON)
    assert f"Starting from {vae_run / 'model.safetensors'} (step 4, 32 images): encoder, decoder" in text
    config = config_of(tmp_path / "new")
    source = config["from_run"]
    assert source["sha256"] == file_sha256(vae_run / "model.safetensors") and source["taken"] == ["encoder", "decoder"]
    assert (config["model"]["latent_dim"], config["options"]["preset"]) == (8, "tiny")
    images = open_dataset(other).load()[1]
    start, new = (vaegan.load(run, "cpu").reconstruct(images).int() for run in (vae_run, tmp_path / "new"))
    assert (start - new).abs().max() <= 1
    assert not torch.equal(vaegan.load(vae_run).encode(images), vaegan.load(tmp_path / "new").encode(images))


def test_a_gan_starts_from_another_with_a_prior_of_the_new_images(gan_run, other, copy, tmp_path):
    start = copy(gan_run)
    (start / "attributes.safetensors").write_bytes(b"of the start")
    text = notes(train_gan, other, tmp_path / "new", from_gan=start, steps=1, d_warmup_steps=0, **STILL, **COMMON)
    assert "(step 4, 32 images): generator (EMA), encoder, discriminator; prior fitted to the" in text
    assert config_of(tmp_path / "new")["from_run"]["taken"] == ["generator (EMA)", "encoder", "discriminator"]
    assert not (tmp_path / "new" / "attributes.safetensors").exists()
    train, val = open_dataset(other).load()
    old, new = (vaegan.load(run, "cpu") for run in (start, tmp_path / "new"))
    assert (old.reconstruct(val).int() - new.reconstruct(val).int()).abs().max() <= 1
    latents = new.encode(torch.cat([train, train.flip(3)]))
    assert latents.mean(0).abs().max() < 0.05 < old.encode(train).mean(0).abs().max()
    before, after = discriminator_of(start), discriminator_of(tmp_path / "new")
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


@pytest.mark.parametrize("exported", [False, True])
def test_without_a_checkpoint_the_discriminator_starts_from_the_encoder(exported, gan_run, other, tmp_path):
    start = tmp_path / "alone.safetensors"
    shutil.copy(gan_run / "model.safetensors", start)
    if exported:
        assert main(["export", str(start), "--hub", str(tmp_path / "hub"), "-q"]) == 0
        start = tmp_path / "hub"
    text = notes(train_gan, other, tmp_path / "new", from_gan=start, steps=1, **STILL, **COMMON)
    assert "generator (EMA), encoder; prior" in text
    trunk, encoder = strip_prefix(discriminator_of(tmp_path / "new"), "trunk"), vaegan.load(gan_run).encoder
    assert all(torch.allclose(trunk[name], tensor, atol=1e-6) for name, tensor in encoder.trunk.state_dict().items())


def test_a_gan_from_scratch_is_a_start_with_its_own_prior(scratch_run, other, tmp_path):
    text = notes(train_gan, other, tmp_path / "new", from_gan=scratch_run, steps=1, **STILL, **COMMON)
    assert "(step 2, 16 images): generator (EMA), discriminator" in text and "prior" not in text
    old, new = (vaegan.load(run, "cpu") for run in (scratch_run, tmp_path / "new"))
    assert (old.sample(4).int() - new.sample(4).int()).abs().max() <= 1 and new.encoder is None
    assert config_of(tmp_path / "new")["options"]["minibatch_std"] is False


@pytest.mark.parametrize("place", ["", "checkpoints/step-0000004", "best.safetensors"])
def test_run_checkpoint_and_file_in_a_run_bring_the_discriminator(place, gan_run, other, copy, tmp_path):
    start = copy(gan_run)
    shutil.copy(start / "model.safetensors", start / "best.safetensors")
    train_gan(other, tmp_path / "new", from_gan=start / place, steps=1, evaluate_every=0, **COMMON)
    assert "discriminator" in config_of(tmp_path / "new")["from_run"]["taken"]


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_a_fine_tuned_run_resumes_to_the_bit_without_its_start(kind, vae_run, gan_run, other, copy, tmp_path):
    start = copy(vae_run if kind == "vae" else gan_run)
    source = {"from_run": start} if kind == "vae" else {"from_gan": start, "freeze_d": 1}
    train = train_vae if kind == "vae" else train_gan
    options = {**COMMON, "steps": 4, "checkpoint_every": 2, "evaluate_every": 2}
    train(other, tmp_path / "whole", **source, **options)
    with interrupted_after(1):
        train(other, tmp_path / "parts", **source, **options)
    train(other, tmp_path / "parts", **source, steps=4)  # nothing to do but to resume: the same command
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    shutil.rmtree(start)
    for name in ("whole", "parts"):
        train(None, tmp_path / name, steps=5)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_killed_before_its_first_checkpoint_a_run_starts_again(gan_run, other, copy, tmp_path):
    start, options = copy(gan_run), {**COMMON, "steps": 3, "checkpoint_every": 3}
    for name in ("whole", "parts"):
        train_gan(other, tmp_path / name, from_gan=start, **options)

    def as_killed():
        shutil.rmtree(tmp_path / "parts" / "checkpoints")
        (tmp_path / "parts" / "model.safetensors").unlink()

    as_killed()
    train_gan(None, tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    as_killed()
    shutil.rmtree(start)
    with pytest.raises(VaeganError, match="no checkpoint yet and its start is gone"):
        train_gan(None, tmp_path / "parts")


def test_frozen_layers_do_not_move_and_all_others_do(gan_run, other, tmp_path):
    train_gan(other, tmp_path / "new", from_gan=gan_run, steps=3, freeze_d=2, **COMMON)
    before, after = discriminator_of(gan_run), discriminator_of(tmp_path / "new")
    same = {name for name in before if torch.equal(before[name], after[name])}
    frozen = {f"trunk.layers.{layer}.{part}" for layer in (0, 1) for part in ("weight", "bias")}
    assert same - {"head.bias"} == frozen  # the relativistic loss does not depend on this bias


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A dataset of images of twice the side."""
    return prepared_faces(tmp_path_factory.mktemp("large"), 16, 9, 64, 0.5)


def half_size(images):
    return torch.nn.functional.avg_pool2d(images.float(), 2)


@pytest.mark.parametrize("kind", ["vae", "gan", "scratch"])
def test_a_run_grows_from_one_of_half_the_size(kind, vae_run, gan_run, scratch_run, large, tmp_path):
    start = {"vae": vae_run, "gan": gan_run, "scratch": scratch_run}[kind]
    if kind == "vae":
        still = {"lr": 1e-9, "ema_halflife": 0}
        text = notes(train_vae, large, tmp_path / "new", from_run=start, steps=1, **still, **COMMON)
    else:
        text = notes(train_gan, large, tmp_path / "new", from_gan=start, steps=1, **STILL, **COMMON)
    assert "grown from 32x32 to 64x64 pixels" in text and config_of(tmp_path / "new")["model"]["size"] == 64
    old, new, images = vaegan.load(start, "cpu"), vaegan.load(tmp_path / "new", "cpu"), open_dataset(large).load()[1]
    if kind == "scratch":
        small, grown = old.sample(8), new.sample(8)
    else:
        small, grown = old.reconstruct(half_size(images).round().byte()), new.reconstruct(images)
    assert grown.shape[-1] == 64
    assert (half_size(grown) - small.float()).abs().mean() < 16  # of 255: the filters of upsampling differ
    train_new = train_vae if kind == "vae" else train_gan
    assert train_new(None, tmp_path / "new", steps=2) == tmp_path / "new"  # and it resumes without the start
