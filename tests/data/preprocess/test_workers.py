import os
import signal
import subprocess
import sys

import pytest
from PIL import Image

from vaegan.config.settings import PreprocessSettings
from vaegan.data.preprocess.preprocess import prepare
from vaegan.data.preprocess.records import FileLocation, PreparedImage, Task, TaskResult
from vaegan.data.preprocess.worker_process import dump_results, dump_tasks, parse_results, parse_tasks
from vaegan.data.preprocess.workers import DECODER_CRASHED, LocalWorkerPool, available_cores
from vaegan.errors import UsageError, VaeganError

SETTINGS = PreprocessSettings(size=32)


def batches(folder, count, size=4):
    tasks = [Task(number, FileLocation(str(folder / f"{number:03d}.png")), ".png") for number in range(count)]
    waiting = [tasks[start : start + size] for start in range(0, count, size)]
    return lambda: waiting.pop(0) if waiting else None


@pytest.fixture
def folder(tmp_path):
    for number in range(24):
        Image.radial_gradient("L").rotate(number * 15).resize((40, 40)).save(tmp_path / f"{number:03d}.png")
    return tmp_path


def test_messages_come_back_as_they_were():
    tasks = [Task(3, FileLocation("a\udcff\n新.zip", 5, 6, 8, 7, 9), ".png", "abc", 2, 64), Task(4, FileLocation("b"))]
    assert parse_tasks(dump_tasks(tasks)) == tasks
    squares = [PreparedImage(n, (5, 6), (0, 1, 2, 3), 77, bytes([n] * 4), bytes([n + 9] * 12)) for n in range(2)]
    outcomes = [
        TaskResult(3, "s", "1:2", images=squares, next_frame=4),
        TaskResult(4, reason="broken picture", detail="x\n"),
    ]
    assert parse_results(*dump_results(outcomes)) == outcomes


def test_a_pool_does_everything_once(folder):
    pool = LocalWorkerPool(SETTINGS, 2)
    try:
        done = [outcome for batch in pool.run_batches(batches(folder, 24)) for outcome in batch]
        again = [outcome for batch in pool.run_batches(batches(folder, 4)) for outcome in batch]
    finally:
        pool.close()
    assert sorted(outcome.file_id for outcome in done) == list(range(24))
    assert all(outcome.images and not outcome.reason for outcome in done)
    assert len(again) == 4
    assert all(worker.process is None for worker in pool.workers)


def crashing(monkeypatch, tmp_path, name, times):
    """Make workers die over the file `name`, the first `times` times."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'vaegan.data.preprocess.worker_process' in ' '.join(sys.orig_argv):\n"
        "    import vaegan.data.preprocess.file_reader as reading\n"
        "    import vaegan.data.preprocess.tasks as work\n"
        "    from pathlib import Path\n"
        "    opened = reading.opened\n"
        "    def dying(place):\n"
        f"        marks = len(list(Path({str(code)!r}).glob('mark-*')))\n"
        f"        if place.path.endswith({name!r}) and marks < {times}:\n"
        f"            Path({str(code)!r}, f'mark-{{marks}}').touch()\n"
        "            os._exit(9)\n"
        "        return opened(place)\n"
        "    work.opened = dying\n"
    )
    monkeypatch.syspath_prepend(str(code))


@pytest.mark.parametrize(("times", "culprits"), [(1, 0), (2, 0), (99, 1)])
def test_a_lost_worker_costs_at_most_the_file_that_kills_it(folder, tmp_path, monkeypatch, times, culprits):
    crashing(monkeypatch, tmp_path, "007.png", times)
    pool = LocalWorkerPool(SETTINGS, 2)
    try:
        done = {outcome.file_id: outcome for batch in pool.run_batches(batches(folder, 24)) for outcome in batch}
    finally:
        pool.close()
    assert sorted(done) == list(range(24))
    bad = [(number, outcome.reason, outcome.detail) for number, outcome in done.items() if outcome.reason]
    assert bad == [(7, "broken picture", DECODER_CRASHED)] * culprits


def test_workers_that_are_killed_from_outside_are_replaced(folder):
    pool = LocalWorkerPool(SETTINGS, 2)
    killed = []

    def feed(source=batches(folder, 24, 2)):  # noqa: B008
        for worker in pool.workers:
            if worker.process is not None and len(killed) < 4:
                killed.append(worker.process.pid)
                worker.process.kill()
        return source()

    try:
        done = [outcome for batch in pool.run_batches(feed) for outcome in batch]
    finally:
        pool.close()
    assert killed and sorted(outcome.file_id for outcome in done) == list(range(24))
    assert not [outcome for outcome in done if outcome.reason]


def test_that_no_worker_starts_is_one_line(folder, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(folder / "no-python"))
    pool = LocalWorkerPool(SETTINGS, 1)
    try:
        with pytest.raises(VaeganError, match="no worker process can be started: No such file"):
            list(pool.run_batches(batches(folder, 4)))
    finally:
        pool.close()


def test_workers_start_from_a_script_without_a_main_guard(folder, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"import vaegan\nprint(vaegan.prepare({str(folder)!r}, {str(tmp_path / 'set')!r}, size=32))\n")
    said = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode == 0, said.stderr
    assert said.stdout == f"{tmp_path / 'set'}\n"


def test_preparing_imports_no_torch(folder, tmp_path):
    code = "import sys, vaegan; vaegan.prepare(sys.argv[1], sys.argv[2], size=32); print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "set")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


def test_cores():
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_without_ray_the_way_out_is_told(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"--pool ray needs Ray: pip install 'vaegan\[ray\]'"):
        prepare([folder], tmp_path / "set", size=32, pool="ray")


@pytest.fixture
def cluster(monkeypatch):
    """A real Ray cluster on this machine: a head without workers' cores and a node with two."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    cluster.add_node(num_cpus=2)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_ray_gives_the_same_bytes_and_survives_lost_workers(cluster, tmp_path, monkeypatch):
    from vaegan.data.preprocess import ray_workers

    process_number = lambda _: os.getpid()  # noqa: E731 - a function of this module could not be found by the workers

    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(160):
        picture = Image.radial_gradient("L").rotate(number * 7).resize((400, 300)).convert("RGB")
        picture.save(folder / f"{number:03d}.png")
    (folder / "text.png").write_text("none")
    local = prepare([folder], tmp_path / "local", size=32)
    pids = []
    answers = []
    run = ray_workers.RayWorkerPool.run_batches

    def killing(self, feed):
        pids.append(set(self.pool.map(process_number, range(8))))
        for outcomes in run(self, feed):
            answers.append(len(outcomes))
            if len(answers) == 1:
                for pid in pids[0]:
                    os.kill(pid, signal.SIGKILL)
            yield outcomes

    monkeypatch.setattr(ray_workers.RayWorkerPool, "run_batches", killing)
    monkeypatch.setattr("vaegan.data.preprocess.pipeline.FILES_PER_BATCH", 8)
    out = prepare([folder], tmp_path / "ray", size=32, pool="ray", workers=2, ray_address=cluster.address)
    before, after = pids  # the second time the pool is asked for the originals that preview.png shows
    assert len(before) == len(after) == 2 and not before & after
    assert 1 in answers  # what was lost with a worker was done again file by file
    for path in local.iterdir():
        assert path.read_bytes() == (out / path.name).read_bytes(), path.name


def test_a_cluster_that_is_not_there_is_one_line(folder, tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(VaeganError, match=r"nothing answers at --ray-address 127\.0\.0\.1:1"):
        prepare([folder], tmp_path / "set", size=32, pool="ray", ray_address="127.0.0.1:1")
