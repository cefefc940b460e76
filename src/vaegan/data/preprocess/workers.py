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

from vaegan.config.settings import PreprocessSettings
from vaegan.data.preprocess.records import Task, TaskResult
from vaegan.data.preprocess.skip_reasons import BROKEN_IMAGE
from vaegan.data.preprocess.worker_process import dump_tasks, parse_results, receive_message, send_message
from vaegan.errors import VaeganError, error_text

NextBatch = Callable[[], list[Task] | None]
"""The next batch of tasks, or None when there is none for now (an outcome may bring new ones)."""
DECODER_CRASHED = "the decoder crashed on it"
BATCHES_PER_WORKER = 2


class WorkerPool(Protocol):
    """What does tasks: a pool on this machine, or on a cluster."""

    def run_batches(self, next_batch: NextBatch) -> Iterator[list[TaskResult]]:
        """Do everything that `feed` hands out, and yield the outcomes batch by batch."""

    def close(self) -> None:
        """End the workers at once."""


def available_cores() -> int:
    """How many cores this process may use."""
    with contextlib.suppress(AttributeError, OSError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerProcess:
    """One worker process, started when it is first needed and again when it is lost."""

    def __init__(self, settings: PreprocessSettings) -> None:
        """Remember what it is to do."""
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self.is_closed = False

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
            send_message(process.stdin, dataclasses.asdict(self.settings))
        return process

    def _run_in_process(self, tasks: list[Task]) -> list[TaskResult] | None:
        """Let the process do the tasks; None when it was lost over them."""
        process = self.process = self.process or self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            send_message(process.stdin, dump_tasks(tasks))
            answer = receive_message(process.stdout)
        except (OSError, ValueError):
            answer = None
        if answer is None:
            self.stop()
            return None
        return parse_results(*answer)

    def run_batch(self, tasks: list[Task]) -> list[TaskResult]:
        """Do the tasks. When the process is lost, one by one; a file that it is lost over twice is the culprit."""
        outcomes = self._run_in_process(tasks)
        if outcomes is not None or self.is_closed:
            return outcomes or []
        done = []
        for task in tasks:
            one = self._run_in_process([task]) or self._run_in_process([task])
            done += one or [TaskResult(task.file_id, reason=BROKEN_IMAGE, detail=DECODER_CRASHED)]
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


class LocalWorkerPool:
    """A pool of worker processes, each with a thread that waits for it."""

    def __init__(self, settings: PreprocessSettings, workers: int) -> None:
        """Start `workers` threads; their processes start with their first batch."""
        self.task_queue: queue.SimpleQueue[list[Task] | None] = queue.SimpleQueue()
        self.result_queue: queue.SimpleQueue[list[TaskResult] | BaseException] = queue.SimpleQueue()
        self.workers = [WorkerProcess(settings) for _ in range(workers)]
        self.threads = [
            threading.Thread(target=self._worker_loop, args=(worker,), daemon=True) for worker in self.workers
        ]
        for thread in self.threads:
            thread.start()

    def _worker_loop(self, worker: WorkerProcess) -> None:
        while (tasks := self.task_queue.get()) is not None:
            try:
                self.result_queue.put(worker.run_batch(tasks))
            except BaseException as error:
                self.result_queue.put(error)

    def run_batches(self, next_batch: NextBatch) -> Iterator[list[TaskResult]]:
        """See Pool. Raises VaeganError when no worker can be started."""
        waiting = 0
        while True:
            while waiting < BATCHES_PER_WORKER * len(self.workers) and (tasks := next_batch()) is not None:
                self.task_queue.put(tasks)
                waiting += 1
            if not waiting:
                return
            yield self._next_results()
            waiting -= 1

    def _next_results(self) -> list[TaskResult]:
        while True:
            with contextlib.suppress(queue.Empty):
                answer: Any = self.result_queue.get(timeout=0.5)  # so that Ctrl-C is heard on Windows too
                if isinstance(answer, OSError):
                    raise VaeganError(f"no worker process can be started: {error_text(answer)}") from answer
                if isinstance(answer, BaseException):
                    raise answer
                return list(answer)

    def close(self) -> None:
        """End the workers at once."""
        for worker in self.workers:
            worker.is_closed = True
            self.task_queue.put(None)
        for worker in self.workers:
            with contextlib.suppress(AttributeError):
                worker.process.kill()  # type: ignore[union-attr]
        for thread in self.threads:
            thread.join(timeout=5)
        for worker in self.workers:
            worker.stop()
