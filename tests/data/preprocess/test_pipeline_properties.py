"""Whole preparations: changed sources, other orders, refusals. The bytes are those of one undisturbed preparation."""

import json
import random
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from preprocess_helpers import FLAGS, OPTIONS, Killed, kill, read_files, save_faces

from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.data.preprocess import writer
from vaegan.data.preprocess.database import PreprocessDB
from vaegan.data.preprocess.preprocess import prepare
from vaegan.data.preprocess.skip_reasons import (
    BROKEN_IMAGE,
    DUPLICATE,
    NEAR_DUPLICATE,
    NOT_AN_IMAGE,
    UNREADABLE,
    UNSAFE_NAME,
)
from vaegan.errors import UsageError, VaeganError


@pytest.fixture
def prepare_again(monkeypatch):
    """prepare_again(sources, out, **options) -> (number of files that were processed, texts of the events)."""

    def run(sources, out, **options):
        results, events, save_result = [], [], PreprocessDB.save_result
        with monkeypatch.context() as patch:
            patch.setattr(
                PreprocessDB, "save_result", lambda self, result: (results.append(result), save_result(self, result))
            )
            prepare(sources, out, on_event=events.append, **options)
        return len(results), [getattr(event, "text", "") for event in events]

    return run


def test_the_order_of_the_input_changes_nothing(mixed_sources, tmp_path):
    sources = sorted(mixed_sources.iterdir())
    expected = read_files(prepare(sources, tmp_path / "first", **OPTIONS))
    random.Random(0).shuffle(sources)
    assert read_files(prepare([*sources, sources[0]], tmp_path / "second", workers=1, **OPTIONS)) == expected


@pytest.mark.parametrize("dedupe", ["exact", "near"])
def test_a_changed_folder_is_prepared_as_if_it_were_new(mixed_sources, tmp_path, dedupe):
    options = {**OPTIONS, "dedupe": dedupe}
    folder = tmp_path / "in"
    shutil.copytree(mixed_sources, folder)
    out = prepare([folder], tmp_path / "set", **options)
    save_faces(folder / "a-new", range(200, 220))
    shutil.copy(folder / "faces" / "face-007.png", folder / "a-new" / "copy.png")
    (folder / "faces" / "face-008.png").unlink()
    prepare([folder], out, **options)
    assert read_files(out) == read_files(prepare([folder], tmp_path / "other", **options))


def test_an_unchanged_folder_is_up_to_date(mixed_sources, tmp_path, prepare_again):
    folder = tmp_path / "in"
    shutil.copytree(mixed_sources, folder)
    out = prepare([folder], tmp_path / "set", **OPTIONS)
    mtime = (out / "set.json").stat().st_mtime_ns
    num_processed, texts = prepare_again([folder], out, **OPTIONS)
    assert num_processed == 0 and any("is up to date" in text for text in texts)
    assert any("files skipped" in text for text in texts)  # the summary is that of the dataset
    assert (out / "set.json").stat().st_mtime_ns == mtime
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "set"]
    with pytest.raises(VaeganError, match="--strict: "):
        prepare([folder], out, strict=True, **OPTIONS)
    num_processed, texts = prepare_again([folder], out, force=True, **OPTIONS)
    assert num_processed > 90 and not any("is up to date" in text for text in texts)


def test_a_file_of_other_content_is_noticed(tmp_path, prepare_again, manifest):
    save_faces(tmp_path / "in", range(4))
    out = prepare([tmp_path / "in"], tmp_path / "set", size=32)
    sha256 = manifest(out)["face-002.png"]["sha256"]
    (tmp_path / "in" / "face-002.png").write_bytes((tmp_path / "in" / "face-002.png").read_bytes() + b" ")
    assert prepare_again([tmp_path / "in"], out, size=32)[0] == 4
    assert manifest(out)["face-002.png"]["sha256"] != sha256


def test_a_dataset_with_files_that_could_not_be_read_is_prepared_again(tmp_path, prepare_again):
    save_faces(tmp_path / "in", range(4))
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "nothing")
    out = prepare([tmp_path / "in"], tmp_path / "set", size=32)
    info = json.loads((out / "set.json").read_text())
    assert info["skip_reasons"] == {UNREADABLE: 1}
    assert prepare_again([tmp_path / "in"], out, size=32)[0] == 0  # the search alone sees that it leads nowhere
    info["skip_reasons"][UNREADABLE] += 1  # as if a worker had been refused another file
    (out / "set.json").write_text(json.dumps(info))
    assert prepare_again([tmp_path / "in"], out, size=32)[0] == 4


def test_a_source_can_be_added_but_not_left_out(tmp_path):
    faces, more = tmp_path / "faces", tmp_path / "more"
    save_faces(faces, range(20))
    save_faces(more, range(20, 30))
    out = prepare([faces], tmp_path / "set", size=32)
    with pytest.raises(VaeganError, match=r"was prepared from .*faces, which is not among the sources: .*--force"):
        prepare([more], out, size=32)
    prepare([more, faces], out, size=32)
    assert read_files(out) == read_files(prepare([faces, more], tmp_path / "other", size=32))
    paths = [json.loads(line)["path"] for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert paths[0] == "faces/face-000.png" and paths[-1] == "more/face-029.png"


def test_a_damaged_dataset_is_prepared_again(tmp_path, prepare_again):
    save_faces(tmp_path / "in", range(20))
    out = prepare([tmp_path / "in"], tmp_path / "set", size=32)
    expected = read_files(out)
    shard = out / "images-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:9000] + b"damaged" + shard.read_bytes()[9007:])
    assert prepare_again([tmp_path / "in"], out, size=32)[0] == 20
    assert read_files(out) == expected
    shard.unlink()
    prepare([tmp_path / "in"], out, size=32)
    assert read_files(out) == expected


def test_an_unfinished_preparation_with_other_options_is_refused(mixed_sources, tmp_path, monkeypatch):
    out = tmp_path / "sets" / "set"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(writer, "write_dataset", kill)
        prepare([mixed_sources], out, **OPTIONS)
    with pytest.raises(VaeganError, match=r"was started with other options \(--fit\): give the same.*--force"):
        prepare([mixed_sources], out, fit="pad", **OPTIONS)
    prepare([mixed_sources], out, fit="pad", force=True, **OPTIONS)
    assert open_dataset(out).info["fit"] == "pad"


def test_a_dataset_of_another_version_opens_but_is_not_replaced(prepared, tmp_path, copy, drawn):
    path = copy(prepared)
    info = json.loads((path / "set.json").read_text())
    info = {key: info[key] for key in info if key not in ("pipeline_version", "skip_reasons", "sources_fingerprint")}
    info["options"] = {"size": 32, "fit": "crop", "val_fraction": 0.1, "group_by": None}
    (path / "set.json").write_text(json.dumps(info))
    assert len(open_dataset(path).load()[0]) == open_dataset(prepared).counts["train"]
    with pytest.raises(VaeganError, match=r"was prepared by another version .* choose another --out, or add --force"):
        prepare([drawn], path, size=32)


def test_two_processes_at_once_are_refused(mixed_sources, tmp_path):
    db = PreprocessDB(tmp_path / ".preparing-set", 3072)
    try:
        code = "import sys; from vaegan.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "preprocess", str(mixed_sources), "--out", str(tmp_path / "set"), *FLAGS]
        for force in ([], ["--force"]):
            process = subprocess.run([*command, *force], capture_output=True, text=True, check=False)
            assert process.returncode == 1 and "another vaegan preprocess is using" in process.stderr
    finally:
        db.close()


def test_a_damaged_state_is_reported_and_removed_with_force(tmp_path):
    save_faces(tmp_path / "in", range(3))
    (tmp_path / ".preparing-set").mkdir()
    (tmp_path / ".preparing-set" / "state.sqlite").write_bytes(b"not a database at all" * 99)
    with pytest.raises(VaeganError, match=r"is damaged .*start over with --force"):
        prepare([tmp_path / "in"], tmp_path / "set", size=32)
    prepare([tmp_path / "in"], tmp_path / "set", size=32, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "set"]


def test_strict_fails_at_the_end_and_loses_nothing(mixed_sources, expected_files, tmp_path, capsys):
    out = tmp_path / "sets" / "set"
    assert main(["preprocess", str(mixed_sources), "--out", str(out), *FLAGS, "--strict"]) == 1
    err = capsys.readouterr().err
    assert "--strict: " in err and f"1 {BROKEN_IMAGE}" in err and f"'cut.png' ({BROKEN_IMAGE})" in err
    assert not out.exists()
    state = out.parent / ".preparing-set"
    assert f"leave out --strict, and run it again: {state} keeps what is done" in err and state.is_dir()
    assert main(["preprocess", str(mixed_sources), "--out", str(out), *FLAGS]) == 0
    assert [path.name for path in out.parent.iterdir()] == ["set"]
    assert "Preparing" not in capsys.readouterr().err  # all files were done before
    assert read_files(out) == expected_files
    save_faces(tmp_path / "fine", range(5))
    (tmp_path / "fine" / "list.csv").write_text("a")
    prepare([tmp_path / "fine"], tmp_path / "other", size=32, strict=True)


def test_a_strict_dry_run_keeps_nothing(mixed_sources, tmp_path, capsys):
    out = tmp_path / "sets" / "set"
    assert main(["preprocess", str(mixed_sources), "--out", str(out), *FLAGS, "--strict", "--dry-run"]) == 1
    assert capsys.readouterr().err.strip().endswith("repair or remove them, or leave out --strict")
    assert not out.parent.exists()


def test_a_dry_run_reports_the_same_and_writes_nothing(mixed_sources, expected_files, tmp_path, capsys):
    out = tmp_path / "sets" / "set"
    assert main(["preprocess", str(mixed_sources), "--out", str(out), *FLAGS, "--dry-run", "--json"]) == 0
    stdout, err = capsys.readouterr()
    assert not out.parent.exists()
    info = json.loads(expected_files["set.json"])
    results = json.loads(stdout)
    assert results["counts"] == info["counts"] and results["skip_reasons"] == info["skip_reasons"]
    assert "dataset" not in results
    assert "Dry run: nothing was written" in err and "files skipped" in err and "manifest" not in err


def test_the_summary_counts_every_skip_reason(mixed_sources, tmp_path, capsys):
    assert main(["preprocess", str(mixed_sources), "--out", str(tmp_path / "set"), *FLAGS]) == 0
    err = capsys.readouterr().err
    for reason in (DUPLICATE, BROKEN_IMAGE, NOT_AN_IMAGE, UNSAFE_NAME, NEAR_DUPLICATE):
        assert f"1  {reason}" in err, reason
    assert "files/s" in err and "kept" in err


def test_bad_options_are_refused_before_anything_is_written(tmp_path):
    save_faces(tmp_path / "in", range(2))
    for options, message in (
        ({"background": "reddish"}, "--background reddish: expected a color"),
        ({"crop_position": "top", "fit": "smart"}, "--crop-position top needs --fit crop"),
        ({"pad_mode": "blur"}, "--pad-mode blur needs --fit pad"),
        ({"ray_address": "auto"}, "--ray-address auto needs --pool ray"),
        ({"dedupe": "some"}, "--dedupe some: expected one of exact, near, off"),
        ({"max_pixels": 0}, "--max-pixels 0"),
    ):
        with pytest.raises(UsageError, match=message):
            prepare([tmp_path / "in"], tmp_path / "set", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_the_preview_shows_crop_examples(tmp_path):
    save_faces(tmp_path / "square", range(9), (64, 64))
    save_faces(tmp_path / "wide", range(9), (128, 64))
    sizes = {}
    for name in ("square", "wide"):
        out = prepare([tmp_path / name], tmp_path / f"set-{name}", size=32)
        with Image.open(out / "preview.png") as preview:
            sizes[name] = preview.size
            colors = {color for _, color in preview.convert("RGB").getcolors(2**16)}
            assert ((255, 0, 80) in colors) == (name == "wide")
    assert sizes["wide"][1] > sizes["square"][1]


def test_a_grayscale_dataset_goes_through_the_whole_pipeline(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_faces(tmp_path / "in", range(24))
    tiny = ["--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "-q"]
    gan = ["--from-vae", "runs/vae", "--steps", "2", "--batch-size", "8", "--augment", "color,translation", "-q"]
    for command in (
        ["preprocess", "in", "--size", "32", "--grayscale", "-q"],
        ["train-vae", "--steps", "3", *tiny],
        ["train-gan", *gan],
        ["sample", "-n", "4", "-q"],
        ["interpolate", "--frames", "4", "-q"],
        ["info", "data/in-32"],
    ):
        assert main(command) == 0, (command, capsys.readouterr().err)
    assert open_dataset(Path("data/in-32")).load()[0].shape[1:] == (1, 32, 32)
    image_files = [*Path("runs").rglob("*.png"), *Path("samples").iterdir(), Path("data/in-32/preview.png")]
    assert len(image_files) >= 5
    with Image.open("samples/gan-seeds-0-3.png") as sheet:
        assert sheet.mode == "L"


def test_foreign_files_are_never_deleted_with_a_dataset(tmp_path):
    save_faces(tmp_path / "in", range(6))
    out = prepare([tmp_path / "in"], tmp_path / "set", size=32)
    (out / ".DS_Store").write_bytes(b"as macOS leaves it")
    save_faces(tmp_path / "in", range(7))
    prepare([tmp_path / "in"], out, size=32)
    (out / "notes.txt").write_text("dear")
    save_faces(tmp_path / "in", range(8))
    for force in (False, True):
        with pytest.raises(VaeganError, match=r"set is replaced .* holds notes.txt, which is not part of the dataset"):
            prepare([tmp_path / "in"], out, size=32, force=force)
    (out / "notes.txt").unlink()
    save_faces(out / "incoming", range(8, 10))
    for force in (False, True):
        with pytest.raises(VaeganError, match=r"incoming is inside --out .*set, which is replaced as a whole"):
            prepare([tmp_path / "in", out / "incoming"], out, size=32, force=force)
    assert len(list((out / "incoming").iterdir())) == 2


def test_files_named_like_python_modules_are_not_run(tmp_path, monkeypatch):
    save_faces(tmp_path / "in", range(4))
    for name in ("dataclasses", "struct", "queue"):
        (tmp_path / "in" / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path / "in")
    assert open_dataset(prepare(["."], tmp_path / "set", size=32)).counts["train"] > 0
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("size", [(10, 1500), (1500, 6)])
def test_an_extremely_thin_image_does_not_stop_the_preparation(tmp_path, size):
    save_faces(tmp_path / "in", range(4), (80, 80))
    Image.new("RGB", size).save(tmp_path / "in" / "thin.png")
    assert sum(open_dataset(prepare([tmp_path / "in"], tmp_path / "set", size=32)).counts.values()) >= 5


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' file names are Unicode")
def test_folder_and_archive_names_that_are_not_utf8(tmp_path):
    folder = tmp_path / "caf\udce9"
    save_faces(folder, range(4))
    with tarfile.open(tmp_path / "more\udce9.tar.gz", "w:gz") as archive:
        archive.add(folder / "face-000.png", "packed.png")
    counts = open_dataset(prepare([folder, tmp_path / "more\udce9.tar.gz"], tmp_path / "set", size=32)).counts
    assert counts["skipped"] == 1  # the same face again
    assert "packed.png" in (tmp_path / "set" / "manifest.jsonl").read_text()


def test_an_out_that_is_a_link_is_written_to_its_target(tmp_path):
    (tmp_path / "disk" / "faces").mkdir(parents=True)
    (tmp_path / "set").symlink_to(tmp_path / "disk" / "faces")
    for count in (4, 5):
        save_faces(tmp_path / "in", range(count))
        prepare([tmp_path / "in"], tmp_path / "set", size=32)
        assert (tmp_path / "set").is_symlink() and (tmp_path / "disk" / "faces" / "set.json").is_file()
        counts = open_dataset(tmp_path / "set").counts
        assert counts["train"] + counts["val"] == count
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["faces"]


def test_the_working_directory_is_refused_as_out(tmp_path, monkeypatch):
    save_faces(tmp_path / "in", range(4))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match=r"--out \. is a directory: give a name in it"):
        prepare([tmp_path / "in"], ".", size=32)
