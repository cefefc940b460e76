"""The same workers on a Ray cluster, whose nodes all see the sources and --out under the same paths."""

from __future__ import annotations

import contextlib
import functools
import queue
import socket
import time
from collections.abc import Iterator
from typing import Any

from vaegan.config.settings import PrepareSettings
from vaegan.data.preprocess.records import Outcome, Task
from vaegan.data.preprocess.skip_reasons import BROKEN
from vaegan.data.preprocess.tasks import prepare_all
from vaegan.data.preprocess.workers import AHEAD, CRASHED, Feed
from vaegan.errors import UsageError, VaeganError, reason

TRIES = 4
PAUSE = 0.5


def _knock(address: str | None) -> None:
    """Raise VaeganError when nothing answers at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except (OSError, OverflowError) as error:
            raise VaeganError(f"nothing answers at --ray-address {address} ({reason(error)}): is Ray up?") from error


class RayPool:
    """`ray.util.multiprocessing.Pool`, with every batch that was lost with a worker done again.

    A batch whose worker was lost is done again file by file, on a worker that Ray has started anew; a file over which
    that happens `TRIES` times is the culprit, as in the local pool.
    """

    def __init__(self, settings: PrepareSettings, workers: int | None, address: str | None) -> None:
        """Join the cluster. Raises UsageError without Ray, VaeganError when the cluster cannot be reached."""
        try:
            import ray
            from ray.util.multiprocessing import Pool
        except ImportError:
            raise UsageError("--pool ray needs Ray: pip install 'vaegan[ray]', or leave --pool out") from None
        _knock(address)
        self.ray = ray
        self.started = not ray.is_initialized()
        restarts = {"max_restarts": -1, "max_task_retries": 0}
        try:
            if self.started:
                ray.init(address=address, log_to_driver=False, logging_level="warning")
            self.pool = Pool(workers, ray_remote_args=restarts)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            where = f"the Ray cluster at {address}" if address else "a Ray cluster"
            raise VaeganError(f"{where} cannot be used ({reason(error)[:200]}): check --ray-address") from error
        self.width = len(self.pool._actor_pool)
        self.function = functools.partial(prepare_all, settings=settings)
        self.answers: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self.waiting: dict[int, tuple[list[Task], int]] = {}
        self.number = 0

    def _submit(self, tasks: list[Task], tries: int) -> None:
        number, self.number = self.number, self.number + 1
        self.waiting[number] = (tasks, tries)

        def answer(result: Any) -> None:
            self.answers.put((number, result))

        self.pool.apply_async(self.function, (tasks,), callback=answer, error_callback=answer)

    def run(self, feed: Feed) -> Iterator[list[Outcome]]:
        """See Pool."""
        while True:
            while len(self.waiting) < AHEAD * self.width and (tasks := feed()) is not None:
                self._submit(tasks, 0)
            if not self.waiting:
                return
            with contextlib.suppress(queue.Empty):
                number, result = self.answers.get(timeout=0.5)
                tasks, tries = self.waiting.pop(number)
                if isinstance(result, BaseException):
                    yield from self._again(tasks, tries + 1, result)
                else:
                    yield result

    def _again(self, tasks: list[Task], tries: int, error: BaseException) -> Iterator[list[Outcome]]:
        """Do the tasks of a lost worker again, one by one. Raises what is no loss of a worker."""
        lost = isinstance(error, self.ray.exceptions.RayError)
        if not lost or isinstance(error, self.ray.exceptions.RayTaskError):
            raise VaeganError(f"a worker of the Ray cluster failed: {reason(error)[:300]}") from error
        if tries >= TRIES and len(tasks) == 1:
            yield [Outcome(tasks[0].id, reason=BROKEN, detail=CRASHED)]
            return
        time.sleep(PAUSE)  # the new worker is on its way
        for task in tasks:
            self._submit([task], tries)

    def close(self) -> None:
        """End the workers, and leave the cluster where it was joined here."""
        with contextlib.suppress(Exception):
            self.pool.terminate()
        if self.started:
            with contextlib.suppress(Exception):
                self.ray.shutdown()
