"""Training with classes: resuming, storage, starting from a VAE with and without them, and unconditional runs."""

import json

import pytest
import torch
from pieces import COMMON, VAE, interrupted_after

import vaegan
from comparing import assert_same_run
from vaegan.checkpoint import load_tensors, read_weights_info
from vaegan.config.model_config import ModelConfig
from vaegan.data.classes import read_class_ids
from vaegan.data.dataset import open_dataset
from vaegan.errors import VaeganError
from vaegan.models.discriminator import Discriminator
from vaegan.models.growth import grow_decoder, grow_discriminator, grown_config
from vaegan.models.vae import Decoder
from vaegan.training.train import train_gan, train_vae

LENGTH = {"steps": 4, "checkpoint_every": 2, "sample_every": 2, "evaluate_every": 0}
GAN = {**COMMON, "d_warmup_steps": 1, "gp_interval": 2, "augment": "color"}


def trainer(kind, data, vae):
    if kind == "vae":
        return lambda run, **more: train_vae(data, run, **VAE, **LENGTH, cond="color", balance=True, **more)
    return lambda run, **more: train_gan(data, run, from_vae=vae, **GAN, **LENGTH, balance=True, **more)


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_an_interrupted_run_ends_as_an_uninterrupted_one_and_as_one_from_mapped_images(
    kind, colored_set, cond_vae_run, tmp_path
):
    train = trainer(kind, colored_set, cond_vae_run)
    train(tmp_path / "whole")
    with interrupted_after(3):
        train(tmp_path / "parts")
    train(tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    train(tmp_path / "mapped", cache="mmap")
    whole, mapped = (load_tensors(tmp_path / name / "model.safetensors") for name in ("whole", "mapped"))
    assert all(torch.equal(whole[name], mapped[name]) for name in whole)


def test_a_run_records_its_classes_and_keeps_them(colored_set, cond_vae_run, cond_gan_run):
    for run in (cond_vae_run, cond_gan_run):
        config = json.loads((run / "config.json").read_text())
        assert (config["model"]["classes"], config["model"]["class_label"]) == (["blue", "green", "red"], "color")
        assert config["options"]["cond"] == "color"
        assert read_weights_info(run).config.classes == ("blue", "green", "red")
    with pytest.raises(VaeganError, match=r"--cond is_dark contradicts .* started with --cond color"):
        train_vae(colored_set, cond_vae_run, cond="is_dark")
    with pytest.raises(VaeganError, match=r"--no-balance|--balance"):
        train_vae(colored_set, cond_vae_run, balance=False)


def test_an_unconditional_run_has_no_trace_of_classes_and_cannot_get_them(prepared, vae_run, gan_run):
    for run in (vae_run, gan_run):
        config = json.loads((run / "config.json").read_text())
        assert not {"cond", "balance"} & config["options"].keys()
        assert not {"classes", "class_label"} & config["model"].keys()
        tensors = load_tensors(next((run / "checkpoints").glob("*/training.safetensors")))
        assert not [name for name in (*tensors, *load_tensors(run / "model.safetensors")) if "class" in name]
    with pytest.raises(VaeganError, match=r"--cond color contradicts .* started without --cond"):
        train_vae(prepared, vae_run, cond="color")


def test_a_gan_from_an_unconditional_vae_starts_with_classes_that_look_alike(colored_set, mixed_vae, tmp_path):
    with mixed_vae():
        train_vae(colored_set, tmp_path / "vae", **VAE, **LENGTH)
    messages = []
    train_gan(
        colored_set,
        tmp_path / "gan",
        from_vae=tmp_path / "vae",
        cond="color",
        on_event=lambda event: messages.append(str(getattr(event, "text", ""))),
        **GAN,
        **LENGTH,
    )
    assert any("starts as the decoder" in text and "with the same images" in text for text in messages)
    assert any("Classes of color, by training images: blue" in text and "left out" in text for text in messages)
    tensors = load_tensors(tmp_path / "gan" / "model.safetensors")
    assert tensors["decoder.class_embedding.weight"].abs().max() > 0  # trained
    weights = tensors["prior.class_component_weights"]
    assert weights.shape == (3, 3) and not torch.allclose(weights[0], weights[2], atol=0.02)
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    other = {**GAN, **LENGTH, "steps": 1}
    train_gan(colored_set, tmp_path / "scratch", cond="is_dark", preset="tiny", **other)
    assert read_weights_info(tmp_path / "scratch").config.classes == ("no", "yes")


def test_the_classes_of_a_vae_and_of_the_request_or_dataset_must_agree(colored_set, prepared, cond_vae_run, tmp_path):
    with pytest.raises(VaeganError, match=r"--cond is_dark contradicts .*, whose classes are the values of color"):
        train_gan(colored_set, tmp_path / "gan", from_vae=cond_vae_run, cond="is_dark")
    with pytest.raises(VaeganError, match="has no labels: prepare it with"):
        train_gan(prepared, tmp_path / "gan", from_vae=cond_vae_run)
    with pytest.raises(VaeganError, match="--balance draws classes equally often, and there are none: add --cond"):
        train_vae(colored_set, tmp_path / "vae", balance=True)


def test_without_an_embedding_the_networks_are_those_without_classes():
    plain, classed = ModelConfig(32, 3, 8, 8), ModelConfig(32, 3, 8, 8, classes=("a", "b"), class_label="kind")
    images, latents, class_weights = torch.rand(6, 3, 32, 32), torch.randn(6, 8), torch.eye(2).repeat(3, 1)
    for network, inputs in ((Decoder, latents), (lambda config: Discriminator(config, True), images)):
        torch.manual_seed(0)
        expected = network(plain)(inputs)
        torch.manual_seed(0)
        conditional = network(classed)
        assert torch.equal(conditional(inputs, class_weights), expected)
        with torch.no_grad():
            conditional.class_embedding.weight[1] = 0.1
        changed = (conditional(inputs, class_weights) != expected).flatten(1 if inputs is latents else 0)
        assert changed.view(6, -1).any(1).tolist() == [False, True] * 3
        with pytest.raises(ValueError, match="weights of 2 classes"):
            conditional(inputs)


def test_the_projection_is_the_inner_product_of_embedding_and_features():
    """Miyato & Koyama 2018, eq. 3."""
    discriminator = Discriminator(ModelConfig(32, 3, 8, 8, classes=("a", "b"), class_label="kind"))
    torch.nn.init.normal_(discriminator.class_embedding.weight)
    images, class_weights = torch.rand(4, 3, 32, 32), torch.eye(2)[[0, 1, 1, 0]]
    logits, features = discriminator.forward_with_features(images, class_weights)
    flat = features[-1].flatten(1)
    for row, number in enumerate((0, 1, 1, 0)):
        expected = discriminator.head(flat[row]) + discriminator.class_embedding.weight[number] @ flat[row]
        torch.testing.assert_close(logits[row : row + 1], expected)


def test_a_run_with_classes_starts_another_which_keeps_them(
    colored_set, prepared, cond_vae_run, cond_gan_run, tmp_path
):
    train_vae(colored_set, tmp_path / "vae", from_run=cond_vae_run, **COMMON, **LENGTH)
    train = lambda run: train_gan(colored_set, run, from_gan=cond_gan_run, **COMMON, **LENGTH)  # noqa: E731
    train(tmp_path / "gan")
    for name in ("vae", "gan"):
        config = read_weights_info(tmp_path / name).config
        assert (config.classes, config.class_label) == (("blue", "green", "red"), "color")
    with interrupted_after(3):
        train(tmp_path / "parts")
    train(tmp_path / "parts")
    assert_same_run(tmp_path / "gan", tmp_path / "parts")
    with pytest.raises(VaeganError, match="has no labels: prepare it with"):
        train_gan(prepared, tmp_path / "other", from_gan=cond_gan_run, **COMMON, **LENGTH)
    with pytest.raises(VaeganError, match=r"--cond is_dark contradicts .*, whose classes are the values of color"):
        train_vae(colored_set, tmp_path / "other", from_run=cond_vae_run, cond="is_dark", **COMMON, **LENGTH)


def test_a_run_without_classes_starts_one_with_classes(colored_set, vae_run, gan_run, tmp_path):
    for kind, train, start in (("vae", train_vae, {"from_run": vae_run}), ("gan", train_gan, {"from_gan": gan_run})):
        train(colored_set, tmp_path / kind, cond="color", balance=True, **start, **COMMON, **LENGTH)
        model = vaegan.load(tmp_path / kind, "cpu")
        assert model.classes == ("blue", "green", "red")
        counts = read_class_ids(open_dataset(colored_set), "color", model.classes).train.add(1).bincount()[1:]
        torch.testing.assert_close(model.prior.class_frequencies, counts / counts.sum())
        assert model.sample(2, class_="red").shape == (2, 3, 32, 32)


def test_grown_networks_keep_their_class_embeddings():
    config = ModelConfig(32, 3, 8, 16, classes=("a", "b"), class_label="kind")
    torch.manual_seed(0)
    decoder, discriminator, latents = Decoder(config), Discriminator(config, True), torch.randn(4, 8)
    for network in (decoder, discriminator):
        torch.nn.init.normal_(network.class_embedding.weight, std=0.1)
    class_weights = torch.eye(2)[[0, 1, 1, 0]]
    with torch.no_grad():
        images = grow_decoder(decoder, grown_config(config))(latents, class_weights)
        small = torch.nn.functional.avg_pool2d(images, 2)
        assert (small - decoder(latents, class_weights)).abs().mean() < (images[0] - images[1]).abs().mean() / 3
        grown = grow_discriminator(discriminator, grown_config(config))
        large = torch.rand(4, 3, 64, 64)
        expected = discriminator(torch.nn.functional.avg_pool2d(large, 2), class_weights)
        torch.testing.assert_close(grown(large, class_weights), expected, atol=1e-3, rtol=1e-3)
