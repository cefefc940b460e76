"""The same workers on a Ray cluster, whose nodes all see the sources and --out under the same paths."""

from __future__ import annotations

import contextlib
import functools
import queue
import socket
import time
from collections.abc import Iterator
from typing import Any

from vaegan.config.settings import PreprocessSettings
from vaegan.data.preprocess.records import Task, TaskResult
from vaegan.data.preprocess.skip_reasons import BROKEN_IMAGE
from vaegan.data.preprocess.tasks import run_tasks
from vaegan.data.preprocess.workers import BATCHES_PER_WORKER, DECODER_CRASHED, NextBatch
from vaegan.errors import UsageError, VaeganError, error_text

MAX_TASK_ATTEMPTS = 4
RETRY_DELAY_SECONDS = 0.5


def _check_reachable(address: str | None) -> None:
    """Raise VaeganError when nothing answers at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except (OSError, OverflowError) as error:
            raise VaeganError(
                f"nothing answers at --ray-address {address} ({error_text(error)}): is Ray up?"
            ) from error


class RayWorkerPool:
    """`ray.util.multiprocessing.Pool`, with every batch that was lost with a worker done again.

    A batch whose worker was lost is done again file by file, on a worker that Ray has started anew; a file over which
    that happens `TRIES` times is the culprit, as in the local pool.
    """

    def __init__(self, settings: PreprocessSettings, workers: int | None, address: str | None) -> None:
        """Join the cluster. Raises UsageError without Ray, VaeganError when the cluster cannot be reached."""
        try:
            import ray
            from ray.util.multiprocessing import Pool
        except ImportError:
            raise UsageError("--pool ray needs Ray: pip install 'vaegan[ray]', or leave --pool out") from None
        _check_reachable(address)
        self.ray = ray
        self.has_started_ray = not ray.is_initialized()
        restarts = {"max_restarts": -1, "max_task_retries": 0}
        try:
            if self.has_started_ray:
                ray.init(address=address, log_to_driver=False, logging_level="warning")
            self.pool = Pool(workers, ray_remote_args=restarts)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            where = f"the Ray cluster at {address}" if address else "a Ray cluster"
            raise VaeganError(f"{where} cannot be used ({error_text(error)[:200]}): check --ray-address") from error
        self.num_workers = len(self.pool._actor_pool)
        self.run_tasks = functools.partial(run_tasks, settings=settings)
        self.result_queue: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self.pending_batches: dict[int, tuple[list[Task], int]] = {}
        self.next_batch_id = 0

    def _submit(self, tasks: list[Task], attempts: int) -> None:
        number, self.next_batch_id = self.next_batch_id, self.next_batch_id + 1
        self.pending_batches[number] = (tasks, attempts)

        def answer(result: Any) -> None:
            self.result_queue.put((number, result))

        self.pool.apply_async(self.run_tasks, (tasks,), callback=answer, error_callback=answer)

    def run_batches(self, next_batch: NextBatch) -> Iterator[list[TaskResult]]:
        """See Pool."""
        while True:
            while (
                len(self.pending_batches) < BATCHES_PER_WORKER * self.num_workers
                and (tasks := next_batch()) is not None
            ):
                self._submit(tasks, 0)
            if not self.pending_batches:
                return
            with contextlib.suppress(queue.Empty):
                number, result = self.result_queue.get(timeout=0.5)
                tasks, tries = self.pending_batches.pop(number)
                if isinstance(result, BaseException):
                    yield from self._retry(tasks, tries + 1, result)
                else:
                    yield result

    def _retry(self, tasks: list[Task], attempts: int, error: BaseException) -> Iterator[list[TaskResult]]:
        """Do the tasks of a lost worker again, one by one. Raises what is no loss of a worker."""
        lost = isinstance(error, self.ray.exceptions.RayError)
        if not lost or isinstance(error, self.ray.exceptions.RayTaskError):
            raise VaeganError(f"a worker of the Ray cluster failed: {error_text(error)[:300]}") from error
        if attempts >= MAX_TASK_ATTEMPTS and len(tasks) == 1:
            yield [TaskResult(tasks[0].file_id, reason=BROKEN_IMAGE, detail=DECODER_CRASHED)]
            return
        time.sleep(RETRY_DELAY_SECONDS)  # the new worker is on its way
        for task in tasks:
            self._submit([task], attempts)

    def close(self) -> None:
        """End the workers, and leave the cluster where it was joined here."""
        with contextlib.suppress(Exception):
            self.pool.terminate()
        if self.has_started_ray:
            with contextlib.suppress(Exception):
                self.ray.shutdown()
