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

from vaegan.config.settings import PrepareSettings
from vaegan.data.preprocess.records import Outcome, Place, Square, Task

_LENGTHS = 8


def send(stream: IO[bytes], head: Any, blob: bytes = b"") -> None:
    """Write one message."""
    text = json.dumps(head).encode()
    stream.write(len(text).to_bytes(_LENGTHS) + len(blob).to_bytes(_LENGTHS) + text + blob)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[Any, bytes] | None:
    """Read one message; None when the other side is gone."""
    lengths = stream.read(2 * _LENGTHS)
    if len(lengths) < 2 * _LENGTHS:
        return None
    text = stream.read(int.from_bytes(lengths[:_LENGTHS]))
    length = int.from_bytes(lengths[_LENGTHS:])
    blob = stream.read(length)
    return (json.loads(text), blob) if len(blob) == length else None


def dump_tasks(tasks: list[Task]) -> Any:
    """Tasks as JSON values."""
    return [dataclasses.astuple(task) for task in tasks]


def parse_tasks(rows: Any) -> list[Task]:
    """Undo `dump_tasks`."""
    return [Task(number, Place(*place), *rest) for number, place, *rest in rows]


def dump_outcomes(outcomes: list[Outcome]) -> tuple[Any, bytes]:
    """Outcomes as JSON values and the bytes of all their squares."""
    rows, parts = [], []
    for one in outcomes:
        squares = []
        for item in one.squares:
            squares.append([item.frame, item.original, item.box, item.crc, len(item.likeness), len(item.pixels)])
            parts += [item.likeness, item.pixels]
        rows.append([one.id, one.sha, one.stamp, one.reason, one.detail, one.same, one.more, squares])
    return rows, b"".join(parts)


def parse_outcomes(rows: Any, blob: bytes) -> list[Outcome]:
    """Undo `dump_outcomes`."""
    outcomes, at = [], 0
    for number, sha, stamp, reason, detail, same, more, squares in rows:
        made = []
        for frame, original, box, crc, likeness, pixels in squares:
            middle, end = at + likeness, at + likeness + pixels
            parts = blob[at:middle], blob[middle:end]
            made.append(Square(frame, (original[0], original[1]), (box[0], box[1], box[2], box[3]), crc, *parts))
            at = end
        outcomes.append(Outcome(number, sha, stamp, reason, detail, same, more, made))
    return outcomes


def main() -> None:
    """Serve until the other side is gone. Ctrl-C is the main process's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stdin, stdout = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    silent = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):  # what a decoder prints must not mix with the messages, nor its warnings with the bar
        os.dup2(silent, number)
    from vaegan.data.preprocess.tasks import prepare_all

    first = receive(stdin)
    if first is None:
        return
    settings = PrepareSettings(**first[0])
    while (message := receive(stdin)) is not None:
        send(stdout, *dump_outcomes(prepare_all(parse_tasks(message[0]), settings)))


if __name__ == "__main__":
    main()
