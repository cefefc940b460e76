"""--latent-dim auto: short trainings of several sizes, and a choice that can be read."""

import json
import signal
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from vaegan.cli import main
from vaegan.config.model_config import PRESETS
from vaegan.errors import Interrupted
from vaegan.events import TaskProgress
from vaegan.report.charts import LabeledPoint, labeled_curve
from vaegan.training import autotune
from vaegan.training.autotune import LatentDimTrial, candidate_latent_dims, choose_latent_dim
from vaegan.training.train import train_vae

OPTIONS = ["--preset", "tiny", "--batch-size", "8", "--precision", "fp32", "--evaluate-every", "0"]


@pytest.fixture
def brief(monkeypatch):
    """Two sizes, and probes of any length: a test has no time for more."""
    monkeypatch.setattr(autotune, "LATENT_DIM_FACTORS", (0.25, 0.5))
    monkeypatch.setattr(autotune, "MIN_TRIAL_IMAGES", 0)


@pytest.mark.parametrize(
    ("psnr", "chosen", "words"),
    [
        ([12.94, 13.33, 13.60, 13.98, 14.09], 64, "32 are 0.38 dB worse, 128 gain only 0.11 dB"),
        ([13.0, 13.1, 13.0, 13.1, 13.0], 8, "16 gain only 0.10 dB"),
        ([13.0, 12.9, 13.0, 13.1, 13.0], 8, "16 gain nothing"),
        ([13.0, 13.1, 13.9, 14.0, 14.1], 32, "16 are 0.80 dB worse, 64 gain only 0.10 dB"),
        ([11.0, 12.0, 13.0, 14.0, 15.0], 128, "64 are 1.00 dB worse, more were not tried"),
    ],
)
def test_the_choice_is_where_more_latents_no_longer_pay(psnr, chosen, words):
    probes = [LatentDimTrial(8 * 2**index, value, 7.5, 20.0, 8) for index, value in enumerate(psnr)]
    assert choose_latent_dim(probes, "reconstruction") == (chosen, f"{chosen} latents: {words}")


@pytest.mark.parametrize(
    ("bits", "chosen", "words"),
    [
        ([7.60, 7.54, 7.49, 7.475, 7.47], 64, "32 are 0.015 bits per dim worse, 128 gain only 0.005 bits per dim"),
        ([7.60, 7.60, 7.50, 7.495, 7.53], 32, "16 are 0.100 bits per dim worse, 64 gain only 0.005 bits per dim"),
        ([7.50, 7.51, 7.52, 7.53, autotune.NON_FINITE_BITS_PER_DIM], 8, "16 gain nothing"),
    ],
)
def test_for_a_gan_more_latents_must_pay_for_what_they_tell(bits, chosen, words):
    probes = [LatentDimTrial(8 * 2**index, 13.0 + index, value, 20.0, 8) for index, value in enumerate(bits)]
    assert choose_latent_dim(probes, "gan") == (chosen, f"{chosen} latents: {words}")


@pytest.mark.parametrize("preset", PRESETS)
def test_sizes_double_around_the_presets(preset):
    found = candidate_latent_dims(preset)
    assert PRESETS[preset].latent_dim in found
    assert all(more == 2 * fewer for fewer, more in pairwise(found))


def test_a_chart_is_a_picture_with_every_point_in_it():
    drawn = ElementTree.fromstring(
        labeled_curve([LabeledPoint(1, 2, "a<b"), LabeledPoint(3, 4, "c", True)], "title & more", "x", "y")
    )
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in drawn.iter(f"{space}text")]
    assert {"a<b", "c", "title & more", "x", "y"} <= set(texts)
    circles = [(float(one.get("cx")), float(one.get("cy")), one.get("class")) for one in drawn.iter(f"{space}circle")]
    assert circles[0][0] < circles[1][0] and circles[0][1] > circles[1][1] and circles[1][2] == "selected"
    labeled_curve([LabeledPoint(1, 2, "only")], "one point has no range", "x", "y")


def test_sizes_are_tried_told_recorded_and_not_tried_again(brief, capsys, prepared, tmp_path):
    runs = []
    for name in ("one", "two"):
        run = tmp_path / name
        arguments = ["train-vae", str(prepared), "--run", str(run), "--latent-dim", "auto", *OPTIONS]
        assert main([*arguments, "--steps", "40"]) == 0
        runs.append(json.loads((run / "config.json").read_text()))
    err = capsys.readouterr().err
    assert "Trying 2 latent sizes (16, 32), 2 steps each: together 10% of the run, before it starts" in err
    assert "latents  PSNR, dB  bits per dim  KL, bits  active" in err and "<- taken" in err
    assert runs[0]["latent_dim_trials"] == runs[1]["latent_dim_trials"], "another probe from the same seed"
    probed, chosen = runs[0]["latent_dim_trials"], runs[0]["model"]["latent_dim"]
    assert [one["latent_dim"] for one in probed["trials"]] == [16, 32] and f"{chosen} latents: " in probed["reason"]
    assert runs[0]["options"]["latent_dim"] == chosen
    assert f"{chosen} taken" in (tmp_path / "two" / "latent-sizes.svg").read_text()
    assert main([*arguments, "--steps", "42"]) == 0
    assert "Trying" not in capsys.readouterr().err
    assert json.loads((tmp_path / "two" / "config.json").read_text())["latent_dim_trials"] == probed
    assert main(["info", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["latent_dim_choice"] == probed["reason"]


def test_sizes_of_a_run_of_minutes_are_tried_within_them(brief, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr("vaegan.training.autotune.measure_step_seconds", lambda *arguments: 0.012)
    train_vae(prepared, tmp_path / "run", latent_dim="auto", minutes=0.02, preset="tiny", batch_size=8)
    trials = json.loads((tmp_path / "run" / "config.json").read_text())["latent_dim_trials"]
    assert trials["steps"] == 5  # of two sizes: a tenth of the 100 steps that fit into 1.2 seconds


def test_a_run_that_is_too_short_takes_the_presets_size(capsys, prepared, tmp_path):
    arguments = ["train-vae", str(prepared), "--run", str(tmp_path / "run"), "--latent-dim", "auto", *OPTIONS]
    assert main([*arguments, "--steps", "2"]) == 0
    assert "Taking 64 latents, the preset's: only runs of at least 125,000 images" in capsys.readouterr().err
    assert main([*arguments, "--steps", "3"]) == 0


def test_auto_contradicts_a_run_of_a_chosen_size(capsys, prepared, vae_run):
    assert main(["train-vae", str(prepared), "--run", str(vae_run), "--latent-dim", "auto", "--steps", "9"]) == 2
    assert "--latent-dim auto contradicts" in capsys.readouterr().err
    assert main(["train-vae", str(prepared), "--run", str(vae_run), "--latent-dim", "some"]) == 2
    assert "expected a whole number, at least 1 and at most 4,096, or auto" in capsys.readouterr().err


def test_trying_can_be_interrupted(brief, prepared, tmp_path):
    def interrupt(event):
        if isinstance(event, TaskProgress):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="while trying latent sizes"):
        train_vae(prepared, tmp_path / "run", latent_dim="auto", preset="tiny", steps=50, on_event=interrupt)
    assert not (tmp_path / "run" / "config.json").exists()
