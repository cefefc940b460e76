"""A run's minutes hold all that it does, not its steps alone."""

import json
import math
import time
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import pytest
from pieces import VAE, interrupted_after

from comparing import assert_same_run
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import GANSettings, VAESettings
from vaegan.events import Note, TrainingFinished, ignore_event
from vaegan.run_dir import RunDir
from vaegan.training import duration
from vaegan.training.distributed import DistributedContext
from vaegan.training.duration import (
    PREVIEW_TIME_FRACTION,
    MinutesPlanner,
    _build_schedule,
    _num_previews_of_time,
    _with_whitening,
    make_schedule,
    solve_total_steps,
)
from vaegan.training.loop import TrainLoop
from vaegan.training.schedule import TrainSchedule
from vaegan.training.timings import Timings
from vaegan.training.train import train_vae

SPEED = Timings(step_seconds=0.1, preview_seconds=0.7, evaluation_seconds=1.9, checkpoint_seconds=0.4)


def make_setup(settings, num_images):
    return SimpleNamespace(
        settings=settings,
        saved_config=None,
        request=SimpleNamespace(kind="vae" if isinstance(settings, VAESettings) else "gan", explicit_options={}),
        dataset=SimpleNamespace(counts={"train": num_images}),
        model_config=ModelConfig(latent_dim=192),
    )


SETUP = make_setup(GANSettings(minutes=10.0), 5221)


def seconds_of_loop(schedule):
    """What the loop does, one by one."""
    seconds, evaluates = 0.0, schedule.evaluate_every
    for done in range(schedule.total_steps + 1):
        last = done == schedule.total_steps
        seconds += 0.1 * bool(done)
        seconds += 0.7 * (done % schedule.sample_every == 0 or last)
        seconds += 1.9 * bool(evaluates and (done % evaluates == 0 or last))
        seconds += 0.4 * bool(done and (done % schedule.checkpoint_every == 0 or last))
    return seconds


@pytest.mark.parametrize(
    "schedule",
    [TrainSchedule(100, 10, 10, 50, 3, 20), TrainSchedule(97, 30, 20, 50, 3, 25), TrainSchedule(40, 7, 9, 50, 3, 0)],
)
def test_overheads_are_counted_as_the_loop_spends_them(schedule):
    assert schedule.total_steps * SPEED.step_seconds + SPEED.overhead_seconds(schedule) == pytest.approx(
        seconds_of_loop(schedule)
    )


@pytest.mark.parametrize("minutes", [1, 3, 10, 100])
@pytest.mark.parametrize("previews", [2, 10])
def test_the_steps_fill_the_minutes(minutes, previews):
    total = solve_total_steps(SETUP, SPEED, minutes * 60, previews)
    assert seconds_of_loop(_build_schedule(SETUP, total, previews)) == pytest.approx(minutes * 60, rel=0.05)


@pytest.mark.parametrize(
    ("preview", "seconds", "at_least", "count"),
    [(0.1, 600, 2, 10), (3.0, 240, 2, 4), (3.0, 60, 2, 2), (3.0, 60, 1, 1), (0.0, 1, 2, 10)],
)
def test_a_short_run_of_minutes_previews_less_often(preview, seconds, at_least, count):
    assert _num_previews_of_time(Timings(0.1, preview), seconds, at_least) == count
    assert count == at_least or count * preview <= PREVIEW_TIME_FRACTION * seconds


@pytest.mark.parametrize(
    ("kind", "minutes", "num_images", "count"),
    [
        ("vae", 4, 5221, 1),
        ("vae", 6, 5221, 2),
        ("vae", 60, 5221, 9),
        ("vae", 60, 10**6, 6),
        ("vae", 4, 300, 10),
        ("gan", 4, 5221, 10),
        ("vae", 0.1, 5221, 1),
    ],
)
def test_the_first_plan_knows_how_long_a_trained_vae_takes_to_whiten(kind, minutes, num_images, count):
    """An untrained VAE's latents are whitened in no time, since no mixture is fitted to them."""
    settings = (VAESettings if kind == "vae" else GANSettings)(minutes=minutes, batch_size=32)
    setup = make_setup(settings, num_images)
    timings = Timings(step_seconds=0.2, preview_seconds=0.5)
    overheads = mock.patch.object(duration, "measure_overheads", lambda measured, *_: measured)
    with overheads, mock.patch.object(duration, "measure_timings", lambda *_: timings):
        schedule, _, planner = make_schedule(setup, None, None, None, time.perf_counter(), DistributedContext())
    assert math.ceil(schedule.total_steps / schedule.sample_every) == count and planner is not None
    assert schedule.total_steps * timings.step_seconds > 0.2 * 60 * minutes  # there is time for steps


@pytest.mark.parametrize(
    ("settings", "num_images", "intervals"),
    [
        (VAESettings(), 300, {63: 63, 781: 781, 1_000: 500, 2_000: 500, 7_813: 782}),
        (VAESettings(), 5221, {781: 781, 3_000: 1_500, 7_813: 1_563}),
        (VAESettings(), 10**6, {7_813: 2_605}),
        (VAESettings(stop_when="flat"), 5221, {7_813: 782}),
        (GANSettings(), 5221, {20: 20, 63: 63, 300: 75, 1_000: 100, 15_625: 1_563}),
        (GANSettings(batch_size=256), 300, {63: 11}),
        (GANSettings(checkpoint_every=7), 300, {63: 7}),
    ],
)
def test_a_short_run_of_images_previews_less_often(settings, num_images, intervals):
    """The steps between two previews do not depend on the machine."""
    setup = make_setup(settings, num_images)
    for total_steps, interval in intervals.items():
        setup.settings = replace(settings, steps=total_steps)
        schedule, _, planner = make_schedule(setup, None, None, None, 0.0, DistributedContext())
        assert (schedule.total_steps, schedule.sample_every, schedule.checkpoint_every) == (
            total_steps,
            interval,
            interval,
        )
        assert planner is None


def test_there_is_always_a_step():
    assert solve_total_steps(SETUP, SPEED, -5.0, 10) == 1
    assert solve_total_steps(SETUP, SPEED, -5.0, 10, steps_done=7) == 8


class SimulatedRun:
    """A run of ten minutes on a machine that needs slowness(second) times the measured seconds."""

    def __init__(self, slowness, monkeypatch):
        self.now, self.slowness, self.changes = 0.0, slowness, 0
        monkeypatch.setattr(duration, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def spend(self, seconds):
        self.now += seconds * self.slowness(self.now)

    def train(self, measured):
        planner = MinutesPlanner(SETUP, measured, 600.0, DistributedContext())
        schedule, done = planner.plan(), 0
        while done < schedule.total_steps:
            done += 1
            self.spend(SPEED.seconds_between(schedule, done - 1, done))
            correction = planner.correct(schedule, done)
            if correction is not None:
                (schedule, rate), self.changes = correction, self.changes + 1
                assert schedule.total_steps > done
                # a resumed run with more minutes is longer at this rate
                assert schedule.total_steps <= 600 * rate / SETUP.settings.batch_size <= 1.2 * schedule.total_steps
        return schedule


def slower(factor):
    return replace(SPEED, **{name: factor * seconds for name, seconds in vars(SPEED).items() if seconds})


@pytest.mark.parametrize(
    ("slowness", "measured"),
    [
        (lambda now: 5.0 if now < 150 else 1.0, slower(5.0)),  # busy at first
        (lambda now: 1.0 if now < 150 else 5.0, SPEED),  # busy later
        (lambda now: 1.0, slower(5.0)),  # busy only while it was measured
        (lambda now: 10.0, SPEED),  # the other way round
    ],
)
def test_the_minutes_are_kept_when_the_speed_changes(slowness, measured, monkeypatch):
    run = SimulatedRun(slowness, monkeypatch)
    schedule = run.train(measured)
    assert run.now == pytest.approx(600, rel=0.05) and run.changes
    assert schedule.total_steps / schedule.checkpoint_every < 12


def test_a_plan_of_one_step_is_corrected_too(monkeypatch):
    run = SimulatedRun(lambda now: 1.0, monkeypatch)
    assert run.train(slower(1000.0)).total_steps > 4000 and run.now == pytest.approx(600, rel=0.05)


def test_a_run_has_its_minutes_where_previews_take_longer_than_before_the_first_step(monkeypatch):
    """A trained VAE's latents take longer to whiten than an untrained one's."""
    run, actual = SimulatedRun(lambda now: 1.0, monkeypatch), replace(SPEED, preview_seconds=14.7)
    planner = MinutesPlanner(SETUP, SPEED, 600.0, DistributedContext())
    schedule, done, totals = planner.plan(), 0, []
    while done < schedule.total_steps:
        done += 1
        run.spend((actual if done > 1 else SPEED).seconds_between(schedule, done - 1, done))
        if done % schedule.sample_every == 0:
            planner.record_seconds("preview_seconds", actual.preview_seconds)
        if correction := planner.correct(schedule, done):
            schedule = correction[0]
            totals.append(schedule.total_steps)
    assert run.now == pytest.approx(600, rel=0.05)
    # once a preview was seen, the plan is right: it is not taken for slower steps
    assert len(totals) <= 2 and totals[-1] == pytest.approx(totals[0], rel=0.1)


def test_the_cheap_preview_of_an_untrained_vae_is_not_taken_for_faster_steps(monkeypatch):
    run, setup = SimulatedRun(lambda now: 1.0, monkeypatch), make_setup(VAESettings(minutes=4.0), 5221)
    timings = _with_whitening(setup, SPEED)
    assert timings.first_preview_seconds == 0.7 and timings.preview_seconds == pytest.approx(11.4, abs=0.1)
    planner = MinutesPlanner(setup, timings, 240.0, DistributedContext())
    schedule = planner.plan()
    for done in range(1, schedule.total_steps + 1):
        run.spend(timings.seconds_between(schedule, done - 1, done))
        assert planner.correct(schedule, done) is None
    assert run.now == pytest.approx(240, rel=0.05)


def test_a_steady_machine_needs_no_correction(monkeypatch):
    run = SimulatedRun(lambda now: 1.0, monkeypatch)
    run.train(SPEED)
    assert not run.changes and run.now == pytest.approx(600, rel=0.03)


def test_all_processes_exchange_the_same_messages_also_after_a_rollback(monkeypatch):
    run, messages = SimulatedRun(lambda now: 3.0, monkeypatch), []

    def say(value):
        messages.append(value)
        return value

    def hear(value):
        return messages.pop(0)

    main = SimpleNamespace(is_main_process=True, any_rank=say, run_on_main=lambda action: say(action()))
    other = SimpleNamespace(is_main_process=False, any_rank=hear, run_on_main=hear)
    planners = [MinutesPlanner(SETUP, SPEED, 600.0, dist_ctx) for dist_ctx in (main, other)]
    schedule = planners[0].plan()
    assert planners[1].plan() == schedule
    corrections = 0
    for done in (*range(1, 900), *range(300, 1200)):
        run.spend(SPEED.step_seconds)
        correction = planners[0].correct(schedule, done)
        assert planners[1].correct(schedule, done) == correction and not messages
        if correction is not None:
            schedule, corrections = correction[0], corrections + 1
    assert corrections > 1


def corrected_at(step, **changes):
    """Plan 8 steps, and correct the plan at a step of the run."""

    def correct(planner, schedule, steps_done):
        return (replace(schedule, **changes), 50.0) if steps_done == step else None

    plan = TrainSchedule(8, 2, 2, 1, 3, 4)
    return mock.patch.multiple(MinutesPlanner, plan=lambda planner: plan, correct=correct)


LONGER = {"total_steps": 14, "checkpoint_every": 3, "sample_every": 5, "evaluate_every": 7}


def schedule_of(run):
    return json.loads((run / "config.json").read_text())["schedule"]


@pytest.fixture(autouse=True)
def quick_timings(monkeypatch):
    monkeypatch.setattr(duration, "measure_timings", lambda *arguments: SPEED)
    monkeypatch.setattr(duration, "measure_overheads", lambda timings, *arguments: timings)


def test_a_corrected_run_resumes_to_the_bit(prepared, tmp_path):
    events = []
    with corrected_at(4, **LONGER):
        train_vae(prepared, tmp_path / "whole", minutes=1, on_event=events.append, **VAE)
        for step in (4, 5, 10):
            with interrupted_after(step):
                train_vae(prepared, tmp_path / "parts", minutes=1, **VAE)
            assert schedule_of(tmp_path / "parts").items() >= {**LONGER, "images_per_second": 50.0}.items()
        train_vae(prepared, tmp_path / "parts", minutes=1, **VAE)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert [event.step for event in events if isinstance(event, TrainingFinished)] == [14]
    (note,) = (event.text for event in events if isinstance(event, Note) and "expected" in event.text)
    assert note == ("Training is faster than expected: the run's minutes hold 14 steps, 112 images, instead of 8 steps")


def test_a_correction_takes_no_checkpoint_and_is_kept_after_a_kill(prepared, tmp_path):
    """Whitening the latents for a checkpoint takes longer than the steps that a correction is about."""

    def killed(loop):
        if loop.steps_done == 7:
            raise KeyboardInterrupt
        take_step(loop)

    take_step, run = TrainLoop._take_step, tmp_path / "run"
    with corrected_at(5, **LONGER):
        train_vae(prepared, tmp_path / "whole", minutes=1, on_event=ignore_event, **VAE)
        with mock.patch.object(TrainLoop, "_take_step", killed), pytest.raises(KeyboardInterrupt):
            train_vae(prepared, run, minutes=1, on_event=ignore_event, **VAE)
        assert not (run / "checkpoints" / "step-0000005").exists()
        assert schedule_of(run).items() >= LONGER.items()
        train_vae(prepared, run, minutes=1, on_event=ignore_event, **VAE)
    assert (run / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_the_planner_learns_how_long_previews_evaluations_and_checkpoints_take(prepared, tmp_path):
    recorded = []

    def record_seconds(planner, name, seconds):
        recorded.append(name)
        assert seconds > 0

    with corrected_at(5, **LONGER), mock.patch.object(MinutesPlanner, "record_seconds", record_seconds):
        train_vae(prepared, tmp_path / "run", minutes=1, on_event=ignore_event, **VAE)
    previews = list((tmp_path / "run" / "previews").iterdir())
    assert recorded.count("preview_seconds") == len(previews) - 1  # not that before the first step
    assert recorded.count("evaluation_seconds") == 3 and recorded.count("checkpoint_seconds") >= 5


def test_a_kill_before_the_correction_is_recorded_keeps_the_old_plan(prepared, tmp_path):
    def killed(run_dir, entries):
        raise KeyboardInterrupt

    run = tmp_path / "run"
    with corrected_at(4, total_steps=14):
        with mock.patch.object(RunDir, "record_schedule", killed), pytest.raises(KeyboardInterrupt):
            train_vae(prepared, run, minutes=1, **VAE)
        assert (run / "checkpoints" / "step-0000004").is_dir()
        train_vae(prepared, run, minutes=1, on_event=ignore_event, **VAE)
    assert schedule_of(run)["total_steps"] == 8 and (run / "checkpoints" / "step-0000008").is_dir()


def test_a_run_goes_on_at_its_last_step_and_may_end_at_the_next(prepared, tmp_path):
    for step, total in ((8, 10), (3, 4)):
        run = tmp_path / str(step)
        with corrected_at(step, total_steps=total):
            train_vae(prepared, run, minutes=1, on_event=ignore_event, **VAE)
        assert schedule_of(run)["total_steps"] == total
        assert (run / "previews" / f"step-{total:07d}.png").is_file()
        assert (run / "checkpoints" / f"step-{total:07d}").is_dir()
