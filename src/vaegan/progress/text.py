"""Events as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vaegan.events import (
    Alarm,
    Event,
    FileWritten,
    Note,
    Rollback,
    SkippedStep,
    Summary,
    TaskProgress,
    TrainingFinished,
    TrainingProgress,
    TrainingStarted,
    WarningMessage,
)
from vaegan.progress.measurements import format_losses

MIN_PASSES_SHOWN = 100
"""So many passes over a dataset are worth a word: it is small for this length."""
UNREPORTED_FILE_KINDS = ("preview", "checkpoint", "best")


def format_duration(seconds: float) -> str:
    """Return a duration in its best unit: 45 seconds, 12 minutes, 3.5 hours, 5 days.

    Args:
        seconds: the duration, 0 or more.

    Returns:
        the number and its unit.
    """
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def format_clock(seconds: float) -> str:
    """Return a duration as h:mm:ss or m:ss.

    Args:
        seconds: the duration, 0 or more.

    Returns:
        the text.
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def format_speed(event: TaskProgress) -> str:
    """Return the speed of a task, or only its unit when the speed was not measured.

    Args:
        event: progress of the task.

    Returns:
        a text such as "1,200 images/s".
    """
    return f"{event.rate:,.0f} {event.unit}/s" if event.rate else event.unit


def format_task_progress(event: TaskProgress) -> str:
    """Return the progress of a task on one line, with speed and time left when they are known.

    Args:
        event: progress of the task.

    Returns:
        the line, without its end.
    """
    parts = [f"{event.label}: {event.done:,}/{event.total:,} {event.unit}"]
    if event.rate:
        parts.append(format_speed(event))
        if event.done < event.total:
            parts.append(f"{format_duration((event.total - event.done) / event.rate)} left")
    return ", ".join([*parts, event.detail] if event.detail else parts)


def format_training_progress(event: TrainingProgress) -> str:
    """Return the progress of a training on one line: step, speed, time left and losses.

    Args:
        event: progress of the training.

    Returns:
        the line, without its end.
    """
    speed = f"{event.images_per_second:,.0f} images/s, {format_duration(event.seconds_left)} left"
    return f"step {event.step:,}/{event.total:,}, {speed}: {format_losses(event.metrics)}"


def _format_training_start(event: TrainingStarted) -> str:
    name, num_images = event.label.upper(), (event.total - event.step) * event.batch_size
    action = f"Resuming the {name} at step {event.step}" if event.step else f"Training the {name}"
    line = f"{action}: {event.total - event.step:,} steps, {num_images:,} images"
    num_passes = num_images // event.num_train_images if event.num_train_images else 0
    if num_passes >= MIN_PASSES_SHOWN:
        line += f" (each of {event.num_train_images:,} about {num_passes:,} times)"
    if not event.images_per_second:
        return line
    duration = format_duration(num_images / event.images_per_second)
    return f"{line}, about {duration} ({event.images_per_second:.0f} images/s)"


def describe_event(event: Event) -> str | None:
    """Return an event as one line, or None for events that are not printed as a line of their own.

    Args:
        event: any event.

    Returns:
        the line, without its end, or None.
    """
    match event:
        case Note(text=text):
            return text
        case WarningMessage(text=text) | Rollback(text=text):
            return f"warning: {text}"
        case Alarm(step=step, text=text):
            return f"warning: at step {step}, {text}"
        case TrainingStarted():
            return _format_training_start(event)
        case SkippedStep(step=step, num_skipped=num_skipped):
            return f"warning: step {step} skipped, its gradients are not finite ({num_skipped} so far)"
        case FileWritten(kind=kind, path=path) if kind not in UNREPORTED_FILE_KINDS:
            return f"Wrote {path}"
        case TrainingFinished(label=label, seconds=seconds) if seconds:
            return f"Finished the {label.upper()} in {format_duration(seconds)}"
    return None


def format_summary(event: Summary) -> Iterator[str]:
    """Yield the lines of a summary.

    Args:
        event: the summary.

    Yields:
        its title, then one line per word.
    """
    yield event.title
    width = max((len(word) for word, _ in event.lines), default=0)
    for word, line in event.lines:
        yield f"  {word:<{width}}  {line}"


COLUMN_GAP = "  "


def align_cells(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """Yield the cells of a table, padded: the first column left-aligned, the others right-aligned.

    Args:
        header: heading of each column.
        rows: cells of each row, as many as there are columns.

    Yields:
        the cells of the header, then those of each row.
    """
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for name, *cells in (header, *rows):
        yield [f"{name:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))]


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table; see `align_cells`.

    Args:
        header: heading of each column.
        rows: cells of each row, as many as there are columns.

    Yields:
        the line of the header, then one per row.
    """
    for cells in align_cells(header, rows):
        yield COLUMN_GAP.join(cells).rstrip()
