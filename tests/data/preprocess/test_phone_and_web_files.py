"""Files as phones, web datasets and vaegan itself write them: taken, left out or named as what they are."""

import io
import json
import sys
import tarfile
import zipfile

import pytest
from PIL import Image
from safetensors.torch import load_file

from vaegan.cli import main
from vaegan.data.preprocess.preprocess import prepare
from vaegan.demo.faces import draw_face, random_face
from vaegan.utils.animation import save_animation
from vaegan.utils.images import from_pil, save_png


def face(index, size=64):
    return draw_face(random_face(31, index)).resize((size, size))


def encoded(image, format_name, **options):
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


@pytest.fixture
def faces(tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    for index in range(6):
        face(index).save(folder / f"{index}.png")
    return folder


def preprocess(folder, out, *options):
    return main(["preprocess", str(folder), "--out", str(out), "--size", "32", *options])


def test_images_that_vaegan_made_are_left_out_and_counted(faces, tmp_path, manifest, capsys):
    frames = [from_pil(face(10 + index)) for index in range(2)]
    save_png(frames[0], faces / "sample.png", "a sample")
    for suffix in (".gif", ".webp"):
        save_animation(frames, faces / f"walk{suffix}", 8.0, "an interpolation")
    assert preprocess(faces, tmp_path / "set") == 0
    assert "3 made by vaegan" in capsys.readouterr().err
    entries = manifest(tmp_path / "set")
    reasons = {name: entry.get("skip_reason") for name, entry in entries.items() if "skip_reason" in entry}
    assert reasons == dict.fromkeys(("sample.png", "walk.gif", "walk.webp"), "made by vaegan")
    assert preprocess(faces, tmp_path / "all", "--include-generated") == 0
    assert all("row" in entry for entry in manifest(tmp_path / "all").values())


def test_previews_grids_and_charts_of_runs_do_not_become_faces(faces, prepared, vae_run, here, manifest):
    """A run, a dataset and samples lie in the folder that is prepared."""
    for path in (vae_run, prepared):
        (faces / path.name).symlink_to(path)
    assert main(["sample", str(vae_run), "-n", "4", "--out", str(faces / "grid.png"), "-q"]) == 0
    assert preprocess(faces, "set", "-q") == 0
    kept = [name for name, entry in manifest(here / "set").items() if "row" in entry]
    assert kept == [f"{index}.png" for index in range(6)]


def test_images_that_vaegan_made_can_be_encoded(vae_run, here):
    assert main(["sample", str(vae_run), "-n", "1", "--out", "a.png", "-q"]) == 0
    assert main(["encode", str(vae_run), "a.png", "--out", "a.safetensors", "-q"]) == 0


def test_images_of_an_archive_given_by_itself_have_their_own_names(faces, vae_run, here):
    with zipfile.ZipFile("z.zip", "w") as archive:
        for index in range(2):
            archive.write(faces / f"{index}.png", f"inner/{index}.png")
    assert main(["encode", str(vae_run), "z.zip", "--out", "z.safetensors", "-q"]) == 0
    names = json.loads(bytes(load_file("z.safetensors")["names"].numpy()))
    assert names == ["z.zip/inner/0.png", "z.zip/inner/1.png"]


def test_a_damaged_archive_given_by_itself_is_named(vae_run, here, capsys):
    (here / "z.zip").write_bytes(b"PK\3\4 nothing")
    assert main(["encode", str(vae_run), "z.zip", "--out", "z.safetensors", "-q"]) == 1
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("error: z.zip: broken archive")


def test_only_the_main_picture_of_a_phone_photograph_is_used(tmp_path, manifest):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "phone.jpg").write_bytes(encoded(face(1), "MPO", save_all=True, append_images=[face(2, 16)]))
    (folder / "walk.gif").write_bytes(encoded(face(3), "GIF", save_all=True, append_images=[face(4)]))
    with Image.open(folder / "phone.jpg") as image:
        assert image.n_frames == 2
    out = prepare([folder], tmp_path / "set", size=32, frames="all", min_side=0, val_fraction=0.0)
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [(row["path"], row["frame"]) for row in rows] == [("phone.jpg", 0), ("walk.gif", 0), ("walk.gif", 1)]


HEIC_HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_heic_is_known_by_its_content_and_the_extra_is_named(faces, tmp_path, monkeypatch, process_file):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    (tmp_path / "photo.jpg").write_bytes(HEIC_HEAD)
    result = process_file(tmp_path / "photo.jpg")
    assert (result.reason, result.detail) == ("needs vaegan[heic]", "pip install 'vaegan[heic]'")


def test_an_image_on_the_command_line_names_the_extra(vae_run, here, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (here / "IMG_1.HEIC").write_bytes(HEIC_HEAD)
    assert main(["encode", str(vae_run), "IMG_1.HEIC", "--out", "a.safetensors", "-q"]) == 1
    assert "IMG_1.HEIC: needs vaegan[heic] (pip install 'vaegan[heic]')" in capsys.readouterr().err


def test_heic_is_read(tmp_path, process_file, prepare_image):
    pillow_heif = pytest.importorskip("pillow_heif")
    image = Image.new("RGB", (96, 64), (200, 80, 40))
    pillow_heif.from_pillow(image).save(tmp_path / "photo.heic")
    red, green, blue = prepare_image(tmp_path / "photo.heic").getpixel((16, 16))
    assert abs(red - 200) < 8 and abs(green - 80) < 8 and abs(blue - 40) < 8
    (tmp_path / "broken.heic").write_bytes((tmp_path / "photo.heic").read_bytes()[:-100])
    assert process_file(tmp_path / "broken.heic").reason == "broken image"
    (tmp_path / "head.heic").write_bytes(HEIC_HEAD)
    result = process_file(tmp_path / "head.heic")
    assert (result.reason, result.detail) == ("broken image", "damaged HEIC")


def test_a_dataset_as_source_is_one_clear_line(prepared, tmp_path, capsys):
    assert preprocess(prepared, tmp_path / "set") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"error: {prepared} is a prepared dataset already: train on it (vaegan train-vae {prepared})" in line


def test_labels_and_tables_are_metadata(tmp_path, manifest, capsys):
    """The samples of a WebDataset, with labels that begin like images, and a table."""
    (tmp_path / "in").mkdir()
    members = {f"{index:04d}.png": encoded(face(index), "PNG") for index in range(3)}
    labels = {"0000.cls": b"3", "0001.cls": b"", "0000.txt": b"BM is how bitmaps begin", "0001.txt": b"P6 too"}
    with tarfile.open(tmp_path / "in" / "shard-000000.tar", "w") as tar:
        for name, content in sorted((members | labels).items()):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    (tmp_path / "in" / "labels.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    assert preprocess(tmp_path / "in", tmp_path / "set", "--strict") == 0
    assert "files skipped" not in capsys.readouterr().err
    reasons = [entry["skip_reason"] for entry in manifest(tmp_path / "set").values() if "skip_reason" in entry]
    assert reasons == ["metadata"] * 5


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "restart_marker_rows": 1}])
@pytest.mark.parametrize("end", [-2, -1])
def test_a_jpeg_that_lacks_only_its_end_marker_is_kept(tmp_path, prepare_image, process_file, options, end):
    content = encoded(face(5, 200), "JPEG", quality=90, **options)
    assert content.endswith(b"\xff\xd9")
    (tmp_path / "whole.jpg").write_bytes(content)
    (tmp_path / "a.jpg").write_bytes(content[:end])
    assert prepare_image(tmp_path / "a.jpg").tobytes() == prepare_image(tmp_path / "whole.jpg").tobytes()
    for cut in (100, len(content) // 3, len(content) // 2):
        (tmp_path / "cut.jpg").write_bytes(content[:-cut])
        assert process_file(tmp_path / "cut.jpg").reason == "broken image"


@pytest.mark.parametrize(("size", "reason"), [((1, 1), "too small"), ((3, 5000), "too small"), ((16, 16), "")])
def test_tiny_images_are_left_out(tmp_path, process_file, size, reason):
    Image.new("RGB", size, "red").save(tmp_path / "a.png")
    assert process_file(tmp_path / "a.png").reason == reason
    assert process_file(tmp_path / "a.png", min_side=0).reason == ""
