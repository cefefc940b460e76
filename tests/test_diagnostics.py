"""Warnings about the metrics of a GAN, a VAE and a whole run."""

import json
import re

import pytest
import torch

from vaegan.cli import main
from vaegan.config.settings import GANSettings
from vaegan.diagnostics import (
    ALARM_RULES,
    AlarmTracker,
    describe_latent_usage,
    describe_reconstruction,
    run_warnings,
    vae_warnings,
)
from vaegan.events import Alarm
from vaegan.metrics_log import read_alarms
from vaegan.training.train import train_gan
from vaegan.training.validation import QuickEvaluator

GOOD = [{"loss_d": 0.4, "d_logit_margin": 0.8, "r1_penalty": 0.1, "r2_penalty": 0.1}] * 12 + [
    {"coverage": 0.7, "effective_rank_ratio": 0.9, "duplicate_fraction": 0.01, "ada_rv": 0.2}
]
BAD: dict[str, list[dict[str, float]]] = {
    "discriminator_wins": [{"loss_d": 0.01, "loss_g": 5.0}] * 3,
    "discriminator_blind": [{"d_logit_margin": 0.001}, {"d_logit_margin": -0.002}, {"d_logit_margin": 0.0}],
    "penalty_explodes": [{"r2_penalty": 40.0}],
    "duplicate_samples": [{"duplicate_fraction": 0.4}],
    "low_diversity": [{"effective_rank_ratio": 0.3}],
    "coverage_drop": [{"coverage": 0.2}],
    "discriminator_overfits": [{"ada_rv": 0.8}],
}


def update_all(tracker, metrics_log, images_seen=1000):
    """Return the names of the alarms that begin, in order."""
    return [name for metrics in metrics_log for name in tracker.update(images_seen, metrics)]


def test_every_rule_has_a_case_here():
    assert {*BAD, "never_diverse"} == ALARM_RULES.keys()


@pytest.mark.parametrize("name", BAD)
def test_an_alarm_begins_once_and_again_after_it_ended(name):
    tracker = AlarmTracker()
    assert update_all(tracker, GOOD) == []
    assert update_all(tracker, BAD[name] * 2) == [name]
    assert update_all(tracker, GOOD) == []
    assert update_all(tracker, BAD[name]) == [name]


@pytest.mark.parametrize("name", ALARM_RULES)
def test_a_warning_says_what_to_do(name):
    tracker, bad, images_seen = AlarmTracker(), BAD.get(name, [{"effective_rank_ratio": 0.2}]), 200_000
    if name in BAD:
        images_seen = 1000
        update_all(tracker, GOOD)
    (text,) = (text for metrics in bad for text in tracker.update(images_seen, metrics).values())
    assert "--" in text and text[0].islower() and "\n" not in text
    flags = {word.strip(".,:;") for word in text.split() if word.startswith("--")}
    known = {"--" + field.replace("_", "-") for field in GANSettings.__dataclass_fields__} | {"--from-vae", "--best"}
    assert flags <= known


def test_low_diversity_from_the_start_is_an_alarm_only_late():
    tracker = AlarmTracker()
    assert update_all(tracker, [{"effective_rank_ratio": 0.1, "coverage": 0.02}] * 3, images_seen=5_000) == []
    assert update_all(tracker, [{"effective_rank_ratio": 0.1, "coverage": 0.02}] * 3, images_seen=200_000) == [
        "never_diverse"
    ]


def test_samples_that_were_never_better_are_no_collapse():
    tracker = AlarmTracker()
    for images_seen, kid, diversity in ((96_000, 0.04, 0.25), (112_000, 0.041, 0.26), (128_000, 0.042, 0.24)):
        tracker.update(images_seen, {"kid": kid, "effective_rank_ratio": diversity, "coverage": 0.2})
        assert not tracker.collapse_alarms
    tracker.update(144_000, {"kid": 0.05, "effective_rank_ratio": 0.24, "coverage": 0.05})
    assert tracker.collapse_alarms == {"coverage_drop"}


def test_the_discriminator_may_win_during_its_warm_up():
    tracker = AlarmTracker()
    assert update_all(tracker, [{"loss_d": 0.01}] * 9) == []
    assert update_all(tracker, [{"loss_d": 0.01, "loss_g": 5.0}] * 2) == []
    assert update_all(tracker, [{"loss_d": 0.01, "loss_g": 5.0}]) == ["discriminator_wins"]


def test_noise_at_the_start_does_not_count_as_diversity():
    assert (
        update_all(
            AlarmTracker(),
            [{"effective_rank_ratio": 6.0}, {"effective_rank_ratio": 0.9}, {"effective_rank_ratio": 0.6}],
        )
        == []
    )


def faces(count, seed):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 3, 4, 4, generator=generator)
    return (torch.nn.functional.interpolate(low, size=32, mode="bilinear") * 255).byte()


def test_the_quick_evaluator_measures_collapse():
    evaluator = QuickEvaluator(faces(200, 0), faces(128, 1), torch.device("cpu"))
    diverse, collapsed = evaluator.evaluate(faces(128, 2)), evaluator.evaluate(faces(4, 3).repeat(32, 1, 1, 1))
    assert (
        diverse["coverage"] > 0.9
        and 0.8 < diverse["effective_rank_ratio"] < 1.2
        and diverse["duplicate_fraction"] < 0.05
    )
    assert (
        collapsed["coverage"] < 0.4
        and collapsed["effective_rank_ratio"] < 0.2
        and collapsed["duplicate_fraction"] == 1.0
    )
    tracker = AlarmTracker()
    assert list(tracker.update(0, diverse)) == []
    assert set(tracker.update(10_000, collapsed)) == {"duplicate_samples", "low_diversity", "coverage_drop"}


def test_duplicate_fraction_counts_samples_not_pairs():
    evaluator = QuickEvaluator(faces(200, 0), faces(128, 1), torch.device("cpu"))
    alike = torch.cat([faces(1, 3).repeat(8, 1, 1, 1), faces(120, 2)])
    assert evaluator.evaluate(alike)["duplicate_fraction"] == pytest.approx(8 / 128, abs=0.02)


def test_collapse_is_measured_with_few_validation_images_too():
    evaluator = QuickEvaluator(faces(200, 0), faces(32, 1), torch.device("cpu"))
    diverse, collapsed = evaluator.evaluate(faces(512, 2)), evaluator.evaluate(faces(4, 3).repeat(128, 1, 1, 1))
    assert 0.8 < diverse["effective_rank_ratio"] < 1.2 and collapsed["effective_rank_ratio"] < 0.3
    assert diverse["coverage"] > 0.9 and collapsed["coverage"] < 0.5


@pytest.fixture
def blind_discriminator(monkeypatch):
    """Make the logits of every discriminator 0."""
    from vaegan.models.discriminator import Discriminator

    forward = Discriminator.forward_with_features

    def blind_forward(self, images, class_weights=None, num_chunks=1):
        logits, features = forward(self, images, class_weights, num_chunks)
        return logits * 0, features

    monkeypatch.setattr(Discriminator, "forward_with_features", blind_forward)


def test_a_resumed_run_has_the_same_alarms(blind_discriminator, prepared, tmp_path):
    options = {"preset": "tiny", "latent_dim": 8, "batch_size": 8, "log_every": 1, "checkpoint_every": 1, "gamma": 0.0}
    events = {"uninterrupted": [], "resumed": []}
    train_gan(prepared, tmp_path / "uninterrupted", steps=6, on_event=events["uninterrupted"].append, **options)
    for steps in (4, 6):
        train_gan(prepared, tmp_path / "resumed", steps=steps, on_event=events["resumed"].append, **options)
    alarms, resumed_alarms = ([event for event in part if isinstance(event, Alarm)] for part in events.values())
    assert alarms == resumed_alarms and [(event.step, event.name) for event in alarms] == [(3, "discriminator_blind")]
    lines = [json.loads(line) for line in (tmp_path / "resumed" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["alarm"]) for line in lines if "alarm" in line] == [(3, "discriminator_blind")]
    assert read_alarms(tmp_path / "resumed") == [(24, alarms[0].text)]


def test_alarms_are_printed_and_repeated_by_info(blind_discriminator, prepared, tmp_path, capsys):
    arguments = ["train-gan", str(prepared), "--run", str(tmp_path / "gan"), "--preset", "tiny", "--log-every", "1"]
    assert main([*arguments, "--steps", "5", "--batch-size", "8", "--gamma", "0"]) == 0
    assert "warning: at step 3, the discriminator is blind" in capsys.readouterr().err
    assert main(["info", str(tmp_path / "gan")]) == 0
    assert re.search(r"1, the newest after 24 \w+: the discriminator is blind", capsys.readouterr().out)


def test_rollbacks_skipped_steps_and_a_past_best_are_run_warnings():
    config = {"kind": "gan", "model": {}, "options": {}}

    def warnings(*kids, newest=None):
        log = [{"images_seen": 8 * k, "kid": kid, "kid_stderr": 0.1} for k, kid in enumerate(kids)]
        return run_warnings(config, [*log, newest or {}], has_best_weights=True)

    texts = warnings(
        0.5, 1.0, 4.0, 3.0, newest={"skipped_steps": 9.0, "rollbacks": 1.0}
    )  # the KID at step 0 is ignored
    assert len(texts) == 3 and texts[0].startswith("9 steps")
    assert "--best" in texts[2] and "best after 8 images (1)" in texts[2] and "now worse (3)" in texts[2]
    assert warnings(9.0, 1.0, 4.0) == warnings(9.0, 1.0, 4.0, 1.2) == warnings(9.0, 1.0, 1.2, 4.0) == []
    assert warnings(9.0, -0.01, 0.02, 0.08) == [] and warnings(9.0, -0.01, 0.2, 0.3) != []


VAE_METRICS = {"active_units": 30.0, "val_kl": 60.0, "val_psnr": 20.0, "train_psnr": 20.5, "val_ssim": 0.7}


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({}, None),
        ({"val_kl": 2.0}, "posterior collapse: 30 of 64 latents are active and the KL is 2 nats"),
        ({"active_units": 6.0}, "posterior collapse: 6 of 64 latents are active and the KL is 60 nats"),
        ({"active_units": 7.0}, None),
        ({"train_psnr": 21.4}, None),
        ({"train_psnr": 21.6}, "overfitting: training images are reconstructed 1.6 dB better than validation images"),
    ],
)
def test_vae_warnings(change, start):
    warnings = vae_warnings(VAE_METRICS | change, 4.0, 64, 10**6)
    assert len(warnings) == (start is not None)
    if start:
        assert warnings[0].startswith(start)
        assert ("--beta (it is 4)" in warnings[0]) == ("collapse" in start)


def test_metrics_that_were_not_measured_give_no_text():
    assert (vae_warnings({}, 1.0, 64, 0), describe_latent_usage({}, 64), describe_reconstruction({})) == ([], "", "")
    assert "train longer" in vae_warnings({"active_units": 0.0}, 1.0, 64, 100)[0]
    assert vae_warnings({"active_units": 1.0}, 1.0, 1, 10**6) == []


def test_latent_usage_is_one_line():
    metrics = {"kl_per_dim_min": 0.01, "kl_per_dim_median": 0.5, "kl_per_dim_max": 3.0, "agg_posterior_var_max": 1.25}
    metrics |= {"agg_posterior_mean_absmax": 0.5, "agg_posterior_var_min": 0.75}
    assert describe_latent_usage(VAE_METRICS | metrics, 64) == (
        "30 of 64 active, KL 60 nats per image (per latent: min 0.01, median 0.5, max 3); before whitening, means up to"
        " 0.5, variances 0.75 to 1.2"
    )


def test_posterior_collapse_is_a_warning_at_the_end_and_in_info(capsys, prepared, tmp_path):
    options = ["--preset", "tiny", "--latent-dim", "8", "--kl-warmup", "0", "--lr-warmup", "0", "--steps", "60"]
    run = tmp_path / "run"
    assert main(["train-vae", str(prepared), "--run", str(run), "--beta", "1000", *options]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "posterior collapse" in line]
    assert line.startswith("warning: ") and "lower --beta (it is 1000)" in line
    assert main(["info", str(run), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert "posterior collapse" in facts["warnings"] and "--beta" in facts["warnings"]
    assert " of 8 active" in facts["latents"]
    assert any("SSIM" in str(fact) for fact in facts.values())
