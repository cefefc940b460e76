import io
from pathlib import Path

import pytest
from rich.console import Console

from vaegan.cli.console import PlainReporter, RichReporter, describe_event, format_duration
from vaegan.events import (
    FileWritten,
    Note,
    TaskProgress,
    TextTable,
    TrainingFinished,
    TrainingProgress,
    TrainingStarted,
    ValidationMetrics,
    WarningMessage,
)

EVENTS = [
    Note("Using data/faces"),
    TaskProgress("Preparing", 3, 9, "files"),
    TaskProgress("Preparing", 9, 9, "files"),
    WarningMessage("2 files skipped"),
    TextTable(("latents", "PSNR", ""), [("8", "13.2", ""), ("16", "14.1", "<- taken")]),
    TrainingStarted("vae", 0, 100, 32, 64.0),
    TrainingProgress(50, 100, 1600, 64.0, {"kl": 12.5}),
    ValidationMetrics(50, 1600, {"val_psnr": 21.0}),
    FileWritten("checkpoint", Path("runs/vae/checkpoints/step-0000100"), 100),
    FileWritten("samples", Path("samples/a.png")),
    TrainingProgress(100, 100, 3200, 64.0, {"kl": 10.0}),
    TrainingFinished("vae", 50.0, 100, 3200),
]


def test_plain_reporter_prints_one_line_per_event(capsys):
    reporter = PlainReporter()
    for event in EVENTS:
        reporter(event)
    out, err = capsys.readouterr()
    assert out == ""
    for text in (
        "Preparing: 9/9 files",
        "warning: 2 files skipped",
        "latents  PSNR\n8        13.2\n16       14.1  <- taken\n",
        "Training the VAE: 100 steps, 3,200 images, about 50 seconds (64 images/s)",
        "step 100/100  64 images/s, 0 seconds left  kl 10",
        "val psnr 21",
        "Wrote samples/a.png",
        "Finished the VAE in 50 seconds",
    ):
        assert text in err
    assert "checkpoint" not in err


def test_rich_reporter_shows_speed_time_left_and_metrics():
    terminal = io.StringIO()
    reporter = RichReporter(Console(file=terminal, force_terminal=True, width=120))
    for event in EVENTS:
        reporter(event)
    reporter.close()
    output = terminal.getvalue()
    for text in ("Preparing", "64 images/s", "kl 10", "VAE", "<- taken", "warning: 2 files skipped", "100/100"):
        assert text in output


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "3 seconds"), (200, "3 minutes"), (9000, "2.5 hours"), (400_000, "5 days")],
)
def test_durations_are_printed_in_their_best_unit(seconds, text):
    assert format_duration(seconds) == text


def test_many_passes_over_a_small_dataset_are_printed():
    event = TrainingStarted("vae", 0, 7500, 32, num_train_images=40)
    text = "Training the VAE: 7500 steps, 240,000 images (each of 40 about 6,000 times)"
    assert describe_event(event) == text
    assert describe_event(TrainingStarted("vae", 0, 7500, 32, num_train_images=4000)) == text.partition(" (")[0]


def test_resuming_is_printed():
    event = TrainingStarted("gan", 40, 100, 10)
    assert describe_event(event) == "Resuming the GAN at step 40: 60 steps, 600 images"
