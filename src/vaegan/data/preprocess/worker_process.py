"""A worker process: batches of tasks come in by its standard input, outcomes go out by its standard output.

Nothing of the user's program is imported in it, so that it starts safely from a script without a main guard, from a
notebook, and on Windows. Messages are a line of JSON and a block of bytes: no pickles.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from typing import IO, Any

from vaegan.config.settings import PreprocessSettings
from vaegan.data.preprocess.records import FileLocation, PreparedImage, Task, TaskResult

_LENGTH_BYTES = 8


def send_message(stream: IO[bytes], header: Any, payload: bytes = b"") -> None:
    """Write one message."""
    text = json.dumps(header).encode()
    stream.write(len(text).to_bytes(_LENGTH_BYTES) + len(payload).to_bytes(_LENGTH_BYTES) + text + payload)
    stream.flush()


def receive_message(stream: IO[bytes]) -> tuple[Any, bytes] | None:
    """Read one message; None when the other side is gone."""
    lengths = stream.read(2 * _LENGTH_BYTES)
    if len(lengths) < 2 * _LENGTH_BYTES:
        return None
    text = stream.read(int.from_bytes(lengths[:_LENGTH_BYTES]))
    length = int.from_bytes(lengths[_LENGTH_BYTES:])
    blob = stream.read(length)
    return (json.loads(text), blob) if len(blob) == length else None


def dump_tasks(tasks: list[Task]) -> Any:
    """Tasks as JSON values."""
    return [dataclasses.astuple(task) for task in tasks]


def parse_tasks(rows: Any) -> list[Task]:
    """Undo `dump_tasks`."""
    return [Task(number, FileLocation(*place), *rest) for number, place, *rest in rows]


def dump_results(results: list[TaskResult]) -> tuple[Any, bytes]:
    """Outcomes as JSON values and the bytes of all their squares."""
    rows, parts = [], []
    for one in results:
        squares = []
        for item in one.images:
            squares.append(
                [item.frame, item.original_size, item.box, item.crc32, len(item.perceptual_hash), len(item.pixels)]
            )
            parts += [item.perceptual_hash, item.pixels]
        rows.append([one.file_id, one.sha256, one.stamp, one.reason, one.detail, one.same, one.next_frame, squares])
    return rows, b"".join(parts)


def parse_results(rows: Any, payload: bytes) -> list[TaskResult]:
    """Undo `dump_outcomes`."""
    outcomes, at = [], 0
    for number, sha, stamp, reason, detail, same, more, squares in rows:
        made = []
        for frame, original, box, crc, likeness, pixels in squares:
            middle, end = at + likeness, at + likeness + pixels
            parts = payload[at:middle], payload[middle:end]
            made.append(PreparedImage(frame, (original[0], original[1]), (box[0], box[1], box[2], box[3]), crc, *parts))
            at = end
        outcomes.append(TaskResult(number, sha, stamp, reason, detail, same, more, made))
    return outcomes


def main() -> None:
    """Serve until the other side is gone. Ctrl-C is the main process's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stdin, stdout = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    silent = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):  # what a decoder prints must not mix with the messages, nor its warnings with the bar
        os.dup2(silent, number)
    from vaegan.data.preprocess.tasks import run_tasks

    first = receive_message(stdin)
    if first is None:
        return
    settings = PreprocessSettings(**first[0])
    while (message := receive_message(stdin)) is not None:
        send_message(stdout, *dump_results(run_tasks(parse_tasks(message[0]), settings)))


if __name__ == "__main__":
    main()
