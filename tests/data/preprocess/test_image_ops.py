import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.preprocess.image_ops import (
    compute_crop_box,
    crop_and_resize,
    from_chw_bytes,
    pad_to_square,
    to_chw_bytes,
)
from vaegan.demo.faces import draw_face, random_face

WHITE = (255, 255, 255)


def prepare_image(image, background=WHITE, **options):
    preprocess_settings = PreprocessSettings(**{"size": 32, **options})
    box = compute_crop_box(image, image.size, preprocess_settings)
    return pad_to_square(crop_and_resize(image, image.size, box, preprocess_settings), preprocess_settings, background)


@settings(max_examples=60)
@given(
    st.integers(1, 150),
    st.integers(1, 150),
    st.sampled_from(["crop", "pad", "stretch", "smart"]),
    st.sampled_from(["edge", "blur"]),
    st.sampled_from([32, 64]),
)
def test_any_rectangle_becomes_a_square(width, height, fit, pad, size):
    prepared = prepare_image(Image.new("RGB", (width, height), (10, 200, 30)), fit=fit, pad_mode=pad, size=size)
    assert prepared.getcolors() == [(size * size, (10, 200, 30))]


@pytest.fixture
def striped():
    image = Image.new("RGB", (90, 30), "blue")
    image.paste("red", (0, 0, 30, 30))
    image.paste("lime", (60, 0, 90, 30))
    return image


def test_what_each_fit_shows(striped):
    assert prepare_image(striped, fit="crop").getpixel((2, 16))[2] > 200  # the ends are cut off
    stretched = prepare_image(striped, fit="stretch")
    assert stretched.getpixel((2, 16))[0] > 200 and stretched.getpixel((29, 16))[1] > 200
    edge = prepare_image(striped, fit="pad")
    assert edge.getpixel((2, 16))[0] > 200 and edge.getpixel((29, 16))[1] > 200
    assert edge.getpixel((16, 1))[2] > 200  # the edge goes on
    padded = prepare_image(striped, (1, 2, 3), fit="pad", pad_mode="color")
    assert padded.getpixel((16, 1)) == padded.getpixel((2, 30)) == (1, 2, 3)
    assert padded.getpixel((2, 16))[0] > 200
    blur = prepare_image(striped, fit="pad", pad_mode="blur")
    assert blur.getpixel((16, 16))[2] > 200 and blur.getpixel((16, 1)) not in ((1, 2, 3), WHITE)


@pytest.mark.parametrize(("position", "color"), [("left", 0), ("center", 2), ("right", 1), ("top", 2), ("bottom", 2)])
def test_crop_position_along_the_long_axis(striped, position, color):
    prepared = prepare_image(striped, crop_position=position)
    assert prepared.getpixel((16, 16))[color] > 200
    expected = {"left": "center", "right": "center", "top": "top", "bottom": "bottom"}.get(position, "center")
    upright = prepare_image(striped.transpose(Image.Transpose.ROTATE_270), crop_position=position)
    assert upright.getpixel((16, 16))[{"top": 0, "center": 2, "bottom": 1}[expected]] > 200


def portrait(number, above, below, busy):
    """A drawn face of 64 pixels in a tall image, over a body that may be richer in detail than the face."""
    face = draw_face(random_face(3, number)).resize((64, 64), Image.Resampling.LANCZOS)
    image = Image.new("RGB", (64, above + 64 + below), face.getpixel((2, 2)))
    image.paste(face, (0, above))
    if busy:
        draw = ImageDraw.Draw(image)
        for line in range(above + 64, image.height, 4):
            draw.line((0, line, 64, line), "black" if line % 8 else "white", 2)
    return image


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("below", [30, 64, 130])
@pytest.mark.parametrize("above", [0, 12, 40])
def test_smart_keeps_the_heads_of_portraits(above, below, busy):
    for number in range(12):
        image = portrait(number, above, below, busy)
        top = compute_crop_box(image, image.size, PreprocessSettings(size=32, fit="smart"))[1]
        assert above - 24 <= top <= above + 8, (number, top)  # the crowns are 8 pixels or more below the edge


def test_smart_finds_the_detail_of_wide_images():
    for offset in (0, 70, 200):
        image = Image.new("RGB", (264, 64), (120, 150, 200))
        image.paste(draw_face(random_face(5, 1)).resize((64, 64)), (offset, 0))
        left, _, right, _ = compute_crop_box(image, image.size, PreprocessSettings(size=32, fit="smart"))
        assert abs(left - offset) <= 16 and right - left == 64
    plain = Image.new("RGB", (264, 64), "gray")
    assert compute_crop_box(plain, plain.size, PreprocessSettings(size=32, fit="smart")) == (100, 0, 164, 64)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_chw_bytes_round_trip(mode):
    image = Image.radial_gradient("L").resize((32, 32)).convert(mode)
    channels = len(image.getbands())
    assert from_chw_bytes(to_chw_bytes(image), channels, 32).tobytes() == image.tobytes()
    assert to_chw_bytes(image)[:1024] == image.getchannel(0).tobytes()
