import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from vaegan.events import (
    FileWritten,
    Note,
    Summary,
    TaskProgress,
    TextTable,
    TrainingFinished,
    TrainingProgress,
    TrainingStarted,
    ValidationMetrics,
    WarningMessage,
)
from vaegan.progress.live import LiveReporter
from vaegan.progress.plain import PlainReporter
from vaegan.progress.text import describe_event, format_duration

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
        "step 100/100, 64 images/s, 0 seconds left: KL 10",
        "       50      1,600     21.0",
        "Wrote samples/a.png",
        "Finished the VAE in 50 seconds",
    ):
        assert text in err
    assert "checkpoint" not in err


def test_rich_reporter_shows_speed_time_left_and_metrics():
    terminal = io.StringIO()
    reporter = LiveReporter(Console(file=terminal, force_terminal=True, width=120))
    for event in EVENTS:
        reporter(event)
        reporter.live.refresh()
    reporter.close()
    output = terminal.getvalue()
    for text in ("Preparing", "64 images/s", "KL 10", "VAE", "<- taken", "warning: 2 files skipped", "100/100"):
        assert text in output


def test_the_bar_follows_a_corrected_length():
    terminal = io.StringIO()
    reporter = LiveReporter(Console(file=terminal, force_terminal=True, width=120))
    reporter(TrainingStarted("gan", 0, 100, 32))
    reporter(TrainingProgress(50, 250, 1600, 64.0, {"loss_g": 2.0}))
    reporter.live.refresh()
    reporter.close()
    assert "20% 50/250" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())


@pytest.mark.parametrize("names_files", [True, False])
def test_a_terminal_names_a_file_once(names_files):
    terminal = io.StringIO()
    reporter = LiveReporter(Console(file=terminal, force_terminal=True, width=80), names_files)
    reporter(FileWritten("samples", Path("samples/gan.png")))
    reporter.close()
    assert ("Wrote samples/gan.png" in terminal.getvalue()) == names_files


GAN_METRICS = {"loss_d": 0.28, "d_logit_margin": 1.6, "r1_penalty": 0.65, "loss_g": 2.27, "recon_feature_loss": 0.2}


@pytest.mark.parametrize("width", [80, 100])
def test_the_bar_keeps_step_and_time_left_beside_many_losses(width):
    terminal = io.StringIO()
    reporter = LiveReporter(Console(file=terminal, force_terminal=True, width=width))
    reporter(TrainingStarted("gan", 0, 15625, 32, 1140.0))
    reporter(FileWritten("preview", Path("runs/gan/previews/step-0000000.png"), 0))
    reporter(TrainingProgress(1550, 15625, 49_600, 114.0, GAN_METRICS))
    reporter.live.refresh()
    reporter.close()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    bar = next(line for line in text.splitlines() if "1,550/15,625" in line)
    assert re.search(r"GAN ━.* 10% 1,550/15,625 114 images/s 1:05:51 left", bar)
    assert "D loss 0.28  G loss 2.27" in text and "newest preview: runs/gan/previews/step-0000000.png" in text
    assert max(map(len, text.splitlines())) <= width


def test_measurements_of_one_step_share_a_line_and_the_best_has_a_star(capsys):
    reporter = PlainReporter()
    reporter(TrainingStarted("gan", 0, 100, 32))
    for step, kid, coverage in ((0, 0.9, 0.1), (50, 0.05, 0.4), (100, 0.06, 0.5)):
        reporter(ValidationMetrics(step, step * 32, {"val_psnr": 20.0, "decoder_drift": 0.1}))
        reporter(ValidationMetrics(step, step * 32, {"kid": kid, "coverage": coverage}))
    reporter(TrainingFinished("gan", 60.0, 100, 3200))
    assert [line.split() for line in capsys.readouterr().err.splitlines()[1:-1]] == [
        ["step", "images", "KID", "x1000", "coverage", "PSNR,", "dB", "*", "=", "best", "so", "far"],
        ["0", "0", "900.0", "0.10", "20.0"],
        ["50", "1,600", "50.0*", "0.40*", "20.0"],
        ["100", "3,200", "60.0", "0.50*", "20.0"],
    ]


def test_a_summary_ends_with_the_next_command(capsys):
    summary = Summary("runs/vae is trained", [("made", "a VAE"), ("next", "vaegan train-gan --from-vae runs/vae")])
    PlainReporter()(summary)
    assert capsys.readouterr().err.splitlines()[-1] == "  next  vaegan train-gan --from-vae runs/vae"
    terminal = io.StringIO()
    LiveReporter(Console(file=terminal, width=60))(summary)
    assert "│ next  vaegan train-gan --from-vae runs/vae" in terminal.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "3 seconds"), (200, "3 minutes"), (9000, "2.5 hours"), (400_000, "5 days")],
)
def test_durations_are_printed_in_their_best_unit(seconds, text):
    assert format_duration(seconds) == text


def test_resuming_is_printed():
    event = TrainingStarted("gan", 40, 100, 10)
    assert describe_event(event) == "Resuming the GAN at step 40: 60 steps, 600 images"


def test_many_passes_over_a_small_dataset_are_printed():
    event = TrainingStarted("vae", 0, 7500, 32, num_train_images=40)
    text = "Training the VAE: 7,500 steps, 240,000 images (each of 40 about 6,000 times)"
    assert describe_event(event) == text
    assert describe_event(TrainingStarted("vae", 0, 7500, 32, num_train_images=4000)) == text.partition(" (")[0]
