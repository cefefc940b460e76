import struct
import zlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import utils as tv_utils

from vaegan.errors import VaeganError
from vaegan.utils.images import (
    check_overwrite,
    enlarge,
    from_pil,
    is_made_by_vaegan,
    make_grid,
    save_png,
    to_float,
    to_pil,
    to_uint8,
)


def test_bytes_survive_the_conversion_to_float_and_back():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_uint8(to_float(levels)), levels)
    assert to_float(levels).min() == -1 and to_float(levels).max() == 1


def test_out_of_range_is_clamped():
    assert to_uint8(torch.tensor([-5.0, 5.0])).tolist() == [0, 255]


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))
def test_conversion_to_pillow_and_back(height, width, channels):
    image = torch.randint(0, 256, (channels, height, width), dtype=torch.uint8)
    assert torch.equal(from_pil(to_pil(image)), image)


def test_grid_places_images_row_by_row():
    images = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, 3, 4, 4).contiguous()
    grid = make_grid(images, columns=3, padding=1)
    assert grid.shape == (3, 11, 16)
    assert grid[0, 1, [1, 6, 11]].tolist() == [0, 1, 2]
    assert grid[0, 6, [1, 6]].tolist() == [3, 4]
    assert make_grid(images[:, :1]).shape[0] == 1


@pytest.mark.parametrize(("count", "columns"), [(1, 3), (2, 8), (7, 3), (9, None)])
def test_grid_equals_torchvisions(count, columns):
    images = torch.randint(256, (count, 3, 5, 4), generator=torch.Generator().manual_seed(0)).byte()
    assert torch.equal(make_grid(images, columns), tv_utils.make_grid(images, nrow=columns or 3, pad_value=255))


def test_enlarge_repeats_pixels():
    assert enlarge(torch.tensor([[[1, 2]]]), 2).tolist() == [[[1, 1, 2, 2], [1, 1, 2, 2]]]


def test_own_files_are_recognized_and_others_kept(tmp_path):
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    save_png(image, tmp_path / "ours.png", "seed 3")
    Image.new("RGB", (4, 4)).save(tmp_path / "theirs.png")
    (tmp_path / "text.png").write_text("not an image")
    header = struct.pack(">4s2I5B", b"IHDR", 30_000, 30_000, 8, 2, 0, 0, 0)
    bomb = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bomb)
    assert is_made_by_vaegan(tmp_path / "ours.png")
    assert Image.open(tmp_path / "ours.png").info["Comment"] == "seed 3"
    for foreign in ("theirs.png", "text.png", "bomb.png"):
        with pytest.raises(VaeganError, match=f"{foreign}.*--force"):
            check_overwrite([tmp_path / "ours.png", tmp_path / foreign], force=False)
    check_overwrite([tmp_path / "theirs.png", tmp_path / "new.png"], force=True)
