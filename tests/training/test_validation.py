"""The quick evaluation during training."""

import json

import pytest
import torch

from vaegan.cli import main
from vaegan.training.validation import MIN_IMAGES_PER_EVALUATION, QuickEvaluator, evaluation_interval

CPU = torch.device("cpu")


def random_images(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 255, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)


def test_samples_like_the_dataset_score_better():
    evaluator = QuickEvaluator(random_images(64, 0), random_images(64, 1), CPU)
    good, bad = evaluator.evaluate(random_images(64, 2)), evaluator.evaluate(random_images(64, 2) // 4)
    assert good["kid"] < bad["kid"]
    assert good["kid"] == pytest.approx(sum(good[f"kid_{level}"] for level in ("fine", "middle", "coarse")) / 3)
    assert good["kid_stderr"] > 0


def test_the_best_kid_is_saved_and_loaded():
    evaluator = QuickEvaluator(random_images(8, 0), random_images(8, 1), CPU)
    assert evaluator.update_best(0.5, 3)
    assert not evaluator.update_best(0.6, 4) and not evaluator.update_best(float("nan"), 5)
    loaded = QuickEvaluator(random_images(8, 0), random_images(8, 1), CPU)
    loaded.load_state_dict(evaluator.state_dict())
    assert (loaded.best_kid, loaded.best_step) == (0.5, 3)
    assert not loaded.update_best(0.5, 6) and loaded.update_best(0.4, 6)
    loaded.load_state_dict({})
    assert loaded.best_step < 0 and loaded.update_best(1e9, 1)


def test_too_few_validation_images_disable_it():
    assert not QuickEvaluator(random_images(64, 0), random_images(7, 1), CPU).is_enabled


def test_evaluations_are_rare():
    assert evaluation_interval(1_000, 32, 100, False) == MIN_IMAGES_PER_EVALUATION // 32
    assert evaluation_interval(100_000, 32, 100, False) == 2_000
    assert evaluation_interval(1_000, 32, 300, True) == 600


def test_metrics_best_weights_and_seconds_are_written(prepared, here):
    tiny = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--log-every", "1", "-q")
    arguments = ("train-gan", str(prepared), "--run", "gan", "--evaluate-every", "2", *tiny)
    assert main([*arguments, "--steps", "3"]) == 0
    assert main([*arguments, "--steps", "6"]) == 0
    lines = [json.loads(line) for line in (here / "gan" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "kid" in line] == [0, 2, 3, 4, 6]
    seconds = [line["train_seconds"] for line in lines]
    assert seconds == sorted(seconds) and seconds[0] >= 0
    assert (here / "gan" / "best.safetensors").is_file()


def test_a_run_past_its_best_warns_at_its_end(prepared, here, monkeypatch, capsys):
    kids = iter((9.0, 3.0, 1.0, 2.0, 2.0))
    evaluate = QuickEvaluator.evaluate
    monkeypatch.setattr(
        QuickEvaluator,
        "evaluate",
        lambda self, samples: evaluate(self, samples) | {"kid": next(kids), "kid_stderr": 0.1},
    )
    tiny = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--log-every", "1", "--evaluate-every", "1")
    arguments = ("train-gan", str(prepared), "--run", "gan", *tiny)
    assert main([*arguments, "--steps", "2"]) == 0
    assert "were closer" not in capsys.readouterr().err
    assert main([*arguments, "--steps", "4"]) == 0  # earlier evaluations count
    messages = " ".join(capsys.readouterr().err.split())
    assert "after 16 pictures (KID 1) than they are now (2): --best uses the weights of then" in messages


def test_it_can_be_turned_off(prepared, here):
    tiny = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--steps", "2", "-q")
    assert main(["train-gan", str(prepared), "--run", "gan", "--evaluate-every", "0", *tiny]) == 0
    assert "kid" not in (here / "gan" / "metrics.jsonl").read_text()
    assert not (here / "gan" / "best.safetensors").exists()
