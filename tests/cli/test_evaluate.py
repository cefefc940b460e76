"""evaluate and compare, from the command line to the files that they write."""

import io
import json
import re
import shutil

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from command_line import run
from vaegan.cli import main
from vaegan.data.dataset import open_dataset


def test_a_gan_is_evaluated_beside_its_vae_and_real_images(gan_run, prepared, here, capsys):
    status, out, err = run(capsys, "evaluate", gan_run, "-n", 24, "--json", "--vae-encoder")
    assert status == 0, err
    result = json.loads(out)
    assert list(result["columns"]) == ["samples", "VAE", "real"]
    samples, real = result["columns"]["samples"], result["columns"]["real"]
    assert samples["frechet_mean"] > real["frechet_mean"]
    assert samples["kid_learned"] > real["kid_learned"] and "kid_vae" in samples
    assert 0 <= samples["memorized_fraction"] <= 1 and result["num_images"] == 24
    folder = here / "evaluations" / "gan"
    assert json.loads((folder / "evaluation.json").read_text())["columns"] == result["columns"]
    page = (folder / "report.html").read_text()
    assert "Frechet distance" in page and "data:image/png;base64," in page and "http" not in page.split("<body>")[1]
    assert page.count('<figure class="chart bars">') == 2
    assert all(word in page for word in ("<b>Shapes:</b>", "<b>Texture:</b>", "<summary>", "Samples</h2>"))
    assert "<td class=poor>far off</td>" in page
    assert (
        result["verdict"][-1].startswith("Against its VAE: ")
        and "look at" in err
        and "evaluations/gan/report.html" in err
    )
    assert result["caution"] in page and result["caution"].startswith("small dataset")
    assert (folder / "neighbors.png").read_bytes().startswith(b"\x89PNG")


def test_a_vae_is_evaluated_beside_its_reconstructions(vae_run, here, capsys):
    status, out, _ = run(capsys, "evaluate", vae_run, "-n", 24, "-q", "--out", "mine")
    assert status == 0
    head, *rows = out.splitlines()
    assert head.split() == ["metric", "better", "samples", "real", "vs", "real", "reconstructions"]
    assert any(row.startswith("coverage") for row in rows) or any(row.startswith("density") for row in rows)
    assert (here / "mine" / "report.html").is_file()
    assert run(capsys, "evaluate", vae_run, "-n", 24, "-q", "--out", "mine")[0] == 0  # ours: replaced


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_a_terminal_shows_how_good_each_value_is_by_its_color(command, vae_run, gan_run, here, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    runs = [str(gan_run), str(vae_run)] if command == "compare" else [str(gan_run)]
    assert main([command, *runs, "-n", "24", "-q"]) == 0
    lines = terminal.getvalue().splitlines()
    assert any("\x1b[31m" in line and "fine texture" in line for line in lines)  # red
    plain = [re.sub("\x1b[^m]*m", "", line) for line in lines]
    assert plain[0].startswith("metric") and len(plain) > 20  # no row is broken into two
    assert {line.index("lower") for line in plain[1:6]} == {plain[0].index("better") + 1}


def test_evaluating_twice_gives_equal_metrics(vae_run, here, capsys):
    first, second = (json.loads(run(capsys, "evaluate", vae_run, "-n", 24, "-q", "--json")[1]) for _ in range(2))
    assert first["columns"] == second["columns"]


def test_learned_features_are_saved_with_the_dataset_and_trained_again_when_damaged(
    vae_run, copy, prepared, here, capsys
):
    data = copy(prepared)
    features = data / "features.safetensors"
    features.unlink(missing_ok=True)
    status, _, err = run(capsys, "evaluate", vae_run, data, "-n", 24)
    assert status == 0 and "once per dataset" in err
    content = features.read_bytes()
    assert "once per dataset" not in run(capsys, "evaluate", vae_run, data, "-n", 24)[2]
    features.write_bytes(content[:-50])
    status, _, err = run(capsys, "evaluate", vae_run, data, "-n", 24)
    assert status == 0 and "once per dataset" in err
    assert features.read_bytes() == content

    features.write_bytes(content[:-400] + b"\xff" * 400)  # other numbers, not finite
    status, _, err = run(capsys, "evaluate", vae_run, data, "-n", 24)
    assert status == 0 and "features.safetensors is damaged: its numbers have changed" in err
    assert features.read_bytes() == content
    open_dataset(data).load()


def test_other_files_in_the_output_directory_stay(vae_run, here, capsys):
    (here / "mine").mkdir()
    (here / "mine" / "letter.txt").write_text("dear")
    status, _, err = run(capsys, "evaluate", vae_run, "-n", 24, "--out", "mine")
    assert status == 1 and "mine exists and holds no evaluation" in err and "--force" in err
    (here / "mine" / "samples.png").write_bytes(b"of an older comparison")
    for force in (["--force"], []):  # the second finds an evaluation there
        assert run(capsys, "evaluate", vae_run, "-n", 24, "--out", "mine", *force)[0] == 0
        assert (here / "mine" / "letter.txt").read_text() == "dear"
        assert (here / "mine" / "evaluation.json").is_file() and not (here / "mine" / "samples.png").exists()


def test_runs_and_datasets_are_never_replaced(vae_run, prepared, copy, here, capsys):
    other = copy(vae_run).rename(here / "other")
    for out_dir, kind in ((copy(vae_run), "run"), (copy(prepared), "prepared dataset")):
        before = sorted(path.name for path in out_dir.rglob("*"))
        for command in (("evaluate", vae_run), ("compare", vae_run, other)):
            status, _, err = run(capsys, *command, "-n", 24, "--out", out_dir, "--force")
            assert status == 1 and f"is a {kind}: name another directory" in err
        assert sorted(path.name for path in out_dir.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-n", "3"), "-n 3: expected a whole number, at least 16"),
        (("--inception", "nowhere.pth"), "--inception"),
        (("nowhere",), "nowhere"),
    ],
)
def test_bad_input_is_one_line(vae_run, here, capsys, arguments, message):
    status, out, err = run(capsys, "evaluate", vae_run, *arguments)
    assert status in (1, 2) and not out
    assert message in err and err.count("error:") == 1


def test_a_dataset_of_another_size_is_refused(vae_run, drawn, here, capsys):
    assert main(["preprocess", str(drawn), "--out", "big", "--size", "64", "-q"]) == 0
    status, _, err = run(capsys, "evaluate", vae_run, "big")
    assert status == 1 and "64x64" in err and "32x32" in err


def test_a_dataset_without_validation_images_is_refused(vae_run, drawn, here, capsys):
    assert main(["preprocess", str(drawn), "--out", "all", "--size", "32", "--val-fraction", "0", "-q"]) == 0
    status, _, err = run(capsys, "evaluate", vae_run, "all")
    assert status == 1 and "--val-fraction 0.1" in err


def test_comparing_writes_a_page_and_a_sample_grid(gan_run, vae_run, here, capsys):
    status, out, err = run(capsys, "compare", gan_run, vae_run, "-n", 24, "--json")
    assert status == 0, err
    result = json.loads(out)
    assert list(result["columns"]) == ["gan", "vae", "real"]
    folder = here / "evaluations" / "compare-gan-vae"
    assert "KID" in (folder / "report.html").read_text()
    grid = Image.open(folder / "samples.png")
    assert result["num_val_images"] < 12  # the rows of the samples are as short
    assert grid.height / grid.width == pytest.approx(3 / result["num_val_images"], rel=0.05)


def test_a_copy_of_a_run_has_equal_metrics(gan_run, copy, here, capsys):
    other = copy(gan_run).rename(here / "other")
    result = json.loads(run(capsys, "compare", gan_run, other, "-n", 24, "--json")[1])
    assert result["columns"]["gan"] == result["columns"]["other"]


def test_comparing_one_run_or_a_run_with_itself_is_refused(gan_run, here, capsys):
    assert run(capsys, "compare", gan_run)[0] == 2
    status, _, err = run(capsys, "compare", gan_run, gan_run)
    assert status == 2 and "named twice" in err


def test_runs_of_different_datasets_need_data(gan_run, drawn, here, capsys):
    assert main(["preprocess", str(drawn), "--out", "other", "--size", "32", "--val-fraction", "0.3", "-q"]) == 0
    tiny = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--steps", "2", "-q")
    assert main(["train-vae", "other", "--run", "mine", *tiny]) == 0
    status, _, err = run(capsys, "compare", gan_run, "mine", "-n", 24)
    assert status == 1 and "--data" in err
    assert run(capsys, "compare", gan_run, "mine", "-n", 24, "--data", "other")[0] == 0


def test_best_weights_are_saved_and_used(gan_run, here, capsys):
    assert (gan_run / "best.safetensors").is_file()
    status, out, _ = run(capsys, "sample", gan_run, "--best", "-n", 4)
    assert status == 0 and out.strip() == "samples/gan-best-seeds-0-3.png"


def test_missing_best_weights_are_an_error(gan_run, copy, here, capsys):
    run_dir = copy(gan_run)
    (run_dir / "best.safetensors").unlink()
    status, _, err = run(capsys, "sample", run_dir, "--best")
    assert status == 1 and "--best" in err and "best.safetensors" in err


def test_a_gan_whose_vae_is_gone_is_evaluated_without_it(gan_run, vae_run, copy, here, capsys):
    alone = copy(gan_run)
    config = json.loads((alone / "config.json").read_text())
    config["from_vae"] = {"path": str(here / "gone.safetensors"), "sha256": "0" * 64}
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


@pytest.mark.parametrize("value", [float("inf"), 1e30, 0.5])
def test_learned_features_that_have_changed_are_learned_again(value, prepared, vae_run, copy, here, capsys):
    data = copy(prepared)
    command = ["evaluate", vae_run, data, "-n", 16, "--json"]
    status, before, _ = run(capsys, *command)
    assert status == 0 and "Training features" not in run(capsys, *command)[2]
    path = data / "features.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    name = next(name for name in tensors if tensors[name].is_floating_point())
    save_file(tensors | {name: torch.full_like(tensors[name], value)}, path, metadata)
    status, out, err = run(capsys, *command)
    assert status == 0 and f"{path} is damaged: its numbers have changed: training the features again" in err
    assert json.loads(out)["columns"] == json.loads(before)["columns"]


def test_the_comparison_of_a_small_dataset_has_the_caution_of_its_evaluation(vae_run, gan_run, here, capsys):
    caution = json.loads(run(capsys, "compare", vae_run, gan_run, "-n", 16, "--json")[1])["caution"]
    assert caution.startswith("small dataset, 48 images") and (
        caution == json.loads(run(capsys, "evaluate", vae_run, "-n", 16, "--json")[1])["caution"]
    )
