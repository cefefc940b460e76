"""What the benchmarks compare is the same work, taken in turn."""

import json
import sys

import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import __main__ as benchmarks
from benchmarks import arms, others, pretraining, small_set
from benchmarks.speed import plain
from benchmarks.speed.pairs import Found, in_turn
from benchmarks.speed.rows import ROWS
from benchmarks.speed.sides import Taken, run_command
from vaegan.config.model_config import ModelConfig
from vaegan.data.dataset import open_dataset
from vaegan.losses.gan import LOSSES
from vaegan.models.discriminator import Discriminator, Generator
from vaegan.models.layers import BOX_FILTER
from vaegan.models.vae import VAE
from vaegan.run_dir import RunDir


def operations(model, *inputs):
    with FlopCounterMode(display=False) as counter:
        model(*inputs)
    return counter.get_total_flops()


@pytest.mark.parametrize(("size", "width"), [(64, 32), (128, 16)])
def test_the_plain_networks_do_as_much_as_ours(size, width):
    config = ModelConfig(size, 3, 64, width)
    with torch.device("meta"):
        pictures, latents = torch.empty(4, 3, size, size), torch.empty(4, 64)
        generator, vae = Generator(config), VAE(config)
        for decoder in (generator, vae.decoder):
            decoder.layers[-2].taps = BOX_FILTER  # bilinear as it is, ours does more
        pairs = [
            (operations(generator, latents), operations(plain.Generator(width, size, 64), latents)),
            (operations(Discriminator(config), pictures), operations(plain.Discriminator(width, size), pictures)),
            (operations(vae, pictures, latents), operations(plain.VAE(width, size, 64), pictures)),
        ]
    for ours, theirs in pairs:
        assert ours == pytest.approx(theirs, rel=0.05)


@pytest.mark.parametrize("name", sorted(plain.G_LOSSES))
def test_the_plain_losses_are_ours(name):
    real, fake = torch.randn(2, 16)
    of_real, of_fake = plain.D_LOSSES[name]
    assert torch.allclose(LOSSES[name].discriminator_loss(real, fake), of_real(real) + of_fake(fake))
    assert torch.allclose(LOSSES[name].generator_loss(real, fake), plain.G_LOSSES[name](fake))


def test_every_loss_has_a_row_with_and_without_penalties():
    names = {row.name for row in ROWS}
    assert {f"train-gan-{loss}{end}" for loss in LOSSES for end in ("", "-r1r2")} <= names
    assert len(names) == len(ROWS)


def test_sides_take_turns_and_ratios_are_of_pairs():
    order = []

    def side(name, seconds):
        times = iter(seconds)

        def turn():
            order.append(name)
            return Taken(10, next(times), 1.0, 2_000_000)

        return turn

    found = in_turn(Found("pictures/s"), 3, side("reference", [4, 8, 6]), side("ours", [2, 2, 2]))
    assert order == ["reference", "ours"] * 3
    assert found.ratios() == [2, 4, 3]
    found.peaks, found.operations = [100.0, 50.0, 100.0], (8.0, 8.0)
    assert found.shares() == pytest.approx([0.4, 0.8, 0.4])
    line = benchmarks.cells(ROWS[0], found)
    assert "3.00x (2.00 to 4.00)" in line and "40%" in line and "2 / 2" in line
    assert json.loads(json.dumps(found.as_json()))["ratio"] == 3


def test_less_time_is_better():
    turns = [Taken(1, 2.0, 3.0, 0)], [Taken(1, 1.0, 1.5, 0)]
    assert Found("s", turns[0], turns[1]).ratios() == [0.5] == Found("CPU s", turns[0], turns[1]).ratios()


def test_rows_are_chosen_by_how_they_begin():
    assert {row.name for row in benchmarks.chosen(["sample", "feed"])} == {
        "sample-1",
        "sample-64",
        "sample-10000",
        "feed",
    }
    with pytest.raises(SystemExit, match="nothing-such"):
        benchmarks.chosen(["nothing-such"])


def test_a_command_that_fails_is_an_error():
    with pytest.raises(RuntimeError, match="ended with 2"):
        run_command(["vaegan", "sample", "--no-such-flag"], 1)


def test_the_dcgan_of_the_comparison_is_the_tutorials_and_learns(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(others.DCGAN, "BATCH", 8)
    tool = others.DCGAN(others.files(prepared, tmp_path), 64, 0)
    for network, numbers in ((tool.g, 3_576_704), (tool.d, 2_765_568)):  # what the tutorial's networks have
        assert sum(parameter.numel() for parameter in network.parameters()) == numbers
    first = [next(iter(network.parameters())) for network in (tool.g, tool.d)]
    before = [weight.clone() for weight in first]
    assert others.worked(tool, 0.05) % 8 == 0
    assert not any(torch.equal(old, new) for old, new in zip(before, first, strict=True))
    assert others.drawn(tool.draw, 3, 0).shape == (3, 3, 64, 64)


def test_arms_of_the_same_start_share_a_vae_and_others_do_not(tmp_path):
    plan = arms.Plan(tmp_path, tmp_path, 12.0)
    runs = {name: arms.vae_run(plan, arm, 1) for name, arm in pretraining.ARMS.items()}
    assert runs["scratch"] is None
    assert runs["from-vae"] == runs["gamma-3"] != arms.vae_run(plan, pretraining.ARMS["from-vae"], 2)
    apart = ("from-vae", "from-vae-60", "short-vae", "long-vae", "tight-vae", "adam-vae")
    assert len({runs[name] for name in apart}) == len(apart)


def test_minutes_are_the_clock_s_or_those_of_a_machine_of_some_speed(tmp_path):
    assert arms.Plan(tmp_path, tmp_path, 12.0).length(3.0, "vae") == {"minutes": 3.0}
    plan = arms.Plan(tmp_path, tmp_path, 12.0, speed=(200.0, 250.0))
    assert plan.length(3.0, "vae") == {"images": 36_000}
    assert plan.length(9.0, "gan") == {"images": 135_000}


def test_what_a_run_keeps_of_its_coverage_is_the_deepest_fall_from_an_earlier_best():
    assert pretraining.kept([]) is None
    for coverages, least in (([0.1, 0.2, 0.9], 1.0), ([0.2, 0.8, 0.4, 0.9, 0.6], 0.5), ([0.0, 0.0, 0.5], 1.0)):
        assert pretraining.kept(coverages) == pytest.approx(least)


def test_looks_at_samples_are_timed_from_the_vae_s_first_step(tmp_path):
    vae, gan = RunDir(tmp_path / "vae"), RunDir(tmp_path / "gan")
    of_vae = [{"images_seen": 300, "train_seconds": 30}, {"images_seen": 600, "train_seconds": 60.0}]
    of_gan = [
        {"images_seen": 0, "train_seconds": 0, "kid": 0.5, "coverage": 0.25},
        {"images_seen": 50, "train_seconds": 9},
    ]
    of_gan.append({"images_seen": 800, "train_seconds": 120, "kid": 0.125, "coverage": 0.75})
    for run, lines in ((vae, of_vae), (gan, of_gan)):
        run.path.mkdir()
        (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    plan = arms.Plan(tmp_path, tmp_path, 12.0)
    assert pretraining.looks(plan, gan.path, vae.path) == [(1.0, 0.5, 0.25), (3.0, 0.125, 0.75)]
    plan = arms.Plan(tmp_path, tmp_path, 12.0, speed=(5.0, 10.0))
    found = pretraining.looks(plan, gan.path, None)
    assert found == [(0.0, 0.5, 0.25), (pytest.approx(800 / 600), 0.125, 0.75)]
    assert pretraining.looks(plan, gan.path, vae.path)[0][0] == 2.0
    many = {f"arm {number}": [{"looks": found}, {"looks": []}] for number in range(9)}  # more than there are colours
    pretraining.draw({"faces": many}, tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size[1] == 640


def test_arms_of_a_small_set_differ_in_what_they_say_they_differ_in():
    for name, way in small_set.WAYS.items():
        ours, scratch = small_set.ARMS[name], small_set.ARMS[small_set.SCRATCH + name]
        assert ours.share and not scratch.share and ours.gan == scratch.gan == way


def test_a_small_set_is_measured_from_both_starts(prepared, tmp_path, monkeypatch, capsys):
    length = ["--minutes", "0.02", "--speed", "100", "100", "--preset", "tiny"]
    what = ["--count", "16", "-n", "16", "--seeds", "0", "--arms", "none", "translation", "scratch-none"]
    monkeypatch.setattr(sys, "argv", ["small_set", str(prepared), *length, *what, "--out", str(tmp_path)])
    small_set.main()
    said = capsys.readouterr().out
    assert open_dataset(tmp_path / "set-16").counts["train"] == 16
    assert len(list(tmp_path.glob("vae-*"))) == 1 and len(list(tmp_path.glob("gan-*"))) == 3
    rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [row["images_seen"] for row in rows] == [96, 96, 128]
    assert "translation: coverage" in said and "none: coverage" not in said
