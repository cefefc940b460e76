import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from vaegan.config.settings import PreprocessSettings
from vaegan.data.preprocess.image_ops import (
    compute_crop_box,
    crop_and_resize,
    from_chw_bytes,
    pad_to_square,
    to_chw_bytes,
)
from vaegan.demo.faces import draw_face, random_face

WHITE = (255, 255, 255)


def squared(picture, background=WHITE, **options):
    chosen = PreprocessSettings(**{"size": 32, **options})
    box = compute_crop_box(picture, picture.size, chosen)
    return pad_to_square(crop_and_resize(picture, picture.size, box, chosen), chosen, background)


@settings(max_examples=60)
@given(
    st.integers(1, 150),
    st.integers(1, 150),
    st.sampled_from(["crop", "pad", "stretch", "smart"]),
    st.sampled_from(["edge", "blur"]),
    st.sampled_from([32, 64]),
)
def test_any_rectangle_becomes_a_square(width, height, fit, pad, size):
    made = squared(Image.new("RGB", (width, height), (10, 200, 30)), fit=fit, pad_mode=pad, size=size)
    assert made.getcolors() == [(size * size, (10, 200, 30))]


@pytest.fixture
def striped():
    picture = Image.new("RGB", (90, 30), "blue")
    picture.paste("red", (0, 0, 30, 30))
    picture.paste("lime", (60, 0, 90, 30))
    return picture


def test_fits_show_what_they_say(striped):
    assert squared(striped, fit="crop").getpixel((2, 16))[2] > 200  # the ends are cut off
    stretched = squared(striped, fit="stretch")
    assert stretched.getpixel((2, 16))[0] > 200 and stretched.getpixel((29, 16))[1] > 200
    edge = squared(striped, fit="pad")
    assert edge.getpixel((2, 16))[0] > 200 and edge.getpixel((29, 16))[1] > 200
    assert edge.getpixel((16, 1))[2] > 200  # the edge goes on
    colour = squared(striped, (1, 2, 3), fit="pad", pad_mode="color")
    assert colour.getpixel((16, 1)) == colour.getpixel((2, 30)) == (1, 2, 3)
    assert colour.getpixel((2, 16))[0] > 200
    blur = squared(striped, fit="pad", pad_mode="blur")
    assert blur.getpixel((16, 16))[2] > 200 and blur.getpixel((16, 1)) not in ((1, 2, 3), WHITE)


@pytest.mark.parametrize(("anchor", "colour"), [("left", 0), ("center", 2), ("right", 1), ("top", 2), ("bottom", 2)])
def test_anchors_along_the_long_axis(striped, anchor, colour):
    made = squared(striped, crop_position=anchor)
    assert made.getpixel((16, 16))[colour] > 200
    turned = {"left": "center", "right": "center", "top": "top", "bottom": "bottom"}.get(anchor, "center")
    upright = squared(striped.transpose(Image.Transpose.ROTATE_270), crop_position=anchor)
    assert upright.getpixel((16, 16))[{"top": 0, "center": 2, "bottom": 1}[turned]] > 200


def portrait(number, above, below, busy):
    """A drawn face of 64 pixels in a tall picture, over a body that may be richer in detail than the face."""
    face = draw_face(random_face(3, number)).resize((64, 64), Image.Resampling.LANCZOS)
    picture = Image.new("RGB", (64, above + 64 + below), face.getpixel((2, 2)))
    picture.paste(face, (0, above))
    if busy:
        draw = ImageDraw.Draw(picture)
        for line in range(above + 64, picture.height, 4):
            draw.line((0, line, 64, line), "black" if line % 8 else "white", 2)
    return picture


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("below", [30, 64, 130])
@pytest.mark.parametrize("above", [0, 12, 40])
def test_smart_does_not_behead_portraits(above, below, busy):
    for number in range(12):
        picture = portrait(number, above, below, busy)
        top = compute_crop_box(picture, picture.size, PreprocessSettings(size=32, fit="smart"))[1]
        assert above - 24 <= top <= above + 8, (number, top)  # the crowns are 8 pixels or more below the edge


def test_smart_finds_the_detail_of_wide_pictures():
    for at in (0, 70, 200):
        picture = Image.new("RGB", (264, 64), (120, 150, 200))
        picture.paste(draw_face(random_face(5, 1)).resize((64, 64)), (at, 0))
        left, _, right, _ = compute_crop_box(picture, picture.size, PreprocessSettings(size=32, fit="smart"))
        assert abs(left - at) <= 16 and right - left == 64
    plain = Image.new("RGB", (264, 64), "gray")
    assert compute_crop_box(plain, plain.size, PreprocessSettings(size=32, fit="smart")) == (100, 0, 164, 64)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_planes_and_back(mode):
    picture = Image.radial_gradient("L").resize((32, 32)).convert(mode)
    channels = len(picture.getbands())
    assert from_chw_bytes(to_chw_bytes(picture), channels, 32).tobytes() == picture.tobytes()
    assert to_chw_bytes(picture)[:1024] == picture.getchannel(0).tobytes()
