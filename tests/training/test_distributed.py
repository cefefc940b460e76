"""Several processes do what one does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pieces import collapsing
from ranked import COLLAPSED, GAN, GAUSSIAN, RECONSTRUCTED, VAE, one_normal

from command_line import child_environment
from vaegan.checkpoint import load_tensors, strip_prefix
from vaegan.cli import main
from vaegan.errors import UsageError
from vaegan.training.distributed import DistributedContext, init_distributed
from vaegan.training.train import train_gan, train_vae

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo and torchrun are tested where they are common")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ranked(prepared, vae_run, tmp_path_factory):
    """Where two processes have left their runs, and what torchrun results."""
    out = tmp_path_factory.mktemp("ranked")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(ROOT / "tests/training/ranked.py"), str(prepared), str(vae_run), str(out)],
        capture_output=True,
        text=True,
        env=child_environment(OMP_NUM_THREADS="1"),
    )
    assert done.returncode == 0, done.stderr
    return out, done


@pytest.fixture(autouse=True)
def alike():
    with one_normal():
        yield


@pytest.fixture(scope="module")
def results(ranked):
    return [json.loads((ranked[0] / f"rank-{rank}.json").read_text()) for rank in (0, 1)]


LOSSES = {"recon_loss", "loss_d", "loss_g", "recon_feature_loss", "d_recon_loss", "r1_penalty", "r2_penalty"}


def distance(one, other, step):
    """Largest relative distance of a network's weights between two runs.

    Not the largest of single weights: where a gradient is nothing but rounding, Adam makes a whole step of its sign.
    """
    name = f"checkpoints/step-{step:07d}/training.safetensors"
    mine, theirs = load_tensors(one / name), load_tensors(other / name)
    assert mine.keys() == theirs.keys()
    networks = {name.partition(".")[0] for name in mine} & {"vae", "ema", "generator", "discriminator"}
    assert len(networks) >= 2
    distances = []
    for network in networks:
        ours, wanted = (
            torch.cat([tensor.flatten() for tensor in strip_prefix(file, network).values()]) for file in (mine, theirs)
        )
        distances.append(float((ours - wanted).norm() / wanted.norm()))
    return max(distances)


COUNTED = {"kid_stderr", "coverage", "duplicate_fraction"}
"""Of samples, what counts few pictures or pairs of them, or is a deviation of five numbers."""


def metrics(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    clock = ("images_per_second", "train_seconds")
    return [{name: value for name, value in line.items() if name not in clock} for line in lines]


def assert_follows(ranked, single, step, folded=False):
    assert distance(ranked, single, step) < 3e-4  # of rounding, which grows with every step
    mine, theirs = metrics(ranked), metrics(single)
    assert [line.keys() for line in mine] == [line.keys() for line in theirs]
    for one, other in zip(mine, theirs, strict=True):
        for name, value in one.items():
            if isinstance(value, str):  # an alarm: its name and its words
                assert value.split()[:3] == other[name].split()[:3]
                continue
            if not (folded and name in COUNTED):
                assert value == pytest.approx(other[name], rel=looseness(name, folded), abs=1e-5), name


def looseness(name, folded):
    """Means over many pictures follow closely; what axes or rounded pictures say of weights 3e-4 apart, less.

    folded: axes that move the picture as much as each other may change places, so that a latent is another sample.
    """
    if folded and (name.startswith("kid") or name == "effective_rank_ratio"):
        return 0.05 if name.startswith("kid") else 0.01
    if name.startswith("kid"):
        return 0.05 if name == "kid_stderr" else 0.01  # of pictures rounded to 256 values; a deviation of five such
    return 5e-4 if name in LOSSES else 3e-3


def test_two_ranks_of_16_follow_one_of_32_with_a_vae(ranked, prepared, tmp_path):
    whole = train_vae(prepared, tmp_path / "vae", steps=20, **VAE)
    assert_follows(ranked[0] / "vae", whole, 20, folded=True)


def test_a_likelihood_of_the_whole_batch_is_one_over_the_ranks(ranked, prepared, tmp_path):
    single = train_vae(prepared, tmp_path / "vae", **GAUSSIAN)
    assert_follows(ranked[0] / "gaussian", single, 4)


def test_two_ranks_of_16_follow_one_of_32_with_a_gan_penalties_and_pairs_included(ranked, prepared, tmp_path):
    whole = train_gan(prepared, tmp_path / "gan", from_vae=ranked[0] / "vae", steps=12, **GAN)
    assert any("r1_penalty" in line for line in metrics(whole))
    assert_follows(ranked[0] / "gan", whole, 12)
    # a signal to one of the two stopped both at one step; one process goes on to the same end
    parts = train_gan(prepared, ranked[0] / "parts", from_vae=ranked[0] / "vae", steps=12)
    assert distance(parts, whole, 12) < 1e-3  # rounding of two kinds: with two processes, then with one
    assert [line["step"] for line in metrics(parts)] == [line["step"] for line in metrics(whole)]


def test_reconstructed_rows_are_shared_among_the_ranks(ranked, prepared, tmp_path):
    whole = train_gan(prepared, tmp_path / "gan", from_vae=ranked[0] / "vae", **RECONSTRUCTED)
    assert any(line.keys() >= {"recon_feature_loss", "d_recon_loss"} for line in metrics(whole))
    assert_follows(ranked[0] / "recon_fraction", whole, 4)


def test_all_ranks_roll_back_from_mode_collapse(ranked, prepared, tmp_path):
    with collapsing(4, 0.5):
        whole = train_gan(prepared, tmp_path / "gan", from_vae=ranked[0] / "vae", **COLLAPSED)
    assert [line["step"] for line in metrics(whole) if line.get("alarm") == "rolled_back"] == [2]
    assert_follows(ranked[0] / "collapsed", whole, 5)


def test_every_rank_stops_at_the_same_step(results):
    assert [rank["interrupted"] for rank in results] == [
        "interrupted at step 6; saved. Run the same command again to resume"
    ] * 2


def test_a_step_that_is_not_finite_on_one_rank_is_left_out_on_all(ranked, results):
    assert [rank["skipped"] for rank in results] == [[2], []]  # events are the first process's
    assert [line["skipped_steps"] for line in metrics(ranked[0] / "skipped") if "skipped_steps" in line][-1] == 1


def test_collectives_on_two_ranks(results):
    for rank, other in ((0, 1), (1, 0)):
        assert results[rank]["sums"] == [[[3.0] * 3] * 2, 10.0]
        assert results[rank]["broadcast"] == {"from": 0, "message": "Zoë"}
        assert results[rank]["any_rank"] == [False, True]
        assert results[rank]["from_main"] == {"rank": 0}
        assert results[rank]["failures"][rank] == [False, "the reason"]
        assert results[rank]["failures"][other] == [True, f"process {other} of this training stopped"]
    assert [rank["rows"] for rank in results] == [[0, 3], [3, 7]]


def test_one_process_speaks_for_all(ranked, results, vae_run):
    assert [(rank["misuse"], rank["status"]) for rank in results] == [(2, 0), (1, 0)]
    done = ranked[1]
    assert done.stdout == f"{vae_run}\n"
    assert done.stderr.count("--beta 7.0 contradicts") == 1
    assert "Traceback" not in done.stderr


def test_no_thread_of_a_group_that_has_ended_is_left_to_abort_the_exit(results):
    assert [rank["threads"] for rank in results] == [[], []]


def test_devices_of_several_processes():
    world = DistributedContext(rank=1, world_size=4, local_rank=1)
    assert DistributedContext().local_device_name("cuda:1") == "cuda:1" and world.local_device_name("cpu") == "cpu"
    assert world.local_device_name("cuda") == "cuda:1"
    with pytest.raises(UsageError, match="--device cuda:0: 4 processes need a device each"):
        world.local_device_name("cuda:0")


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with init_distributed() as world:
        assert world == DistributedContext(0, 1, 0) and world.is_main_process
        tensor = torch.ones(2)
        world.all_reduce_sum_([tensor])
        assert torch.equal(tensor, torch.ones(2)) and world.broadcast(3) == 3 and world.any_rank(True)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 is set, but RANK and MASTER_ADDR and MASTER_PORT not"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "WORLD_SIZE=2 is set, but MASTER_ADDR and MASTER_PORT not"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two is set, expected a whole number"),
        ({"WORLD_SIZE": "2", "RANK": "7", "MASTER_ADDR": "x", "MASTER_PORT": "1"}, "RANK=7 is not below WORLD_SIZE=2"),
    ],
)
def test_a_left_over_environment_is_named(environment, message, prepared, here, monkeypatch, capsys):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["train-vae", str(prepared), "--run", "run", "--steps", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{message}: start several processes with torchrun, or unset WORLD_SIZE for one" in line
    assert not list(here.iterdir())
