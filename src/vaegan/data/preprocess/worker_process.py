"""The program of a worker process: tasks arrive on standard input, results leave on standard output.

A message is a JSON header, followed by the bytes objects that JSON cannot hold. There is no pickle in it, so neither
process runs code that the other sends.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
from typing import IO, Any

from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.preprocess.records import FileLocation, PreparedImage, Task, TaskResult

_LENGTH_BYTES = 8


def send_message(stream: IO[bytes], record: Any) -> None:
    """Write a dataclass, or a list of them, as one message: lengths, header and payload.

    The header holds a length in place of each bytes object; these make up the payload.

    Args:
        stream: pipe to the other process.
        record: the dataclass, or a list of them.
    """
    payload: list[bytes] = []

    def encode(value: Any) -> Any:
        if isinstance(value, bytes):
            payload.append(value)
            return len(value)
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}

    header = json.dumps(record, default=encode).encode()
    lengths = len(header), sum(map(len, payload))
    stream.write(b"".join([*(length.to_bytes(_LENGTH_BYTES) for length in lengths), header, *payload]))
    stream.flush()


def receive_message(stream: IO[bytes]) -> tuple[Any, IO[bytes]] | None:
    """Read one message.

    Args:
        stream: pipe from the other process.

    Returns:
        its header and its payload, or None when the other process is gone.
    """
    lengths = stream.read(2 * _LENGTH_BYTES)
    header_length, payload_length = int.from_bytes(lengths[:_LENGTH_BYTES]), int.from_bytes(lengths[_LENGTH_BYTES:])
    header, payload = stream.read(header_length), stream.read(payload_length)
    if len(lengths) < 2 * _LENGTH_BYTES or len(header) < header_length or len(payload) < payload_length:
        return None
    return json.loads(header), io.BytesIO(payload)


def task_from_header(fields: dict[str, Any]) -> Task:
    """Rebuild a Task from its part of a header.

    Args:
        fields: values by name of the field.

    Returns:
        the task.
    """
    return Task(**{**fields, "location": FileLocation(**fields["location"])})


def result_from_header(fields: dict[str, Any], payload: IO[bytes]) -> TaskResult:
    """Rebuild a TaskResult from a header and its payload.

    Args:
        fields: values by name of the field.
        payload: bytes that the header refers to.

    Returns:
        the result.
    """
    images = []
    for image in fields["images"]:
        image["original_size"], image["box"] = tuple(image["original_size"]), tuple(image["box"])
        for name in ("perceptual_hash", "pixels"):  # in the order of the dataclass, as they were written
            image[name] = payload.read(image[name])
        images.append(PreparedImage(**image))
    return TaskResult(**{**fields, "images": images})


def main() -> None:
    """Process batches of tasks until the main process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process handles Ctrl-C

    # keep the pipes to ourselves: a decoder that prints must not write into the messages or the terminal
    stdin, stdout = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    devnull = os.open(os.devnull, os.O_RDWR)
    for standard_stream in (0, 1, 2):
        os.dup2(devnull, standard_stream)

    from vaegan.data.preprocess.tasks import run_tasks

    first = receive_message(stdin)
    if first is None:
        return
    settings = PreprocessSettings(**first[0])
    while (message := receive_message(stdin)) is not None:
        for task in map(task_from_header, message[0]):
            (result,) = run_tasks([task], settings)
            send_message(stdout, result)


if __name__ == "__main__":
    main()
