"""The whole preparation: grown, shuffled, refused. The bytes are always those of one calm run."""

import json
import random
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from preparing import FLAGS, OPTIONS, Stop, contents, save_faces

from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.data.preprocess import writer
from vaegan.data.preprocess.database import PreprocessDB
from vaegan.data.preprocess.preprocess import prepare
from vaegan.errors import UsageError, VaeganError


def test_the_order_of_the_input_changes_nothing(zoo, tmp_path):
    parts = sorted(zoo.iterdir())
    one = contents(prepare(parts, tmp_path / "one", **OPTIONS))
    random.Random(0).shuffle(parts)
    two = contents(prepare([*parts, parts[0]], tmp_path / "two", workers=1, **OPTIONS))
    assert one == two


def decoded(monkeypatch):
    """Names of the workers' answers that needed decoding."""
    done, save = [], PreprocessDB.save_result

    def counting(self, outcome, spots=None):
        if not outcome.same:
            done.append(outcome.file_id)
        save(self, outcome, spots)

    monkeypatch.setattr(PreprocessDB, "save_result", counting)
    return done


@pytest.mark.parametrize("dedupe", ["exact", "near"])
def test_a_grown_folder_is_as_if_it_had_been_so_from_the_start(zoo, tmp_path, monkeypatch, dedupe):
    options = {**OPTIONS, "dedupe": dedupe}
    folder = tmp_path / "in"
    shutil.copytree(zoo, folder)
    out = prepare([folder], tmp_path / "set", **options)
    save_faces(folder / "a-new", range(200, 220))
    shutil.copy(folder / "faces" / "face-007.png", folder / "a-new" / "copy.png")
    (folder / "faces" / "face-008.png").unlink()
    done = decoded(monkeypatch)
    prepare([folder], out, **options)
    assert 21 <= len(done) <= 21 + (3 if dedupe == "near" else 1)  # new ones, the broken archive's, near duplicates
    assert contents(out) == contents(prepare([folder], tmp_path / "other", **options))
    done.clear()
    before = (out / "set.json").stat().st_mtime_ns
    said = []
    prepare([folder], out, on_event=said.append, **options)
    assert len(done) <= 3 and (out / "set.json").stat().st_mtime_ns == before
    assert any("is up to date" in getattr(event, "text", "") for event in said)


def test_another_source_joins(zoo, tmp_path, monkeypatch):
    faces, more = tmp_path / "faces", tmp_path / "more"
    save_faces(faces, range(20))
    save_faces(more, range(20, 30))
    out = prepare([faces], tmp_path / "set", size=32)
    with pytest.raises(VaeganError, match=r"was prepared from .*faces: name it too.*--force"):
        prepare([more], out, size=32)
    done = decoded(monkeypatch)
    prepare([more, faces], out, size=32)
    assert len(done) == 10
    assert contents(out) == contents(prepare([faces, more], tmp_path / "other", size=32))
    paths = [json.loads(line)["path"] for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert paths[0] == "faces/face-000.png" and paths[-1] == "more/face-029.png"


def test_damage_in_the_older_set_is_mended(tmp_path):
    save_faces(tmp_path / "in", range(20))
    out = prepare([tmp_path / "in"], tmp_path / "set", size=32)
    good = contents(out)
    shard = out / "images-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:9000] + b"spoiled" + shard.read_bytes()[9007:])
    save_faces(tmp_path / "in", range(20, 21))
    prepare([tmp_path / "in"], out, size=32)
    (tmp_path / "in" / "face-020.png").unlink()
    prepare([tmp_path / "in"], out, size=32)
    assert contents(out) == good


def test_changed_options_are_refused_for_what_is_begun(zoo, tmp_path, monkeypatch):
    out = tmp_path / "sets" / "set"
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(writer, "write_dataset", lambda *arguments: (_ for _ in ()).throw(Stop()))
        prepare([zoo], out, **OPTIONS)
    with pytest.raises(VaeganError, match=r"was begun with other options \(--fit\): give the same.*--force"):
        prepare([zoo], out, fit="pad", **OPTIONS)
    prepare([zoo], out, fit="pad", force=True, **OPTIONS)
    assert open_dataset(out).info["fit"] == "pad"


def test_sets_of_an_older_vaegan_open_and_are_not_mixed(prepared, tmp_path, copy, drawn):
    older = copy(prepared)
    info = json.loads((older / "set.json").read_text())
    info = {key: info[key] for key in info if key not in ("pipeline_version", "reasons")}
    info["options"] = {"size": 32, "fit": "crop", "val_fraction": 0.1, "group_by": None}
    (older / "set.json").write_text(json.dumps(info))
    assert len(open_dataset(older).load()[0]) == open_dataset(prepared).counts["train"]
    with pytest.raises(VaeganError, match=r"was prepared by another vaegan .* choose another --out, or add --force"):
        prepare([drawn], older, size=32)


def test_two_at_once_are_kept_apart(zoo, tmp_path):
    held = PreprocessDB(tmp_path / ".preparing-set", 3072)
    try:
        code = "import sys; from vaegan.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "preprocess", str(zoo), "--out", str(tmp_path / "set"), *FLAGS]
        for force in ([], ["--force"]):
            run = subprocess.run([*command, *force], capture_output=True, text=True, check=False)
            assert run.returncode == 1 and "another vaegan preprocess is at work" in run.stderr
    finally:
        held.close()


def test_a_damaged_state_is_told_and_forced_away(tmp_path):
    save_faces(tmp_path / "in", range(3))
    (tmp_path / ".preparing-set").mkdir()
    (tmp_path / ".preparing-set" / "ledger.sqlite").write_bytes(b"no database at all" * 99)
    with pytest.raises(VaeganError, match=r"is damaged .*start over with --force"):
        prepare([tmp_path / "in"], tmp_path / "set", size=32)
    prepare([tmp_path / "in"], tmp_path / "set", size=32, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "set"]


def test_strict_fails_at_the_end_and_loses_nothing(zoo, calm, tmp_path, capsys):
    out = tmp_path / "sets" / "set"
    assert main(["preprocess", str(zoo), "--out", str(out), *FLAGS, "--strict"]) == 1
    said = capsys.readouterr().err
    assert "--strict: " in said and "1 broken picture" in said and "'cut.png' (broken picture)" in said
    assert not out.exists()
    assert main(["preprocess", str(zoo), "--out", str(out), *FLAGS]) == 0
    assert "Preparing" not in capsys.readouterr().err  # all was done before
    assert contents(out) == calm
    save_faces(tmp_path / "fine", range(5))
    (tmp_path / "fine" / "list.csv").write_text("a")
    prepare([tmp_path / "fine"], tmp_path / "other", size=32, strict=True)


def test_a_dry_run_says_the_same_and_writes_nothing(zoo, calm, tmp_path, capsys):
    out = tmp_path / "sets" / "set"
    assert main(["preprocess", str(zoo), "--out", str(out), *FLAGS, "--dry-run", "--json"]) == 0
    said, err = capsys.readouterr()
    assert not out.parent.exists()
    info = json.loads(calm["set.json"])
    told = json.loads(said)
    assert told["counts"] == info["counts"] and told["skip_reasons"] == info["reasons"] and "set" not in told
    assert "Dry run: nothing was written" in err and "files skipped" in err and "manifest" not in err


def test_the_summary_counts_every_reason(zoo, tmp_path, capsys):
    assert main(["preprocess", str(zoo), "--out", str(tmp_path / "set"), *FLAGS]) == 0
    err = capsys.readouterr().err
    for why in ("1  duplicate", "1  broken picture", "1  not a picture", "1  unsafe name", "1  near duplicate"):
        assert why in err, why
    assert "files/s" in err and "kept" in err


def test_bad_options_are_told_before_anything(tmp_path):
    save_faces(tmp_path / "in", range(2))
    for options, words in (
        ({"background": "reddish"}, "--background reddish: expected a colour"),
        ({"crop_position": "top", "fit": "smart"}, "--crop-position top goes with --fit crop"),
        ({"pad": "blur"}, "--pad-mode blur goes with --fit pad"),
        ({"ray_address": "auto"}, "--ray-address auto goes with --pool ray"),
        ({"dedupe": "some"}, "--dedupe some: expected one of exact, near, off"),
        ({"max_pixels": 0}, "--max-pixels 0"),
    ):
        with pytest.raises(UsageError, match=words):
            prepare([tmp_path / "in"], tmp_path / "set", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_preview_shows_what_became_of_rectangles(tmp_path):
    save_faces(tmp_path / "square", range(9), (64, 64))
    save_faces(tmp_path / "wide", range(9), (128, 64))
    sizes = {}
    for name in ("square", "wide"):
        out = prepare([tmp_path / name], tmp_path / f"set-{name}", size=32)
        with Image.open(out / "preview.png") as preview:
            sizes[name] = preview.size
            colours = {colour for _, colour in preview.convert("RGB").getcolors(2**16)}
            assert ((255, 0, 80) in colours) == (name == "wide")
    assert sizes["wide"][1] > sizes["square"][1]


def test_a_grey_set_goes_all_the_way(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_faces(tmp_path / "in", range(24))
    tiny = ["--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "-q"]
    for command in (
        ["preprocess", "in", "--size", "32", "--grayscale", "-q"],
        ["train-vae", "--steps", "3", *tiny],
        [
            "train-gan",
            "--from-vae",
            "runs/vae",
            "--steps",
            "2",
            "--batch-size",
            "8",
            "--augment",
            "color,translation",
            "-q",
        ],
        ["sample", "-n", "4", "-q"],
        ["interpolate", "--frames", "4", "-q"],
        ["info", "data/in-32"],
    ):
        assert main(command) == 0, (command, capsys.readouterr().err)
    assert open_dataset(Path("data/in-32")).load()[0].shape[1:] == (1, 32, 32)
    pictures = [*Path("runs").rglob("*.png"), *Path("samples").iterdir(), Path("data/in-32/preview.png")]
    assert len(pictures) >= 5
    with Image.open("samples/gan-seeds-0-3.png") as sheet:
        assert sheet.mode == "L"


def test_what_is_no_part_of_a_set_is_never_deleted_with_it(tmp_path):
    save_faces(tmp_path / "in", range(6))
    out = prepare([tmp_path / "in"], tmp_path / "set", size=32)
    (out / ".DS_Store").write_bytes(b"what a Mac leaves behind")
    save_faces(tmp_path / "in", range(7))
    prepare([tmp_path / "in"], out, size=32)
    (out / "notes.txt").write_text("dear")
    save_faces(tmp_path / "in", range(8))
    for force in (False, True):
        with pytest.raises(VaeganError, match=r"set also holds notes.txt, which is no part of a set"):
            prepare([tmp_path / "in"], out, size=32, force=force)
    (out / "notes.txt").unlink()
    save_faces(out / "incoming", range(8, 10))
    for force in (False, True):
        with pytest.raises(VaeganError, match=r"incoming lies in --out .*set, which is replaced whole"):
            prepare([tmp_path / "in", out / "incoming"], out, size=32, force=force)
    assert len(list((out / "incoming").iterdir())) == 2


def test_files_that_are_named_like_pythons_own_are_not_run(tmp_path, monkeypatch):
    save_faces(tmp_path / "in", range(4))
    for name in ("dataclasses", "struct", "queue"):
        (tmp_path / "in" / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path / "in")
    assert open_dataset(prepare(["."], tmp_path / "set", size=32)).counts["train"] > 0
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("size", [(10, 1500), (1500, 6)])
def test_a_picture_as_thin_as_a_line_does_not_cost_the_set(tmp_path, size):
    save_faces(tmp_path / "in", range(4), (80, 80))
    Image.new("RGB", size).save(tmp_path / "in" / "thin.png")
    assert sum(open_dataset(prepare([tmp_path / "in"], tmp_path / "set", size=32)).counts.values()) >= 5


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are Unicode")
def test_names_that_are_no_unicode(tmp_path):
    folder = tmp_path / "caf\udce9"
    save_faces(folder, range(4))
    with tarfile.open(tmp_path / "more\udce9.tar.gz", "w:gz") as archive:
        archive.add(folder / "face-000.png", "packed.png")
    counts = open_dataset(prepare([folder, tmp_path / "more\udce9.tar.gz"], tmp_path / "set", size=32)).counts
    assert counts["skipped"] == 1  # the same face again
    assert "packed.png" in (tmp_path / "set" / "manifest.jsonl").read_text()


def test_a_set_that_is_a_link_is_written_where_it_leads(tmp_path):
    (tmp_path / "disk" / "faces").mkdir(parents=True)
    (tmp_path / "set").symlink_to(tmp_path / "disk" / "faces")
    for count in (4, 5):
        save_faces(tmp_path / "in", range(count))
        prepare([tmp_path / "in"], tmp_path / "set", size=32)
        assert (tmp_path / "set").is_symlink() and (tmp_path / "disk" / "faces" / "set.json").is_file()
        counts = open_dataset(tmp_path / "set").counts
        assert counts["train"] + counts["val"] == count
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["faces"]


def test_the_working_directory_is_no_place_for_a_set(tmp_path, monkeypatch):
    save_faces(tmp_path / "in", range(4))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match=r"--out \. is a directory: give a name in it"):
        prepare([tmp_path / "in"], ".", size=32)
