"""A run's minutes hold all that it does, not its steps alone."""

import pytest

from vaegan.config.settings import GANSettings
from vaegan.training.duration import (
    PREVIEW_TIME_FRACTION,
    Timings,
    _build_schedule,
    _choose_num_previews,
    solve_total_steps,
)
from vaegan.training.loop import TrainSchedule

SPEED = Timings(step_seconds=0.1, preview_seconds=0.7, evaluation_seconds=1.9, checkpoint_seconds=0.4)


class SetupStub:
    saved_config = None
    settings = GANSettings()


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
    total = solve_total_steps(SetupStub, SPEED, minutes * 60, previews)
    assert seconds_of_loop(_build_schedule(SetupStub, total, previews)) == pytest.approx(minutes * 60, rel=0.05)


@pytest.mark.parametrize(("preview", "seconds", "count"), [(0.1, 600, 10), (3.0, 240, 4), (3.0, 60, 2), (0.0, 1, 10)])
def test_a_short_run_previews_less_often(preview, seconds, count):
    assert _choose_num_previews(Timings(0.1, preview), seconds) == count
    assert count == 2 or count * preview <= PREVIEW_TIME_FRACTION * seconds


def test_there_is_always_a_step():
    assert solve_total_steps(SetupStub, SPEED, -5.0, 10) == 1
