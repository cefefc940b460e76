"""Signals ask for a stop, once; asked twice, it comes at once."""

import os
import signal

import pytest
from pieces import COMMON, interrupted_after, trainer_of

from vaegan.cli import main
from vaegan.errors import Interrupted
from vaegan.events import FileWritten, TrainingStarted
from vaegan.training import signals
from vaegan.training.signals import StopRequest, find_stop_signals

posix = pytest.mark.skipif(os.name != "posix", reason="signals are a POSIX matter")


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_every_signal_that_means_stop_saves_first(number, prepared, vae_run, tmp_path):
    before = signal.getsignal(number)
    with interrupted_after(2, number):
        trainer_of("vae", prepared, vae_run)(tmp_path / "run", steps=9)
    assert (tmp_path / "run" / "checkpoints" / "step-0000002" / "state.json").is_file()
    assert signal.getsignal(number) is before


@posix
def test_what_the_user_ignores_stays_ignored():
    """nohup ignores SIGHUP: a closed terminal must not stop the run."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in find_stop_signals()
        with StopRequest().handle_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_that_a_system_does_not_have_are_left_out(monkeypatch):
    for name in ("SIGHUP", "SIGUSR1"):
        monkeypatch.delattr(signal, name, raising=False)
    assert find_stop_signals() == [signal.SIGINT, signal.SIGTERM]


@posix
def test_a_second_signal_ends_at_once_and_leaves_the_last_whole_state(prepared, vae_run, tmp_path):
    train = trainer_of("vae", prepared, vae_run)
    with interrupted_after(1):
        train(tmp_path / "run", steps=9, checkpoint_every=1)

    def twice(event):
        if isinstance(event, FileWritten) and event.kind == "preview":
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="at once: the last checkpoint is valid"):
        train(tmp_path / "run", steps=9, sample_every=3, on_event=twice)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-0000001", "step-0000002"]


@posix
def test_a_signal_before_the_first_step_stops_there(prepared, vae_run, tmp_path):
    def early(event):
        if isinstance(event, TrainingStarted):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="before step 1: nothing is lost"):
        trainer_of("vae", prepared, vae_run)(tmp_path / "run", steps=3, on_event=early)


def test_one_wish_told_twice_within_seconds_is_one_where_torchrun_passes_signals_on(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    stop = StopRequest(debounce=True)
    stop.request()
    now[0] += 1
    stop.request()
    now[0] += 9
    with pytest.raises(Interrupted, match="at once"):
        stop.request()


@posix
def test_the_command_line_says_130(prepared, tmp_path, capsys, monkeypatch):
    from vaegan.training.loop import TrainLoop

    original = TrainLoop._take_step

    def take_step(loop):
        os.kill(os.getpid(), signal.SIGUSR1)
        original(loop)

    monkeypatch.setattr(TrainLoop, "_take_step", take_step)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in COMMON.items()]
    command = ["train-vae", str(prepared), "--run", str(tmp_path / "run"), "--preset", "tiny", "--steps", "5"]
    status = main([*command, *options])
    out, err = capsys.readouterr()
    assert (status, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted at step 1; saved. Run the same command again to resume"
