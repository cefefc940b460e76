import contextlib
import csv
import io
import json
from pathlib import Path

import pytest

from vaegan.cli import main


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    place, told = tmp_path_factory.mktemp("demo") / "out", io.StringIO()
    with contextlib.redirect_stderr(told):
        assert main(["demo", str(place), "--minutes", "0.2", "-n", "40"]) == 0
    assert f"takes about 0.2 minutes on this machine and writes to {place}" in told.getvalue()
    assert f"Look at {place / 'samples.png'} first" in told.getvalue()
    return place


def test_the_demo_makes_and_names_everything(demo, capsys):
    capsys.readouterr()
    assert main(["demo", str(demo), "--minutes", "0.2", "-n", "40", "--json"]) == 0  # all there: only drawn again
    out, err = capsys.readouterr()
    made = json.loads(out)
    assert all(Path(path).exists() for path in made.values())
    assert Path(made["samples"]) == demo / "samples.png"
    assert set(made) == {"faces", "prepared set", "VAE", "GAN", "samples", "VAE samples", "strip", "animation"}
    assert f"Going on with the demo in {demo}" in err and "already holds 40 faces" in err and "finished" in err
    for path in (demo / "runs" / "vae", demo / "runs" / "gan"):
        assert (path / "model.safetensors").is_file()
    config = json.loads((demo / "runs" / "gan" / "config.json").read_text())
    assert config["from_vae"]["path"] == str((demo / "runs" / "vae" / "model.safetensors").resolve())


def test_other_faces_are_not_mixed_in(demo, capsys):
    assert main(["demo", str(demo), "-n", "50"]) == 1
    assert "holds 40 faces, -n asks for 50" in capsys.readouterr().err


def test_faces_of_another_seed_are_told_and_force_leaves_none(tmp_path, capsys):
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
    for arguments, status, words in (
        (["--faces-only", "--out", str(tmp_path / "mine")], 1, "diary.txt, which the demo did not draw"),
        (["--out", "x"], 2, "--faces-only"),
        (["-n", "3"], 2, "-n 3: expected a whole number, at least 16"),
        (["--minutes", "0"], 2, "--minutes 0"),
    ):
        assert main(["demo", *arguments]) == status
        assert words in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["diary.txt"]
