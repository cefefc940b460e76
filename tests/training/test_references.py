"""A VAE whose prior takes groups of leading latents and the trailing ones from training images, and its GAN."""

from unittest import mock

import pytest
import torch
from pieces import COMMON, assert_resumes_to_the_bit, trainer_of

from vaegan.checkpoint import find_weights, load_tensors, read_weights_info, strip_prefix
from vaegan.cli import main
from vaegan.inference.model import load
from vaegan.models.prior import fit_components
from vaegan.models.reference_latents import LeadingMixture
from vaegan.training.train import train_gan, train_vae

OPTIONS = {**COMMON, "evaluate_every": 0}


def first_four_lead(latents, num_components, axis_scales, seed):
    assert axis_scales.shape == latents.shape[2:] and bool((axis_scales.diff() <= 1e-6).all()), "sorted"
    references, rows = latents.transpose(0, 1).flatten(0, 1)[:40], torch.arange(len(latents)).repeat(2)[:40]
    halves = torch.eye(4).unflatten(1, (2, 2)).transpose(0, 1)
    mixture = fit_components(latents[:, :, :4], num_components, seed)
    return LeadingMixture(mixture, references, torch.zeros(40), rows, halves, torch.zeros(2, 40))


def is_part_of(latents, references, columns):
    """Return whether these columns of each latent are those of a reference."""
    distances = torch.cdist(latents[:, columns], references[:, columns], compute_mode="donot_use_mm_for_euclid_dist")
    return float(distances.min(1).values.max()) < 1e-4


@pytest.fixture(scope="module")
def vae(prepared, mixed_vae, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "vae"
    with mixed_vae(), mock.patch("vaegan.models.latent_whitening.fit_leading_mixture", first_four_lead):
        train_vae(prepared, run, steps=4, latent_dim=8, **OPTIONS)
    return run


@pytest.fixture(scope="module")
def gan(prepared, vae, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "gan"
    train_gan(prepared, run, from_vae=vae, steps=4, d_warmup_steps=1, **OPTIONS)
    return run


def test_the_weights_hold_the_references_of_vae_and_gan(vae, gan):
    config = read_weights_info(vae).config
    assert (config.leading_dim, config.num_references, config.num_groups, config.latent_dim) == (4, 40, 2, 8)
    priors = [strip_prefix(load_tensors(find_weights(run)), "prior") for run in (vae, gan)]
    assert priors[0]["references"].shape == (40, 8) and priors[0]["means"].shape == (3, 4)
    assert all(torch.equal(priors[0][name], priors[1][name]) for name in priors[0])
    latents = load(gan, "cpu").latents_from_seeds(range(50))
    assert all(is_part_of(latents, priors[0]["references"], half) for half in (slice(0, 2), slice(2, 4)))
    trailing = priors[0]["references"][:, 4:]
    blends = 0.8 * trailing[:, None] + 0.6 * trailing[None]
    distances = torch.cdist(latents[:, 4:], blends.flatten(0, 1), compute_mode="donot_use_mm_for_euclid_dist")
    assert float(distances.min(1).values.max()) < 1e-4


def test_the_gan_resumes_to_the_bit(prepared, vae, tmp_path):
    assert_resumes_to_the_bit(trainer_of("gan", prepared, vae), tmp_path)


def test_the_exported_prior_gives_the_same_latents(gan, tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    assert main(["export", str(gan), "--onnx", "--out", str(tmp_path / "faces.onnx"), "-q"]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "faces-prior.onnx", providers=["CPUExecutionProvider"])
    model = load(gan, "cpu")
    noise = torch.randn(9, model.prior.noise_dim, generator=torch.Generator().manual_seed(0))
    (latents,) = session.run(None, {"noise": noise.numpy()})
    torch.testing.assert_close(torch.from_numpy(latents), model.prior(noise), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("is_vae_conditional", [True, False])
def test_classes_draw_their_leading_latents_from_components_of_their_own(
    colored_set, mixed_vae, is_vae_conditional, tmp_path
):
    cond = {"cond": "color"} if is_vae_conditional else {}
    with mixed_vae(), mock.patch("vaegan.models.latent_whitening.fit_leading_mixture", first_four_lead):
        train_vae(colored_set, tmp_path / "vae", steps=4, latent_dim=8, **cond, **OPTIONS)
    train_gan(colored_set, tmp_path / "gan", from_vae=tmp_path / "vae", cond="color", steps=2, **OPTIONS)
    config = read_weights_info(tmp_path / "gan").config
    assert (config.leading_dim, config.num_references, config.class_label) == (4, 40, "color")
    prior = strip_prefix(load_tensors(find_weights(tmp_path / "gan")), "prior")
    assert prior["references"].shape == (40, 8)
    torch.testing.assert_close(prior["class_component_weights"].sum(1), torch.ones(len(config.classes)))
    assert len(prior["reference_classes"].unique()) > 1
    model = load(tmp_path / "gan", "cpu")
    for number in range(len(config.classes)):
        own = prior["references"][prior["reference_classes"] == number, 4:]
        if len(own) < 5:
            continue
        blends = (0.8 * own[:, None] + 0.6 * own[None]).flatten(0, 1)
        latents = model.prior.for_class(number).sample_seeds(range(30))
        distances = torch.cdist(latents[:, 4:], blends, compute_mode="donot_use_mm_for_euclid_dist")
        assert float(distances.min(1).values.max()) < 1e-4
        assert is_part_of(latents, prior["references"], slice(0, 2)), "images of all classes take part in groups"


def test_truncated_samples_still_have_real_details(gan):
    model = load(gan, "cpu")
    trailing = model.latents_from_seeds(range(200), truncation=0.5)[:, 4:]
    assert float(trailing.std()) > 0.8 * float(model.prior.references[:, 4:].std())


def test_info_and_card_say_that_training_images_are_inside(gan, tmp_path, capsys):
    assert main(["info", str(find_weights(gan))]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        "(mixture prior of the first 4 in 2 groups from training images, details from 40 encoded training images)"
        in shown
    )
    assert main(["export", str(gan), "--hub", str(tmp_path / "hub"), "-q"]) == 0
    assert "mixture prior with 40 encoded training images inside" in (tmp_path / "hub" / "README.md").read_text()
