"""Worker processes on this machine: batches out, outcomes back in any order, a lost worker's files done again."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from vaegan.config.settings import PrepareSettings
from vaegan.data.preprocess.records import Outcome, Task
from vaegan.data.preprocess.skip_reasons import BROKEN
from vaegan.data.preprocess.worker_process import dump_tasks, parse_outcomes, receive, send
from vaegan.errors import VaeganError, reason

Feed = Callable[[], list[Task] | None]
"""The next batch of tasks, or None when there is none for now (an outcome may bring new ones)."""
CRASHED = "the decoder crashed on it"
AHEAD = 2


class Pool(Protocol):
    """What does tasks: a pool on this machine, or on a cluster."""

    def run(self, feed: Feed) -> Iterator[list[Outcome]]:
        """Do everything that `feed` hands out, and yield the outcomes batch by batch."""

    def close(self) -> None:
        """End the workers at once."""


def cores() -> int:
    """How many cores this process may use."""
    with contextlib.suppress(AttributeError, OSError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Worker:
    """One worker process, started when it is first needed and again when it is lost."""

    def __init__(self, settings: PrepareSettings) -> None:
        """Remember what it is to do."""
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self.closed = False

    def _start(self) -> subprocess.Popen[bytes]:
        paths = os.pathsep.join(path for path in sys.path if path)
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        # -P: the working directory is where a stranger's pictures, and files named like Python's own, may lie
        command = [sys.executable, "-P", "-m", "vaegan.data.preprocess.worker_process"]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # that it is lost already shows with its first batch
            send(process.stdin, dataclasses.asdict(self.settings))
        return process

    def _exchange(self, tasks: list[Task]) -> list[Outcome] | None:
        """Let the process do the tasks; None when it was lost over them."""
        process = self.process = self.process or self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            send(process.stdin, dump_tasks(tasks))
            answer = receive(process.stdout)
        except (OSError, ValueError):
            answer = None
        if answer is None:
            self.stop()
            return None
        return parse_outcomes(*answer)

    def do(self, tasks: list[Task]) -> list[Outcome]:
        """Do the tasks. When the process is lost, one by one; a file that it is lost over twice is the culprit."""
        outcomes = self._exchange(tasks)
        if outcomes is not None or self.closed:
            return outcomes or []
        done = []
        for task in tasks:
            one = self._exchange([task]) or self._exchange([task])
            done += one or [Outcome(task.id, reason=BROKEN, detail=CRASHED)]
        return done

    def stop(self) -> None:
        """End the process at once."""
        process, self.process = self.process, None
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if stream is not None:
                        stream.close()


class LocalPool:
    """A pool of worker processes, each with a thread that waits for it."""

    def __init__(self, settings: PrepareSettings, workers: int) -> None:
        """Start `workers` threads; their processes start with their first batch."""
        self.inbox: queue.SimpleQueue[list[Task] | None] = queue.SimpleQueue()
        self.outbox: queue.SimpleQueue[list[Outcome] | BaseException] = queue.SimpleQueue()
        self.workers = [Worker(settings) for _ in range(workers)]
        self.threads = [threading.Thread(target=self._serve, args=(worker,), daemon=True) for worker in self.workers]
        for thread in self.threads:
            thread.start()

    def _serve(self, worker: Worker) -> None:
        while (tasks := self.inbox.get()) is not None:
            try:
                self.outbox.put(worker.do(tasks))
            except BaseException as error:
                self.outbox.put(error)

    def run(self, feed: Feed) -> Iterator[list[Outcome]]:
        """See Pool. Raises VaeganError when no worker can be started."""
        waiting = 0
        while True:
            while waiting < AHEAD * len(self.workers) and (tasks := feed()) is not None:
                self.inbox.put(tasks)
                waiting += 1
            if not waiting:
                return
            yield self._next()
            waiting -= 1

    def _next(self) -> list[Outcome]:
        while True:
            with contextlib.suppress(queue.Empty):
                answer: Any = self.outbox.get(timeout=0.5)  # so that Ctrl-C is heard on Windows too
                if isinstance(answer, OSError):
                    raise VaeganError(f"no worker process can be started: {reason(answer)}") from answer
                if isinstance(answer, BaseException):
                    raise answer
                return list(answer)

    def close(self) -> None:
        """End the workers at once."""
        for worker in self.workers:
            worker.closed = True
            self.inbox.put(None)
        for worker in self.workers:
            with contextlib.suppress(AttributeError):
                worker.process.kill()  # type: ignore[union-attr]
        for thread in self.threads:
            thread.join(timeout=5)
        for worker in self.workers:
            worker.stop()
