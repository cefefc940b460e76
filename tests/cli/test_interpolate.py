"""vaegan interpolate between seeds, latents and images."""

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_pipeline import TINY, failing, run

from vaegan.data.dataset import open_dataset
from vaegan.inference.model import load
from vaegan.utils.images import from_pil, save_png, to_pil


def read_grid(path, side=32):
    """Return the images of a grid file, uint8 [rows, columns, C, side, side]."""
    grid = from_pil(Image.open(path))
    rows, columns = (grid.shape[1] - 2) // (side + 2), (grid.shape[2] - 2) // (side + 2)
    corners = [(2 + row * (side + 2), 2 + column * (side + 2)) for row in range(rows) for column in range(columns)]
    return torch.stack([grid[:, y : y + side, x : x + side] for y, x in corners]).unflatten(0, (rows, columns))


@pytest.fixture
def faces(here, prepared):
    """Three training images as files; the last is grayscale and not square."""
    train, _ = open_dataset(prepared).load()
    for index in range(2):
        save_png(train[index], Path(f"{index}.png"))
    to_pil(train[2]).convert("L").resize((50, 90)).save("odd.jpg")
    return train[:3]


def test_keyframes_between_images_are_their_reconstructions(capsys, faces, vae_run):
    command = ["interpolate", vae_run, "--from", "0.png", "--via", "odd.jpg", "--to", "1.png"]
    status, out, err = run(capsys, *command, "--frames", "4")
    assert (status, out) == (0, "samples/vae-interpolation-0-odd-1.png\nsamples/vae-interpolation-0-odd-1.gif\n")
    assert "0.png: PSNR of the reconstruction " in err and "odd.jpg: PSNR" in err
    assert run(capsys, "reconstruct", vae_run, "0.png", "odd.jpg", "1.png", "-o", "pairs.png", "-q")[0] == 0
    pairs = read_grid("pairs.png").flatten(0, 1)
    strip = read_grid("samples/vae-interpolation-0-odd-1.png")
    assert strip.shape[:2] == (2, 4)
    assert torch.equal(pairs[0], faces[0]), "the image itself is left of its reconstruction"
    for position, index in (((0, 0), 1), ((0, 3), 3), ((1, 0), 3), ((1, 3), 5)):
        assert torch.equal(strip[position], pairs[index])
    with Image.open("samples/vae-interpolation-0-odd-1.gif") as animation:
        assert (animation.n_frames, animation.size) == (12, (128, 128))


def test_names_of_images_may_have_endings_of_their_own(capsys, faces, vae_run):
    Path("1.png").rename("1.orig.png")
    status, out, _ = run(capsys, "interpolate", vae_run, "--from", "0.png", "--to", "1.orig.png", "--frames", "2")
    assert (status, out.splitlines()[1]) == (0, "samples/vae-interpolation-0-1.orig.gif")


def test_inversion_comes_closer_and_reports_the_psnr(capsys, faces, gan_run):
    command = ["interpolate", gan_run, "--from", "0.png", "--to", "1.png", "--frames", "3", "-o", "walk", "--json"]
    status, out, err = run(capsys, *command, "--invert-steps", "40")
    assert status == 0
    result = json.loads(out)
    assert (result["strip"], result["animation"]) == ("walk.png", "walk.gif")
    assert [row["image"] for row in result["images"]] == ["0.png", "1.png"]
    assert all(row["psnr_inverted"] > row["psnr"] for row in result["images"])
    assert "Optimizing: 41/41 steps" in err and "dB after 40 steps of inversion" in err


def test_without_an_encoder_inversion_starts_from_the_average_face(capsys, faces, prepared):
    assert run(capsys, "train-gan", prepared, "--run", "scratch", "--steps", "1", *TINY, "-q")[0] == 0
    command = ["interpolate", "scratch", "--from", "0.png", "--to", "1.png", "--frames", "3"]
    assert "holds no encoder" in failing(capsys, *command)
    status, _, err = run(capsys, *command, "--invert-steps", "5")
    assert status == 0 and "scratch/model.safetensors holds no encoder: optimizing from the average face" in err
    assert run(capsys, "interpolate", "scratch", "--frames", "3")[0] == 0


def test_latents_from_a_file(capsys, faces, vae_run):
    assert run(capsys, "encode", vae_run, "0.png", "1.png", "odd.jpg", "-q")[0] == 0
    command = ["interpolate", vae_run, "--latents", "latents/vae-0-1-odd.safetensors", "--frames", "3"]
    status, out, _ = run(capsys, *command, "--loop")
    name = "samples/vae-interpolation-vae-0-1-odd"
    assert (status, out) == (0, f"{name}.png\n{name}.gif\n")
    model = load(vae_run, "cpu")
    decoded = model.reconstruct(faces[:2])
    strip = read_grid("samples/vae-interpolation-vae-0-1-odd.png")
    assert strip.shape[:2] == (3, 3) and torch.equal(strip[0, 0], decoded[0]) and torch.equal(strip[2, 2], decoded[0])
    with Image.open("samples/vae-interpolation-vae-0-1-odd.gif") as animation:
        assert animation.n_frames == 6
    status, out, _ = run(capsys, *command, "--rows", "1,0", "--no-ping-pong")
    assert (status, out.splitlines()[0]) == (0, "samples/vae-interpolation-vae-0-1-odd-1,0.png")
    assert torch.equal(read_grid(out.splitlines()[0])[0, [0, 2]], decoded[[1, 0]])
    with Image.open("samples/vae-interpolation-vae-0-1-odd-1,0.gif") as animation:
        assert animation.n_frames == 3


def test_methods_easings_and_formats(capsys, here, gan_run):
    model = load(gan_run, "cpu")
    base = ["interpolate", gan_run, "--seeds", "3,9", "--frames", "5", "-q"]
    keyframes = torch.cat([model.sample(1, seed) for seed in (3, 9)])
    strips = {}
    for name, flags in {
        "default": [],
        "slerp": ["--method", "slerp"],
        "lerp": ["--method", "lerp"],
        "smooth": ["--easing", "smooth"],
    }.items():
        assert run(capsys, *base, *flags, "-o", f"{name}.webp")[:2] == (0, f"{name}.png\n{name}.webp\n")
        strips[name] = read_grid(f"{name}.png")[0]
        assert torch.equal(strips[name][[0, 4]], keyframes)
    assert torch.equal(strips["default"], strips["slerp"]) and not torch.equal(strips["lerp"], strips["slerp"])
    assert torch.equal(strips["smooth"][2], strips["slerp"][2]) and not torch.equal(strips["smooth"], strips["slerp"])
    with Image.open("slerp.webp") as animation:
        assert (animation.n_frames, animation.size) == (8, (128, 128))
    out = run(capsys, *base, "--reencode", "1")[1].split()
    assert out[0].endswith("-reencode-1.png"), "other keyframes get another name"
    assert torch.equal(read_grid(out[0])[0][0], model.sample(1, 3, reencode=1)[0])
    assert run(capsys, *base, "-o", "slerp.webp")[0] == 0, "files made by vaegan are overwritten"


def test_an_mp4(capsys, here, gan_run):
    av = pytest.importorskip("av")
    assert run(capsys, "interpolate", gan_run, "--frames", "5", "--format", "mp4", "--fps", "60", "--scale", "2")[
        :2
    ] == (0, "samples/gan-interpolation-0-1.png\nsamples/gan-interpolation-0-1.mp4\n")
    with av.open("samples/gan-interpolation-0-1.mp4") as container:
        stream = container.streams.video[0]
        assert sum(1 for _ in container.decode(stream)) == 8
        assert (stream.width, stream.height, stream.average_rate) == (64, 64, 60)
    assert run(capsys, "interpolate", gan_run, "--frames", "3", "-o", "samples/gan-interpolation-0-1.mp4", "-q")[0] == 0
    Path("samples/gan-interpolation-0-1.mp4").write_bytes(b"another's")
    assert "was not made by vaegan" in failing(
        capsys, "interpolate", gan_run, "-o", "samples/gan-interpolation-0-1.mp4"
    )


def test_without_pyav_an_mp4_fails_before_anything_is_loaded(capsys, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    Path("broken.safetensors").write_bytes(b"not weights")
    for arguments, name in ((["--format", "mp4"], "--format mp4"), (["-o", "walk.mp4"], "walk.mp4")):
        line = failing(capsys, "interpolate", "broken.safetensors", *arguments)
        assert line == (f"error: {name}: MP4 needs PyAV: pip install 'vaegan[video]', or name a .gif or .webp file")
    assert "broken.safetensors" in failing(capsys, "interpolate", "broken.safetensors")


def test_options_that_agree_on_the_way_back_may_be_given_together(capsys, here, vae_run):
    for flags in (["--loop", "--no-ping-pong"], ["--no-loop", "--ping-pong"], ["--loop"], ["--ping-pong"]):
        assert run(capsys, "interpolate", vae_run, "--frames", "2", *flags)[0] == 0


def test_bad_input(capsys, faces, gan_run, vae_run, prepared, monkeypatch):
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    Path("folder").mkdir()
    assert run(capsys, "encode", vae_run, "0.png", "-o", "one.safetensors", "-q")[0] == 0
    monkeypatch.setitem(sys.modules, "av", None)
    pair = ["--from", "0.png", "--to", "1.png"]
    for arguments, status, message in (
        ([*pair, "--seeds", "1,2"], 2, "--seeds and --from contradict each other"),
        ([*pair, "--latents", "one.safetensors"], 2, "--latents and --from contradict"),
        (["--from", "0.png"], 2, "expected two images or more: give --from and --to, not 0.png alone"),
        (["--via", "0.png", "--to", "1.png"], 2, "give --from and --to"),
        (["--from", "0.png", "--to", "none.png"], 1, "none.png does not exist"),
        (["--from", "0.png", "--to", "broken.png"], 1, "broken.png: not an image"),
        (["--from", "0.png", "--to", "folder"], 2, "folder is a folder: give --from, --to and --via one image each"),
        (["--latents", "one.safetensors"], 2, "expected two rows or more, found 1"),
        (["--latents", "one.safetensors", "--rows", "0,4"], 2, "there is no row 4"),
        (["--rows", "0,4"], 2, "--rows goes with --latents"),
        (["--invert-steps", "5"], 2, "--invert-steps 5 goes with --from and --to"),
        ([*pair, "--truncation", "0.5"], 2, "--truncation 0.5 goes with --seeds"),
        ([*pair, "--reencode", "1"], 2, "--reencode 1 goes with --seeds"),
        (["--attribute", "x", "--from", "0.png", "--reencode", "1"], 2, "--reencode 1 goes with --seeds"),
        (["--attribute", "x", "--from", "0.png", "--truncation", "0.5"], 2, "--truncation 0.5 goes with --seeds"),
        (["--attribute", "x", "--seeds", "3", "--invert-steps", "5"], 2, "--invert-steps 5 goes with --from and --to"),
        (["--method", "linear"], 2, "--method linear: expected one of slerp, lerp"),
        (["--easing", "bouncy"], 2, "--easing bouncy: expected one of linear, smooth"),
        (["--format", "mp4"], 1, "MP4 needs PyAV: pip install 'vaegan[video]'"),
        (["-o", "."], 2, "--out . is a directory: give a name in it"),
        (["-o", "/"], 2, "--out / is a directory"),
        (["-o", "walk.mov"], 2, "--out walk.mov: expected a name that ends in"),
        (["-o", "walk.xyz"], 2, "--out walk.xyz: expected a name that ends in"),
        (["-o", "walk.gif", "--format", "webp"], 2, "contradict"),
        (["--loop", "--ping-pong"], 2, "--loop and --ping-pong contradict each other: give only one of them"),
        (["--fps", "60"], 2, "a GIF shows at most 50"),
        (["--frames", "9000", "--scale", "16"], 2, "lower --frames or --scale"),
    ):
        assert message in failing(capsys, "interpolate", vae_run, *arguments, status=status), arguments
    assert not Path("samples").exists()
