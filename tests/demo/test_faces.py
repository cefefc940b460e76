"""Comic faces are deterministic, varied and complete."""

import csv
import io
import subprocess
import sys
from dataclasses import asdict, fields, replace

import pytest
from PIL import Image, ImageChops

from command_line import child_environment
from vaegan.demo.faces import Face, draw_face, random_face, write_faces
from vaegan.demo.faces.accessories import EARRING_STYLES, GLASSES_STYLES
from vaegan.demo.faces.attributes import BACKGROUND_PALETTES, CLOTHING_COLORS, HAIR_COLORS, IRIS_COLORS, SKIN_TONES
from vaegan.demo.faces.background import BACKGROUND_PATTERNS
from vaegan.demo.faces.beards import BEARD_STYLES
from vaegan.demo.faces.body import CLOTHES_STYLES
from vaegan.demo.faces.canvas import OUTLINE_COLOR, Canvas
from vaegan.demo.faces.eyes import EYE_STYLES, EYEBROW_STYLES
from vaegan.demo.faces.facial_features import CHEEK_STYLES, MOUTH_STYLES, NOSE_STYLES
from vaegan.demo.faces.hair import HAIR_STYLES
from vaegan.demo.faces.hats import HAT_STYLES
from vaegan.demo.faces.head import HEAD_SHAPES
from vaegan.demo.faces.shapes import catmull_rom

TABLES = {
    "head": HEAD_SHAPES,
    "skin": SKIN_TONES,
    "hair": HAIR_STYLES,
    "hair_color": HAIR_COLORS,
    "hair_side": ("left", "right"),
    "eyes": EYE_STYLES,
    "eye_color": IRIS_COLORS,
    "brows": EYEBROW_STYLES,
    "nose": NOSE_STYLES,
    "mouth": MOUTH_STYLES,
    "beard": BEARD_STYLES,
    "glasses": GLASSES_STYLES,
    "glasses_color": CLOTHING_COLORS,
    "hat": HAT_STYLES,
    "hat_color": CLOTHING_COLORS,
    "earrings": EARRING_STYLES,
    "cheeks": CHEEK_STYLES,
    "clothes": CLOTHES_STYLES,
    "clothes_color": CLOTHING_COLORS,
    "background_pattern": BACKGROUND_PATTERNS,
    "background_palette": BACKGROUND_PALETTES,
    "light_side": ("left", "right"),
}

PLAIN = replace(
    random_face(0, 0), width=100, height=130, head="oval", skin="peach", hair="side part",
    hair_color="brown", eyes="round", gaze_x=0.0, nose="button", mouth="smile", beard="none",
    glasses="none", hat="none", earrings="none", cheeks="plain", clothes="t-shirt", background_pattern="two-tone",
    tilt=0.0, turn=0.3, shift_x=0.0, shift_y=0.0, head_scale=0.31,
)  # fmt: skip

# Other attributes without which an attribute is not visible.
REQUIRED = {
    "glasses_color": {"glasses": "round"},
    "hat_color": {"hat": "cap"},
    "earrings": {"hair": "buzz"},
}


def face_bytes(face: Face) -> bytes:
    return draw_face(face).tobytes()


@pytest.mark.parametrize("attribute", TABLES)
def test_every_style_draws_a_different_image(attribute):
    base = replace(PLAIN, **REQUIRED.get(attribute, {}))
    images = {face_bytes(replace(base, **{attribute: name})) for name in TABLES[attribute]}
    assert len(images) == len(TABLES[attribute])


@pytest.mark.parametrize(
    ("attribute", "other"),
    [
        ("head_width", 1.04), ("jaw_width", 0.93), ("eye_size", 1.14), ("eye_gap", 0.37), ("gaze_x", -1.0),
        ("gaze_y", 0.9), ("has_eyelashes", 1), ("brow_thickness", 0.15), ("brow_angle", 0.12), ("mouth_width", 0.8),
        ("tilt", 5.0), ("turn", -0.9), ("shift_x", 0.02), ("shift_y", 0.015), ("head_scale", 0.29),
    ],
)  # fmt: skip
def test_every_number_changes_the_image(attribute, other):
    face = replace(
        PLAIN, head_width=0.97, jaw_width=1.05, has_eyelashes=0, brow_thickness=0.08, brow_angle=0.0, gaze_y=0.0
    )
    assert face_bytes(face) != face_bytes(replace(face, **{attribute: other}))


def test_the_tests_cover_every_attribute():
    numbers = {field.name for field in fields(Face) if field.type in ("int", "float")}
    assert numbers | set(TABLES) == {field.name for field in fields(Face)}
    assert all(isinstance(value, str | int | float) for value in asdict(random_face(1, 2)).values())


def test_every_style_is_sampled():
    faces = [random_face(7, index) for index in range(1500)]
    for attribute, table in TABLES.items():
        assert {getattr(face, attribute) for face in faces} == set(table), attribute
    assert {face.has_eyelashes for face in faces} == {0, 1}


def test_image_sizes_vary_and_stay_in_range():
    faces = [random_face(3, index) for index in range(400)]
    assert all(96 <= min(face.width, face.height) <= 140 for face in faces)
    assert all(112 <= max(face.width, face.height) <= 176 for face in faces)
    portraits = sum(face.height > face.width for face in faces)
    assert 0.7 < portraits / len(faces) < 0.95
    assert len({(face.width, face.height) for face in faces}) > 200


def test_images_are_rgb_and_have_the_size_of_the_face():
    for index in range(12):
        face = random_face(5, index)
        image = draw_face(face)
        assert image.mode == "RGB"
        assert image.size == (face.width, face.height)
        assert len(image.getcolors(1 << 16) or ()) > 50


def test_equal_faces_have_equal_bytes_and_different_faces_different_bytes():
    images = [face_bytes(random_face(11, index)) for index in range(60)]
    assert len(set(images)) == 60
    assert images[:10] == [face_bytes(random_face(11, index)) for index in range(10)]
    assert random_face(11, 4) != random_face(12, 4)


def test_another_process_with_any_hash_seed_draws_the_same_faces():
    code = (
        "import sys, zlib\nfrom vaegan.demo.faces import draw_face, random_face\n"
        "print([zlib.crc32(draw_face(random_face(2, i)).tobytes()) for i in range(3)])\n"
        "assert 'torch' not in sys.modules"
    )
    results = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=child_environment(PYTHONHASHSEED=seed),
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert results[0].startswith("[")
    assert results[0] == results[1]


def test_the_center_crop_contains_the_whole_face():
    """A bald head from ear to ear, and from forehead to chin, is within the center crop."""
    for index in range(60):
        face = replace(
            random_face(9, index), background_pattern="flat", hat="none", hair="bald", beard="none", earrings="none"
        )
        other_skin = replace(face, skin="porcelain" if face.skin != "porcelain" else "ebony")
        difference = ImageChops.difference(draw_face(face), draw_face(other_skin))
        neckline = int(face.height / 2 + min(face.width, face.height) * 0.28)
        left, top, right, _ = difference.crop((0, 0, face.width, neckline)).getbbox()
        shorter_side = min(face.width, face.height)
        x, y = (face.width - shorter_side) / 2, (face.height - shorter_side) / 2
        assert x < left and right < x + shorter_side
        assert y < top
        chin = face.height / 2 + (face.shift_y + face.head_scale) * shorter_side
        assert chin < y + shorter_side * 0.93


def test_hats_that_cover_the_hair_are_only_drawn_over_hair_that_fits():
    faces = [random_face(4, index) for index in range(600)]
    covered = [face for face in faces if face.hat not in ("none", "headband", "bow")]
    assert len(covered) > 40
    assert all(HAIR_STYLES[face.hair].fits_hats for face in covered)


def test_the_folder_contains_the_images_and_their_attributes(tmp_path):
    calls = []
    write_faces(tmp_path / "new", 7, seed=3, on_progress=lambda done, count: calls.append((done, count)))
    assert calls == [(done, 7) for done in range(1, 8)]
    names = [f"face-{index:05d}.png" for index in range(7)]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["attributes.csv", *names]
    with (tmp_path / "new" / "attributes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", *(field.name for field in fields(Face))]
    assert [row["file"] for row in rows] == names
    for index, (name, row) in enumerate(zip(names, rows, strict=True)):
        face = random_face(3, index)
        assert {key: str(value) for key, value in asdict(face).items()} == {
            key: value for key, value in row.items() if key != "file"
        }
        with Image.open(tmp_path / "new" / name) as image:
            assert (image.format, image.mode) == ("PNG", "RGB")
            assert image.tobytes() == face_bytes(face)


def test_the_count_does_not_change_the_faces_and_files_are_replaced(tmp_path):
    write_faces(tmp_path / "few", 2, seed=1)
    write_faces(tmp_path / "more", 4, seed=1)
    few, more = ((tmp_path / name / "face-00001.png") for name in ("few", "more"))
    assert few.read_bytes() == more.read_bytes()
    few.write_bytes(b"broken")
    write_faces(tmp_path / "few", 2, seed=1)
    assert few.read_bytes() == more.read_bytes()


def test_the_attributes_are_written_last(tmp_path):
    def stop(done, count):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_faces(tmp_path, 3, on_progress=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["face-00000.png", "face-00001.png"]


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_below_one_is_rejected(tmp_path, count):
    with pytest.raises(ValueError, match=f"count is {count}"):
        write_faces(tmp_path, count)
    assert not list(tmp_path.iterdir())


def test_png_files_are_small():
    sizes = []
    for index in range(20):
        file = io.BytesIO()
        draw_face(random_face(0, index)).save(file, "PNG")
        sizes.append(len(file.getvalue()))
    assert sum(sizes) / len(sizes) < 16_000


def test_catmull_rom_goes_through_its_points():
    corners = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    assert set(corners) <= set(catmull_rom(corners, is_closed=True))
    assert set(corners) <= set(catmull_rom(corners))
    assert catmull_rom(corners)[-1] == corners[-1]
    assert len(catmull_rom(corners, is_closed=True)) > len(corners)


def test_the_shade_is_on_the_side_away_from_the_light():
    square = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
    for light, dark in ((-1.0, (64, 40)), (1.0, (16, 40))):
        canvas = Canvas(80, 80, (255, 255, 255))
        canvas.set_frame(40, 40, 30, 0)
        canvas.light_sign = light
        canvas.draw_shape(square, (200, 0, 0), (100, 0, 0), 0.4)
        image = canvas.to_image()
        assert image.getpixel(dark) == (100, 0, 0)
        assert image.getpixel((80 - dark[0], 40)) == (200, 0, 0)
        assert image.getpixel((40, 10)) == OUTLINE_COLOR
        assert image.getpixel((2, 2)) == (255, 255, 255)
