"""Every image mode and format is decoded to what a viewer shows; every damaged file gets a skip reason."""

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

COLOR = (200, 80, 40)
RGB_FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "PCX", "ICO", "DDS", "JPEG2000", "SGI", "QOI"]
if features.check("avif"):
    RGB_FORMATS.append("AVIF")


def is_close(color, expected, tolerance=6):
    return all(abs(a - b) <= tolerance for a, b in zip(color, expected, strict=True))


def center_pixel(image):
    return image.getpixel((image.width // 2, image.height // 2))


@pytest.mark.parametrize("format_name", RGB_FORMATS)
@pytest.mark.parametrize("name", ["plain", "misleading.txt"])
def test_every_format_is_recognized_by_its_content(tmp_path, prepare_image, format_name, name):
    Image.init()
    if format_name not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {format_name}")
    Image.new("RGB", (64, 48), COLOR).save(tmp_path / name, format_name)
    assert is_close(center_pixel(prepare_image(tmp_path / name)), COLOR)


def rgba():
    image = Image.new("RGBA", (60, 60), (*COLOR, 255))
    image.paste((0, 0, 0, 0), (0, 0, 60, 30))
    return image


def palette_with_transparency():
    image = Image.new("P", (60, 60), 1)
    image.putpalette([0, 0, 0, *COLOR] + [0] * 762)
    image.paste(0, (0, 0, 60, 30))
    image.info["transparency"] = 0
    return image


def gray_with_alpha():
    image = Image.new("LA", (60, 60), (100, 255))
    image.paste((0, 0), (0, 0, 60, 30))
    return image


@pytest.mark.parametrize(
    ("image", "opaque"),
    [(rgba(), COLOR), (palette_with_transparency(), COLOR), (gray_with_alpha(), (100, 100, 100))],
    ids=["RGBA", "P", "LA"],
)
@pytest.mark.parametrize(("background", "background_rgb"), [("white", (255, 255, 255)), ("#102030", (16, 32, 48))])
def test_transparent_pixels_show_the_background(tmp_path, prepare_image, image, opaque, background, background_rgb):
    image.save(tmp_path / "a.png")
    prepared = prepare_image(tmp_path / "a.png", background=background)
    assert is_close(prepared.getpixel((16, 4)), background_rgb, 1) and is_close(prepared.getpixel((16, 28)), opaque, 1)


@pytest.mark.parametrize(
    ("mode", "value", "expected", "format_name"),
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
def test_grayscale_of_any_bit_depth(tmp_path, prepare_image, mode, value, expected, format_name):
    Image.new(mode, (40, 40), value).save(tmp_path / "a", format_name)
    assert abs(center_pixel(prepare_image(tmp_path / "a"))[0] - expected) <= 1
    assert abs(center_pixel(prepare_image(tmp_path / "a", grayscale=True)) - expected) <= 1


def test_values_outside_the_usual_range_are_scaled_by_their_extremes():
    ramp = Image.new("F", (2, 1))
    ramp.putpixel((0, 0), -5.0)
    ramp.putpixel((1, 0), 995.0)
    assert list(to_8bit_grayscale(ramp).tobytes()) == [0, 255]
    ramp.putpixel((1, 0), float("inf"))
    with pytest.raises(ValueError, match="not finite"):
        to_8bit_grayscale(ramp)


@pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
def test_cmyk(tmp_path, prepare_image, format_name):
    Image.new("RGB", (64, 64), COLOR).convert("CMYK").save(tmp_path / "a", format_name)
    assert is_close(center_pixel(prepare_image(tmp_path / "a")), COLOR)


def swapped_profile():
    """An RGB profile with red and green exchanged: only a reader that applies profiles shows the right colors."""
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


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_icc_profiles_are_converted_to_srgb(tmp_path, prepare_image, format_name):
    image = Image.new("RGB", (64, 64), COLOR)
    image.save(tmp_path / "swapped", format_name, icc_profile=swapped_profile())
    assert is_close(center_pixel(prepare_image(tmp_path / "swapped")), (80, 200, 40), 8)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / "plain", format_name, icc_profile=srgb)
    assert is_close(center_pixel(prepare_image(tmp_path / "plain")), COLOR)
    image.save(tmp_path / "nonsense", format_name, icc_profile=b"no profile at all")
    assert is_close(center_pixel(prepare_image(tmp_path / "nonsense")), COLOR)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_becomes_upright(tmp_path, process_file, prepare_image, format_name, orientation):
    upright = Image.new("RGB", (600, 400), "black")
    upright.paste("red", (0, 0, 300, 200))  # red top left, blue bottom left
    upright.paste("blue", (0, 200, 300, 400))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)
    stored = upright if back is None else upright.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a", format_name, exif=exif)
    result = process_file(tmp_path / "a")
    assert result.images[0].original_size == (600, 400)
    assert result.images[0].box == (100, 0, 500, 400)
    prepared = prepare_image(tmp_path / "a")
    assert is_close(prepared.getpixel((4, 4)), (255, 0, 0), 12)
    assert is_close(prepared.getpixel((4, 28)), (0, 0, 255), 12)


def animation(path, format_name, count=5, **more):
    frames = [Image.new("RGB", (40, 40), (number * 40, 0, 0)) for number in range(count)]
    frames[0].save(path, format_name, save_all=True, append_images=frames[1:], **more)


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG", "TIFF"])
def test_frames(tmp_path, process_file, format_name):
    animation(tmp_path / "a", format_name)
    assert [prepared.frame for prepared in process_file(tmp_path / "a").images] == [0]
    every = process_file(tmp_path / "a", frames="all").images
    assert [prepared.frame for prepared in every] == [0, 1, 2, 3, 4]
    reds = [prepared.pixels[500] for prepared in every]
    assert reds == sorted(reds) and reds[-1] > 150


def test_a_long_animation_takes_several_tasks(tmp_path, process_file, monkeypatch):
    animation(tmp_path / "a", "GIF")
    monkeypatch.setattr("vaegan.data.preprocess.tasks.MAX_RESULT_BYTES", 2 * 32 * 32 * 3)
    result = process_file(tmp_path / "a", frames="all")
    assert ([prepared.frame for prepared in result.images], result.next_frame) == ([0, 1], 2)


def first_half(content):
    return content[: len(content) // 2]


def png_bomb():
    """A PNG whose header says 60,000 x 60,000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [head, b"IDAT" + zlib.compress(b"\0" * 100_000), b"IEND"]
    parts = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(format_name, size=(64, 64), **more):
    buffer = io.BytesIO()
    noise = random.Random(0).randbytes(size[0] * size[1] * 3)
    Image.frombytes("RGB", size, noise).save(buffer, format_name, **more)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello, I am text", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (png_bomb(), "too large"),
        *((first_half(saved(name)), "broken image") for name in ("JPEG", "PNG", "GIF", "BMP", "TIFF")),
        (saved("PNG")[:8] + b"\0" * 200, ("broken image", "not an image")),
        (saved("WEBP")[:40], ("broken image", "not an image")),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_damaged_files_have_a_reason(tmp_path, process_file, content, reason):
    (tmp_path / "a.png").write_bytes(content)
    assert process_file(tmp_path / "a.png").reason in (reason if isinstance(reason, tuple) else (reason,))


def test_limits(tmp_path, process_file):
    Image.new("RGB", (100, 40)).save(tmp_path / "a.png")
    assert process_file(tmp_path / "a.png", max_pixels=3999).reason == "too large"
    assert process_file(tmp_path / "a.png", min_side=41).reason == "too small"
    assert process_file(tmp_path / "a.png", max_aspect=2.4).reason == "aspect ratio too large"
    assert process_file(tmp_path / "a.png", max_pixels=4000, min_side=40, max_aspect=2.5).reason == ""


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"]), st.data())
def test_random_damage_never_raises(tmp_path, process_file, format_name, data):
    content = bytearray(saved(format_name, (24, 20)))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a").write_bytes(content[: data.draw(st.integers(1, len(content)))])
    result = process_file(tmp_path / "a", max_pixels=1_000_000)
    assert bool(result.reason) != bool(result.images)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from(["RGB", "L", "1", "P", "LA", "RGBA", "CMYK", "I;16", "F"]),
    st.sampled_from(["crop", "smart", "stretch", "pad"]),
    st.sampled_from(["edge", "color", "blur"]),
    st.booleans(),
)
def test_any_size_mode_and_fit_gives_a_prepared_image(tmp_path, process_file, width, height, mode, fit, pad, grayscale):
    Image.new(mode, (width, height)).save(tmp_path / "a", "PNG" if mode not in ("CMYK", "F") else "TIFF")
    result = process_file(tmp_path / "a", fit=fit, pad_mode=pad, grayscale=grayscale, min_side=0)
    (prepared,) = result.images
    assert len(prepared.pixels) == 32 * 32 * (1 if grayscale else 3)
    assert prepared.original_size == (width, height)
    left, top, right, bottom = prepared.box
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    assert fit in ("stretch", "pad") or right - left == bottom - top == min(width, height)


def test_scaled_decoding_is_close_to_full_decoding(tmp_path, prepare_image, monkeypatch):
    image = Image.radial_gradient("L").resize((1000, 800)).convert("RGB")
    image.save(tmp_path / "a.jpg", quality=92)
    fast = prepare_image(tmp_path / "a.jpg").tobytes()
    monkeypatch.setattr(decoding, "DRAFT_SCALE", 10**6)
    assert max(abs(a - b) for a, b in zip(fast, prepare_image(tmp_path / "a.jpg").tobytes(), strict=True)) <= 3
