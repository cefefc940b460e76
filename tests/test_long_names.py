"""Names that are too long for the system are one line before the work."""

import json
import os
import shutil
from pathlib import Path

import pytest

from vaegan.cli import main

LONG = "y" * 300
DEEP = "/".join(["a" * 200] * 25)
COMMANDS = (
    *("preprocess {}", "info {}", "sample {}", "encode {} {}", "train-vae {}", "train-vae {set} --run {}"),
    *("evaluate {}", "report {}", "compare {} {}", "reconstruct {} {}", "interpolate {}", "timelapse {}"),
    *("decode {vae} {}", "train-gan {set} --from-vae {}", "preprocess {faces} --out {}", "sample {vae} --out {}"),
    *("encode {vae} {}", "encode {vae} {faces} --out {}.safetensors", "interpolate {vae} --out {}"),
    *("reconstruct {vae} {faces} --out {}.png", "train-vae {set} --config {}", "demo {}"),
)


@pytest.mark.parametrize("name", [LONG, DEEP], ids=["name", "path"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_is_too_long_is_one_line(command, name, prepared, vae_run, drawn, here, capsys):
    places = {"set": prepared, "vae": vae_run, "faces": drawn}
    assert main([word.format(name, **places) for word in command.split()]) in (1, 2)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "a bug in vaegan" not in lines[0]
    assert name[:50] in lines[0] or "too long" in lines[0]
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("length", [243, 250, 255])
def test_a_name_that_leaves_no_room_for_that_of_a_temporary_file_is_refused_at_once(drawn, here, capsys, length):
    assert main(["preprocess", str(drawn), "--out", f"new/{'x' * length}", "--size", "32"]) == 1
    assert "is too long" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_long_folder_name_is_shortened_in_the_name_of_its_dataset(drawn, here):
    shutil.copytree(drawn, here / ("新" * 80))
    assert main(["preprocess", "新" * 80, "--size", "32", "-q"]) == 0
    assert [path.name for path in (here / "data").iterdir()] == [f"{'新' * 50}-32"]


@pytest.mark.skipif(os.name != "posix", reason="needs relative steps into deep folders")
def test_a_folder_too_deep_for_the_system_is_left_out(drawn, here, monkeypatch):
    (here / "in").mkdir()
    for path in sorted(drawn.glob("*.png"))[:3]:
        shutil.copy(path, here / "in")
    monkeypatch.chdir(here / "in")
    for _ in range(25):
        Path("b" * 200).mkdir()
        os.chdir("b" * 200)
    monkeypatch.chdir(here)
    assert main(["preprocess", "in", "--out", "set", "--size", "32", "-q"]) == 0
    entries = [json.loads(line) for line in (here / "set" / "manifest.jsonl").read_text().splitlines()]
    assert sorted(entry.get("detail", "") for entry in entries) == ["", "", "", "File name too long"]
