"""What the numbers of a GAN warn of."""

import json

import pytest
import torch

from vaegan.cli import main
from vaegan.config.settings import GANSettings
from vaegan.diagnostics import ALARM_RULES, AlarmTracker
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


def heard(alarms, lines, images=1000):
    return [name for line in lines for name in alarms.update(images, line)]


def test_every_rule_has_a_case_here():
    assert {*BAD, "uniform"} == ALARM_RULES.keys()


@pytest.mark.parametrize("name", BAD)
def test_an_alarm_begins_once_and_again_after_it_ended(name):
    alarms = AlarmTracker()
    assert heard(alarms, GOOD) == []
    assert heard(alarms, BAD[name] * 2) == [name]
    assert heard(alarms, GOOD) == []
    assert heard(alarms, BAD[name]) == [name]


@pytest.mark.parametrize("name", ALARM_RULES)
def test_the_words_say_what_to_do(name):
    alarms, bad, images = (
        AlarmTracker(),
        BAD.get(name, [{"effective_rank_ratio": 0.2}]),
        1000 if name in BAD else 200_000,
    )
    if name in BAD:
        heard(alarms, GOOD)
    (text,) = (text for line in bad for text in alarms.update(images, line).values())
    assert "--" in text and text[0].islower() and "\n" not in text
    flags = {word.strip(".,:;") for word in text.split() if word.startswith("--")}
    known = {"--" + field.replace("_", "-") for field in GANSettings.__dataclass_fields__} | {"--from-vae", "--best"}
    assert flags <= known


def test_a_generator_that_never_varies_is_told_of_late_not_at_the_start():
    alarms = AlarmTracker()
    assert heard(alarms, [{"effective_rank_ratio": 0.1, "coverage": 0.02}] * 3, images=5_000) == []
    assert heard(alarms, [{"effective_rank_ratio": 0.1, "coverage": 0.02}] * 3, images=200_000) == ["uniform"]


def test_what_was_never_any_better_is_no_collapse():
    alarms = AlarmTracker()
    for images, kid, diversity in ((96_000, 0.04, 0.25), (112_000, 0.041, 0.26), (128_000, 0.042, 0.24)):
        alarms.update(images, {"kid": kid, "effective_rank_ratio": diversity, "coverage": 0.2})
        assert not alarms.collapse_alarms
    alarms.update(144_000, {"kid": 0.05, "effective_rank_ratio": 0.24, "coverage": 0.05})
    assert alarms.collapse_alarms == {"coverage_drop"}


def test_a_discriminator_alone_in_its_head_start_may_win():
    alarms = AlarmTracker()
    assert heard(alarms, [{"loss_d": 0.01}] * 9) == []
    assert heard(alarms, [{"loss_d": 0.01, "loss_g": 5.0}] * 2) == []
    assert heard(alarms, [{"loss_d": 0.01, "loss_g": 5.0}]) == ["discriminator_wins"]


def test_noise_at_the_start_is_no_variety_to_fall_from():
    assert (
        heard(
            AlarmTracker(),
            [{"effective_rank_ratio": 6.0}, {"effective_rank_ratio": 0.9}, {"effective_rank_ratio": 0.6}],
        )
        == []
    )


def faces(count, seed):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 3, 4, 4, generator=generator)
    return (torch.nn.functional.interpolate(low, size=32, mode="bilinear") * 255).byte()


def test_a_look_sees_collapse():
    watch = QuickEvaluator(faces(200, 0), faces(128, 1), torch.device("cpu"))
    fresh, modes = watch.evaluate(faces(128, 2)), watch.evaluate(faces(4, 3).repeat(32, 1, 1, 1))
    assert fresh["coverage"] > 0.9 and 0.8 < fresh["effective_rank_ratio"] < 1.2 and fresh["duplicate_fraction"] < 0.05
    assert modes["coverage"] < 0.4 and modes["effective_rank_ratio"] < 0.2 and modes["duplicate_fraction"] == 1.0
    alarms = AlarmTracker()
    assert list(alarms.update(0, fresh)) == []
    assert set(alarms.update(10_000, modes)) == {"duplicate_samples", "low_diversity", "coverage_drop"}


def test_a_look_counts_the_samples_that_repeat_not_their_pairs():
    watch = QuickEvaluator(faces(200, 0), faces(128, 1), torch.device("cpu"))
    alike = torch.cat([faces(1, 3).repeat(8, 1, 1, 1), faces(120, 2)])
    assert watch.evaluate(alike)["duplicate_fraction"] == pytest.approx(8 / 128, abs=0.02)


def test_a_look_sees_collapse_with_few_held_out_pictures_too():
    watch = QuickEvaluator(faces(200, 0), faces(32, 1), torch.device("cpu"))
    fresh, modes = watch.evaluate(faces(512, 2)), watch.evaluate(faces(4, 3).repeat(128, 1, 1, 1))
    assert 0.8 < fresh["effective_rank_ratio"] < 1.2 and modes["effective_rank_ratio"] < 0.3
    assert fresh["coverage"] > 0.9 and modes["coverage"] < 0.5


@pytest.fixture
def blind(monkeypatch):
    """A discriminator that sees no difference."""
    from vaegan.models.discriminator import Discriminator

    look = Discriminator.forward_with_features

    def looks(self, pictures, num_chunks=1):
        logits, levels = look(self, pictures, num_chunks)
        return logits * 0, levels

    monkeypatch.setattr(Discriminator, "forward_with_features", looks)


def test_a_resumed_run_says_what_the_whole_one_says(blind, prepared, tmp_path):
    options = {"preset": "tiny", "latent_dim": 8, "batch_size": 8, "log_every": 1, "checkpoint_every": 1, "gamma": 0.0}
    told = {"whole": [], "parts": []}
    train_gan(prepared, tmp_path / "whole", steps=6, on_event=told["whole"].append, **options)
    for steps in (4, 6):
        train_gan(prepared, tmp_path / "parts", steps=steps, on_event=told["parts"].append, **options)
    whole, parts = ([event for event in events if isinstance(event, Alarm)] for events in told.values())
    assert whole == parts and [(event.step, event.name) for event in whole] == [(3, "discriminator_blind")]
    lines = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["alarm"]) for line in lines if "alarm" in line] == [(3, "discriminator_blind")]
    assert read_alarms(tmp_path / "parts") == [(24, whole[0].text)]


def test_alarms_are_told_and_info_repeats_them(blind, prepared, tmp_path, capsys):
    arguments = ["train-gan", str(prepared), "--run", str(tmp_path / "gan"), "--preset", "tiny", "--log-every", "1"]
    assert main([*arguments, "--steps", "5", "--batch-size", "8", "--gamma", "0"]) == 0
    assert "warning: at step 3, the discriminator is blind" in capsys.readouterr().err
    assert main(["info", str(tmp_path / "gan")]) == 0
    assert "1, the newest after 24 pictures: the discriminator is blind" in capsys.readouterr().out
