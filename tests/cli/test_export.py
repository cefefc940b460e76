"""vaegan export: files that other runtimes draw the same pictures with."""

import json
import sys
from pathlib import Path

import pytest
import torch
from test_pipeline import TINY, failing, run

from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.inference.model import load
from vaegan.utils.images import to_float, to_uint8


@pytest.fixture(scope="module")
def extra():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    return pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(extra, vae_run, tmp_path_factory):
    place = tmp_path_factory.mktemp("exports") / "faces.onnx"
    assert main(["export", str(vae_run), "--onnx", "--out", str(place), "-q"]) == 0
    return place.parent


def session(extra, path):
    return extra.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_the_exported_decoder_draws_the_same_pictures(extra, exported, vae_run):
    model, decoder = load(vae_run, "cpu"), session(extra, exported / "faces-decoder.onnx")
    for count in (1, 2, 5):
        latents = model.latents_from_seeds(range(count))
        (pictures,) = decoder.run(None, {"latents": latents.numpy()})
        drawn = to_uint8(torch.from_numpy(pictures))
        assert (drawn.int() - model.decode(latents).int()).abs().max() <= 1
    config = json.loads(decoder.get_modelmeta().custom_metadata_map["vaegan"])
    assert (config["part"], config["kind"], config["config"]["latent_dim"], config["step"]) == ("decoder", "vae", 8, 4)
    assert [one.name for one in decoder.get_inputs()] == ["latents"] and decoder.get_inputs()[0].shape == ["batch", 8]


def test_the_exported_encoder_has_the_whole_posterior(extra, exported, vae_run, prepared):
    """With the mixing matrix that folding left: draws of the posterior are the model's own."""
    model, encoder = load(vae_run, "cpu"), session(extra, exported / "faces-encoder.onnx")
    pictures = to_float(open_dataset(prepared).load()[0][:3])
    mean, log_var, mix = map(torch.from_numpy, encoder.run(["mean", "log_var", "mix"], {"pictures": pictures.numpy()}))
    assert not torch.equal(mix, torch.eye(8))
    noise = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model.encoder(pictures).sample(noise)
    torch.testing.assert_close(mean + ((log_var / 2).exp() * noise) @ mix.T, expected, atol=1e-4, rtol=1e-4)


def test_the_exported_prior_draws_the_same_latents(extra, mixed_vae_run, tmp_path):
    assert main(["export", str(mixed_vae_run), "--onnx", "--out", str(tmp_path / "faces.onnx"), "-q"]) == 0
    model, prior = load(mixed_vae_run, "cpu"), session(extra, tmp_path / "faces-prior.onnx")
    for count in (1, 2, 500):
        noise = torch.randn(count, model.prior.noise_dim, generator=torch.Generator().manual_seed(count))
        (latents,) = prior.run(None, {"noise": noise.numpy()})
        torch.testing.assert_close(torch.from_numpy(latents), model.prior(noise), atol=1e-5, rtol=1e-5)


def test_files_are_whole_and_say_nothing_of_this_machine(exported, vae_run):
    import onnx

    assert sorted(path.name for path in exported.iterdir()) == ["faces-decoder.onnx", "faces-encoder.onnx"]
    for path in exported.iterdir():
        proto = onnx.load(str(path))
        onnx.checker.check_model(proto, full_check=True)
        assert [(one.domain, one.version) for one in proto.opset_import] == [("", 18)]
        assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in proto.graph.initializer)
        content = path.read_bytes()
        assert str(Path(torch.__file__).parent).encode() not in content and str(vae_run).encode() not in content


def test_what_it_says(capsys, extra, here, prepared):
    """A GAN from scratch has a decoder alone; the difference is told, and one that is too large is an error."""
    assert run(capsys, "train-gan", prepared, "--run", "runs/new", "--steps", "1", *TINY, "-q")[0] == 0
    status, out, err = run(capsys, "export", "runs/new", "--onnx", "--json")
    made = json.loads(out)
    assert status == 0 and made["decoder"] == "exports/new-decoder.onnx" and "encoder" not in made
    assert made["opset"] == 18 and 0 < made["max_abs_diff"]["decoder"] < 1e-4
    assert "decoder: opset 18" in err and "largest difference from torch" in err
    assert "holds no encoder, as a GAN from scratch: only the decoder was exported" in err


def test_parts_of_another_model_do_not_stay_beside_it(capsys, extra, here, vae_run, prepared, monkeypatch):
    monkeypatch.setattr("vaegan.inference.export.CHECKED_BATCH_SIZES", (1, 2))
    assert run(capsys, "export", vae_run, "--onnx", "-o", "both")[0] == 0 and Path("both-encoder.onnx").is_file()
    assert run(capsys, "train-gan", prepared, "--run", "new", "--steps", "1", *TINY, "-q")[0] == 0
    status, _, err = run(capsys, "export", "new", "--onnx", "-o", "both")
    assert status == 0 and "both-encoder.onnx, of an older export, was removed: this model has no encoder" in err
    assert [path.name for path in Path().glob("both*")] == ["both-decoder.onnx"]


def test_a_difference_is_an_error_and_nothing_is_written(capsys, extra, here, vae_run, monkeypatch):
    monkeypatch.setattr("vaegan.inference.export.MAX_ONNX_DIFF", 0.0)
    monkeypatch.setattr("vaegan.inference.export.CHECKED_BATCH_SIZES", (1, 2))
    line = failing(capsys, "export", vae_run, "--onnx")
    assert "the exported decoder differs from torch's by" in line and "nothing was written" in line
    assert not Path("exports").exists()


def test_bad_input(capsys, here, vae_run, prepared, monkeypatch):
    assert "add --onnx" in failing(capsys, "export", vae_run, status=2)
    if "onnx" in sys.modules:
        Path("mine-decoder.onnx").write_bytes(b"another's")
        assert "mine-decoder.onnx exists and was not" in failing(capsys, "export", vae_run, "--onnx", "-o", "mine")
        assert "is a prepared set, not a checkpoint" in failing(capsys, "export", prepared, "--onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    line = failing(capsys, "export", vae_run, "--onnx")
    assert "exporting needs onnx, onnxruntime and onnxscript" in line and "pip install 'vaegan[export]'" in line
