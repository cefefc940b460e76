"""The zoo: every mode and format becomes what a person sees, every fault a reason."""

import io
import random
import struct
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, features

from vaegan.data.preprocess import decoding
from vaegan.data.preprocess.decoding import to_8bit_grayscale

COLOUR = (200, 80, 40)
RGB_FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "PCX", "ICO", "DDS", "JPEG2000", "SGI", "QOI"]
if features.check("avif"):
    RGB_FORMATS.append("AVIF")


def close(found, wanted, tolerance=6):
    return all(abs(a - b) <= tolerance for a, b in zip(found, wanted, strict=True))


def middle(picture):
    return picture.getpixel((picture.width // 2, picture.height // 2))


@pytest.mark.parametrize("kind", RGB_FORMATS)
@pytest.mark.parametrize("name", ["plain", "liar.txt"])
def test_every_format_is_known_by_its_content(tmp_path, squared, kind, name):
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    Image.new("RGB", (64, 48), COLOUR).save(tmp_path / name, kind)
    assert close(middle(squared(tmp_path / name)), COLOUR)


def rgba():
    picture = Image.new("RGBA", (60, 60), (*COLOUR, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 60, 30))
    return picture


def palette_with_transparency():
    picture = Image.new("P", (60, 60), 1)
    picture.putpalette([0, 0, 0, *COLOUR] + [0] * 762)
    picture.paste(0, (0, 0, 60, 30))
    picture.info["transparency"] = 0
    return picture


def grey_with_alpha():
    picture = Image.new("LA", (60, 60), (100, 255))
    picture.paste((0, 0), (0, 0, 60, 30))
    return picture


@pytest.mark.parametrize(
    ("picture", "solid"),
    [(rgba(), COLOUR), (palette_with_transparency(), COLOUR), (grey_with_alpha(), (100, 100, 100))],
    ids=["RGBA", "P", "LA"],
)
@pytest.mark.parametrize(("background", "behind"), [("white", (255, 255, 255)), ("#102030", (16, 32, 48))])
def test_what_is_transparent_shows_the_background(tmp_path, squared, picture, solid, background, behind):
    picture.save(tmp_path / "a.png")
    made = squared(tmp_path / "a.png", background=background)
    assert close(made.getpixel((16, 4)), behind, 1) and close(made.getpixel((16, 28)), solid, 1)


@pytest.mark.parametrize(
    ("mode", "value", "wanted", "kind"),
    [
        ("1", 1, 255, "PNG"),
        ("L", 77, 77, "PNG"),
        ("I;16", 65535, 255, "PNG"),
        ("I;16", 128 * 257, 128, "PNG"),
        ("I;16", 128 * 257, 128, "TIFF"),
        ("I", 30000, 117, "TIFF"),
        ("F", 0.5, 128, "TIFF"),
        ("F", 99.0, 99, "TIFF"),
    ],
)
def test_greys_of_any_depth(tmp_path, squared, mode, value, wanted, kind):
    Image.new(mode, (40, 40), value).save(tmp_path / "a", kind)
    assert abs(middle(squared(tmp_path / "a"))[0] - wanted) <= 1
    assert abs(middle(squared(tmp_path / "a", grayscale=True)) - wanted) <= 1


def test_odd_ranges_are_stretched_to_what_there_is():
    ramp = Image.new("F", (2, 1))
    ramp.putpixel((0, 0), -5.0)
    ramp.putpixel((1, 0), 995.0)
    assert list(to_8bit_grayscale(ramp).tobytes()) == [0, 255]
    ramp.putpixel((1, 0), float("inf"))
    with pytest.raises(ValueError, match="not finite"):
        to_8bit_grayscale(ramp)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(tmp_path, squared, kind):
    Image.new("RGB", (64, 64), COLOUR).convert("CMYK").save(tmp_path / "a", kind)
    assert close(middle(squared(tmp_path / "a")), COLOUR)


def swapped_profile():
    """An RGB profile with red and green exchanged: what no reader that drops profiles shows right."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", content, 128)[0]
    at = {bytes(content[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(count)}
    for one, other in (("XYZ", "XYZ"), ("TRC", "TRC")):
        red, green = at[b"r" + one.encode()], at[b"g" + other.encode()]
        content[red + 4 : red + 12], content[green + 4 : green + 12] = (
            content[green + 4 : green + 12],
            content[red + 4 : red + 12],
        )
    return bytes(content).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be")).replace(b"sRGB", b"swap")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_colour_profiles_lead_to_srgb(tmp_path, squared, kind):
    picture = Image.new("RGB", (64, 64), COLOUR)
    picture.save(tmp_path / "swapped", kind, icc_profile=swapped_profile())
    assert close(middle(squared(tmp_path / "swapped")), (80, 200, 40), 8)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(tmp_path / "plain", kind, icc_profile=srgb)
    assert close(middle(squared(tmp_path / "plain")), COLOUR)
    picture.save(tmp_path / "nonsense", kind, icc_profile=b"no profile at all")
    assert close(middle(squared(tmp_path / "nonsense")), COLOUR)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_upright(tmp_path, work, squared, kind, orientation):
    upright = Image.new("RGB", (600, 400), "black")
    upright.paste("red", (0, 0, 300, 200))  # red top left, blue bottom left
    upright.paste("blue", (0, 200, 300, 400))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)
    stored = upright if back is None else upright.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a", kind, exif=exif)
    outcome = work(tmp_path / "a")
    assert outcome.images[0].original_size == (600, 400)
    assert outcome.images[0].box == (100, 0, 500, 400)
    made = squared(tmp_path / "a")
    assert close(made.getpixel((4, 4)), (255, 0, 0), 12) and close(made.getpixel((4, 28)), (0, 0, 255), 12)


def animation(path, kind, count=5, **more):
    frames = [Image.new("RGB", (40, 40), (number * 40, 0, 0)) for number in range(count)]
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], **more)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_frames(tmp_path, work, kind):
    animation(tmp_path / "a", kind)
    assert [square.frame for square in work(tmp_path / "a").images] == [0]
    every = work(tmp_path / "a", frames="all").images
    assert [square.frame for square in every] == [0, 1, 2, 3, 4]
    reds = [square.pixels[500] for square in every]
    assert reds == sorted(reds) and reds[-1] > 150


def test_long_animations_come_in_parts(tmp_path, work, monkeypatch):
    animation(tmp_path / "a", "GIF")
    monkeypatch.setattr("vaegan.data.preprocess.tasks.MAX_RESULT_BYTES", 2 * 32 * 32 * 3)
    outcome = work(tmp_path / "a", frames="all")
    assert ([square.frame for square in outcome.images], outcome.next_frame) == ([0, 1], 2)


def png_bomb():
    """A PNG that says it is 60,000 pixels wide and high."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [head, b"IDAT" + zlib.compress(b"\0" * 100_000), b"IEND"]
    parts = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(kind, size=(64, 64), **more):
    buffer = io.BytesIO()
    noise = random.Random(0).randbytes(size[0] * size[1] * 3)
    Image.frombytes("RGB", size, noise).save(buffer, kind, **more)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty file"),
        (b"hello, I am text", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (png_bomb(), "too large"),
        *((saved(kind)[: len(saved(kind)) // 2], "broken image") for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF")),
        (saved("PNG")[:8] + b"\0" * 200, ("broken image", "not an image")),
        (saved("WEBP")[:40], ("broken image", "not an image")),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_faults_are_reasons(tmp_path, work, content, why):
    (tmp_path / "a.png").write_bytes(content)
    assert work(tmp_path / "a.png").reason in (why if isinstance(why, tuple) else (why,))


def test_limits(tmp_path, work):
    Image.new("RGB", (100, 40)).save(tmp_path / "a.png")
    assert work(tmp_path / "a.png", max_pixels=3999).reason == "too large"
    assert work(tmp_path / "a.png", min_side=41).reason == "too small"
    assert work(tmp_path / "a.png", max_aspect=2.4).reason == "aspect ratio too large"
    assert work(tmp_path / "a.png", max_pixels=4000, min_side=40, max_aspect=2.5).reason == ""


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"]), st.data())
def test_no_damage_is_fatal(tmp_path, work, kind, data):
    content = bytearray(saved(kind, (24, 20)))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a").write_bytes(content[: data.draw(st.integers(1, len(content)))])
    outcome = work(tmp_path / "a", max_pixels=1_000_000)
    assert bool(outcome.reason) != bool(outcome.images)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from(["RGB", "L", "1", "P", "LA", "RGBA", "CMYK", "I;16", "F"]),
    st.sampled_from(["crop", "smart", "stretch", "pad"]),
    st.sampled_from(["edge", "color", "blur"]),
    st.booleans(),
)
def test_any_size_mode_and_fit_gives_a_square(tmp_path, work, width, height, mode, fit, pad, grayscale):
    Image.new(mode, (width, height)).save(tmp_path / "a", "PNG" if mode not in ("CMYK", "F") else "TIFF")
    outcome = work(tmp_path / "a", fit=fit, pad_mode=pad, grayscale=grayscale)
    (square,) = outcome.images
    assert len(square.pixels) == 32 * 32 * (1 if grayscale else 3)
    assert square.original_size == (width, height)
    left, top, right, bottom = square.box
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    assert fit in ("stretch", "pad") or right - left == bottom - top == min(width, height)


def test_scaled_decoding_is_close_to_full_decoding(tmp_path, squared, monkeypatch):
    picture = Image.radial_gradient("L").resize((1000, 800)).convert("RGB")
    picture.save(tmp_path / "a.jpg", quality=92)
    fast = squared(tmp_path / "a.jpg").tobytes()
    monkeypatch.setattr(decoding, "DRAFT_SCALE", 10**6)
    assert max(abs(a - b) for a, b in zip(fast, squared(tmp_path / "a.jpg").tobytes(), strict=True)) <= 3
