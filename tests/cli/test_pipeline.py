"""The command line from end to end through main(argv), on small real files."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from command_line import failing, run
from vaegan.cli import COMMANDS, main
from vaegan.version import __version__

TINY = ["--preset", "tiny", "--latent-dim", "8", "--batch-size", "8"]


def test_the_whole_pipeline_with_default_paths(capsys, here, drawn):
    status, out, err = run(capsys, "preprocess", drawn, "--size", "32")
    assert (status, out) == (0, "data/faces-32\n")
    assert "48 images: " in err and err.endswith("next     vaegan train-vae\n")
    status, out, err = run(capsys, "train-vae", "--steps", "3", *TINY)
    assert (status, out) == (0, "runs/vae\n")
    assert "Using data/faces-32, the newest prepared dataset" in err and "PSNR, dB" in err
    assert err.endswith("next     vaegan train-gan --from-vae runs/vae\n")
    status, out, err = run(capsys, "sample", "-n", "4")
    assert (status, out) == (0, "samples/vae-seeds-0-3.png\n")
    assert "Using runs/vae, trained" in err
    status, out, err = run(capsys, "train-gan", "--from-vae", "runs/vae", "--steps", "3", "--batch-size", "8")
    assert (status, out) == (0, "runs/gan\n")
    assert (
        "which the VAE was trained on" in err
        and "the decoder of runs/vae/model.safetensors, with the same images" in err
    )
    status, out, err = run(capsys, "sample", "-n", "4")
    assert (status, out) == (0, "samples/gan-seeds-0-3.png\n")
    with Image.open("samples/gan-seeds-0-3.png") as grid:
        assert grid.size == (2 * 34 + 2, 2 * 34 + 2)
    status, out, err = run(capsys, "interpolate", "--frames", "5")
    assert (status, out) == (0, "samples/gan-interpolation-0-1.png\nsamples/gan-interpolation-0-1.gif\n")
    with Image.open("samples/gan-interpolation-0-1.gif") as animation:
        assert (animation.n_frames, animation.size) == (8, (128, 128))
    status, out, err = run(capsys, "sample", "--seeds", "3,5-6", "--separate", "--json")
    result = json.loads(out)
    assert result == {"samples": "samples/gan-seeds-3,5-6", "num_images": 3}
    assert sorted(path.name for path in Path(result["samples"]).iterdir()) == [
        f"seed-000000{seed}.png" for seed in (3, 5, 6)
    ]
    assert run(capsys, "sample", "-n", "1", "--scale", "3", "-o", "big.png")[0] == 0
    with Image.open("big.png") as grid:
        assert grid.size == (96, 96)
    status, out, err = run(capsys, "train-vae")
    assert (status, out) == (0, "runs/vae\n")
    assert (
        "runs/vae is finished: 3 steps, 24 images. To train longer: vaegan train-vae --run runs/vae --images 48" in err
    )


def test_the_end_of_a_training_leaves_out_coverage_where_an_evaluation_does(capsys, gan_run, copy, monkeypatch):
    def quality():
        (line,) = re.findall(r"^ *quality +(.*)$", run(capsys, "train-gan", "--run", gan)[2], flags=re.MULTILINE)
        return line

    gan = copy(gan_run)  # of 48 images
    assert quality().startswith("samples have a KID of") and "cover" not in quality()
    monkeypatch.setattr("vaegan.metrics.prdc.MIN_IMAGES_FOR_NEIGHBORS", 48)
    assert re.search(r"cover \d+% of the validation images$", quality())


@pytest.mark.parametrize("fixture", ["prepared", "vae_run", "gan_run"])
def test_info_describes_datasets_runs_and_weights(capsys, request, fixture):
    path = request.getfixturevalue(fixture)
    status, out, _ = run(capsys, "info", path)
    assert status == 0
    expected = {"prepared": "dataset", "vae_run": "VAE run", "gan_run": "GAN run"}[fixture]
    assert out.splitlines()[0].split(None, 1) == ["kind", expected]
    facts = json.loads(run(capsys, "info", path, "--json")[1])
    assert facts["kind"] == expected
    if fixture != "prepared":
        assert facts["state"].startswith("finished: step 4 of 4, 32 images")
        weights = json.loads(run(capsys, "info", path / "model.safetensors", "--json")[1])
        assert (weights["step"], weights["images_seen"]) == (4, 32) and "8 latent dimensions" in weights["model"]
        assert weights["model"].endswith("16 base channels, 4 color layers, modulated by the latents, 8 skip channels")
        assert facts["last_metrics"]["val_psnr"] > 0  # a terminal shows those of the training's table, in words
        assert re.search(r"last metrics .*PSNR \d+\.\d dB.*; all of them: --json", out)


def test_info_describes_the_model_of_a_runs_weights_where_there_are_any(capsys, tmp_path, vae_run):
    run_path = shutil.copytree(vae_run, tmp_path / "run")
    config = json.loads((run_path / "config.json").read_text())
    config["model"]["prior"] = "planned"  # a run's config is written before its prior is fitted
    (run_path / "config.json").write_text(json.dumps(config))

    def model():
        return json.loads(run(capsys, "info", run_path, "--json")[1])["model"]

    assert "(normal prior)" in model()
    (run_path / "model.safetensors").unlink()
    assert "(planned prior)" in model()


def test_runs_lists_runs_and_datasets(capsys, here, prepared, vae_run, gan_run):
    assert "make a dataset with vaegan preprocess" in failing(capsys, "runs")
    for source, place in ((prepared, "data/faces-32"), (vae_run, "runs/vae"), (gan_run, "runs/gan")):
        shutil.copytree(source, place)
    Path("runs/broken").mkdir()
    Path("runs/broken/config.json").write_text("{")
    status, out, _ = run(capsys, "runs")
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert status == 0 and lines["data/faces-32"][1] == "32"
    assert lines["runs/gan"][1:4] == ["GAN", "32", "finished"] and lines["runs/vae"][1] == "VAE"
    assert "damaged" in lines["runs/broken"]
    assert run(capsys, "info")[1].split("\n")[0] == out.split("\n")[0]
    assert "list them with vaegan runs ." in failing(capsys, "info", ".")
    facts = json.loads(run(capsys, "runs", ".", "--json")[1])
    entry = next(entry for entry in facts["runs"] if entry["path"] == "runs/gan")
    assert (entry["kind"], entry["images_seen"], entry["total_steps"]) == ("gan", 32, 4) and entry["kid"] is not None
    assert sum(facts["datasets"][0][name] for name in ("train_images", "val_images")) == 48


def test_quiet_prints_only_results(capsys, gan_run, tmp_path):
    assert run(capsys, "sample", gan_run, "-n", "2", "--out", tmp_path / "a.png", "-q") == (
        0,
        f"{tmp_path / 'a.png'}\n",
        "",
    )


def test_the_same_seeds_give_the_same_file(capsys, gan_run, tmp_path):
    for name in "ab":
        assert run(capsys, "sample", gan_run, "-n", "3", "--seed", "5", "-o", tmp_path / f"{name}.png")[0] == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_version_and_module(capsys):
    assert run(capsys, "--version")[:2] == (0, f"vaegan {__version__}\n")
    process = subprocess.run([sys.executable, "-m", "vaegan", "--version"], capture_output=True, text=True, check=True)
    assert process.stdout == f"vaegan {__version__}\n"


@pytest.mark.parametrize("command", [command.__name__.replace("_", "-") for command in COMMANDS])
def test_every_command_has_help(capsys, command):
    status, out, _ = run(capsys, command, "--help")
    assert status == 0 and out.startswith("Usage: vaegan " + command)


def test_bad_input_to_preprocess(capsys, tmp_path, prepared, drawn):
    (tmp_path / "empty").mkdir()
    assert "holds no files" in failing(capsys, "preprocess", tmp_path / "empty", "-o", tmp_path / "x")
    assert "expected one of 32, 64" in failing(capsys, "preprocess", drawn, "--size", "50", status=2)
    assert "--fit zoom: expected one of crop, pad, stretch" in failing(
        capsys, "preprocess", drawn, "--fit", "zoom", status=2
    )
    (tmp_path / "file").write_text("")
    assert "cannot write" in failing(capsys, "preprocess", drawn, "--size", "32", "-o", tmp_path / "file" / "set")


def test_bad_input_to_training(capsys, tmp_path, here, prepared, vae_run, gan_run, copy):
    for arguments, status, text in (
        (["train-vae"], 1, "no prepared dataset under data/"),
        (["train-vae", tmp_path], 1, "is not a prepared dataset; prepare one with: vaegan preprocess"),
        (["train-vae", prepared, "--lr", "-1"], 2, "--lr -1.0: expected a number, above 0"),
        (["train-vae", prepared, "--beta", "nan"], 2, "--beta nan"),
        (["train-vae", prepared, "--steps", "3", "--images", "9"], 2, "--steps and --images contradict"),
        (["train-vae", prepared, "--likelihood", "guess"], 2, "expected one of squared, gaussian, laplace, bernoulli"),
        (["train-vae", prepared, "--device", "abacus"], 2, "--device abacus"),
        (["train-gan", prepared, "--loss", "hinged"], 2, "did you mean hinge?"),
        (["train-gan", prepared, "--gp-interval", "0"], 2, "--gp-interval 0"),
        (["train-gan", prepared, "--augment", "blur"], 2, "--augment blur"),
        (["train-gan", prepared, "--from-vae", tmp_path / "none"], 1, "none does not exist"),
        (["train-gan", prepared, "--from-vae", gan_run], 1, "this is a GAN; give a run of vaegan train-vae"),
        (["train-gan", prepared, "--from-vae", vae_run, "--latent-dim", "9"], 2, "--latent-dim 9 contradicts"),
        (["train-gan", prepared, "--from-vae", vae_run, "--preset", "base"], 2, "--preset base contradicts"),
        (["train-gan", prepared, "--run", vae_run], 1, "this is a VAE run; resume it with vaegan train-vae"),
        (["train-vae", prepared, "--run", vae_run, "--beta", "2"], 2, "--beta 2.0 contradicts"),
        (["train-vae", prepared, "--run", vae_run, "--steps", "2"], 2, "already at step 4, past the 2"),
        (["train-gan", prepared, "--run", gan_run, "--from-vae", copy(vae_run), "--steps", "4"], 0, None),
        (["train-vae", prepared, "--config", gan_run / "config.json", "--run", "new"], 1, "config.json of a vae run"),
    ):
        if text is None:
            assert run(capsys, *arguments)[0] == status
        else:
            assert text in failing(capsys, *arguments, status=status)
    assert not (here / "runs").exists(), "a refused command must leave nothing"


def test_a_dataset_of_another_size_than_the_vae_is_refused(capsys, here, drawn, vae_run):
    assert run(capsys, "preprocess", drawn, "--size", "64", "-o", "big", "-q")[0] == 0
    line = failing(capsys, "train-gan", "big", "--from-vae", vae_run)
    assert "64x64" in line and "32x32" in line and "--size 32" in line
    line = failing(capsys, "train-vae", "big", "--run", vae_run)
    assert "big is not the dataset that" in line and "choose another --run" in line


def test_a_gan_run_refuses_another_vae(capsys, here, prepared, gan_run):
    assert run(capsys, "train-vae", prepared, "--run", "other", "--steps", "1", *TINY, "-q")[0] == 0
    assert "is not the VAE that" in failing(capsys, "train-gan", "--run", gan_run, "--from-vae", "other", status=2)


def test_bad_input_to_sample_and_interpolate(capsys, tmp_path, here, gan_run, prepared):
    Image.new("RGB", (9, 9)).save("mine.png")
    before = (here / "mine.png").read_bytes()
    for arguments, status, text in (
        (["sample"], 1, "no trained run under runs/"),
        (["sample", gan_run, "-n", "0"], 2, "-n 0: expected a whole number, at least 1"),
        (["sample", gan_run, "-n", "3", "--seeds", "1-3"], 2, "--seeds and -n contradict"),
        (["sample", gan_run, "--seeds", "5-3"], 2, "--seeds 5-3"),
        (["sample", gan_run, "--seeds", "a"], 2, "--seeds a: expected numbers and ranges"),
        (["sample", gan_run, "--truncation", "-1"], 2, "--truncation -1.0"),
        (["sample", gan_run, "-o", "mine.png"], 1, "mine.png exists and was not made by vaegan"),
        (["sample", gan_run, "-o", "mine.txt"], 2, "a grid is a .png file"),
        (["sample", gan_run, "-o", "mine.png/x.png"], 1, "cannot write"),
        (["sample", gan_run, "--separate", "-o", "."], 1, "mine.png was not made by vaegan"),
        (["sample", gan_run, "-n", "100k"], 2, "add --separate"),
        (["sample", prepared], 1, "is a dataset, not a checkpoint"),
        (["interpolate", gan_run, "--seeds", "4"], 2, "expected two seeds or more"),
        (["interpolate", gan_run, "-o", "mine.gif"], 1, "mine.png exists"),
        (["interpolate", gan_run, "--method", "x"], 2, "--method x: expected one of slerp, lerp"),
        (["interpolate", gan_run, "--seeds", "0-999", "--frames", "99"], 2, "frames are too many"),
        (["info", tmp_path / "none"], 1, "does not exist"),
        (["info", "mine.png"], 1, "mine.png is damaged, truncated or not a safetensors file"),
    ):
        assert text in failing(capsys, *arguments, status=status), arguments
    assert (here / "mine.png").read_bytes() == before
    assert run(capsys, "sample", gan_run, "-n", "1", "-o", "mine.png", "--force")[0] == 0
    assert (here / "mine.png").read_bytes() != before


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["sample", "--nonsense"], ["nonsense"], ["edit"], ["info", "--outliers"]]
)
def test_usage_errors_exit_with_2(capsys, arguments):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1


def test_debug_mode_raises_the_error(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("VAEGAN_DEBUG", "1")
    from vaegan.errors import VaeganError

    with pytest.raises(VaeganError):
        main(["info", str(tmp_path / "none")])


def test_unexpected_errors_are_printed_as_one_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("vaegan.inference.info.describe_path", lambda path: 1 / 0)
    assert "ZeroDivisionError" in failing(capsys, "info", tmp_path)
    monkeypatch.setattr("vaegan.inference.info.describe_path", lambda path: (_ for _ in ()).throw(MemoryError()))
    assert "out of memory" in failing(capsys, "info", tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="signals are a POSIX matter")
def test_interrupted_preprocessing_is_resumed(capsys, monkeypatch, drawn, tmp_path):
    from vaegan.data.preprocess.database import PreprocessDB

    save = PreprocessDB.save_result

    def save_and_interrupt(self, result):
        save(self, result)
        if result.file_id == 20:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(PreprocessDB, "save_result", save_and_interrupt)
    command = ["preprocess", drawn, "--size", "32", "-o", tmp_path / "sets" / "faces"]
    status, out, err = run(capsys, *command)
    assert (status, out) == (130, "")
    done = re.fullmatch(
        r"interrupted: (\d+) of 49 files done; run the same command again to resume", err.splitlines()[-1]
    )
    assert done
    assert [path.name for path in (tmp_path / "sets").iterdir()] == [".preparing-faces"]
    monkeypatch.setattr(PreprocessDB, "save_result", save)
    status, out, err = run(capsys, *command)
    assert status == 0 and f"Resuming: {done[1]} of 49 files done" in err
    assert [path.name for path in (tmp_path / "sets").iterdir()] == ["faces"]


@pytest.mark.skipif(os.name != "posix", reason="signals are a POSIX matter")
def test_sigterm_saves_the_training_and_exits_with_130(prepared, tmp_path):
    command = [sys.executable, "-m", "vaegan", "train-vae", str(prepared), "--run", str(tmp_path / "run")]
    process = subprocess.Popen(
        [*command, "--steps", "100k", "--checkpoint-every", "90k", "--log-every", "1", *TINY],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        while not (tmp_path / "run" / "metrics.jsonl").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 130 and out == ""
    assert "saved. Run the same command again to resume" in err
    assert len(list((tmp_path / "run" / "checkpoints").glob("step-*/state.json"))) == 1
