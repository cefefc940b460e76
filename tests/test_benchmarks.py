"""Tests of the benchmarks: equal work on both sides, ratios of pairs, and experiment arms."""

import json
import sys

import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import __main__ as speed
from benchmarks import arms, conditional, fine_tuning, judges, other_tools, pretraining, small_dataset
from benchmarks.speed import plain
from benchmarks.speed.pairs import PairedResult, run_pairs
from benchmarks.speed.processes import Timing, time_command
from benchmarks.speed.rows import ROWS
from vaegan.config.model_config import ModelConfig
from vaegan.data.dataset import open_dataset
from vaegan.losses.gan import LOSSES
from vaegan.models.discriminator import Discriminator, Generator
from vaegan.models.layers import BOX_FILTER
from vaegan.models.vae import VAE
from vaegan.run_dir import RunDir


def count_flops(model, *inputs):
    with FlopCounterMode(display=False) as counter:
        model(*inputs)
    return counter.get_total_flops()


@pytest.mark.parametrize(("size", "width"), [(64, 32), (128, 16)])
def test_plain_networks_need_as_many_flops_as_ours(size, width):
    config = ModelConfig(size, 3, 64, width, **plain.NETWORKS)
    with torch.device("meta"):
        images, latents = torch.empty(4, 3, size, size), torch.empty(4, 64)
        generator, vae = Generator(config), VAE(config)
        for decoder in (generator, vae.decoder):
            decoder.layers[-2].taps = BOX_FILTER  # the bilinear filter costs more than the plain upsampling
        # products with a matrix enlarge our color layers; plain PyTorch's interpolation is not counted
        enlarging = 2 * 4 * 3 * plain.NUM_COLOR_LAYERS * (size * 16 * 16 + size * 16 * size)
        pairs = [
            (count_flops(generator, latents) - enlarging, count_flops(plain.Generator(width, size, 64), latents)),
            (count_flops(Discriminator(config), images), count_flops(plain.Discriminator(width, size), images)),
            (count_flops(vae, images, latents) - enlarging, count_flops(plain.VAE(width, size, 64), images)),
        ]
    for ours, theirs in pairs:
        assert ours == pytest.approx(theirs, rel=0.05)


@pytest.mark.parametrize("name", sorted(plain.G_LOSSES))
def test_plain_losses_equal_ours(name):
    real, fake = torch.randn(2, 16)
    real_loss, fake_loss = plain.D_LOSSES[name]
    assert torch.allclose(LOSSES[name].discriminator_loss(real, fake), real_loss(real) + fake_loss(fake))
    assert torch.allclose(LOSSES[name].generator_loss(real, fake), plain.G_LOSSES[name](fake))


def test_every_loss_has_a_row_with_and_without_penalties():
    names = {row.name for row in ROWS}
    assert {f"train-gan-{loss}{suffix}" for loss in LOSSES for suffix in ("", "-r1r2")} <= names
    assert len(names) == len(ROWS)


def test_sides_take_turns_and_ratios_are_of_pairs():
    order = []

    def make_side(name, seconds):
        remaining = iter(seconds)

        def measure():
            order.append(name)
            return Timing(10, next(remaining), 1.0, 2_000_000)

        return measure

    reference, ours = make_side("reference", [4, 8, 6]), make_side("ours", [2, 2, 2])
    result = run_pairs(PairedResult("images/s"), 3, reference, ours)
    assert order == ["reference", "ours"] * 3
    assert result.ratios() == [2, 4, 3]
    result.peak_flops, result.flops_per_image = [100.0, 50.0, 100.0], (8.0, 8.0)
    assert result.peak_fractions() == pytest.approx([0.4, 0.8, 0.4])
    cells = speed.format_row(ROWS[0], result)
    assert "3.00x (2.00 to 4.00)" in cells and "40%" in cells and "2 / 2" in cells
    assert json.loads(json.dumps(result.as_json()))["ratio"] == 3


def test_less_time_is_better():
    ours, reference = [Timing(1, 2.0, 3.0, 0)], [Timing(1, 1.0, 1.5, 0)]
    assert PairedResult("s", ours, reference).ratios() == [0.5] == PairedResult("CPU s", ours, reference).ratios()


def test_rows_are_selected_by_prefix():
    assert {row.name for row in speed.select_rows(["sample", "feed"])} == {
        "sample-1",
        "sample-64",
        "sample-10000",
        "feed",
    }
    with pytest.raises(SystemExit, match="nothing-such"):
        speed.select_rows(["nothing-such"])


def test_failed_command_raises():
    with pytest.raises(RuntimeError, match="exited with status 2"):
        time_command(["vaegan", "sample", "--no-such-flag"], 1)


def test_dcgan_has_the_tutorial_networks_and_trains(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(other_tools.DCGAN, "BATCH_SIZE", 8)
    dcgan = other_tools.DCGAN(other_tools.write_image_files(prepared, tmp_path), 64, 0)
    networks = (dcgan.generator, dcgan.discriminator)
    for network, num_parameters in zip(networks, (3_576_704, 2_765_568), strict=True):  # of the tutorial's networks
        assert sum(parameter.numel() for parameter in network.parameters()) == num_parameters
    weights = [next(iter(network.parameters())) for network in networks]
    before = [weight.clone() for weight in weights]
    assert other_tools.train_for(dcgan, 0.05) % 8 == 0
    assert not any(torch.equal(old, new) for old, new in zip(before, weights, strict=True))
    assert other_tools.sample_images(dcgan.generate, 3, 0).shape == (3, 3, 64, 64)


def test_arms_share_a_vae_run_only_if_its_options_are_equal(tmp_path):
    experiment = arms.Experiment(tmp_path, tmp_path, 12.0)
    runs = {name: arms.vae_run_path(experiment, arm, 1) for name, arm in pretraining.ARMS.items()}
    assert runs["scratch"] is None
    assert runs["from-vae"] == runs["gamma-3"] != arms.vae_run_path(experiment, pretraining.ARMS["from-vae"], 2)
    different = ("from-vae", "time-60", "vae-time-7", "vae-time-40", "vae-gaussian", "vae-adam")
    assert len({runs[name] for name in different}) == len(different)


def test_minutes_become_images_at_a_given_speed(tmp_path):
    assert arms.Experiment(tmp_path, tmp_path, 12.0).duration_option(3.0, "vae") == {"minutes": 3.0}
    experiment = arms.Experiment(tmp_path, tmp_path, 12.0, speed=(200.0, 250.0))
    assert experiment.duration_option(3.0, "vae") == {"images": 36_000}
    assert experiment.duration_option(9.0, "gan") == {"images": 135_000}


def test_min_retained_coverage_is_relative_to_the_best_until_then():
    assert pretraining.min_retained_coverage([]) is None
    for coverages, lowest in (([0.1, 0.2, 0.9], 1.0), ([0.2, 0.8, 0.4, 0.9, 0.6], 0.5), ([0.0, 0.0, 0.5], 1.0)):
        assert pretraining.min_retained_coverage(coverages) == pytest.approx(lowest)


def test_evaluation_times_include_the_vae(tmp_path):
    vae_run, gan_run = RunDir(tmp_path / "vae"), RunDir(tmp_path / "gan")
    vae_lines = [{"images_seen": 300, "train_seconds": 30}, {"images_seen": 600, "train_seconds": 60.0}]
    gan_lines = [
        {"images_seen": 0, "train_seconds": 0, "kid": 0.5, "coverage": 0.25},
        {"images_seen": 50, "train_seconds": 9},
        {"images_seen": 800, "train_seconds": 120, "kid": 0.125, "coverage": 0.75},
    ]
    for run, lines in ((vae_run, vae_lines), (gan_run, gan_lines)):
        run.path.mkdir()
        (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    experiment = arms.Experiment(tmp_path, tmp_path, 12.0)
    evaluations = pretraining.read_evaluations(experiment, gan_run.path, vae_run.path)
    assert evaluations == [(1.0, 0.5, 0.25), (3.0, 0.125, 0.75)]
    experiment = arms.Experiment(tmp_path, tmp_path, 12.0, speed=(5.0, 10.0))
    evaluations = pretraining.read_evaluations(experiment, gan_run.path, None)
    assert evaluations == [(0.0, 0.5, 0.25), (pytest.approx(800 / 600), 0.125, 0.75)]
    assert pretraining.read_evaluations(experiment, gan_run.path, vae_run.path)[0][0] == 2.0
    # more arms than colors
    results = {f"arm {index}": [{"evaluations": evaluations}, {"evaluations": []}] for index in range(9)}
    pretraining.plot_evaluations({"faces": results}, tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size[1] == 640


def test_small_dataset_arms_differ_only_in_augmentation_and_start():
    for name, options in small_dataset.AUGMENT_OPTIONS.items():
        from_vae, scratch = small_dataset.ARMS[name], small_dataset.ARMS[small_dataset.SCRATCH + name]
        assert from_vae.vae_fraction and not scratch.vae_fraction and from_vae.gan == scratch.gan == options


def test_small_dataset_benchmark_runs_from_a_vae_and_from_scratch(prepared, tmp_path, monkeypatch, capsys):
    length = ["--minutes", "0.02", "--speed", "100", "100", "--preset", "tiny"]
    options = ["--count", "16", "-n", "16", "--seeds", "0", "--arms", "none", "translation", "scratch-none"]
    argv = ["small_dataset", str(prepared), *length, *options, "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    small_dataset.main()
    output = capsys.readouterr().out
    assert open_dataset(tmp_path / "set-16").counts["train"] == 16
    assert len(list(tmp_path.glob("vae-*"))) == 1 and len(list(tmp_path.glob("gan-*"))) == 3
    results = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert [result["images_seen"] for result in results] == [96, 96, 128]
    assert "translation: coverage" in output and "none: coverage" not in output


def test_the_benchmark_of_classes_prints_a_row_per_class_and_one_for_other_runs(
    monkeypatch, capsys, tmp_path, colored_set, cond_vae_run, vae_run
):
    monkeypatch.setattr("benchmarks.judges.MIN_PER_CLASS", 8)
    monkeypatch.setattr("benchmarks.attributes.MIN_PER_CLASS", 8)
    monkeypatch.setattr("benchmarks.judges.EPOCHS", 1)
    monkeypatch.setattr("benchmarks.judges.BATCH_SIZE", 8)
    monkeypatch.setattr("benchmarks.conditional.SAMPLES_PER_CLASS", 4)
    enlarge_images(monkeypatch)
    conditional.main([str(colored_set), "color", str(cond_vae_run), str(vae_run), "-n", "16"])
    table = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(table[str(cond_vae_run)]) == ["blue", "green", "red", "mean"]
    assert all(0 <= table[str(cond_vae_run)][name]["agree"] <= 1 for name in ("blue", "green", "red"))
    assert list(table[str(vae_run)]) == ["all"] and table[str(vae_run)]["all"]["kid"] > 0


def enlarge_images(monkeypatch):
    """The classifier takes images of 64 pixels; those of the test have 32."""
    forward = judges.Classifier.forward

    def forward_enlarged(self, images):
        return forward(self, torch.nn.functional.interpolate(images, size=64))

    monkeypatch.setattr(judges.Classifier, "forward", forward_enlarged)


def test_fine_tuning_benchmark_compares_at_equal_images(prepared, gan_run, tmp_path, monkeypatch, capsys):
    sizes = ["--preset", "tiny", "--latent-dim", "8", "-n", "16", "--counts", "16", "--images", "128", "--seeds", "0"]
    arms = ["--start", str(gan_run), "--arms", "start", "nothing", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["fine_tuning", str(prepared), *sizes, *arms])
    fine_tuning.main()
    output = capsys.readouterr().out
    results = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert [result["arm"] for result in results] == ["start", "nothing"]
    # the VAE of the arm without a start sees a quarter of the images
    assert [result["images_seen"] for result in results] == [128, 96]
    assert all(result["kid_mean"] > result["real"]["kid_mean"] for result in results)
    configs = [RunDir(tmp_path / "16" / f"{result['arm']}-0").read_config() for result in results]
    assert [bool(config["from_run"]) for config in configs] == [True, False]
    assert output.count("real  ") == 1
