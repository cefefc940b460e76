"""Errors of train-gan before the first step: one line with the value, what was expected, and the way out."""

import pytest

from vaegan.cli import main
from vaegan.losses.gan import LOSSES
from vaegan.training.train import train_gan

ALL_LOSSES = ", ".join(LOSSES)
ERRORS_BY_OPTION = {
    "--loss wgan": f"--loss wgan: expected one of {ALL_LOSSES}",
    "--loss hing": f"--loss hing: expected one of {ALL_LOSSES}; did you mean hinge?",
    "--gamma -1": "--gamma -1.0: expected a number, at least 0",
    "--gamma-final -0.5": "--gamma-final -0.5: expected a number, at least 0",
    "--gamma-anneal-images 0": "--gamma-anneal-images 0: expected a whole number, at least 1",
    "--gp-interval 0": "--gp-interval 0: expected a whole number, at least 1",
    "--lr-g 0": "--lr-g 0.0: expected a number, above 0 and at most 1",
    "--lr-d -1": "--lr-d -1.0: expected a number, above 0 and at most 1",
    "--lr-decay-start -1": "--lr-decay-start -1: expected a whole number, at least 0",
    "--recon-fraction 1.5": "--recon-fraction 1.5: expected a number, at least 0 and at most 1",
    "--d-warmup-steps -1": "--d-warmup-steps -1: expected a whole number, at least 0",
    "--augment blur": "--augment blur: expected none or some of color,translation,cutout",
    "--ada-target 2": "--ada-target 2.0: expected a number, above 0 and at most 1",
    "--on-collapse panic": "--on-collapse panic: expected one of stop, rollback, ignore",
    "--prior cauchy": "--prior cauchy: expected one of normal, uniform, mixture",
    "--preset huge": "--preset huge: expected one of tiny, small, base, large",
    "--evaluate-every -1": "--evaluate-every -1: expected a whole number, at least 0",
}


def refused(capsys, *arguments):
    """Return the exit code and the one line of error."""
    code = main(["train-gan", *map(str, arguments), "--run", "gan"])
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Using")]
    assert len(lines) == 1
    return code, lines[0]


@pytest.mark.parametrize("option", ERRORS_BY_OPTION)
def test_an_invalid_option_is_refused_before_anything_is_read(option, here, capsys):
    code, line = refused(capsys, "no-such-set", *option.split())
    assert code == 2 and line == f"error: {ERRORS_BY_OPTION[option]}"
    assert not (here / "gan").exists()


WITHOUT_START = {
    "--recon-weight 8": "--recon-weight 8.0 goes with --from-vae or --from-gan: add one, or leave it out",
    "--recon-fraction 0.25": "--recon-fraction 0.25 goes with --from-vae or --from-gan: add one, or leave it out",
    "--recon-fade 5k": "--recon-fade 5000 goes with --from-vae or --from-gan: add one, or leave it out",
    "--init-d-from-encoder": "--init-d-from-encoder goes with --from-vae or --from-gan: add one, or leave it out",
    "--gamma-anneal-images 10k": "--gamma-anneal-images 10000 goes with --gamma-final: add it, or leave it out",
}
QUICK = ["--steps", "1", "--batch-size", "8", "--precision", "fp32", "--evaluate-every", "0", "-q"]


@pytest.mark.parametrize("option", WITHOUT_START)
def test_an_option_without_an_effect_is_refused_before_anything_is_read(option, here, capsys):
    code, line = refused(capsys, "no-such-set", *option.split())
    assert (code, line) == (2, f"error: {WITHOUT_START[option]}")
    assert not (here / "gan").exists()


def test_options_with_an_effect_are_taken(prepared, vae_run, gan_run, here, capsys):
    start = ["--recon-weight", "8", "--recon-fade", "5k", "--gamma-final", "0.5", "--gamma-anneal-images", "10k"]
    commands = {
        "vae": ["--from-vae", vae_run, *start],
        "gan": ["--from-gan", gan_run, *start],
        "off": ["--preset", "tiny", "--recon-weight", "0", "--no-init-d-from-encoder"],
        "config": ["--config", "vae/config.json", "--gamma-anneal-images", "9k"],
    }
    for name, arguments in commands.items():
        command = ["train-gan", prepared, "--run", name, *QUICK, *arguments]
        assert main([str(word) for word in command]) == 0, capsys.readouterr().err
    # a run that is resumed keeps its start
    assert main(["train-gan", "--run", "vae", "--recon-weight", "8", "--gamma-anneal-images", "10k", "-q"]) == 0
    # Python takes all options of the settings
    train_gan(prepared, "python", recon_weight=8.0, gamma_anneal_images=10_000, preset="tiny", steps=1, batch_size=8)


def test_a_gan_run_must_not_replace_its_vae(prepared, vae_run, copy, capsys):
    vae = copy(vae_run)
    for checkpoint in (vae, vae / "model.safetensors", vae / "checkpoints" / "step-0000004"):
        assert main(["train-gan", str(prepared), "--run", str(vae), "--from-vae", str(checkpoint), "--force"]) == 2
        assert "lies in" in (err := capsys.readouterr().err) and "choose another --run" in err
    assert (vae / "model.safetensors").read_bytes() == (vae_run / "model.safetensors").read_bytes()


def test_a_grayscale_dataset_and_a_color_vae_do_not_fit(drawn, prepared, vae_run, here, capsys):
    assert main(["preprocess", str(drawn), "--out", "gray", "--size", "32", "--grayscale", "-q"]) == 0
    code, line = refused(capsys, "gray", "--from-vae", vae_run, "--steps", "1")
    assert code == 1 and "gray holds 32x32 images of 1 channels, but" in line
    assert "trained on 32x32 of 3: preprocess them with --size 32 --no-grayscale, or give --from-vae" in line
    options = ["--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--precision", "fp32", "-q"]
    assert main(["train-vae", "gray", "--run", "vae", "--steps", "1", *options]) == 0
    code, line = refused(capsys, prepared, "--from-vae", "vae", "--steps", "1")
    assert code == 1 and "trained on 32x32 of 1: preprocess them with --size 32 --grayscale, or give --from-vae" in line
    assert not (here / "gan").exists()
