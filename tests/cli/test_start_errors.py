"""Bad input of --from and --from-gan: one line with both values and the way out, before anything is written."""

import json
import struct

import pytest
from test_pipeline import TINY

from vaegan.cli import main


def refused(capsys, *arguments):
    """Return the exit code and the one line of error of a command that writes no run."""
    code = main([*map(str, arguments), "--run", "new"])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    return code, lines[0]


def preprocess(drawn, out, *options):
    assert main(["preprocess", str(drawn), "--out", out, "-q", *options]) == 0


@pytest.mark.parametrize(("kind", "flag"), [("vae", "--from"), ("gan", "--from-gan")])
def test_a_dataset_of_another_size_or_channels(kind, flag, drawn, vae_run, gan_run, here, capsys):
    start, command = (vae_run if kind == "vae" else gan_run), f"train-{kind}"
    preprocess(drawn, "large", "--size", "128")
    code, line = refused(capsys, command, "large", flag, start)
    assert code == 1 and "large holds 128x128 images of 3 channels, but" in line
    assert f"trained on 32x32 of 3: preprocess them with --size 32, or give {flag} a {kind.upper()} that" in line
    assert line.endswith("was trained on such images or on images of half the size")
    for size in ("32", "64"):
        preprocess(drawn, f"gray-{size}", "--size", size, "--grayscale")
        code, line = refused(capsys, command, f"gray-{size}", flag, start)
        assert code == 1 and f"gray-{size} holds {size}x{size} images of 1 channels, but" in line
        assert "trained on 32x32 of 3" in line and "--no-grayscale" in line
    assert not (here / "new").exists()


@pytest.mark.parametrize(("kind", "flag"), [("vae", "--from"), ("gan", "--from-gan")])
def test_another_preset_or_number_of_latents(kind, flag, prepared, vae_run, gan_run, here, capsys):
    start = vae_run if kind == "vae" else gan_run
    for option, value, own in (("--preset", "base", "which is tiny"), ("--latent-dim", "16", "whose latents have 8")):
        code, line = refused(capsys, f"train-{kind}", prepared, flag, start, option, value)
        assert code == 2 and f"{option} {value} contradicts {start}" in line and f"{own}: leave it out" in line
    assert not (here / "new").exists()


def test_another_discriminator(prepared, gan_run, here, capsys):
    code, line = refused(capsys, "train-gan", prepared, "--from-gan", gan_run, "--no-minibatch-std")
    assert code == 2 and f"--no-minibatch-std contradicts {gan_run}" in line
    assert "which was trained with --minibatch-std: leave it out" in line


def test_two_starts_at_once(prepared, vae_run, gan_run, here, capsys):
    code, line = refused(capsys, "train-gan", prepared, "--from-vae", vae_run, "--from-gan", gan_run)
    assert (code, line) == (2, "error: --from-vae and --from-gan contradict each other: give only one of them")
    code, line = refused(capsys, "train-vae", prepared, "--from", vae_run, "--latent-dim", "auto")
    assert code == 2 and line.startswith("error: --latent-dim auto and --from contradict each other")
    code, line = refused(capsys, "train-vae", prepared, "--from", vae_run, "--from-vae", vae_run)
    assert code == 2 and "--from-vae" in line


def test_the_run_itself(prepared, vae_run, copy, capsys):
    vae = copy(vae_run)
    before = (vae / "model.safetensors").read_bytes()
    for start in (vae, vae / "checkpoints" / "step-0000004"):
        for force in ([], ["--force"]):
            assert main(["train-vae", str(prepared), "--run", str(vae), "--from", str(start), *force]) == 2
            line = capsys.readouterr().err
            assert f"--from {start} is the run itself: choose another --run" in line and "to resume it" in line
    assert (vae / "model.safetensors").read_bytes() == before


def test_a_gan_for_a_vae_and_a_vae_for_a_gan(prepared, vae_run, gan_run, here, capsys):
    code, line = refused(capsys, "train-vae", prepared, "--from", gan_run)
    assert code == 1 and f"--from {gan_run}: this is a GAN, whose generator has left the encoder behind" in line
    assert f"give the VAE {vae_run / 'model.safetensors'} it came from, or" in line
    assert f"train it further with vaegan train-gan --from-gan {gan_run}" in line
    code, line = refused(capsys, "train-gan", prepared, "--from-gan", vae_run)
    assert code == 1 and f"--from-gan {vae_run}: this is a VAE; give it to --from-vae" in line
    scratch = ["--run", "scratch", "--steps", "1", *TINY, "-q"]
    assert main(["train-gan", str(prepared), *scratch]) == 0
    code, line = refused(capsys, "train-vae", prepared, "--from", "scratch")
    assert code == 1 and "this is a GAN without an encoder; train it further with vaegan train-gan --from-gan" in line


@pytest.mark.parametrize(("kind", "flag"), [("vae", "--from"), ("gan", "--from-gan")])
def test_weights_of_format_1(kind, flag, prepared, vae_run, gan_run, copy, here, capsys):
    start = copy(vae_run if kind == "vae" else gan_run)
    weights = start / "model.safetensors"
    content = weights.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    metadata = json.loads(header["__metadata__"]["vaegan"]) | {"format_version": 1}
    header["__metadata__"]["vaegan"] = json.dumps(metadata)
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    weights.write_bytes(struct.pack("<Q", len(encoded)) + encoded + content[8 + length :])
    code, line = refused(capsys, f"train-{kind}", prepared, flag, start)
    assert code == 1 and "format 1, of vaegan 0.1: train the model again" in line


def test_layers_that_cannot_be_frozen(prepared, vae_run, here, capsys):
    code, line = refused(capsys, "train-gan", prepared, "--from-vae", vae_run, "--freeze-d", "4")
    assert (code, line) == (
        2,
        "error: --freeze-d 4: at 32 pixels at most 3 layers can be frozen: give --freeze-d 3 or fewer",
    )
    code, line = refused(capsys, "train-gan", prepared, "--freeze-d", "1")
    assert code == 2 and "--freeze-d 1 keeps trained layers as they are, and here they are random: add" in line
    assert "or leave it out" in line
    options = ["--from-vae", vae_run, "--no-init-d-from-encoder"]
    code, line = refused(capsys, "train-gan", prepared, "--freeze-d", "1", *options)
    assert code == 2 and "here --no-init-d-from-encoder makes them random: leave one of the two out" in line


def test_layers_of_a_start_that_cannot_be_frozen(drawn, prepared, gan_run, here, capsys):
    assert main(["train-gan", str(prepared), "--run", "scratch", "--steps", "1", *TINY, "-q"]) == 0
    (here / "scratch" / "model.safetensors").rename("scratch.safetensors")
    code, line = refused(capsys, "train-gan", prepared, "--from-gan", "scratch.safetensors", "--freeze-d", "1")
    assert code == 2 and "has neither a discriminator nor an encoder: start from a run with checkpoints" in line
    preprocess(drawn, "large", "--size", "64")
    code, line = refused(capsys, "train-gan", "large", "--from-gan", gan_run, "--freeze-d", "1")
    assert code == 2 and "here the first layers are new, as" in line and line.endswith("half the size: leave it out")


def test_a_resumed_run_keeps_its_start(prepared, vae_run, copy, here, capsys):
    start, own = copy(vae_run), ["--precision", "fp32", "--batch-size", "8", "-q"]
    assert main(["train-vae", str(prepared), "--from", str(vae_run), "--run", "new", "--steps", "1", *own]) == 0
    capsys.readouterr()
    (start / "model.safetensors").write_bytes((here / "new" / "model.safetensors").read_bytes())
    code, line = refused(capsys, "train-vae", prepared, "--from", start)
    assert code == 2 and "is not the VAE that new was started from, or it was trained further: leave it out" in line
    assert main(["train-vae", str(prepared), "--run", "plain", "--steps", "1", *TINY, "-q"]) == 0
    assert main(["train-vae", str(prepared), "--run", "plain", "--from", str(vae_run), "--steps", "2"]) == 2
    assert "contradicts plain, which was started from scratch: choose another --run" in capsys.readouterr().err
