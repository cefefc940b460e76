"""--stop-when flat ends a run whose KID no longer improves, exactly, also when it was interrupted before."""

import json

import pytest
from pieces import COMMON, interrupted_after, quick_evaluation

from comparing import assert_same_run
from vaegan.cli import main
from vaegan.config.settings import FLAT_EVALUATIONS
from vaegan.training.schedule import is_flat
from vaegan.training.train import train_gan

OPTIONS = {
    **COMMON,
    "preset": "tiny",
    "latent_dim": 8,
    "stop_when": "flat",
    "evaluate_every": 1,
    "on_collapse": "ignore",
}


def best_after(best):
    """Replace evaluations: the KID falls until step `best`, then rises."""

    def score(step, lr_scale):
        kid = 0.1 + abs(step - best) / 100
        return {
            "kid": kid,
            "kid_stderr": 0.001,
            "coverage": 0.9,
            "effective_rank_ratio": 1.0,
            "duplicate_fraction": 0.0,
        }

    return quick_evaluation(score)


def schedule_of(run):
    return json.loads((run / "config.json").read_text())["schedule"]


@pytest.mark.parametrize(
    ("step", "best_step", "evaluate_every", "expected"),
    [
        (10 * FLAT_EVALUATIONS, 0, 10, True),
        (10 * FLAT_EVALUATIONS, 10, 10, False),
        (10 * FLAT_EVALUATIONS + 10, 10, 10, True),
        (1000, -1, 10, False),
        (1000, 0, 0, False),
    ],
)
def test_flat_is_six_evaluations_without_a_better_one(step, best_step, evaluate_every, expected):
    assert is_flat(step, best_step, evaluate_every) is expected


def test_a_flat_run_ends_early_and_is_finished(prepared, tmp_path, capsys):
    run, told = tmp_path / "run", []
    with best_after(2):
        train_gan(prepared, run, steps=20, on_event=told.append, **OPTIONS)
    last = 2 + FLAT_EVALUATIONS
    assert schedule_of(run) | {"total_steps": last, "planned_steps": 20} == schedule_of(run)
    assert (run / "checkpoints" / f"step-{last:07d}").is_dir() and (run / "previews" / f"step-{last:07d}.png").is_file()
    text = "\n".join(event.text for event in told if hasattr(event, "text"))
    assert f"Stopped at step {last} of 20: KID was best after 16 images" in text and "--best uses those weights" in text

    assert main(["train-gan", str(prepared), "--run", str(run), "--steps", "20"]) == 0  # the same command again
    told = capsys.readouterr().err
    assert f"{run} is finished: {last} steps" in told
    assert (
        f"KID no longer improved (--stop-when flat). To train longer: vaegan train-gan --run {run} --stop-when end"
        in told
    )
    assert main(["info", str(run)]) == 0 and "finished: step 8 of 8" in capsys.readouterr().out


def test_stop_when_end_goes_on_to_the_length_that_was_asked_for(prepared, tmp_path):
    with best_after(1):
        for name in ("whole", "parts"):
            train_gan(
                prepared,
                tmp_path / name,
                steps=9,
                **{**OPTIONS, "stop_when": "end"} if name == "whole" else OPTIONS,
            )
        train_gan(None, tmp_path / "parts", stop_when="end")
    assert schedule_of(tmp_path / "parts")["total_steps"] == 9 and "planned_steps" not in schedule_of(
        tmp_path / "parts"
    )
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_an_interrupted_run_stops_at_the_same_step(prepared, tmp_path):
    with best_after(2):
        train_gan(prepared, tmp_path / "whole", steps=20, **OPTIONS)
        for step in (1, 5, 2 + FLAT_EVALUATIONS):  # the last one is where it would stop anyway
            with interrupted_after(step):
                train_gan(prepared, tmp_path / "parts", steps=20, **OPTIONS)
        train_gan(prepared, tmp_path / "parts", steps=20, **OPTIONS)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--evaluate-every", "0"], "--stop-when flat needs the evaluations that --evaluate-every 0 turns off"),
        ([], "--stop-when flat needs 8 training and 8 validation images"),
    ],
)
def test_it_needs_evaluations(options, words, drawn, prepared, here, capsys):
    data = prepared
    if not options:
        data = "few"
        assert main(["preprocess", str(drawn), "--out", "few", "--size", "32", "--val-fraction", "0.05", "-q"]) == 0
    capsys.readouterr()
    assert main(["train-vae", str(data), "--run", "run", "--stop-when", "flat", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line and "leave" in line and not (here / "run").exists()
