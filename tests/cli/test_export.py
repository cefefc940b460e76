"""vaegan export: ONNX files that give the same results as PyTorch."""

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
def onnxruntime():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    return pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(onnxruntime, vae_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("exports") / "faces.onnx"
    assert main(["export", str(vae_run), "--onnx", "--out", str(path), "-q"]) == 0
    return path.parent


def open_session(onnxruntime, path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_the_exported_decoder_gives_the_same_images(onnxruntime, exported, vae_run):
    model, decoder = load(vae_run, "cpu"), open_session(onnxruntime, exported / "faces-decoder.onnx")
    for count in (1, 2, 5):
        latents = model.latents_from_seeds(range(count))
        (output,) = decoder.run(None, {"latents": latents.numpy()})
        images = to_uint8(torch.from_numpy(output))
        assert (images.int() - model.decode(latents).int()).abs().max() <= 1
    metadata = json.loads(decoder.get_modelmeta().custom_metadata_map["vaegan"])
    assert (metadata["part"], metadata["kind"], metadata["config"]["latent_dim"], metadata["step"]) == (
        "decoder",
        "vae",
        8,
        4,
    )
    assert [item.name for item in decoder.get_inputs()] == ["latents"] and decoder.get_inputs()[0].shape == ["batch", 8]


def test_the_exported_encoder_gives_the_posterior(onnxruntime, exported, vae_run, prepared):
    """Samples computed from its outputs equal those of the model, also after latent whitening."""
    model, encoder = load(vae_run, "cpu"), open_session(onnxruntime, exported / "faces-encoder.onnx")
    images = to_float(open_dataset(prepared).load()[0][:3])
    outputs = encoder.run(["mean", "log_var", "cov_factor"], {"images": images.numpy()})
    mean, log_var, cov_factor = map(torch.from_numpy, outputs)
    assert not torch.equal(cov_factor, torch.eye(8))
    noise = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model.encoder(images).sample(noise)
    torch.testing.assert_close(mean + ((log_var / 2).exp() * noise) @ cov_factor.T, expected, atol=1e-4, rtol=1e-4)


def test_the_exported_prior_gives_the_same_latents(onnxruntime, mixed_vae_run, tmp_path):
    assert main(["export", str(mixed_vae_run), "--onnx", "--out", str(tmp_path / "faces.onnx"), "-q"]) == 0
    model, prior = load(mixed_vae_run, "cpu"), open_session(onnxruntime, tmp_path / "faces-prior.onnx")
    for count in (1, 2, 500):
        noise = torch.randn(count, model.prior.noise_dim, generator=torch.Generator().manual_seed(count))
        (latents,) = prior.run(None, {"noise": noise.numpy()})
        torch.testing.assert_close(torch.from_numpy(latents), model.prior(noise), atol=1e-5, rtol=1e-5)


def test_files_are_self_contained_and_name_no_paths_of_this_machine(exported, vae_run):
    import onnx

    assert sorted(path.name for path in exported.iterdir()) == ["faces-decoder.onnx", "faces-encoder.onnx"]
    for path in exported.iterdir():
        proto = onnx.load(str(path))
        onnx.checker.check_model(proto, full_check=True)
        assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 18)]
        assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in proto.graph.initializer)
        content = path.read_bytes()
        assert str(Path(torch.__file__).parent).encode() not in content and str(vae_run).encode() not in content


def test_the_differences_are_reported(capsys, onnxruntime, here, prepared):
    """Of a GAN from scratch, which has only a decoder."""
    assert run(capsys, "train-gan", prepared, "--run", "runs/new", "--steps", "1", *TINY, "-q")[0] == 0
    status, out, err = run(capsys, "export", "runs/new", "--onnx", "--json")
    result = json.loads(out)
    assert status == 0 and result["decoder"] == "exports/new-decoder.onnx" and "encoder" not in result
    assert result["opset"] == 18 and 0 < result["max_abs_diff"]["decoder"] < 1e-4
    assert "decoder: opset 18" in err and "largest difference from PyTorch" in err
    assert "holds no encoder, as a GAN from scratch: only the decoder was exported" in err


def test_parts_of_an_older_export_are_removed(capsys, onnxruntime, here, vae_run, prepared, monkeypatch):
    monkeypatch.setattr("vaegan.inference.export.CHECKED_BATCH_SIZES", (1, 2))
    assert run(capsys, "export", vae_run, "--onnx", "-o", "both")[0] == 0 and Path("both-encoder.onnx").is_file()
    assert run(capsys, "train-gan", prepared, "--run", "new", "--steps", "1", *TINY, "-q")[0] == 0
    status, _, err = run(capsys, "export", "new", "--onnx", "-o", "both")
    assert status == 0 and "both-encoder.onnx, of an older export, was removed: this model has no encoder" in err
    assert [path.name for path in Path().glob("both*")] == ["both-decoder.onnx"]


def test_another_programs_file_stays_beside_a_forced_export(capsys, onnxruntime, here, prepared):
    assert run(capsys, "train-gan", prepared, "--run", "new", "--steps", "1", *TINY, "-q")[0] == 0
    for part in ("decoder", "encoder"):
        Path(f"mine-{part}.onnx").write_bytes(b"another's")
    assert run(capsys, "export", "new", "--onnx", "-o", "mine", "--force")[0] == 0
    assert Path("mine-decoder.onnx").read_bytes() != b"another's"
    assert Path("mine-encoder.onnx").read_bytes() == b"another's"


def test_a_large_difference_is_an_error_and_nothing_is_written(capsys, onnxruntime, here, vae_run, monkeypatch):
    monkeypatch.setattr("vaegan.inference.export.MAX_ONNX_DIFF", 0.0)
    monkeypatch.setattr("vaegan.inference.export.CHECKED_BATCH_SIZES", (1, 2))
    line = failing(capsys, "export", vae_run, "--onnx")
    assert "the exported decoder differs from PyTorch by" in line and "nothing was written" in line
    assert not Path("exports").exists()


def test_bad_input(capsys, here, vae_run, prepared, monkeypatch):
    if "onnx" in sys.modules:
        Path("mine-decoder.onnx").write_bytes(b"another's")
        assert "mine-decoder.onnx exists and was not" in failing(capsys, "export", vae_run, "--onnx", "-o", "mine")
        assert "is a dataset, not a checkpoint" in failing(capsys, "export", prepared, "--onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    line = failing(capsys, "export", vae_run)
    assert "exporting needs onnx, onnxruntime and onnxscript" in line and "pip install 'vaegan[export]'" in line


def test_a_folder_holds_the_parts_of_one_model_only(onnxruntime, mixed_vae_run, vae_run, here, capsys):
    for run_dir, parts in ((mixed_vae_run, ["decoder", "encoder", "prior"]), (vae_run, ["decoder", "encoder"])):
        status, out, err = run(capsys, "export", run_dir, "--onnx", "--out", "onnx/")
        assert status == 0 and out.splitlines() == [f"onnx/{part}.onnx" for part in parts]
        assert sorted(path.name for path in Path("onnx").iterdir()) == [f"{part}.onnx" for part in parts]
    assert "Replacing the older onnx/decoder.onnx" in err and "onnx/prior.onnx, of an older export, was removed" in err
    assert [path.name for path in here.iterdir()] == ["onnx"]


def test_onnx_files_and_a_folder_for_the_hub_at_once(capsys, onnxruntime, here, vae_run, monkeypatch):
    monkeypatch.setattr("vaegan.inference.export.CHECKED_BATCH_SIZES", (1, 2))
    status, out, err = run(capsys, "export", vae_run, "--onnx", "--out", "both/", "--hub", "faces", "--json")
    result = json.loads(out)
    assert status == 0 and result["decoder"] == "both/decoder.onnx" and result["hub"] == "faces", err
    assert Path("both/decoder.onnx").is_file() and Path("faces/README.md").is_file()
