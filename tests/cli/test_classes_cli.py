"""The commands with a model that has classes, from end to end through main(argv)."""

import json
from unittest import mock

import pytest
import torch
from PIL import Image

import vaegan
from vaegan.checkpoint import load_tensors
from vaegan.cli import main
from vaegan.events import ignore_event
from vaegan.utils.images import from_pil

CELL = 32 + 2


def run(capsys, *argv):
    """Run a command line that must succeed; return stdout and stderr."""
    capsys.readouterr()
    assert main([str(argument) for argument in argv]) == 0, capsys.readouterr().err
    return capsys.readouterr()


def error_of(capsys, *argv):
    """Run a command line that must fail; return its one line of error."""
    capsys.readouterr()
    assert main([str(argument) for argument in argv]) in (1, 2)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def cells(path):
    """The images of a sheet, [rows, columns, 3, 32, 32]."""
    grid = from_pil(Image.open(path))[:, 2:, 2:]
    return grid.unfold(1, 32, CELL).unfold(2, 32, CELL).permute(1, 2, 0, 3, 4)


def test_a_sheet_has_a_row_for_each_class_and_a_class_has_a_sheet(capsys, here, cond_gan_run):
    model = vaegan.load(cond_gan_run, "cpu")
    out, err = run(capsys, "sample", cond_gan_run, "-n", "12", "--json")
    assert json.loads(out)["num_images"] == 12 and "instead of" not in err
    _, err = run(capsys, "sample", cond_gan_run, "-n", "14", "--out", "rounded.png")
    assert "12 images instead of 14: each seed gives one of each of the 3 classes" in " ".join(err.split())
    sheet = cells(here / json.loads(out)["samples"])
    assert sheet.shape[:2] == (3, 4)
    for row, name in enumerate(model.classes):
        assert torch.equal(sheet[row], model.sample(4, class_=name))
    out, _ = run(capsys, "sample", cond_gan_run, "--class", "red", "-n", "4", "--seed", "3")
    assert out == "samples/cond-gan-class-red-seeds-3-6.png\n"
    assert torch.equal(cells(out.strip()).flatten(0, 1), model.sample(4, seed=3, class_="red"))
    assert any(text.endswith(", class red") for text in Image.open(out.strip()).text.values())
    out, _ = run(capsys, "sample", cond_gan_run, "--seeds", "3,5", "--separate", "--out", "each")
    names = [f"class-{n}-{name}-seed-{seed:07d}.png" for n, name in enumerate(model.classes) for seed in (3, 5)]
    assert sorted(path.name for path in (here / "each").iterdir()) == names


def test_images_are_encoded_and_decoded_with_the_class_that_fits_best(capsys, here, colored, cond_vae_run):
    images = [colored / "00.png", colored / "30.png"]
    model = vaegan.load(cond_vae_run, "cpu")
    best = model.best_classes(model.read_images(images), model.encode(images))
    run(capsys, "encode", cond_vae_run, *images, "--out", "z.safetensors")
    assert json.loads(bytes(load_tensors(here / "z.safetensors")["classes"].numpy())) == best
    assert json.loads(run(capsys, "info", "z.safetensors", "--json").out)["classes"].count("(") == len(set(best))
    run(capsys, "decode", cond_vae_run, "z.safetensors", "--out", "own.png")
    run(capsys, "decode", cond_vae_run, "z.safetensors", "--class", "blue", "--out", "blue.png")
    assert torch.equal(cells("own.png")[0], model.reconstruct(images))
    assert torch.equal(cells("blue.png")[0], model.reconstruct(images, class_="blue"))
    out, _ = run(capsys, "reconstruct", cond_vae_run, *images, "--out", "pairs.png", "--json")
    assert [record["class"] for record in json.loads(out)["images"]] == best
    out, _ = run(capsys, "info", cond_vae_run, "--outliers", "-n", "2", "--out", "outliers.png")
    assert "class" in out.splitlines()[-3]
    run(capsys, "reconstruct", cond_vae_run, *images, "--class", "blue", "--out", "pairs.png")
    assert torch.equal(cells("pairs.png").flatten(0, 1)[1::2], model.reconstruct(images, class_="blue"))
    tensors = load_tensors(here / "z.safetensors")
    vaegan.checkpoint.save_tensors(here / "plain.safetensors", {"latents": tensors["latents"]}, {})
    line = error_of(capsys, "decode", cond_vae_run, "plain.safetensors")
    assert "does not hold a class" in line and "--class NAME, one of blue, green, red" in line


def test_results_of_another_class_get_another_name(capsys, here, colored, cond_vae_run):
    image = colored / "00.png"
    run(capsys, "encode", cond_vae_run, image, "--out", "z.safetensors")
    for command, source in (("decode", "z.safetensors"), ("encode", image), ("reconstruct", image)):
        names = set()
        for flags in ([], ["--class", "blue"], ["--class", "red"]):
            out, err = run(capsys, command, cond_vae_run, source, *flags)
            assert "Replacing" not in err
            names.add(out.splitlines()[0])
        assert len(names) == 3 and any("-class-blue" in name for name in names)


def test_a_walk_goes_from_class_to_class(capsys, here, colored, cond_gan_run):
    model = vaegan.load(cond_gan_run, "cpu")
    options = ["--frames", "4", "--scale", "1", "--out", "walk"]
    run(capsys, "interpolate", cond_gan_run, "--seeds", "3", "--class", "red", "--class", "blue", *options)
    strip = cells("walk.png")[0]
    assert torch.equal(strip, model.interpolate([3, 3], 4, class_=["red", "blue"]))
    run(capsys, "interpolate", cond_gan_run, "--seeds", "3,4,5", "--class", "red", *options)
    assert torch.equal(cells("walk.png")[1, -1], model.sample(1, seed=5, class_="red")[0])
    run(capsys, "interpolate", cond_gan_run, "--from", colored / "00.png", "--to", colored / "30.png", *options)
    assert torch.equal(cells("walk.png")[0, -1], model.reconstruct([colored / "30.png"])[0])
    run(capsys, "encode", cond_gan_run, colored / "00.png", colored / "30.png", "--out", "z.safetensors")
    run(capsys, "interpolate", cond_gan_run, "--latents", "z.safetensors", *options)
    assert torch.equal(cells("walk.png")[0, -1], model.reconstruct([colored / "30.png"])[0])
    line = error_of(capsys, "interpolate", cond_gan_run, "--seeds", "1,2,3", *["--class", "red"] * 2, *options)
    assert "--class is given 2 times for 3 faces" in line


def test_attributes_are_edited_within_the_class_of_each_image(capsys, here, copy, colored, colored_set, cond_gan_run):
    gan = copy(cond_gan_run)
    with (
        mock.patch("vaegan.inference.attribute_fitting.MIN_EXAMPLES", 3),
        mock.patch("vaegan.inference.attribute_fitting.MIN_AUC", 0.0),
    ):
        run(capsys, "attributes", gan, colored_set)
    names = vaegan.load(gan, "cpu").attributes.names()
    assert names
    images = [colored / "00.png", colored / "30.png"]
    value = vaegan.load(gan, "cpu").attributes.of(names[0])[0].value or "+1"
    options = ["--set", f"{names[0]}={value}", "--invert-steps", "2", "--out", "edit.png"]
    run(capsys, "edit", gan, *images, *options)
    sheet = cells("edit.png").flatten(0, 1)
    assert torch.equal(sheet[0::3], vaegan.load(gan, "cpu").read_images(images))
    run(capsys, "edit", gan, *images, *options, "--class", "blue")
    assert not torch.equal(cells("edit.png").flatten(0, 1)[1::3], sheet[1::3])
    edited = vaegan.load(gan, "cpu").edit(images, **{names[0]: value})
    assert edited.shape == (2, 3, 32, 32)


def test_each_class_is_evaluated_beside_real_images_or_has_too_few(capsys, here, cond_gan_run):
    out, _ = run(capsys, "evaluate", cond_gan_run, "-n", "16")
    assert out.count("too few: at least 20 val images") == 3
    with mock.patch("vaegan.evaluation.per_class.MIN_CLASS_IMAGES", 3):
        out, _ = run(capsys, "evaluate", cond_gan_run, "-n", "16", "--json")
    results = {result["name"]: result for result in json.loads(out)["classes"]}
    assert set(results) == {"red", "green", "blue"}
    measured = [result for result in results.values() if result["num_val"] >= 3]
    assert measured and all(result["kid"] > result["real_kid"] for result in measured)
    assert "Classes" in (here / "evaluations" / "cond-gan" / "report.html").read_text()
    saved = json.loads((here / "evaluations" / "cond-gan" / "evaluation.json").read_text())
    assert saved["classes"] == json.loads(out)["classes"]


def test_info_and_report_name_the_classes(capsys, cond_vae_run, cond_gan_run):
    for path in (cond_vae_run, cond_gan_run / "model.safetensors"):
        assert "color: blue, green, red" in run(capsys, "info", path).out
    page = (cond_gan_run / "report.html").read_text()
    assert "3 classes are the values of color: blue, green, red" in page
    assert "Rows: blue, green, red" in page


@pytest.mark.parametrize("flags", [["--where", "color=red"], ["--pick", "2"]])
def test_choosing_among_samples_needs_a_class(capsys, here, cond_gan_run, flags):
    line = error_of(capsys, "sample", cond_gan_run, *flags)
    assert f"{flags[0]} chooses among faces of one class: give --class NAME, one of blue, green, red" in line


def test_classes_that_do_not_exist_are_refused_in_one_line(capsys, here, colored, cond_gan_run, vae_run):
    image = colored / "00.png"
    for command in (
        ["sample"],
        ["reconstruct", image],
        ["encode", image],
        ["interpolate", "--seeds", "1,2"],
    ):
        arguments = [command[0], cond_gan_run, *command[1:]]
        assert "--class rad: expected one of blue, green, red" in error_of(capsys, *arguments, "--class", "rad")
        arguments[1] = vae_run
        assert "is unconditional: leave it out, or train" in error_of(capsys, *arguments, "--class", "red")


@pytest.mark.slow
def test_the_exported_decoder_and_prior_take_the_class(capsys, here, cond_gan_run):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run(capsys, "export", cond_gan_run, "--out", "onnx/")
    model = vaegan.load(cond_gan_run, "cpu")
    sessions = {name: onnxruntime.InferenceSession(f"onnx/{name}.onnx") for name in ("prior", "decoder")}
    noise, weights = torch.randn(5, model.prior.noise_dim), torch.eye(3)[[0, 1, 2, 0, 1]]
    (latents,) = sessions["prior"].run(None, {"noise": noise.numpy(), "class_weights": weights.numpy()})
    torch.testing.assert_close(torch.from_numpy(latents), model.prior(noise, class_weights=weights))
    (images,) = sessions["decoder"].run(None, {"latents": latents, "class_weights": weights.numpy()})
    expected = model.decoder(torch.from_numpy(latents), weights).detach()
    torch.testing.assert_close(torch.from_numpy(images), expected, atol=1e-4, rtol=0)


def test_a_folder_for_the_hub_names_the_classes_and_works(capsys, here, cond_gan_run):
    run(capsys, "export", cond_gan_run, "--hub", "hub")
    card = (here / "hub" / "README.md").read_text()
    assert "| classes | color: blue, green, red |" in card and "-n 64 --class blue" in card
    assert 'class_="blue"' in card and cells("hub/samples.png").shape[0] >= 1
    assert torch.equal(
        vaegan.load("hub", "cpu").sample(2, class_="red"), vaegan.load(cond_gan_run, "cpu").sample(2, class_="red")
    )


def test_the_explorer_draws_the_chosen_class(cond_gan_run):
    pytest.importorskip("starlette")
    from vaegan.explore.session import open_session

    session = open_session(cond_gan_run, "gan", "cpu", ignore_event)
    model, about = vaegan.load(cond_gan_run, "cpu"), session.describe()
    assert about["classes"] == ["blue", "green", "red"] and about["class_label"] == "color"
    assert len(about["map_classes"]) == about["num_map_images"] and set(about["map_classes"]) == {-1, 0, 1, 2}
    for number, name in enumerate(model.classes):
        latent = torch.tensor(session.seed_latent(7, 1.0, number))
        expected = model.sample(1, seed=7, class_=name)
        for decoder_index in (0, 1):
            drawn = session.decode_fast(latent[None], decoder_index, number)
            assert drawn.shape == expected.shape
        assert (session.decode_fast(latent[None], 0, number).int() - expected.int()).abs().max() <= 1
        assert session.render_png(latent, 0, number).startswith(b"\x89PNG")
