"""Attributes: probes of a model, their file, edits, samples that have them, and the commands that use them."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

import vaegan
from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.errors import UsageError, VaeganError
from vaegan.events import ignore_event
from vaegan.inference.attribute_files import ATTRIBUTES_FILE, attribute_records, load_attributes, save_attributes
from vaegan.inference.attribute_fitting import fit_attributes
from vaegan.inference.attribute_marking import mark_attribute
from vaegan.inference.conditional_sampling import parse_conditions, sample_where
from vaegan.inference.edit import edit_latents, parse_change, parse_changes
from vaegan.inference.model import Model

COLORS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (50, 60, 210)}


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    """A prepared set of spots: their color, whether the ground is bright, how large they are; and a useless label."""
    folder = tmp_path_factory.mktemp("spots") / "spots"
    folder.mkdir()
    rows = ["file,color,bright,size,glasses,coin,rare\n"]
    generator = torch.Generator().manual_seed(0)
    for index in range(240):
        color, bright, has_bar = list(COLORS)[index % 3], index % 2, index % 5 < 2
        size = int(torch.randint(3, 15, (), generator=generator))
        shade = float(torch.rand((), generator=generator)) * 0.3 + (0.7 if bright else 0.1)
        image = Image.new("RGB", (32, 32), tuple(int(shade * value) for value in COLORS[color]))
        draw = ImageDraw.Draw(image)
        draw.ellipse((16 - size, 16 - size, 16 + size, 16 + size), fill="white")
        if has_bar:
            draw.rectangle((2, 11, 30, 20), fill="black")
        image.save(folder / f"{index:03d}.png")
        coin = int(torch.randint(0, 2, (), generator=generator))
        glasses = ("thick" if index % 4 else "thin") if has_bar else "none"
        rows.append(f"{index:03d}.png,{color},{bright},{size},{glasses},{coin},{int(index < 3)}\n")
    table = folder.parent / "labels.csv"
    table.write_text("".join(rows))
    out = folder.parent / "spots-32"
    flags = ["--size", "32", "--labels", str(table), "--val-fraction", "0.3", "-q"]
    assert main(["preprocess", str(folder), "--out", str(out), *flags]) == 0
    return out


@pytest.fixture(scope="module")
def spot_run(labeled, tmp_path_factory):
    """A VAE that has learned the spots, and its attributes."""
    run = tmp_path_factory.mktemp("spot-runs") / "vae"
    flags = [
        "--preset",
        "tiny",
        "--latent-dim",
        "8",
        "--batch-size",
        "16",
        "--precision",
        "fp32",
        "--steps",
        "300",
        "--beta",
        "0.2",
    ]
    assert main(["train-vae", str(labeled), "--run", str(run), *flags, "--evaluate-every", "0", "-q"]) == 0
    assert main(["attributes", str(run), "-q"]) == 0
    return run


@pytest.fixture(scope="module")
def model(spot_run):
    return vaegan.load(spot_run)


@pytest.fixture
def images(labeled):
    return open_dataset(labeled).load()[1][:6]


def by_title(model):
    return {attribute.title: attribute for attribute in model.attributes.attributes}


# ---- Probes ---------------------------------------------------------------------------------------------------------


def test_visible_labels_are_offered_and_others_say_why_not(model):
    attributes = by_title(model)
    for title in ("bright", "color: green", "color: blue", "glasses"):
        assert attributes[title].reason == "" and attributes[title].quality > 0.85, title
        assert attributes[title].low <= attributes[title].quality <= attributes[title].high
    assert attributes["size"].measure == "R2" and attributes["size"].quality > 0.3
    assert "can hardly be told" in attributes["coin"].reason
    assert "too few to learn" in attributes["rare"].reason
    assert "coin" not in model.attributes.names() and "glasses: none" not in attributes


def test_the_file_gives_back_the_same_attributes(model, tmp_path):
    path = tmp_path / ATTRIBUTES_FILE
    save_attributes(path, model.attributes)
    loaded = load_attributes(path, model)
    assert attribute_records(loaded) == attribute_records(model.attributes)
    for a, b in zip(loaded.attributes, model.attributes.attributes, strict=True):
        assert torch.equal(a.weight, b.weight) and replace(a, weight=0) == replace(
            b, weight=0, quality=a.quality, low=a.low, high=a.high
        )
    assert torch.equal(loaded.covariance, model.attributes.covariance)


def test_a_gan_takes_over_the_attributes_of_its_vae(labeled, spot_run, tmp_path, capsys):
    run = tmp_path / "gan"
    flags = ["--from-vae", str(spot_run), "--steps", "4", "--batch-size", "8", "--evaluate-every", "0"]
    assert main(["train-gan", str(labeled), "--run", str(run), *flags]) == 0
    assert "The attributes of the VAE hold for this GAN too: color, bright" in capsys.readouterr().err
    assert vaegan.load(run).attributes.names() == vaegan.load(spot_run).attributes.names()
    assert vaegan.load(run / "checkpoints" / "step-0000004").attributes.names()
    assert "<h2>Attributes</h2>" in (run / "report.html").read_text()
    # What was marked on faces of the GAN outlives a new start.
    gan = vaegan.load(run)
    marked = mark_attribute("light", torch.ones(3, 8), torch.zeros(3, 8))
    save_attributes(run / ATTRIBUTES_FILE, gan.attributes.with_attribute(marked))
    assert main(["train-gan", str(labeled), "--run", str(run), *flags, "-q", "--force"]) == 0
    assert "light" in vaegan.load(run).attributes.names()


def test_attributes_of_an_older_encoder_are_not_taken_over(labeled, spot_run, vae_run, copy, tmp_path, capsys):
    vae, run = copy(vae_run), tmp_path / "gan"
    shutil.copy(spot_run / ATTRIBUTES_FILE, vae / ATTRIBUTES_FILE)
    flags = ["--from-vae", str(vae), "--steps", "2", "--batch-size", "8", "--evaluate-every", "0"]
    assert main(["train-gan", str(labeled), "--run", str(run), *flags]) == 0
    assert "The attributes of the VAE are not taken over" in capsys.readouterr().err
    assert not (run / ATTRIBUTES_FILE).exists()


def test_attributes_of_another_model_are_refused(spot_run, vae_run, copy):
    run = copy(vae_run)
    shutil.copy(spot_run / ATTRIBUTES_FILE, run / ATTRIBUTES_FILE)
    with pytest.raises(VaeganError, match=r"belongs to another model|other shapes"):
        _ = vaegan.load(run).attributes


@pytest.mark.parametrize("damage", ["cut", "text", "metadata", "shape", "nan"])
def test_a_damaged_file_is_one_line(spot_run, tmp_path, damage):
    from safetensors.torch import save_file

    run = tmp_path / "vae"
    shutil.copytree(spot_run, run)
    path = run / ATTRIBUTES_FILE
    content, tensors = path.read_bytes(), _tensors(path)
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        path.write_text("attributes")
    elif damage == "metadata":
        save_file(tensors, path, metadata={"vaegan": json.dumps({"format_version": 1, "attributes": [1, 2]})})
    else:
        text = _metadata(path)
        tensors["covariance"] = torch.eye(3).double() if damage == "shape" else tensors["covariance"] * float("nan")
        save_file(tensors, path, metadata={"vaegan": text})
    with pytest.raises(VaeganError) as caught:
        _ = vaegan.load(run).attributes
    assert "damaged" in str(caught.value) and "\n" not in str(caught.value)


def _tensors(path):
    from safetensors.torch import load_file

    return load_file(path)


def _metadata(path):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return file.metadata()["vaegan"]


def test_a_dataset_without_labels_and_a_gan_without_encoder_say_what_to_do(prepared, vae_run, tmp_path, capsys):
    assert main(["attributes", str(vae_run), str(prepared)]) == 1
    assert "--labels" in capsys.readouterr().err.splitlines()[-1]
    run = tmp_path / "scratch"
    flags = ["--preset", "tiny", "--steps", "2", "--batch-size", "8", "--evaluate-every", "0", "-q"]
    assert main(["train-gan", str(prepared), "--run", str(run), *flags]) == 0
    assert main(["attributes", str(run), str(prepared)]) == 1
    assert "holds no encoder" in capsys.readouterr().err.splitlines()[-1]


def test_a_missing_label_is_left_out_not_counted_as_no(labeled, model, tmp_path):
    dataset = open_dataset(labeled)
    labels = dataset.load_labels()
    bright = [column.name for column in labels.columns].index("bright")
    hidden = labels.train.clone()
    hidden[::2, bright] = float("nan")
    from unittest import mock

    from vaegan.data.labels import Labels

    with mock.patch.object(type(dataset), "load_labels", lambda self: Labels(labels.columns, hidden, labels.val)):
        attributes = {a.title: a for a in fit_attributes(model, dataset, ignore_event).attributes}
    present = hidden[:, bright][~hidden[:, bright].isnan()]
    assert attributes["bright"].num_positive == int(present.sum()) and attributes["bright"].quality > 0.85


# ---- Values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "title", "direction"),
    [
        ("bright", "yes", "bright", 1),
        ("bright", True, "bright", 1),
        ("bright", "Off", "bright", -1),
        ("bright", False, "bright", -1),
        ("bright", "+2", "bright", 0),
        ("bright", -1.5, "bright", 0),
        ("color", "RED", "color: red", 1),
        ("glasses", "none", "glasses", -1),
        ("glasses", "no", "glasses", -1),
        ("glasses", "yes", "glasses", 1),
        ("size", "+3", "size", 0),
        ("size", "7.5", "size", 0),
        ("size", "=-2", "size", 0),
        ("size", 9, "size", 0),
    ],
)
def test_values_are_understood(model, name, value, title, direction):
    change = parse_change(model.attributes, name, value)
    assert (change.attribute.title, change.direction) == (title, direction)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hat", "yes", "no attribute 'hat': there are color, bright, size, glasses"),
        ("coin", "yes", "coin is not offered: it can hardly be told"),
        ("color", "pink", "there are blue, green, red"),
        ("color", "yes", "there are blue, green, red"),
        ("size", "large", "expected a number"),
        ("size", "nan", "expected a number"),
        ("bright", "2", "there are yes, no"),
    ],
)
def test_a_wrong_value_lists_what_there_is(model, name, value, message):
    with pytest.raises(UsageError, match=r"^[^\n]*$") as caught:
        parse_change(model.attributes, name, value)
    assert message in str(caught.value)


# ---- Edits ----------------------------------------------------------------------------------------------------------


def test_an_edit_turns_an_attribute_on_in_the_latents(model, images):
    z, attributes = model.encode(images), by_title(model)
    blue = edit_latents(model.attributes, z, parse_changes(model.attributes, {"color": "blue"}))
    on, others = attributes["color: blue"], [attributes["color: green"], attributes["color: red"]]
    assert (on.scores(blue) >= on.on_score - 1e-2).all()
    for other in others:
        assert (other.scores(blue) <= torch.maximum(other.scores(z), torch.tensor(0.0)) + 1e-2).all()


def test_an_edit_is_seen_in_the_decoded_images(model, images):
    dark, bright = (model.edit(images, bright=value).float().mean((1, 2, 3)) for value in (False, True))
    assert (bright > dark + 15).all()
    assert torch.equal(model.edit(images, bright=True, strength=0.0), model.reconstruct(images))
    assert torch.equal(model.edit(images, bright=True, hold="size"), model.edit(images, bright=True, hold=["size"]))
    with pytest.raises(UsageError, match="nothing to change: name an attribute"):
        model.edit(images)


def test_held_attributes_do_not_move(model, images):
    z, attributes = model.encode(images), by_title(model)
    change = parse_changes(model.attributes, {"bright": True})
    held = edit_latents(model.attributes, z, change, hold=["size"])
    assert torch.allclose(attributes["size"].scores(held), attributes["size"].scores(z), atol=1e-2)
    few = replace(
        model.attributes, attributes=[attributes[title] for title in ("bright", "size", "color: blue", "glasses")]
    )
    every = edit_latents(few, z, change, hold=["all"])
    assert torch.equal(edit_latents(few, z, change, hold="all"), every)
    for title in ("size", "color: blue", "glasses"):
        assert torch.allclose(attributes[title].scores(every), attributes[title].scores(z), atol=0.05)
    again = replace(attributes["bright"], name="again")
    with pytest.raises(UsageError, match="hold fewer"):
        edit_latents(model.attributes.with_attribute(again), z, change, hold=["again"])
    with pytest.raises(UsageError, match="changed by --set"):
        edit_latents(model.attributes, z, change, hold=["bright"])


def test_a_number_is_reached_or_changed_by_an_amount(model, images):
    z, size = model.encode(images), by_title(model)["size"]
    reached = edit_latents(model.attributes, z, parse_changes(model.attributes, {"size": "9"}))
    assert torch.allclose(size.scores(reached), torch.full((6,), 9.0).double(), atol=1e-2)
    moved = edit_latents(model.attributes, z, parse_changes(model.attributes, {"size": "+2"}))
    assert torch.allclose(size.scores(moved), size.scores(z) + 2, atol=1e-2)


def test_edits_are_written_with_a_sheet_a_strip_and_readings(spot_run, labeled, here, capsys):
    image = here / "face.png"
    vaegan.load(spot_run)
    train, _ = open_dataset(labeled).load()
    Image.fromarray(train[0].permute(1, 2, 0).numpy()).save(image)
    flags = ["--set", "bright=yes", "--set", "size=+1", "--remove", "glasses", "--invert-steps", "3", "--json", "-q"]
    assert main(["edit", str(spot_run), str(image), *flags]) == 0
    result = json.loads(capsys.readouterr().out)
    with Image.open(result["edits"]) as sheet, Image.open(result["strengths"]) as strip:
        assert sheet.size == (3 * 34 + 2, 36) and strip.size[0] > sheet.size[0]
        assert "bright=yes" in sheet.info["Comment"]
    readings = result["images"][0]["readings"]
    assert set(readings) == {"bright", "size", "glasses"} and readings["bright"][1] > 0.5


def test_holding_all_where_all_is_changed_is_noted(spot_run, drawn, here, capsys):
    names = vaegan.load(spot_run).attributes.names()
    assert set(names) == {"color", "bright", "size", "glasses"}
    values = ("color=blue", "bright=yes", "size=+1", "glasses=no")
    note = "--hold all holds nothing: every attribute of the model is changed"
    for changes, is_noted in ((values, True), (values[:3], False)):
        flags = [part for value in changes for part in ("--set", value)]
        command = ["edit", str(spot_run), str(drawn / "face-00000.png"), *flags]
        assert main([*command, "--hold", "all"]) == 0
        assert (note in capsys.readouterr().err.splitlines()) == is_noted
    assert main(command) == 0
    assert note not in capsys.readouterr().err


def test_edits_of_other_images_or_options_get_another_name(spot_run, drawn, here, capsys):
    images = [str(path) for path in sorted(drawn.glob("*.png"))[:2]]
    flags = ["--set", "bright=yes"]
    names = set()
    for arguments in (
        [images[0], *flags],
        [images[1], *flags],
        [*images, *flags],
        [images[0], "--set", "bright=no"],
        [images[0], *flags, "--hold", "size"],
        [images[0], *flags, "--strength", "0.5"],
        [images[0], *flags, "--invert-steps", "2"],
        [images[0], *flags, "--scale", "2"],
    ):
        assert main(["edit", str(spot_run), *arguments]) == 0
        out, err = capsys.readouterr()
        assert "Replacing" not in err
        names |= set(out.splitlines()[:2])
    assert len(names) == 16
    run_name, stem = spot_run.name, Path(images[0]).stem
    assert f"samples/{run_name}-edit-{stem}-bright-yes-invert-steps-2.png" in names
    assert main(["edit", str(spot_run), images[0], *flags]) == 0
    assert f"Replacing the older samples/{run_name}-edit-{stem}-bright-yes.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "nothing to change"),
        (["--set", "bright"], "expected NAME=VALUE"),
        (["--set", "bright=yes", "--set", "bright=no"], "given twice"),
        (["--set", "bright=yes", "--remove", "bright"], "it is also given to --set"),
        (["--set", "bright=yes", "--hold", "nothing"], "no attribute 'nothing'"),
        (["--set", "coin=yes"], "coin is not offered"),
        (["--set", "bright=yes", "--out", "x.gif"], ".png"),
    ],
)
def test_wrong_edits_have_one_line(spot_run, drawn, here, capsys, flags, message):
    assert main(["edit", str(spot_run), str(drawn / "face-00000.png"), *flags]) in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not (here / "samples").exists()


def test_a_run_without_attributes_says_how_to_learn_them(vae_run, drawn, here, capsys):
    assert main(["edit", str(vae_run), str(drawn / "face-00000.png"), "--set", "hat=yes"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith(f"learn attributes with vaegan attributes {vae_run} DATA, where DATA is a dataset with labels")


def test_a_run_on_labels_needs_no_other_dataset(spot_run, here, copy, capsys):
    run = copy(spot_run)
    (run / ATTRIBUTES_FILE).unlink()
    assert main(["sample", str(run), "--where", "bright=yes"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith(f"learn attributes with vaegan attributes {run}")
    assert main(line.partition(" with vaegan ")[2].split()) == 0
    assert "moves also" in capsys.readouterr().out


def test_what_else_moves_says_how_many_are_not_named(model, monkeypatch):
    attribute, *others = model.attributes
    monkeypatch.setattr(type(model.attributes), "entanglement", lambda self, _: [(other, 0.5) for other in others])
    names = [f"{other.title} +50%" for other in others]
    assert len(names) > 2
    assert model.attributes.describe_entanglement(attribute, 2) == f"{names[0]}, {names[1]} and {len(names) - 2} more"
    assert model.attributes.describe_entanglement(attribute, len(names)) == ", ".join(names)


# ---- Samples --------------------------------------------------------------------------------------------------------


def test_samples_have_the_attributes_that_are_asked_for(model):
    conditions = parse_conditions(model.attributes, {"bright": True, "color": "blue"})
    samples = sample_where(model, conditions, 12, seed=5)
    assert len(set(samples.seeds)) == 12 and min(samples.seeds) >= 5
    assert torch.equal(samples.latents, model.latents_from_seeds(samples.seeds))
    encoded, attributes = model.encode(model.decode(samples.latents)), by_title(model)
    for title in ("bright", "color: blue"):
        assert (attributes[title].reading(encoded) >= 0.5).all()
    plain = model.encode(model.sample(60))
    assert (attributes["color: blue"].reading(plain) >= 0.5).float().mean() < 0.7


def test_in_a_model_of_one_class_this_class_must_be_more_likely_than_not_only(model):
    parts = (model.info, model.decoder, model.encoder, model.prior, model.device)
    conditions = parse_conditions(model.attributes, {"color": "blue"})
    strict, lenient = (sample_where(of_class, conditions, 40) for of_class in (model, Model(*parts, "blue", "color")))
    assert lenient.num_draws < strict.num_draws
    readings = by_title(model)["color: blue"].reading(model.encode(model.decode(lenient.latents)))
    assert readings.min() >= 0.5
    other = sample_where(Model(*parts, "small", "size class"), conditions, 40)
    assert other.seeds == strict.seeds


def test_a_range_of_numbers_is_kept(model):
    samples = sample_where(model, parse_conditions(model.attributes, {"size": "8..10"}), 8)
    assert all(8 <= score <= 10 for score in by_title(model)["size"].scores(samples.latents))


def test_sample_where_in_python_and_on_the_command_line_are_the_same(spot_run, model, here, capsys):
    assert main(["sample", str(spot_run), "-n", "4", "--where", "bright=yes,color=blue", "--json", "-q"]) == 0
    result = json.loads(capsys.readouterr().out)
    expected = model.decode(model.latents_from_seeds(result["seeds"]))
    assert torch.equal(model.sample(4, where={"bright": True, "color": "blue"}), expected)


def test_conditions_are_those_of_reencoded_latents(model):
    conditions = parse_conditions(model.attributes, {"color": "blue"})
    samples = sample_where(model, conditions, 12, reencode=1)
    assert torch.equal(samples.latents, model.latents_from_seeds(samples.seeds, reencode=1))
    assert samples.seeds != sample_where(model, conditions, 12).seeds
    assert torch.equal(model.sample(12, where={"color": "blue"}, reencode=1), model.decode(samples.latents))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("size=9", "expected a range of numbers"),
        ("size=9..3", "expected a range of numbers"),
        ("size=..", "expected a range of numbers"),
        ("bright=+2", "expected yes, no or a value"),
        ("size=900..", "samples have these attributes"),
    ],
)
def test_a_wrong_condition_has_one_line(spot_run, here, capsys, where, message, monkeypatch):
    monkeypatch.setattr("vaegan.inference.conditional_sampling.MAX_DRAWS_PER_SAMPLE", 300)
    assert main(["sample", str(spot_run), "-n", "1", "--where", where, "-q"]) in (1, 2)
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_interpolate_turns_an_attribute_of_one_face(spot_run, model, here, capsys):
    gains = []  # of several faces: how far one of them moves differs between processors, whose models differ
    for seed in range(5):
        flags = ["--attribute", "bright", "--seeds", str(seed), "--frames", "5", "--json", "-q"]
        assert main(["interpolate", str(spot_run), *flags]) == 0
        strip = json.loads(capsys.readouterr().out)["strip"]
        with Image.open(strip) as image:
            levels = [image.convert("L").crop((x, 2, x + 32, 34)).resize((1, 1)).getpixel((0, 0)) for x in (2, 138)]
        gains.append(levels[1] - levels[0])
    assert min(gains) > 0 and sorted(gains)[2] > 15
    assert main(["interpolate", str(spot_run), "--attribute", "bright", "--latents", "x.safetensors"]) == 2
    assert "give one face" in capsys.readouterr().err


def test_the_report_shows_the_attributes(spot_run):
    page = (spot_run / "report.html").read_text()
    assert "<h2>Attributes</h2>" in page and "bright from off to on" in page and "color: red from off to on" in page
    assert "can hardly be told" in page


# ---- Marked attributes ----------------------------------------------------------------------------------------------


def test_ten_marked_faces_make_an_attribute(model, labeled):
    dataset = open_dataset(labeled)
    train, _ = dataset.load()
    labels = dataset.load_labels()
    bright = labels.train[:, [column.name for column in labels.columns].index("bright")] > 0.5
    z = model.encode(train)
    marked = mark_attribute("light", z[bright][:5], z[~bright][:5])
    scores = marked.scores(z)
    assert float((scores[bright] > scores[~bright].median()).float().mean()) > 0.9
    both = model.attributes.with_attribute(marked)
    assert both.of("light") == [marked] and both.with_attribute(marked).names() == both.names()
    step = both.direction(marked)
    assert float(marked.weight @ step) == pytest.approx(1.0)
    assert marked.on_score == pytest.approx(3.0, abs=0.3) and marked.off_score == pytest.approx(-3.0, abs=0.3)


def test_learning_again_keeps_what_was_marked(spot_run, tmp_path, capsys):
    run = tmp_path / "vae"
    shutil.copytree(spot_run, run)
    model = vaegan.load(run)
    marked = mark_attribute("light", torch.ones(3, 8), torch.zeros(3, 8))
    save_attributes(run / ATTRIBUTES_FILE, model.attributes.with_attribute(marked))
    assert main(["attributes", str(run)]) == 0
    out, err = capsys.readouterr()
    assert "Kept what was marked on faces: light" in err and "marked on 3" in out
    assert "light" in vaegan.load(run).attributes.names()
    section = (run / "report.html").read_text().partition("<h2>Attributes</h2>")[2]
    assert "nan" not in re.sub(r"base64,[\w+/=]+", "", section)  # an image may spell anything
    (run / ATTRIBUTES_FILE).write_text("damaged")
    assert main(["attributes", str(run), "-q"]) == 0 and vaegan.load(run).attributes.names()


def test_a_column_of_none_and_one_value_knows_both_words(labeled, model):
    attributes = [
        replace(a, value="round", opposite="none") for a in model.attributes.of("glasses") if a.value == "yes"
    ]
    few = replace(model.attributes, attributes=attributes)
    for value, direction in (("yes", 1), ("round", 1), ("none", -1), ("no", -1), (True, 1)):
        assert parse_change(few, "glasses", value).direction == direction


def test_labels_are_targets_of_the_dataset_in_other_loops(labeled):
    colors = vaegan.open_dataset(labeled, label="color")
    assert colors.classes == ["blue", "green", "red"] and len(colors.targets) == len(colors)
    image, target = colors[0]
    means = image.float().mean((1, 2))
    assert colors.classes[target] == ("red", "green", "blue")[int(means.argmax())]
    sizes = vaegan.open_dataset(labeled, "all", label="size")
    assert sizes.classes == [] and all(3 <= target <= 14 for target in sizes.targets)
    with pytest.raises(UsageError, match="has the labels color, bright"):
        vaegan.open_dataset(labeled, label="hat")
