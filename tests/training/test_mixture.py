"""A VAE whose latents form clusters, and the GAN that starts from it: both sample from the mixture prior."""

import pytest
import torch
from pieces import COMMON, assert_resumes_to_the_bit, interrupted_after, trainer_of

from comparing import assert_same_run
from vaegan.checkpoint import find_weights, load_tensors, read_weights_info, strip_prefix
from vaegan.errors import UsageError
from vaegan.inference.model import load
from vaegan.training.train import train_gan

OPTIONS = {**COMMON, "evaluate_every": 0}


def read_prior(run):
    return strip_prefix(load_tensors(find_weights(run)), "prior")


@pytest.fixture(scope="module")
def gan(prepared, mixed_vae_run, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "gan"
    train_gan(prepared, run, from_vae=mixed_vae_run, steps=4, d_warmup_steps=1, **OPTIONS)
    return run


def test_the_vaes_weights_hold_the_prior(mixed_vae_run):
    config, prior = read_weights_info(mixed_vae_run).config, read_prior(mixed_vae_run)
    assert (config.prior, config.num_components, config.local_dim) == ("mixture", 3, 8)
    assert {name: tuple(value.shape) for name, value in prior.items()} == {
        "weights": (3,),
        "means": (3, 8),
        "scale_tril": (8, 8),
        "local_factors": (3, 8, 8),
    }
    assert prior["weights"].sum() == pytest.approx(1)


def test_latents_are_samples_of_the_prior(mixed_vae_run):
    model, prior = load(mixed_vae_run, "cpu"), read_prior(mixed_vae_run)
    latents = model.latents_from_seeds(range(3000))
    mean = prior["weights"] @ prior["means"]
    torch.testing.assert_close(latents.mean(0), mean, atol=0.08, rtol=0)
    between = (prior["means"] - mean).T * prior["weights"] @ (prior["means"] - mean)
    local = (prior["weights"][:, None, None] * prior["local_factors"].mT @ prior["local_factors"]).sum(0)
    within = prior["scale_tril"] @ prior["scale_tril"].T + local
    torch.testing.assert_close(latents.T.cov(), between + within, atol=0.15, rtol=0)
    assert torch.equal(model.sample(3, seed=5)[1], model.sample(1, seed=6)[0])


def test_the_gan_has_the_prior_of_its_vae(mixed_vae_run, gan):
    assert read_weights_info(gan).config == read_weights_info(mixed_vae_run).config
    for name, tensor in read_prior(mixed_vae_run).items():
        assert torch.equal(tensor, read_prior(gan)[name])
    assert torch.equal(load(gan, "cpu").latents_from_seeds([7]), load(mixed_vae_run, "cpu").latents_from_seeds([7]))


def test_the_gan_resumes_to_the_bit(prepared, mixed_vae_run, tmp_path):
    assert_resumes_to_the_bit(trainer_of("gan", prepared, mixed_vae_run), tmp_path)


def test_a_vae_whose_prior_became_a_mixture_resumes_to_the_bit(prepared, mixed_vae, tmp_path):
    """Its weights have another model config than the run began with."""
    train = trainer_of("vae", prepared, None)
    options = {"checkpoint_every": 2, "sample_every": 2, "evaluate_every": 0}
    with mixed_vae():
        train(tmp_path / "whole", steps=6, **options)
        with interrupted_after(3):
            train(tmp_path / "parts", steps=4, **options)
        train(tmp_path / "parts", steps=4, **options)
        assert read_weights_info(tmp_path / "parts").config.prior == "mixture"
        train(tmp_path / "parts", steps=6)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_another_prior_can_be_chosen(prepared, mixed_vae_run, tmp_path, prior):
    train_gan(prepared, tmp_path / "gan", from_vae=mixed_vae_run, steps=2, d_warmup_steps=1, prior=prior, **OPTIONS)
    config = read_weights_info(tmp_path / "gan").config
    assert (config.prior, config.num_components, read_prior(tmp_path / "gan")) == (prior, 1, {})


def test_a_mixture_needs_a_vae_that_has_one(prepared, vae_run, tmp_path):
    with pytest.raises(UsageError, match="--prior mixture: it is fitted to a VAE's latents: add --from-vae"):
        train_gan(prepared, tmp_path / "gan", prior="mixture", steps=1)
    with pytest.raises(UsageError, match="has no fitted mixture: leave it out"):
        train_gan(prepared, tmp_path / "gan", from_vae=vae_run, prior="mixture", steps=1)
    assert not (tmp_path / "gan").exists()
