import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

import vaegan
from vaegan.data.dataset import open_dataset
from vaegan.errors import UsageError, VaeganError


@pytest.fixture(scope="module")
def model(gan_run):
    return vaegan.load(gan_run, "cpu")


def test_a_seed_gives_the_same_image_at_any_batch_size(model):
    many = model.sample(150)
    assert many.shape == (150, 3, 32, 32) and many.dtype == torch.uint8
    for seed in (0, 7, 63, 64, 149):
        assert torch.equal(model.sample(1, seed=seed)[0], many[seed])
    assert torch.equal(model.sample(5, seed=100), many[100:105])


def test_truncation_moves_latents_to_the_average_face(model):
    assert torch.equal(model.sample(4, truncation=1.0), model.sample(4))
    average = model.sample(4, truncation=0.0)
    assert all(torch.equal(average[0], other) for other in average)


def test_reencoding_decodes_and_encodes_a_latent_whatever_is_beside_it(model):
    latents = model.latents_from_seeds(range(70))
    once = model.reencode(latents)
    assert not torch.equal(once, latents) and torch.equal(model.reencode(latents, 0), latents)
    assert torch.allclose(once, model.encode(model.decode(latents)), atol=1e-4)
    assert torch.equal(model.reencode(latents, 2), model.reencode(once))
    assert torch.equal(model.reencode(latents[65:66]), once[65:66])
    assert model.reencode(latents[:0]).shape == (0, 8)
    assert torch.equal(model.latents_from_seeds([65], reencode=1), once[65:66])
    assert torch.equal(model.sample(3, seed=60, reencode=1), model.decode(once[60:63]))
    assert torch.equal(torch.cat(list(model.sample_batches(range(70), reencode=1)))[69], model.decode(once[69:])[0])
    frames = model.interpolate([3, 9], frames=4, reencode=1)
    assert torch.equal(frames, model.interpolate(once[[3, 9]], frames=4))
    with pytest.raises(UsageError, match=r"expected \[N, 8\]"):
        model.reencode(latents[:, 1:])
    for times in (-1, 1.5):
        with pytest.raises(UsageError, match="expected a whole number, 0 or more"):
            model.reencode(latents, times)


def test_interpolations_begin_and_end_at_their_seeds(model):
    frames = model.interpolate([3, 9, 4], frames=6)
    assert len(frames) == 11
    keyframes = torch.cat([model.sample(1, seed) for seed in (3, 9, 4)])
    assert (frames[[0, 5, 10]].int() - keyframes.int()).abs().max() <= 1


def test_interpolations_take_latents_too(model, prepared):
    latents = model.encode(open_dataset(prepared).load()[0][:2])
    frames = model.interpolate(latents, frames=4)
    assert len(frames) == 4 and (frames[[0, 3]].int() - model.decode(latents).int()).abs().max() <= 1
    assert torch.equal(model.interpolate(model.latents_from_seeds([3, 9]), frames=4), model.interpolate([3, 9], 4))
    with pytest.raises(UsageError, match=r"expected \[N, 8\]"):
        model.interpolate(torch.zeros(2, 5))


@pytest.mark.parametrize("name", ["model.safetensors", "best.safetensors"])
def test_a_saved_model_is_the_file_that_it_was_loaded_from(gan_run, tmp_path, name):
    path = vaegan.load(gan_run / name, "cpu").save(tmp_path / "faces.safetensors")
    assert path.read_bytes() == (gan_run / name).read_bytes()


def test_a_model_is_saved_with_the_weights_that_it_has_now(vae_run, tmp_path):
    model = vaegan.load(vae_run, "cpu")
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(1.1)
    saved = vaegan.load(model.save(tmp_path / "louder.safetensors"), "cpu")
    assert torch.equal(saved.sample(4), model.sample(4))
    assert not torch.equal(saved.sample(4), vaegan.load(vae_run, "cpu").sample(4))


def test_saving_replaces_no_other_file(model, tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_text("mine")
    for place, message in ((path, "is no weights file of vaegan"), (tmp_path / "a.pt", "ends with .safetensors")):
        with pytest.raises(VaeganError, match=message):
            model.save(place)
    assert path.read_text() == "mine"
    model.save(path, force=True)
    model.save(path)  # now a weights file of vaegan
    assert torch.equal(vaegan.load(path, "cpu").sample(1), model.sample(1))


def test_encode_then_decode_is_the_vaes_reconstruction(vae_run, prepared):
    model = vaegan.load(vae_run, "cpu")
    images, _ = open_dataset(prepared).load()
    latents = model.encode(images[:9])
    assert latents.shape == (9, 8)
    assert torch.equal(model.decode(latents), model.reconstruct(images[:9]))


def test_a_seed_reconstructs_from_a_sample_of_the_posterior(vae_run, prepared):
    model = vaegan.load(vae_run, "cpu")
    images, _ = open_dataset(prepared).load()
    sampled = model.reconstruct(images[:2], seed=1)
    assert torch.equal(sampled, model.reconstruct(images[:2], seed=1))
    assert not torch.equal(sampled, model.reconstruct(images[:2]))


def test_no_images_give_no_latents_and_no_images(vae_run):
    model = vaegan.load(vae_run, "cpu")
    none = torch.empty(0, 3, 32, 32, dtype=torch.uint8)
    assert model.encode(none).shape == (0, 8)
    assert model.reconstruct(none).shape == model.reconstruct(none, seed=0).shape == none.shape


def test_a_gan_from_scratch_has_no_encoder(prepared, tmp_path):
    run = vaegan.train_gan(prepared, tmp_path / "gan", steps=1, preset="tiny", latent_dim=8, batch_size=8)
    model = vaegan.load(run, "cpu")
    assert model.sample(2).shape == (2, 3, 32, 32)
    assert torch.equal(model.sample(2, reencode=0), model.sample(2))
    with pytest.raises(VaeganError, match=r"from scratch, which has no encoder"):
        model.sample(2, reencode=1)
    with pytest.raises(VaeganError, match=r"no encoder.*from scratch"):
        model.encode(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize("latents", [torch.zeros(3), torch.zeros(2, 9)])
def test_latents_of_another_shape_are_refused(model, latents):
    with pytest.raises(UsageError, match=r"expected \[N, 8\]"):
        model.decode(latents)


def test_sampling_does_not_import_torchs_compiler(vae_run, tmp_path):
    """Some operations on the meta device, and torchvision, import it, which takes over a second."""
    command = ["sample", str(vae_run), "-n", "2", "--out", str(tmp_path / "two.png"), "-q"]
    code = f"import sys; from vaegan.cli import main; main({command}); print('torch._dynamo' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()[-1] == "False"
    assert (tmp_path / "two.png").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["runs", "."],
        ["info"],
        ["info", "runs/vae"],
        ["info", "runs/vae/model.safetensors"],
        ["info", "set"],
        ["info", "z.safetensors"],
    ],
)
def test_listing_and_describing_runs_and_datasets_does_not_import_torch(command, vae_run, prepared, tmp_path):
    shutil.copytree(vae_run, tmp_path / "runs" / "vae")
    shutil.copytree(prepared, tmp_path / "set")
    save_file({"latents": torch.zeros(3, 32)}, tmp_path / "z.safetensors")
    code = f"import sys; from vaegan.cli import main; code = main({command}); print(code, 'torch' in sys.modules)"
    output = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=tmp_path).splitlines()
    assert output[-1] == "0 False" and any("32" in line or "vae" in line for line in output[:-1])


@pytest.mark.parametrize("statement", ["import vaegan", "main(['--help'])", "main(['train-gan', '-h'])"])
def test_importing_and_help_do_not_import_torch(statement):
    heavy = "{'torch', 'torchvision', 'PIL', 'numpy'}"
    code = f"import sys; from vaegan.cli import main; {statement}; print(sorted({heavy} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()[-1] == "[]"


def test_the_pipeline_in_python(drawn, tmp_path):
    data = vaegan.prepare(str(drawn), str(tmp_path / "set"), size=32, fit="pad")
    vae = vaegan.train_vae(str(data), str(tmp_path / "vae"), steps=1, preset="tiny", batch_size=8)
    gan = vaegan.train_gan(str(data), str(tmp_path / "gan"), from_vae=str(vae), steps=1, batch_size=8)
    assert vaegan.load(str(gan)).sample(2, seed=3).shape == (2, 3, 32, 32)
    with pytest.raises(UsageError, match="unknown option 'stepz'; did you mean steps"):
        vaegan.train_vae(data, tmp_path / "other", stepz=1)


def test_unknown_attributes_are_errors():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vaegan.nothing


def test_decode_takes_arrays_and_lists_and_refuses_what_is_no_latent(model):
    latents = model.latents_from_seeds([3, 4])
    expected = model.decode(latents)
    for same in (latents.numpy(), latents.tolist(), latents.double()):
        assert torch.equal(model.decode(same), expected)
    nan = latents.clone()
    nan[1, 0] = float("nan")
    for wrong, message in (
        (latents[0], r"expected \[N, 8\]"),
        ([["a"] * 8], "expected numbers of shape"),
        (nan, "NaN or infinite"),
    ):
        with pytest.raises(UsageError, match=message):
            model.decode(wrong)


def test_interpolate_needs_two_seeds_or_latents(model):
    latents = model.latents_from_seeds([3, 4])
    assert torch.equal(model.interpolate(latents.numpy(), frames=3), model.interpolate(latents, frames=3))
    assert torch.equal(model.interpolate(torch.tensor([3, 4]), frames=3), model.interpolate(range(3, 5), frames=3))
    for wrong in ([3], latents[:1]):
        with pytest.raises(UsageError, match="expected two or more, not 1"):
            model.interpolate(wrong)
    for wrong in ([3, latents[0]], [3.5, 4]):
        with pytest.raises(UsageError, match="expected seeds, which are whole numbers"):
            model.interpolate(wrong)
