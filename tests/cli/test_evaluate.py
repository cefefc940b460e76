"""evaluate and compare, from the command line to the files they write."""

import json
import shutil

import pytest
from PIL import Image

from vaegan.cli import main
from vaegan.data.dataset import open_dataset


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_gan_is_shown_beside_its_vae_and_real_pictures(gan_run, prepared, here, capsys):
    status, out, err = run(capsys, "evaluate", gan_run, "-n", 24, "--json", "--vae-encoder")
    assert status == 0, err
    said = json.loads(out)
    assert list(said["columns"]) == ["samples", "VAE", "real"]
    samples, real = said["columns"]["samples"], said["columns"]["real"]
    assert samples["frechet_together"] > real["frechet_together"]
    assert samples["kid_set"] > real["kid_set"] and "kid_vae" in samples
    assert 0 <= samples["memorized_fraction"] <= 1 and said["n"] == 24
    folder = here / "evaluations" / "gan"
    assert json.loads((folder / "evaluation.json").read_text())["columns"] == said["columns"]
    page = (folder / "report.html").read_text()
    assert "Frechet distance" in page and "data:image/png;base64," in page and "http" not in page.split("<body>")[1]
    assert (folder / "neighbours.png").read_bytes().startswith(b"\x89PNG")


def test_a_vae_is_shown_beside_its_reconstructions(vae_run, here, capsys):
    status, out, _ = run(capsys, "evaluate", vae_run, "-n", 24, "-q", "--out", "mine")
    assert status == 0
    head, *rows = out.splitlines()
    assert head.split() == ["metric", "better", "samples", "reconstructions", "real"]
    assert any(row.startswith("coverage") for row in rows) or any(row.startswith("density") for row in rows)
    assert (here / "mine" / "report.html").is_file()
    assert run(capsys, "evaluate", vae_run, "-n", 24, "-q", "--out", "mine")[0] == 0  # ours: replaced


def test_the_same_twice_is_the_same(vae_run, here, capsys):
    first, second = (json.loads(run(capsys, "evaluate", vae_run, "-n", 24, "-q", "--json")[1]) for _ in range(2))
    assert first["columns"] == second["columns"]


def test_learned_features_are_kept_beside_the_set_and_made_again_when_damaged(vae_run, copy, prepared, here, capsys):
    data = copy(prepared)
    kept = data / "features.safetensors"
    kept.unlink(missing_ok=True)
    status, _, err = run(capsys, "evaluate", vae_run, data, "-n", 24)
    assert status == 0 and "once for a set" in err
    content = kept.read_bytes()
    assert "once for a set" not in run(capsys, "evaluate", vae_run, data, "-n", 24)[2]
    kept.write_bytes(content[:-50])
    status, _, err = run(capsys, "evaluate", vae_run, data, "-n", 24)
    assert status == 0 and "once for a set" in err
    assert kept.read_bytes() == content
    open_dataset(data).load()


def test_what_was_not_written_by_an_evaluation_is_kept(vae_run, here, capsys):
    (here / "mine").mkdir()
    (here / "mine" / "letter.txt").write_text("dear")
    status, _, err = run(capsys, "evaluate", vae_run, "-n", 24, "--out", "mine")
    assert status == 1 and "mine exists and holds no evaluation" in err and "--force" in err
    (here / "mine" / "curves.png").write_bytes(b"of an older comparison, as far as its name says")
    for force in (["--force"], []):  # the second finds an evaluation there
        assert run(capsys, "evaluate", vae_run, "-n", 24, "--out", "mine", *force)[0] == 0
        assert (here / "mine" / "letter.txt").read_text() == "dear"
        assert (here / "mine" / "evaluation.json").is_file() and not (here / "mine" / "curves.png").exists()


def test_runs_and_sets_are_never_replaced(vae_run, prepared, copy, here, capsys):
    other = copy(vae_run).rename(here / "other")
    for place, what in ((copy(vae_run), "run"), (copy(prepared), "prepared set")):
        before = sorted(path.name for path in place.rglob("*"))
        for command in (("evaluate", vae_run), ("compare", vae_run, other)):
            status, _, err = run(capsys, *command, "-n", 24, "--out", place, "--force")
            assert status == 1 and f"is a {what}: name another folder" in err
        assert sorted(path.name for path in place.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-n", "3"), "-n 3: expected a whole number, at least 16"),
        (("--inception", "nowhere.pth"), "--inception"),
        (("nowhere",), "nowhere"),
    ],
)
def test_bad_input_is_one_line(vae_run, here, capsys, arguments, words):
    status, out, err = run(capsys, "evaluate", vae_run, *arguments)
    assert status in (1, 2) and not out
    assert words in err and err.count("error:") == 1


def test_a_set_of_another_size_is_refused(vae_run, drawn, here, capsys):
    assert main(["preprocess", str(drawn), "--out", "big", "--size", "64", "-q"]) == 0
    status, _, err = run(capsys, "evaluate", vae_run, "big")
    assert status == 1 and "64x64" in err and "32x32" in err


def test_a_set_with_nothing_held_out_is_refused(vae_run, drawn, here, capsys):
    assert main(["preprocess", str(drawn), "--out", "all", "--size", "32", "--val-fraction", "0", "-q"]) == 0
    status, _, err = run(capsys, "evaluate", vae_run, "all")
    assert status == 1 and "--val-fraction 0.1" in err


def test_runs_are_compared(gan_run, vae_run, here, capsys):
    status, out, err = run(capsys, "compare", gan_run, vae_run, "-n", 24, "--json")
    assert status == 0, err
    said = json.loads(out)
    assert list(said["columns"]) == ["gan", "vae", "real"]
    folder = here / "evaluations" / "compare-gan-vae"
    assert "KID" in (folder / "report.html").read_text()
    sheet = Image.open(folder / "samples.png")
    assert said["held_out"] < 12  # so that all rows are as short
    assert sheet.height / sheet.width == pytest.approx(3 / said["held_out"], rel=0.05)


def test_a_run_compared_with_itself_differs_in_nothing(gan_run, copy, here, capsys):
    other = copy(gan_run).rename(here / "other")
    said = json.loads(run(capsys, "compare", gan_run, other, "-n", 24, "--json")[1])
    assert said["columns"]["gan"] == said["columns"]["other"]


def test_comparing_one_or_the_same_is_refused(gan_run, here, capsys):
    assert run(capsys, "compare", gan_run)[0] == 2
    status, _, err = run(capsys, "compare", gan_run, gan_run)
    assert status == 2 and "named twice" in err


def test_runs_of_different_sets_need_a_set(gan_run, drawn, here, capsys):
    assert main(["preprocess", str(drawn), "--out", "other", "--size", "32", "--val-fraction", "0.3", "-q"]) == 0
    tiny = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--steps", "2", "-q")
    assert main(["train-vae", "other", "--run", "mine", *tiny]) == 0
    status, _, err = run(capsys, "compare", gan_run, "mine", "-n", 24)
    assert status == 1 and "--data" in err
    assert run(capsys, "compare", gan_run, "mine", "-n", 24, "--data", "other")[0] == 0


def test_best_is_kept_and_used(gan_run, here, capsys):
    assert (gan_run / "best.safetensors").is_file()
    status, out, _ = run(capsys, "sample", gan_run, "--best", "-n", 4)
    assert status == 0 and out.strip() == "samples/gan-best-seeds-0-3.png"


def test_no_best_is_told(gan_run, copy, here, capsys):
    spoiled = copy(gan_run)
    (spoiled / "best.safetensors").unlink()
    status, _, err = run(capsys, "sample", spoiled, "--best")
    assert status == 1 and "--best" in err and "best.safetensors" in err


def test_a_gan_without_its_vae_is_measured_all_the_same(gan_run, vae_run, copy, here, capsys):
    alone = copy(gan_run)
    config = json.loads((alone / "config.json").read_text())
    config["from_vae"]["path"] = str(here / "gone.safetensors")
    (alone / "config.json").write_text(json.dumps(config))
    status, out, err = run(capsys, "evaluate", alone, "-n", 24, "--json")
    assert status == 0 and "gone" in err and list(json.loads(out)["columns"]) == ["samples", "real"]


def test_a_gan_from_scratch_has_no_encoder(prepared, here, capsys):
    tiny = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--steps", "2", "-q")
    assert main(["train-gan", str(prepared), "--run", "scratch", *tiny]) == 0
    status, _, err = run(capsys, "evaluate", "scratch", "--vae-encoder", "-n", 24)
    assert status == 1 and "--vae-encoder" in err
    shutil.copy("scratch/model.safetensors", "alone.safetensors")
    status, _, err = run(capsys, "evaluate", "alone.safetensors", "-n", 24)
    assert status == 1 and "DATA" in err
