"""What happens when samples show mode collapse: back to the best checkpoint with gentler settings, at most twice."""

import json
from unittest import mock

import pytest
from pieces import collapsing, interrupted_after, trainer_of

from comparing import assert_same_run
from vaegan.checkpoint import load_tensors
from vaegan.cli import main
from vaegan.diagnostics import COLLAPSE_ALARMS
from vaegan.errors import VaeganError
from vaegan.events import Alarm, Rollback
from vaegan.metrics_log import read_alarms
from vaegan.progress.text import describe_event
from vaegan.run_dir import RunDir
from vaegan.training.loop import TrainLoop
from vaegan.training.recovery import RECOVERY_STATE_KEY

PLAN = {
    "steps": 9,
    "checkpoint_every": 3,
    "sample_every": 3,
    "log_every": 1,
    "evaluate_every": 2,
    "keep_checkpoints": 1,
}


def lines_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def kept(run):
    return sorted(int(path.name[5:]) for path in (run / "checkpoints").iterdir())


def counts(run):
    return load_tensors(RunDir(run).checkpoints()[-1] / "training.safetensors")[RECOVERY_STATE_KEY].tolist()


def test_it_rolls_back_to_the_best_and_interrupted_anywhere_it_is_the_same_run(prepared, vae_run, tmp_path):
    """Best at step 2, collapsed at step 6 until the rates are halved twice."""
    train, events, back = trainer_of("gan", prepared, vae_run), [], []
    restore = TrainLoop.load_checkpoint

    def spy(loop, path):
        back.append(path.name)
        return restore(loop, path)

    with collapsing(6, 0.25):
        with mock.patch.object(TrainLoop, "load_checkpoint", spy):
            train(tmp_path / "whole", **PLAN, on_event=events.append)
        assert back == ["step-0000002"] * 2
        first, second = (event for event in events if isinstance(event, Rollback))
        assert (first.step, first.images_seen, first.num_rollbacks, second.num_rollbacks) == (2, 16, 1, 2)
        assert first.text == (
            "mode collapse at step 6 (coverage_drop): training rolls back to step 2 with half the previous learning"
            " rates and twice the gamma (rollback 1 of 2); 4 steps are repeated"
        )
        assert describe_event(second) == f"warning: {second.text}" and "(rollback 2 of 2)" in second.text
        for stop in (1, 4, 7, 8):
            with interrupted_after(stop):
                train(tmp_path / "parts", **PLAN)
        train(tmp_path / "parts", **PLAN)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert kept(tmp_path / "whole") == [2, 9]
    assert counts(tmp_path / "whole") == [0, 0, 0, 2]
    lines = lines_of(tmp_path / "whole")
    assert [line["step"] for line in lines if "loss_d" in line] == list(range(1, 10))
    assert [(line["step"], line["rollbacks"]) for line in lines if line.get("alarm") == "rolled_back"] == [
        (2, 1),
        (2, 2),
    ]
    assert read_alarms(tmp_path / "whole") == [(16, first.text), (16, second.text)]


def test_a_rollback_halves_the_rates_and_doubles_the_penalty(prepared, vae_run, tmp_path):
    seen = []
    step = TrainLoop._take_step

    def spy(loop):
        number, trainer = loop.steps_done, loop.trainer
        step(loop)
        rates = [trainer.optimizer_g.param_groups[0]["lr"], trainer.optimizer_d.param_groups[0]["lr"]]
        seen.append((number, *rates, trainer.penalty_scale))

    with collapsing(6, 0.5), mock.patch.object(TrainLoop, "_take_step", spy):
        trainer_of("gan", prepared, vae_run)(tmp_path / "run", lr_g=4e-4, lr_d=6e-4, **PLAN)
    assert [number for number, *_ in seen] == [*range(6), *range(2, 9)]
    assert {entry[1:] for entry in seen[1:6]} == {(4e-4, 6e-4, 1.0)}
    assert {entry[1:] for entry in seen[6:]} == {(2e-4, 3e-4, 2.0)}


def test_after_two_rollbacks_it_says_so_and_goes_on(prepared, vae_run, tmp_path):
    events = []
    with collapsing(6, 0.0):
        trainer_of("gan", prepared, vae_run)(tmp_path / "run", **PLAN, on_event=events.append)
    assert sum(isinstance(event, Rollback) for event in events) == 2
    (last,) = (event for event in events if isinstance(event, Alarm) and event.name == "collapse_rollbacks_exhausted")
    assert last.step == 6 and "2 rollbacks with gentler settings did not help, so training goes on" in last.text
    assert kept(tmp_path / "run") == [2, 9]
    assert [line["alarm"] for line in lines_of(tmp_path / "run") if "alarm" in line] == [
        *("rolled_back", "rolled_back", "coverage_drop", "collapse_rollbacks_exhausted")
    ]


def test_stop_saves_and_says_what_to_do_and_the_same_command_resumes(prepared, here, capsys):
    arguments = ["train-gan", str(prepared), "--run", "gan", "--preset", "tiny", "--batch-size", "8", "--steps", "9"]
    arguments += ["--evaluate-every", "2", "--checkpoint-every", "4", "--log-every", "1"]
    with collapsing(6, 0.0):
        assert main([*arguments, "--on-collapse", "stop"]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: mode collapse at step 6 (coverage_drop): stopped and saved")
        assert "--best" in error and "run the same command again to go on" in error
        assert kept(here / "gan") == [4, 6]
        assert main([*arguments, "--on-collapse", "stop"]) == 0
    assert kept(here / "gan") == [4, 8, 9]


def test_ignore_only_emits_the_alarm_and_keeps_no_checkpoint_for_it(prepared, vae_run, tmp_path):
    events = []
    with collapsing(6, 0.0):
        run = trainer_of("gan", prepared, vae_run)(
            tmp_path / "run", **PLAN, on_collapse="ignore", on_event=events.append
        )
    assert not any(isinstance(event, Rollback) for event in events) and kept(run) == [9]
    alarms = [event.name for event in events if isinstance(event, Alarm)]
    assert [name for name in alarms if name in COLLAPSE_ALARMS] == ["coverage_drop"]


def test_without_the_best_checkpoint_it_goes_on_with_gentler_settings(prepared, vae_run, tmp_path):
    train, events = trainer_of("gan", prepared, vae_run), []
    with collapsing(6, 0.5):
        with interrupted_after(5):
            train(tmp_path / "run", **PLAN)
        (tmp_path / "run" / "checkpoints" / "step-0000002" / "training.safetensors").write_bytes(b"")
        train(tmp_path / "run", **PLAN, on_event=events.append)
    (event,) = (event for event in events if isinstance(event, Rollback))
    assert event.step == 6 and "continues here" in event.text


def test_an_alarm_already_active_at_the_best_causes_no_rollback(prepared, vae_run, tmp_path):
    events = []
    with collapsing(1, 0.0):
        trainer_of("gan", prepared, vae_run)(tmp_path / "run", **PLAN, on_event=events.append)
    assert not any(isinstance(event, Rollback) for event in events)


def test_a_policy_that_does_not_exist_is_refused(prepared, vae_run, tmp_path):
    with pytest.raises(VaeganError, match="--on-collapse panic: expected one of stop, rollback, ignore"):
        trainer_of("gan", prepared, vae_run)(tmp_path / "run", steps=1, on_collapse="panic")
