"""The speed that a training shows, by a clock that the test sets."""

import pytest

from vaegan.training.monitor import ThroughputMonitor


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("vaegan.training.monitor.time.perf_counter", clock)
    return clock


def test_a_slow_first_step_is_forgotten_despite_many_previews(clock):
    throughput, rates = ThroughputMonitor(0, batch_size=10), []
    for step in range(1, 61):
        clock.now += 1.0 if step == 1 else 0.1
        rates.append(throughput.images_per_second(step))
        throughput.pause(step)
        if step % 5 == 0:
            clock.now += 30.0  # a preview
        throughput.resume(step)
    assert rates[0] == pytest.approx(10) and rates[10] == pytest.approx(110 / 2.0)
    assert rates[-1] == pytest.approx(100)


def test_a_rollback_starts_a_new_window(clock):
    throughput = ThroughputMonitor(20, batch_size=10)
    clock.now += 1.0
    assert throughput.images_per_second(30) == pytest.approx(100)
    throughput.pause(30)
    throughput.restart(5)
    clock.now += 1.0
    assert throughput.images_per_second(10) == pytest.approx(50)
