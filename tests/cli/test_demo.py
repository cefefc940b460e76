"""vaegan demo, from the command line."""

import contextlib
import csv
import io
import json
from pathlib import Path

import pytest

from vaegan.cli import main


@pytest.fixture(scope="module")
def demo_dir(tmp_path_factory):
    directory, stderr = tmp_path_factory.mktemp("demo") / "out", io.StringIO()
    with contextlib.redirect_stderr(stderr):
        assert main(["demo", str(directory), "--minutes", "0.2", "-n", "40"]) == 0
    assert f"takes about 0.2 minutes on this machine and writes to {directory}" in stderr.getvalue()
    assert f"look at     {directory / 'samples.png'} first" in stderr.getvalue()
    return directory


def test_the_demo_writes_and_lists_all_results(demo_dir, capsys):
    capsys.readouterr()
    # Everything exists: this only samples again.
    assert main(["demo", str(demo_dir), "--minutes", "0.2", "-n", "40", "--json"]) == 0
    out, err = capsys.readouterr()
    results = json.loads(out)
    assert all(Path(path).exists() for path in results.values())
    assert Path(results["samples"]) == demo_dir / "samples.png"
    names = ("faces", "dataset", "vae_run", "gan_run", "samples", "vae_samples", "strip", "animation", "attributes")
    assert set(names) <= set(results) <= {*names, "edits"}
    assert f"Continuing the demo in {demo_dir}" in err and "already holds 40 faces" in err and "finished" in err
    for path in (demo_dir / "runs" / "vae", demo_dir / "runs" / "gan"):
        assert (path / "model.safetensors").is_file()
    config = json.loads((demo_dir / "runs" / "gan" / "config.json").read_text())
    assert config["from_vae"]["path"] == str((demo_dir / "runs" / "vae" / "model.safetensors").resolve())


def test_another_number_of_faces_is_rejected(demo_dir, capsys):
    assert main(["demo", str(demo_dir), "-n", "50"]) == 1
    assert "holds 40 faces, -n asks for 50" in capsys.readouterr().err


def test_faces_of_another_seed_are_rejected_and_force_replaces_them(tmp_path, capsys):
    out = tmp_path / "faces"
    draw = ["demo", "--faces-only", "--out", str(out)]
    assert main([*draw, "-n", "20"]) == 0 and main([*draw, "-n", "20"]) == 0
    assert main([*draw, "-n", "20", "--seed", "5"]) == 1
    assert "holds faces of another seed than --seed 5" in capsys.readouterr().err
    assert main([*draw, "-n", "16", "--seed", "5", "--force"]) == 0
    assert len(list(out.glob("face-*.png"))) == 16
    assert main([*draw, "-n", "16", "--seed", "5"]) == 0


def test_faces_only(tmp_path, capsys):
    out = tmp_path / "faces"
    assert main(["demo", "--faces-only", "-n", "20", "--out", str(out), "--seed", "3"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    with (out / "attributes.csv").open(newline="") as file:
        names = [row["file"] for row in csv.DictReader(file)]
    assert sorted(path.name for path in out.glob("*.png")) == names and len(names) == 20


def test_bad_input(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    for arguments, status, message in (
        (["--faces-only", "--out", str(tmp_path / "mine")], 1, "diary.txt, which the demo did not draw"),
        (["--out", "x"], 2, "--faces-only"),
        (["-n", "3"], 2, "-n 3: expected a whole number, at least 16"),
        (["--minutes", "0"], 2, "--minutes 0"),
    ):
        assert main(["demo", *arguments]) == status
        assert message in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["diary.txt"]
