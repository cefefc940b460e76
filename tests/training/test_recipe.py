"""Options that the number of images and a start choose: which, what overrides them, and that they are said."""

import json
from unittest import mock

import pytest

from vaegan.cli import main
from vaegan.data.classes import count_images
from vaegan.data.dataset import open_dataset
from vaegan.errors import UsageError
from vaegan.events import TrainingStarted
from vaegan.training import recipe
from vaegan.training.recipe import FEW_IMAGES, choose_recipe
from vaegan.training.train import train_gan

FEW, MANY = {"train": FEW_IMAGES, "val": 50}, {"train": FEW_IMAGES + 1, "val": 50}
SHORT = {"vae": 16, "gan": 24}
TINY = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--precision", "fp32")


@pytest.mark.parametrize(
    ("kind", "counts", "has_start", "requested", "names"),
    [
        ("gan", MANY, False, {}, set()),
        ("vae", MANY, False, {}, set()),
        ("gan", FEW, False, {}, {"images", "stop_when"}),
        ("vae", FEW, False, {}, {"images"}),
        ("gan", MANY, True, {}, {"stop_when"}),
        ("vae", MANY, True, {}, {"kl_warmup", "lr_warmup"}),
        ("vae", FEW, True, {}, {"images", "kl_warmup", "lr_warmup"}),
        ("vae", FEW, True, {"kl_warmup": 5}, {"images", "lr_warmup"}),
        ("gan", FEW | {"val": 7}, False, {}, {"images"}),
        ("gan", FEW, False, {"evaluate_every": 0}, {"images"}),
        ("gan", FEW, False, {"minutes": 3.0, "images": None}, set()),
        ("gan", FEW, False, {"stop_when": "end"}, {"images"}),
    ],
)
def test_few_images_and_a_start_choose_what_the_user_did_not(kind, counts, has_start, requested, names):
    assert set(choose_recipe(kind, counts, has_start, requested).options) == names


def test_a_start_makes_a_run_on_few_images_shorter():
    for kind in ("vae", "gan"):
        lengths = [choose_recipe(kind, FEW, has_start, {}).options["images"] for has_start in (False, True)]
        assert lengths[0] > lengths[1]


def options_of(run):
    return json.loads((run / "config.json").read_text())["options"]


def test_they_are_said_in_one_line_recorded_and_overridden_by_options(prepared, vae_run, here, capsys):
    quick = ["--batch-size", "8", "--precision", "fp32"]
    patched = (mock.patch.dict(getattr(recipe, name), SHORT) for name in ("FEW_IMAGES_LENGTH", "FINE_TUNING_LENGTH"))
    with next(patched), next(patched):
        assert main(["train-gan", str(prepared), "--from-vae", str(vae_run), "--run", "gan", *quick]) == 0
        assert "For 39 training images: --images 24 --stop-when flat\n" in capsys.readouterr().err
        assert main(["train-vae", str(prepared), "--from", str(vae_run), "--run", "vae", *quick]) == 0
        said = "For 39 training images and a start: --images 16 --kl-warmup 0 --lr-warmup 1000\n"
        assert said in capsys.readouterr().err
    gan, vae = options_of(here / "gan"), options_of(here / "vae")
    assert (gan["images"], gan["stop_when"], vae["images"], vae["kl_warmup"]) == (24, "flat", 16, 0)

    assert main(["train-vae", str(prepared), "--run", "own", "--steps", "1", *TINY]) == 0
    assert "For 39" not in capsys.readouterr().err and options_of(here / "own")["images"] is None
    assert main(["train-vae", "--run", "vae", "-q"]) == 0  # a resumed run keeps its own
    assert options_of(here / "vae")["images"] == 16


def test_only_images_with_a_class_count(colored_set, here, capsys, monkeypatch):
    counts = count_images(open_dataset(colored_set), "color")
    assert counts["train"] < open_dataset(colored_set).counts["train"]
    monkeypatch.setattr(recipe, "FEW_IMAGES", counts["train"])
    monkeypatch.setitem(recipe.FEW_IMAGES_LENGTH, "gan", 8)
    started = []
    options = {"preset": "tiny", "latent_dim": 8, "batch_size": 8, "precision": "fp32"}
    train_gan(colored_set, "few", cond="color", on_event=started.append, **options)
    (event,) = (event for event in started if isinstance(event, TrainingStarted))
    assert event.num_train_images == counts["train"] and event.total == 1
    assert any(getattr(event, "text", "").startswith(f"For {counts['train']} training images: ") for event in started)
    train_gan(colored_set, "all", steps=1, **options)
    assert options_of(here / "all")["stop_when"] == "end"


def test_stopping_flat_needs_validation_images_with_a_class(colored_set, here, monkeypatch):
    num_val = count_images(open_dataset(colored_set), "color")["val"]
    monkeypatch.setattr("vaegan.training.matching.MIN_EVAL_IMAGES", num_val + 1)
    with pytest.raises(UsageError, match=r"validation images with a class, .* leave it out"):
        train_gan(colored_set, "new", cond="color", stop_when="flat", steps=1, preset="tiny", batch_size=8)
