"""Every line that leaves the tool can be printed anywhere, and a closed pipe costs nothing."""

import io
import json
import os
import subprocess
import sys

import pytest

from vaegan.cli import main

posix = pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")


def run_with(monkeypatch, encoding, *arguments):
    """Run a command with outputs in an encoding; return its exit code and the bytes of stdout and stderr."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        code = main(list(map(str, arguments)))
    for stream in streams:
        stream.flush()
    return code, *(stream.buffer.getvalue() for stream in streams)


@pytest.mark.parametrize(
    ("encoding", "name"), [("utf-8", "顔".encode()), ("cp1252", b"\\u9854"), ("ascii", b"\\u9854")]
)
def test_names_are_printed_in_any_code_page(vae_run, here, monkeypatch, encoding, name):
    code, out, err = run_with(monkeypatch, encoding, "sample", vae_run, "-n", 2, "-o", "samples/顔.png")
    assert code == 0 and out.splitlines() == [b"samples/" + name + b".png"]
    assert b"Wrote samples/" + name + b".png" in err.splitlines()
    code, out, err = run_with(monkeypatch, encoding, "info", "顔.txt")
    assert (code, out) == (1, b"") and err.startswith(b"error: " + name + b".txt does not exist")


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_json_is_valid_in_any_code_page(vae_run, here, monkeypatch, encoding):
    arguments = ["sample", vae_run, "-n", 2, "-o", "samples/顔.png", "--json", "-q"]
    code, out, err = run_with(monkeypatch, encoding, *arguments)
    assert (code, err) == (0, b"") and json.loads(out.decode(encoding))["samples"] == "samples/顔.png"


@posix
def test_file_names_that_are_no_unicode_are_printed_as_they_are(vae_run, drawn, here, monkeypatch):
    image = os.fsdecode(b"\xff\xfe.png")
    with open(image, "wb") as file:  # noqa: PTH123
        file.write(next(drawn.glob("*.png")).read_bytes())
    code, out, err = run_with(monkeypatch, "utf-8", "sample", vae_run, "-n", 2, "-o", os.fsdecode(b"s/\xff.png"))
    assert code == 0 and out == b"s/\xff.png\n" and b"Wrote s/\xff.png" in err
    assert run_with(monkeypatch, "utf-8", "reconstruct", vae_run, image)[0] == 0
    assert run_with(monkeypatch, "utf-8", "encode", vae_run, image)[0] == 0
    code, out, err = run_with(monkeypatch, "ascii", "interpolate", vae_run, "--from", image, "--to", image, "--json")
    assert code == 0 and json.loads(out)["images"][0]["image"] == image


@posix
@pytest.mark.parametrize("command", ["train-vae", "preprocess", "sample"])
def test_runs_and_datasets_whose_names_are_no_unicode_are_refused_before_the_work(
    prepared, drawn, vae_run, here, capsys, command
):
    name = os.fsdecode(b"\xff-run")
    arguments = {
        "train-vae": [str(prepared), "--run", name],
        "preprocess": [str(drawn), "--out", name],
        "sample": [name],
    }[command]
    if command == "sample":
        (here / name).mkdir()
        (here / name / "model.safetensors").write_bytes((vae_run / "model.safetensors").read_bytes())
    before = sorted(here.rglob("*"))
    assert main([command, *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "is not valid Unicode, which names of datasets, runs and weights must be: rename it" in line
    assert sorted(here.rglob("*")) == before


@posix
@pytest.mark.parametrize(
    "closed", ["both", *(pytest.param(name, marks=pytest.mark.slow) for name in ("stdout", "stderr"))]
)
def test_a_closed_pipe_does_not_end_a_training(prepared, here, closed):
    options = ["--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--precision", "fp32", "--log-every", "1"]
    command = [sys.executable, "-m", "vaegan", "train-vae", str(prepared), "--run", "run", "--steps", "12"]
    read, write = os.pipe()
    os.close(read)  # nobody reads
    streams = {name: write for name in ("stdout", "stderr") if closed in (name, "both")}
    others = {name: subprocess.PIPE for name in ("stdout", "stderr") if name not in streams}
    done = subprocess.run([*command, "--evaluate-every", "0", *options], **streams, **others)
    os.close(write)
    assert done.returncode == 0 and b"Exception ignored" not in (done.stderr or b"")
    assert (here / "run" / "checkpoints" / "step-0000012").is_dir()


@posix
@pytest.mark.parametrize("name", ["x" * 250, "x" * 256, "/".join(["y" * 200] * 25)])
def test_names_that_are_too_long_end_in_one_line(vae_run, drawn, here, capsys, name):
    image = str(next(drawn.glob("*.png")))
    for command in (
        ["sample", str(vae_run), "-n", "2", "-o", f"{name}.png"],
        ["encode", str(vae_run), image, "-o", f"{name}.safetensors"],
        ["interpolate", str(vae_run), "--frames", "2", "-o", name],
        ["info", name],
        ["encode", str(vae_run), name],
        ["train-vae", name],
        ["preprocess", name],
    ):
        code, lines = main(command), capsys.readouterr().err.splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert code == (1 if errors else 0) and len(errors) <= 1, lines
        assert "a bug in vaegan" not in "".join(errors)


@posix
def test_a_disk_that_is_full_from_the_start_is_named_with_the_way_to_go_on(prepared, here, capsys):
    import resource

    options = [
        "--preset",
        "tiny",
        "--latent-dim",
        "8",
        "--batch-size",
        "8",
        "--precision",
        "fp32",
        "--steps",
        "1",
        "-q",
    ]
    command = ["train-vae", str(prepared), "--run", "run", *options]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for max_file_bytes in (0, 300, 20_000):  # lock, config.json, then previews or the checkpoint fail
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, hard))
        try:
            assert main(command) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: cannot ") and "File too large" in line
        assert line.endswith("then run the same command again")
    assert main(command) == 0
