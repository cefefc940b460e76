"""The light evaluation during training."""

import json

import pytest
import torch

from vaegan.checkpoint import saved_kid
from vaegan.cli import main
from vaegan.training.validation import MIN_IMAGES_PER_EVALUATION, QuickEvaluator, evaluation_interval

CPU = torch.device("cpu")


def faces(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 255, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)


def test_pictures_of_the_same_kind_score_better():
    watch = QuickEvaluator(faces(64, 0), faces(64, 1), CPU)
    good, bad = watch.evaluate(faces(64, 2)), watch.evaluate(faces(64, 2) // 4)
    assert good["kid"] < bad["kid"]
    assert good["kid"] == pytest.approx(sum(good[f"kid_{level}"] for level in ("fine", "middle", "coarse")) / 3)
    assert good["kid_stderr"] > 0


def test_the_best_is_remembered(tmp_path):
    watch = QuickEvaluator(faces(8, 0), faces(8, 1), CPU)
    assert watch.update_best(0.5, 3) and not watch.update_best(0.6, 4) and not watch.update_best(float("nan"), 5)
    again = QuickEvaluator(faces(8, 0), faces(8, 1), CPU)
    again.load_state_dict(watch.state_dict(), tmp_path / "none.safetensors")
    assert (again.best_kid, again.best_step) == (0.5, 3)
    assert not again.update_best(0.5, 6) and again.update_best(0.4, 6)


def test_an_older_versions_best_is_known_by_its_weights(gan_run, copy, tmp_path):
    best = copy(gan_run / "best.safetensors")
    watch = QuickEvaluator(faces(8, 0), faces(8, 1), CPU)
    watch.load_state_dict({}, best)
    assert watch.best_kid == saved_kid(best) and watch.best_step < 0
    best.write_bytes(best.read_bytes()[:100])
    for damaged in (best, tmp_path / "none.safetensors", gan_run / "model.safetensors"):
        watch.load_state_dict({}, damaged)
        assert watch.update_best(1e9, 1)


def test_too_few_held_out_pictures_cannot_be_watched():
    assert not QuickEvaluator(faces(64, 0), faces(7, 1), CPU).is_enabled


def test_looks_are_rare():
    assert evaluation_interval(1_000, 32, 100, False) == MIN_IMAGES_PER_EVALUATION // 32
    assert evaluation_interval(100_000, 32, 100, False) == 2_000
    assert evaluation_interval(1_000, 32, 300, True) == 600


def test_numbers_best_and_seconds_reach_the_run(prepared, here):
    tiny = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--log-every", "1", "-q")
    arguments = ("train-gan", str(prepared), "--run", "gan", "--evaluate-every", "2", *tiny)
    assert main([*arguments, "--steps", "3"]) == 0
    assert main([*arguments, "--steps", "6"]) == 0
    lines = [json.loads(line) for line in (here / "gan" / "metrics.jsonl").read_text().splitlines()]
    looks = [line["step"] for line in lines if "kid" in line]
    assert looks == [0, 2, 3, 4, 6]
    seconds = [line["train_seconds"] for line in lines]
    assert seconds == sorted(seconds) and seconds[0] >= 0
    assert (here / "gan" / "best.safetensors").is_file()


def test_a_run_past_its_best_says_so_at_its_end(prepared, here, monkeypatch, capsys):
    kids = iter((9.0, 3.0, 1.0, 2.0, 2.0))
    usual = QuickEvaluator.evaluate
    monkeypatch.setattr(
        QuickEvaluator, "evaluate", lambda self, samples: usual(self, samples) | {"kid": next(kids), "kid_stderr": 0.1}
    )
    tiny = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--log-every", "1", "--evaluate-every", "1")
    arguments = ("train-gan", str(prepared), "--run", "gan", *tiny)
    assert main([*arguments, "--steps", "2"]) == 0
    assert "were closer" not in capsys.readouterr().err
    assert main([*arguments, "--steps", "4"]) == 0  # the looks of before count
    said = " ".join(capsys.readouterr().err.split())
    assert "after 16 pictures (KID 1) than they are now (2): --best uses the weights of then" in said


def test_it_can_be_turned_off(prepared, here):
    tiny = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--steps", "2", "-q")
    assert main(["train-gan", str(prepared), "--run", "gan", "--evaluate-every", "0", *tiny]) == 0
    assert "kid" not in (here / "gan" / "metrics.jsonl").read_text()
    assert not (here / "gan" / "best.safetensors").exists()
