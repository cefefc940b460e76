"""A pool of worker processes on this machine.

A decoder that crashes or hangs on a damaged file must cost that file only. The process pools of multiprocessing,
concurrent.futures and pebble do not fit. Their workers import the main script again, so they fail in a script without
a main guard. They look for modules in the current folder, where untrusted images may lie. What a worker returns is
sent as a pickle. In concurrent.futures, one dead worker also breaks the whole pool. So each worker here is
`python -P -m vaegan.data.preprocess.worker_process`, and a thread talks to it through pipes.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol

from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.preprocess.records import Task, TaskResult
from vaegan.data.preprocess.skip_reasons import BROKEN_IMAGE, UNREADABLE
from vaegan.data.preprocess.worker_process import receive_message, result_from_header, send_message
from vaegan.errors import VaeganError, error_text

NextBatch = Callable[[], list[Task] | None]
"""Returns the next batch of tasks, or None when there is none for now (a result may lead to new ones)."""

DECODER_CRASHED = "the decoder crashed"
DECODER_HANGS = "the decoder does not finish"
BATCHES_PER_WORKER = 2
MAX_TASK_ATTEMPTS = 3
MAX_TASK_SECONDS = 300  # a decoder that takes longer counts as hanging
POLL_SECONDS = 0.5


class WorkerPool(Protocol):
    """Runs tasks in worker processes: on this machine, or on a cluster."""

    def run_batches(self, next_batch: NextBatch) -> Iterator[list[TaskResult]]:
        """Run all tasks, and return the results batch by batch, in any order.

        Args:
            next_batch: returns the next batch of tasks, or None after the last.

        Yields:
            results of some tasks.
        """

    def close(self) -> None:
        """Stop the workers at once."""


def available_cores() -> int:
    """Return the number of cores that this process may use.

    Returns:
        at least 1.
    """
    with contextlib.suppress(AttributeError, OSError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerProcess:
    """One worker process. It starts with the first task, and again after it is lost."""

    def __init__(self, settings: PreprocessSettings) -> None:
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self.task_start_time = math.inf
        self.is_closed = False

    def _start(self) -> subprocess.Popen[bytes]:
        python_path = os.pathsep.join(path for path in sys.path if path)
        # -P: import nothing from the current folder, where untrusted images may lie, with files named like modules
        command = [sys.executable, "-P", "-m", "vaegan.data.preprocess.worker_process"]
        env = {**os.environ, "PYTHONPATH": python_path, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=env)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a process that is lost already shows at its first task
            send_message(process.stdin, self.settings)
        return process

    def _run_until_lost(self, tasks: list[Task]) -> Iterator[TaskResult]:
        """Yield the results of the tasks in order; fewer when the process is lost."""
        self.task_start_time = time.monotonic()
        process = self.process = self.process or self._start()
        if self.is_closed:  # checked after the assignment: `close` kills the process that it sees
            return
        assert process.stdin is not None and process.stdout is not None
        try:
            send_message(process.stdin, tasks)
            for _ in tasks:
                message = receive_message(process.stdout)
                if message is None:
                    return
                yield result_from_header(*message)
                self.task_start_time = time.monotonic()
        except (OSError, ValueError):  # a broken pipe, or a message that was cut off
            return

    def run_batch(self, tasks: list[Task]) -> list[TaskResult]:
        """Run tasks, also those that the process is lost over.

        Args:
            tasks: files to prepare.

        Returns:
            one result per task; fewer after `close`.
        """
        results: list[TaskResult] = []
        num_crashes = 0
        while len(results) < len(tasks) and not self.is_closed:
            new_results = list(self._run_until_lost(tasks[len(results) :]))
            results += new_results
            if len(results) == len(tasks):
                break

            # the process is lost over the first task without a result; a crash may come from outside, so try again
            is_hanging = self._is_hanging()
            self.stop()
            num_crashes = 1 if new_results else num_crashes + 1
            if is_hanging or num_crashes == MAX_TASK_ATTEMPTS:
                reason, detail = (UNREADABLE, DECODER_HANGS) if is_hanging else (BROKEN_IMAGE, DECODER_CRASHED)
                results.append(TaskResult(tasks[len(results)].file_id, reason=reason, detail=detail))
                num_crashes = 0
        self.task_start_time = math.inf
        return results

    def _is_hanging(self) -> bool:
        return time.monotonic() - self.task_start_time > MAX_TASK_SECONDS

    def kill_if_hanging(self) -> None:
        """Kill the process from another thread when its task takes too long."""
        if self._is_hanging():
            self._kill()

    def _kill(self) -> None:
        process = self.process
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()

    def close(self) -> None:
        """Kill the process from another thread, and start no other."""
        self.is_closed = True
        self._kill()

    def stop(self) -> None:
        """Kill the process, and close its pipes."""
        self._kill()
        process, self.process = self.process, None
        if process is not None:
            with contextlib.suppress(OSError), process:
                pass  # leaving the context closes the pipes and waits for the process


class LocalWorkerPool:
    """A pool of `num_workers` worker processes, with one thread for each that waits for its results."""

    def __init__(self, settings: PreprocessSettings, num_workers: int) -> None:
        self.workers = [WorkerProcess(settings) for _ in range(num_workers)]
        self.idle_workers: queue.LifoQueue[WorkerProcess] = queue.LifoQueue()  # started ones first
        for worker in self.workers:
            self.idle_workers.put(worker)
        self.executor = ThreadPoolExecutor(num_workers, thread_name_prefix="preprocess")

    def _run_batch(self, tasks: list[Task]) -> list[TaskResult]:
        worker = self.idle_workers.get()
        try:
            return worker.run_batch(tasks)
        finally:
            self.idle_workers.put(worker)

    def run_batches(self, next_batch: NextBatch) -> Iterator[list[TaskResult]]:
        """Run tasks; see `WorkerPool.run_batches`.

        Args:
            next_batch: returns the next batch of tasks, or None.

        Yields:
            results.

        Raises:
            VaeganError: if no worker process can be started.
        """
        pending: set[Future[list[TaskResult]]] = set()
        while True:
            while len(pending) < BATCHES_PER_WORKER * len(self.workers) and (tasks := next_batch()) is not None:
                pending.add(self.executor.submit(self._run_batch, tasks))
            if not pending:
                return
            # the timeout lets Ctrl-C interrupt the wait on Windows too
            finished, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for worker in self.workers:
                worker.kill_if_hanging()
            try:
                batches = [future.result() for future in finished]
            except OSError as error:
                raise VaeganError(f"cannot start a worker process: {error_text(error)}") from error
            yield from batches

    def close(self) -> None:
        """Stop the workers at once."""
        for worker in self.workers:
            worker.close()
        self.executor.shutdown(cancel_futures=True)
        for worker in self.workers:
            worker.stop()
