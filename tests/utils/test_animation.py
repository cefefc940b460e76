"""GIF, WebP and MP4: frames, durations, provenance, and what is refused beforehand."""

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from vaegan.errors import UsageError, VaeganError
from vaegan.utils.animation import MAX_ANIMATION_BYTES, check_animation, save_animation, split_animation_path
from vaegan.utils.images import from_pil, is_made_by_vaegan


def make_frames(count, channels=3, side=16):
    """Frames of uniform brightness, rising from black to white."""
    levels = torch.linspace(0, 255, count).round().to(torch.uint8)
    return levels[:, None, None, None].expand(count, channels, side, side).contiguous()


def read_frames(path):
    """Return the brightness of each frame of a GIF or WebP, and the durations in milliseconds."""
    with Image.open(path) as image:
        levels, durations = [], []
        for index in range(image.n_frames):
            image.seek(index)
            levels.append(from_pil(image.convert("RGB")).float().mean().item())
            durations.append(image.info["duration"])
    return levels, durations


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_frames_and_durations_of_gif_and_webp(tmp_path, suffix, channels):
    path = tmp_path / f"a{suffix}"
    save_animation(make_frames(6, channels), path, 30, "a note")
    levels, durations = read_frames(path)
    assert levels == pytest.approx([0, 51, 102, 153, 204, 255], abs=2)
    assert sum(durations) == (180 if suffix == ".gif" else 200)  # a GIF counts in hundredths
    with Image.open(path) as image:
        assert image.info["loop"] == 0 and image.size == (16, 16)
    assert is_made_by_vaegan(path)


@pytest.mark.parametrize(("channels", "side"), [(3, 16), (1, 17)])
def test_an_mp4_has_every_frame(tmp_path, channels, side):
    av = pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    save_animation(make_frames(9, channels, side), path, 12.5, "a note")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoded = [from_pil(frame.to_image()) for frame in container.decode(stream)]
        assert stream.average_rate == 12.5 and container.metadata["comment"] == "vaegan: a note"
    assert len(decoded) == 9 and decoded[0].shape == (3, side + side % 2, side + side % 2)
    assert [frame.float().mean().item() for frame in decoded] == pytest.approx(
        [255 * index / 8 for index in range(9)], abs=4
    )
    assert all((frame.float() - frame.float().mean()).abs().max() < 4 for frame in decoded)  # no dark last row
    assert is_made_by_vaegan(path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_videos_of_other_programs_are_not_ours(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42 but no more")
    assert not is_made_by_vaegan(tmp_path / "a.mp4")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.webp")
    assert not is_made_by_vaegan(tmp_path / "a.webp")


def test_a_failed_write_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    for suffix in (".gif", ".webp"):
        with pytest.raises(VaeganError, match="cannot write"):
            save_animation(make_frames(2), tmp_path / "file" / f"a{suffix}", 10)
    pytest.importorskip("av")
    with pytest.raises(VaeganError, match="cannot write"):
        save_animation(make_frames(2), tmp_path / "file" / "a.mp4", 10)


def test_without_pyav_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(VaeganError, match=r"a\.mp4: MP4 needs PyAV: pip install 'vaegan\[video\]', or name a \.gif"):
        check_animation(Path("a.mp4"), 2, 16, 16, 10)
    assert not is_made_by_vaegan(Path("a.mp4"))


def test_too_many_frames_are_refused():
    with pytest.raises(UsageError, match="--fps 60: a GIF shows at most 50"):
        check_animation(Path("a.gif"), 2, 16, 16, 60)
    check_animation(Path("a.gif"), MAX_ANIMATION_BYTES // 256, 16, 16, 50)
    with pytest.raises(UsageError, match="lower --frames or --scale"):
        check_animation(Path("a.gif"), MAX_ANIMATION_BYTES // 256 + 1, 16, 16, 50)
    with pytest.raises(UsageError, match=r"MiB of memory as a \.webp"):
        check_animation(Path("a.webp"), MAX_ANIMATION_BYTES // 256, 16, 16, 60)


def test_names_and_formats():
    for out, format_name, expected in (
        ("walk", None, ("walk", ".gif")),
        ("walk.png", None, ("walk", ".gif")),
        ("walk.png", "webp", ("walk", ".webp")),
        ("walk.MP4", None, ("walk", ".mp4")),
        ("v1.5", "mp4", ("v1.5", ".mp4")),
        ("walk.gif", "gif", ("walk", ".gif")),
        ("gan-2.lerp-4", None, ("gan-2.lerp-4", ".gif")),
    ):
        base, suffix = split_animation_path(Path(out), format_name)
        assert (base.name, suffix) == expected
    with pytest.raises(UsageError, match=r"--out a\.gif and --format mp4 contradict"):
        split_animation_path(Path("a.gif"), "mp4")
    for name in ("a.mov", "a.xyz", "a.M4V", "a.gifv", "a.3gp", "a.jpeg", "a.txt"):
        for has_strip in (True, False):
            with pytest.raises(UsageError, match=rf"--out {name}: expected a name that ends in \.gif, \.webp, \.mp4"):
                split_animation_path(Path(name), "gif", has_strip)
    with pytest.raises(UsageError, match=r"--out a\.png: expected a name that ends in"):
        split_animation_path(Path("a.png"), None, has_strip=False)
