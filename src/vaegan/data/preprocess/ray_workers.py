"""The workers on a Ray cluster, whose nodes all see the sources and the output under the same paths."""

from __future__ import annotations

import contextlib
import functools
import queue
import socket
import time
from collections.abc import Iterator

from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.preprocess.records import Task, TaskResult
from vaegan.data.preprocess.skip_reasons import BROKEN_IMAGE
from vaegan.data.preprocess.tasks import run_tasks
from vaegan.data.preprocess.workers import BATCHES_PER_WORKER, DECODER_CRASHED, POLL_SECONDS, NextBatch
from vaegan.errors import UsageError, VaeganError, error_text

MAX_WORKER_LOSSES = 4
RETRY_DELAY_SECONDS = 0.5
CONNECT_TIMEOUT_SECONDS = 5


def _check_reachable(address: str | None) -> None:
    """Raise VaeganError when nothing answers at HOST:PORT; Ray itself would retry for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_SECONDS).close()
        except (OSError, OverflowError) as error:
            reason = f"nothing answers at --ray-address {address} ({error_text(error)})"
            raise VaeganError(f"{reason}: is Ray running there?") from error


class RayWorkerPool:
    """A WorkerPool on `ray.util.multiprocessing.Pool`, with retries when a worker is lost.

    The tasks of a lost worker are retried one by one, on a worker that Ray starts anew. A task that is lost
    MAX_WORKER_LOSSES times is the cause, as in the local pool.
    """

    def __init__(self, settings: PreprocessSettings, num_workers: int | None, address: str | None) -> None:
        """Join the cluster at `address`, or a running one. Raises VaeganError if that is not possible."""
        try:
            import ray
            from ray.util.multiprocessing import Pool
        except ImportError:
            raise UsageError("--pool ray needs Ray: pip install 'vaegan[ray]', or leave --pool out") from None
        _check_reachable(address)
        self.ray = ray
        self.has_started_ray = not ray.is_initialized()
        restart_options = {"max_restarts": -1, "max_task_retries": 0}
        try:
            if self.has_started_ray:
                ray.init(address=address, log_to_driver=False, logging_level="warning")
            self.pool = Pool(num_workers, ray_remote_args=restart_options)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            cluster = f"the Ray cluster at {address}" if address else "a Ray cluster"
            raise VaeganError(f"cannot use {cluster} ({error_text(error)[:200]}): check --ray-address") from error
        self.num_workers = len(self.pool._actor_pool)
        self.run_tasks = functools.partial(run_tasks, settings=settings)
        self.pending_batches: dict[int, tuple[list[Task], int]] = {}  # the tasks, and how often they were lost
        self.result_queue: queue.SimpleQueue[tuple[int, list[TaskResult] | BaseException]] = queue.SimpleQueue()
        self.next_batch_id = 0

    def _submit(self, tasks: list[Task], num_losses: int) -> None:
        batch_id, self.next_batch_id = self.next_batch_id, self.next_batch_id + 1
        self.pending_batches[batch_id] = (tasks, num_losses)

        def on_result(result: list[TaskResult] | BaseException) -> None:
            self.result_queue.put((batch_id, result))

        self.pool.apply_async(self.run_tasks, (tasks,), callback=on_result, error_callback=on_result)

    def run_batches(self, next_batch: NextBatch) -> Iterator[list[TaskResult]]:
        """Run tasks on the cluster; see `WorkerPool.run_batches`.

        Args:
            next_batch: returns the next batch of tasks, or None.

        Yields:
            results.
        """
        max_pending = BATCHES_PER_WORKER * self.num_workers
        while True:
            while len(self.pending_batches) < max_pending and (tasks := next_batch()) is not None:
                self._submit(tasks, num_losses=0)
            if not self.pending_batches:
                return
            with contextlib.suppress(queue.Empty):
                batch_id, result = self.result_queue.get(timeout=POLL_SECONDS)
                tasks, num_losses = self.pending_batches.pop(batch_id)
                if isinstance(result, BaseException):
                    yield from self._retry(tasks, num_losses + 1, result)
                else:
                    yield result

    def _retry(self, tasks: list[Task], num_losses: int, error: BaseException) -> Iterator[list[TaskResult]]:
        """Retry the tasks of a lost worker one by one. Raises VaeganError for any other error."""
        is_worker_lost = isinstance(error, self.ray.exceptions.RayError)
        if not is_worker_lost or isinstance(error, self.ray.exceptions.RayTaskError):
            raise VaeganError(f"a worker of the Ray cluster failed: {error_text(error)[:300]}") from error
        if num_losses >= MAX_WORKER_LOSSES and len(tasks) == 1:
            yield [TaskResult(tasks[0].file_id, reason=BROKEN_IMAGE, detail=DECODER_CRASHED)]
            return
        time.sleep(RETRY_DELAY_SECONDS)  # Ray is starting the new worker
        for task in tasks:
            self._submit([task], num_losses)

    def close(self) -> None:
        """Stop the workers, and leave the cluster if this pool joined it."""
        with contextlib.suppress(Exception):
            self.pool.terminate()
        if self.has_started_ray:
            with contextlib.suppress(Exception):
                self.ray.shutdown()
