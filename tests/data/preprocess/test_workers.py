import io
import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.preprocess import workers
from vaegan.data.preprocess.preprocess import prepare
from vaegan.data.preprocess.records import FileLocation, PreparedImage, Task, TaskResult
from vaegan.data.preprocess.worker_process import receive_message, result_from_header, send_message, task_from_header
from vaegan.data.preprocess.workers import DECODER_CRASHED, DECODER_HANGS, LocalWorkerPool, available_cores
from vaegan.errors import UsageError, VaeganError

SETTINGS = PreprocessSettings(size=32)


def batches(folder, count, size=4):
    tasks = [Task(number, FileLocation(str(folder / f"{number:03d}.png")), ".png") for number in range(count)]
    remaining = [tasks[start : start + size] for start in range(0, count, size)]
    return lambda: remaining.pop(0) if remaining else None


@pytest.fixture
def folder(tmp_path):
    for number in range(24):
        Image.radial_gradient("L").rotate(number * 15).resize((40, 40)).save(tmp_path / f"{number:03d}.png")
    return tmp_path


def sent_and_received(record):
    stream = io.BytesIO()
    send_message(stream, record)
    stream.seek(0)
    return receive_message(stream)


def test_messages_arrive_unchanged():
    member = FileLocation("a\udcff\n新.zip", 5, 6, 8, 7, 9)
    tasks = [Task(3, member, ".png", first_frame=2, thumbnail_height=64), Task(4, FileLocation("b"))]
    header, _ = sent_and_received(tasks)
    assert [task_from_header(fields) for fields in header] == tasks
    images = [PreparedImage(n, (5, 6), (0, 1, 2, 3), 77, bytes([n] * 4), bytes([n + 9] * 12)) for n in range(2)]
    for result in (
        TaskResult(3, "s", "1:2", images=images, next_frame=4),
        TaskResult(4, reason="broken image", detail="x\n"),
    ):
        assert result_from_header(*sent_and_received(result)) == result
    assert PreprocessSettings(**sent_and_received(SETTINGS)[0]) == SETTINGS


def test_a_message_that_is_cut_off_is_none():
    stream = io.BytesIO()
    send_message(stream, PreparedImage(0, (5, 6), (0, 1, 2, 3), 77, b"hash", b"pixels"))
    content = stream.getvalue()
    for length in range(len(content)):
        assert receive_message(io.BytesIO(content[:length])) is None


def test_a_pool_runs_every_task_once(folder):
    pool = LocalWorkerPool(SETTINGS, 2)
    try:
        results = [result for batch in pool.run_batches(batches(folder, 24)) for result in batch]
        more_results = [result for batch in pool.run_batches(batches(folder, 4)) for result in batch]
    finally:
        pool.close()
    assert sorted(result.file_id for result in results) == list(range(24))
    assert all(result.images and not result.reason for result in results)
    assert len(more_results) == 4
    assert all(worker.process is None for worker in pool.workers)


@pytest.fixture
def misbehave(monkeypatch, tmp_path):
    """misbehave(name, times, statement): workers run `statement` before opening that file, the first `times` times."""

    def install(name, times, statement):
        code = tmp_path / "code"
        code.mkdir()
        (code / "sitecustomize.py").write_text(
            "import os, sys, time\n"
            "if 'vaegan.data.preprocess.worker_process' in ' '.join(sys.orig_argv):\n"
            "    import vaegan.data.preprocess.tasks as tasks\n"
            "    from pathlib import Path\n"
            "    open_hashed = tasks.open_hashed\n"
            "    def misbehaving(location):\n"
            f"        marks = len(list(Path({str(code)!r}).glob('mark-*')))\n"
            f"        if location.path.endswith({name!r}) and marks < {times}:\n"
            f"            Path({str(code)!r}, f'mark-{{marks}}').touch()\n"
            f"            {statement}\n"
            "        return open_hashed(location)\n"
            "    tasks.open_hashed = misbehaving\n"
        )
        monkeypatch.syspath_prepend(str(code))

    return install


def run_all(folder, count, num_workers=2):
    pool = LocalWorkerPool(SETTINGS, num_workers)
    try:
        return [result for batch in pool.run_batches(batches(folder, count)) for result in batch]
    finally:
        pool.close()


@pytest.mark.parametrize(("times", "num_broken"), [(1, 0), (2, 0), (99, 1)])
def test_a_crashing_decoder_costs_at_most_its_file(folder, misbehave, times, num_broken):
    misbehave("007.png", times, "os._exit(9)")
    results = {result.file_id: result for result in run_all(folder, 24)}
    assert sorted(results) == list(range(24))
    broken = [(file_id, result.reason, result.detail) for file_id, result in results.items() if result.reason]
    assert broken == [(7, "broken image", DECODER_CRASHED)] * num_broken


def test_a_hanging_decoder_costs_one_file(folder, misbehave, monkeypatch):
    start_time = time.monotonic()
    run_all(folder, 12)
    monkeypatch.setattr(workers, "MAX_TASK_SECONDS", max(3, 10 * (time.monotonic() - start_time)))  # of this machine
    misbehave("007.png", 99, "time.sleep(600)")
    results = {result.file_id: result for result in run_all(folder, 12)}
    assert sorted(results) == list(range(12))
    unreadable = [(file_id, result.reason, result.detail) for file_id, result in results.items() if result.reason]
    assert unreadable == [(7, "cannot be read", DECODER_HANGS)]


def test_a_hanging_decoder_does_not_delay_closing(folder, misbehave):
    misbehave("007.png", 99, "time.sleep(600)")
    pool = LocalWorkerPool(SETTINGS, 1)
    results = pool.run_batches(batches(folder, 12))
    assert len(next(results)) == 4
    start_time = time.monotonic()
    pool.close()
    assert time.monotonic() - start_time < 600 / 2


def test_workers_import_nothing_from_the_current_folder(folder, monkeypatch):
    for module in ("json", "PIL", "struct"):
        (folder / f"{module}.py").write_text("raise SystemExit('imported from a folder of images')")
    monkeypatch.chdir(folder)
    assert [result.reason for result in run_all(folder, 4)] == [""] * 4


def test_workers_that_are_killed_from_outside_are_replaced(folder):
    pool = LocalWorkerPool(SETTINGS, 2)
    killed = []

    def next_batch(next_batch=batches(folder, 24, 2)):  # noqa: B008
        for worker in pool.workers:
            if worker.process is not None and len(killed) < 4:
                killed.append(worker.process.pid)
                worker.process.kill()
        return next_batch()

    try:
        results = [result for batch in pool.run_batches(next_batch) for result in batch]
    finally:
        pool.close()
    assert killed and sorted(result.file_id for result in results) == list(range(24))
    assert not [result for result in results if result.reason]


def test_a_worker_that_cannot_start_is_a_one_line_error(folder, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(folder / "no-python"))
    pool = LocalWorkerPool(SETTINGS, 1)
    try:
        with pytest.raises(VaeganError, match="cannot start a worker process: No such file"):
            list(pool.run_batches(batches(folder, 4)))
    finally:
        pool.close()


def test_workers_start_from_a_script_without_a_main_guard(folder, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"import vaegan\nprint(vaegan.prepare({str(folder)!r}, {str(tmp_path / 'set')!r}, size=32))\n")
    process = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stdout == f"{tmp_path / 'set'}\n"


def test_preprocessing_does_not_import_torch(folder, tmp_path):
    code = "import sys, vaegan; vaegan.prepare(sys.argv[1], sys.argv[2], size=32); print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "set")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


def test_available_cores():
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_without_ray_the_error_says_what_to_install(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"--pool ray needs Ray: pip install 'vaegan\[ray\]'"):
        prepare([folder], tmp_path / "set", size=32, pool="ray")


@pytest.fixture
def cluster(monkeypatch):
    """A real Ray cluster on this machine: a head node without cores and a node with two."""
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

    get_pid = lambda _: os.getpid()  # noqa: E731 - the workers could not import a function of this module

    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(160):
        image = Image.radial_gradient("L").rotate(number * 7).resize((400, 300)).convert("RGB")
        image.save(folder / f"{number:03d}.png")
    (folder / "text.png").write_text("none")
    local = prepare([folder], tmp_path / "local", size=32)
    pids = []
    result_counts = []
    run_batches = ray_workers.RayWorkerPool.run_batches

    def run_and_kill(self, next_batch):
        pids.append(set(self.pool.map(get_pid, range(8))))
        for results in run_batches(self, next_batch):
            result_counts.append(len(results))
            if len(result_counts) == 1:
                for pid in pids[0]:
                    os.kill(pid, signal.SIGKILL)
            yield results

    monkeypatch.setattr(ray_workers.RayWorkerPool, "run_batches", run_and_kill)
    monkeypatch.setattr("vaegan.data.preprocess.pipeline.FILES_PER_BATCH", 8)
    out = prepare([folder], tmp_path / "ray", size=32, pool="ray", workers=2, ray_address=cluster.address)
    before, after = pids  # the second run is for the originals in preview.png
    assert len(before) == len(after) == 2 and not before & after
    assert 1 in result_counts  # the tasks of a lost worker are retried one by one
    for path in local.iterdir():
        assert path.read_bytes() == (out / path.name).read_bytes(), path.name


def test_an_unreachable_cluster_is_a_one_line_error(folder, tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(VaeganError, match=r"nothing answers at --ray-address 127\.0\.0\.1:1"):
        prepare([folder], tmp_path / "set", size=32, pool="ray", ray_address="127.0.0.1:1")
