"""vaegan timelapse: the previews of a training as an animation."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_pipeline import failing, run

from vaegan.inference.timelapse import CAPTION_HEIGHT, evenly_spaced_indices
from vaegan.run_dir import RunDir
from vaegan.utils.images import from_pil, save_png


def read_frames(path):
    """Return the frames of an animation, uint8 [N, 3, H, W]."""
    with Image.open(path) as image:
        frames = []
        for index in range(image.n_frames):
            image.seek(index)
            frames.append(from_pil(image.convert("RGB")))
    return torch.stack(frames)


@pytest.fixture
def run_dir(copy, vae_run):
    """A run with twelve previews of rising brightness, 10 steps apart."""
    run_dir = RunDir(copy(vae_run))
    for path in run_dir.previews():
        path.unlink()
    for step in range(0, 120, 10):
        save_png(torch.full((3, 24, 40), step * 2, dtype=torch.uint8), run_dir.preview_path(step))
    return run_dir


def test_a_training_from_its_first_to_its_last_preview(capsys, here, copy, vae_run):
    vae_run = copy(vae_run)
    previews = RunDir(vae_run).previews()
    assert list(previews.values()) == sorted(previews.values()) and len(previews) >= 2
    save_png(
        from_pil(Image.open(max(previews))).flip(1), max(previews)
    )  # a few steps change less than the 256 colors of a GIF do
    status, out, err = run(capsys, "timelapse", vae_run)
    assert (status, out) == (0, "samples/vae-timelapse.gif\n") and "Wrote samples/vae-timelapse.gif" in err
    frames = read_frames("samples/vae-timelapse.gif")
    first, last = (from_pil(Image.open(path)).float() for path in (min(previews), max(previews)))
    assert frames.shape == (len(previews), 3, first.shape[1] + CAPTION_HEIGHT, first.shape[2])
    for frame, expected, other in ((frames[0], first, last), (frames[-1], last, first)):  # equal up to the 256 colors
        assert (
            2 * (frame[:, CAPTION_HEIGHT:] - expected).abs().mean() < (frame[:, CAPTION_HEIGHT:] - other).abs().mean()
        )
    assert (frames[0, :, :CAPTION_HEIGHT] != frames[-1, :, :CAPTION_HEIGHT]).any(), "captions differ by the step"
    assert run(capsys, "timelapse", vae_run, "-q")[0] == 0, "files made by vaegan are overwritten"


def test_by_default_the_newest_run(capsys, here, vae_run):
    Path("runs").mkdir()
    Path("runs/vae").symlink_to(vae_run)
    status, out, err = run(capsys, "timelapse", "--format", "webp")
    assert (status, out) == (0, "samples/vae-timelapse.webp\n") and "Using runs/vae" in err


def test_without_pyav_an_mp4_fails_before_previews_are_read(capsys, here, run_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    shutil.rmtree(run_dir.path / "previews")
    assert "--format mp4: MP4 needs PyAV" in failing(capsys, "timelapse", run_dir.path, "--format", "mp4")
    assert "a timelapse needs two or more" in failing(capsys, "timelapse", run_dir.path)


def test_frames_are_evenly_spaced_and_the_last_is_held(capsys, here, run_dir):
    command = [
        "timelapse",
        run_dir.path,
        "--no-captions",
        "--scale",
        "2",
        "--frames",
        "4",
        "--fps",
        "4",
        "--hold-last",
        "1",
    ]
    status, out, _ = run(capsys, *command, "-o", "few.webp", "--json")
    assert status == 0 and json.loads(out) == {"timelapse": "few.webp", "num_previews": 4}
    with Image.open("few.webp") as image:
        durations = []
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            durations.append(image.info["duration"])
        assert image.size == (80, 48) and sum(durations) == 2000
    levels = read_frames("few.webp").float().mean((1, 2, 3)).tolist()
    assert levels[:4] == pytest.approx([0, 80, 140, 220], abs=3) and set(map(round, levels[3:])) == {round(levels[3])}


def test_an_mp4_of_any_size(capsys, here, run_dir):
    av = pytest.importorskip("av")
    for path in run_dir.previews():
        with Image.open(path) as image:
            odd_size = image.resize((41, 25))
        odd_size.save(path)
    assert run(capsys, "timelapse", run_dir.path, "--format", "mp4", "-o", "a", "-q")[:2] == (0, "a.mp4\n")
    with av.open("a.mp4") as container:
        frames = [frame.to_image() for frame in container.decode(container.streams.video[0])]
    assert len(frames) == 12 + 2 * 2 and frames[0].size == (42, 46)


def test_evenly_spaced_indices():
    assert evenly_spaced_indices(3, 5) == [0, 1, 2]
    assert evenly_spaced_indices(12, 4) == [0, 4, 7, 11]
    for count in (2, 7, 100):
        for max_count in range(2, 20):
            indices = evenly_spaced_indices(count, max_count)
            assert indices[0] == 0 and indices[-1] == count - 1 and indices == sorted(set(indices))


def test_damaged_previews_are_left_out_with_a_warning(capsys, here, run_dir):
    previews = list(run_dir.previews())
    previews[3].write_bytes(previews[3].read_bytes()[:60])
    previews[4].write_bytes(b"not an image")
    save_png(torch.zeros(3, 8, 8, dtype=torch.uint8), previews[5])
    (previews[0].parent / "step-x.png").write_bytes(b"not of this run")
    status, out, err = run(capsys, "timelapse", run_dir.path, "--json")
    assert status == 0 and json.loads(out)["num_previews"] == 9
    for index, message in ((3, "is damaged"), (4, "is damaged"), (5, "has another size than the last")):
        assert f"warning: {previews[index]} {message}" in err


def test_bad_input(capsys, here, run_dir, prepared):
    assert "is not a run of vaegan" in failing(capsys, "timelapse", prepared)
    assert "no trained run under runs/" in failing(capsys, "timelapse")
    assert "--frames 1: expected a whole number, at least 2" in failing(
        capsys, "timelapse", run_dir.path, "--frames", "1", status=2
    )
    Path("mine.gif").write_bytes(b"another's")
    assert "mine.gif exists and was not made by vaegan" in failing(capsys, "timelapse", run_dir.path, "-o", "mine.gif")
    for name in ("a.mov", "a.png", "a.xyz"):
        line = failing(capsys, "timelapse", run_dir.path, "-o", name, status=2)
        assert line == f"error: --out {name}: expected a name that ends in .gif, .webp, .mp4, or has no ending"
    Path("a.gif").mkdir()
    assert "is a directory" in failing(capsys, "timelapse", run_dir.path, "-o", "a")
    for path in list(run_dir.previews())[1:]:
        path.unlink()
    line = failing(capsys, "timelapse", run_dir.path)
    assert "has 1 preview, a timelapse needs two or more: continue the training (--sample-every" in line
    assert Path("mine.gif").read_bytes() == b"another's"
