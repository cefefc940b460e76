"""Labels of datasets: reading tables, inferring kinds, finding the row of each image, and what the dataset keeps."""

import json
import math
import shutil
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from preprocess_helpers import save_faces

from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.data.labels import BINARY, CATEGORICAL, NUMERIC
from vaegan.data.preprocess.labels import encode_label, infer_column, match_labels, read_label_table
from vaegan.data.preprocess.preprocess import prepare
from vaegan.errors import UsageError, VaeganError
from vaegan.events import Note, WarningMessage

CSV = "file,smile,kind,age\n" + "".join(
    f"face-{index:03d}.png,{index % 2},{('cat', 'dog', 'owl')[index % 3]},{20 + index}\n" for index in range(12)
)


@pytest.fixture
def faces(tmp_path):
    save_faces(tmp_path / "faces", range(12))
    return tmp_path / "faces"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def labels_by_name(dataset):
    """Return {name of an image: [label of each column]}."""
    labels, names = dataset.load_labels(), dataset.image_names()
    tables = zip(names, (labels.train, labels.val), strict=True)
    return {name: row for split, table in tables for name, row in zip(split, table.tolist(), strict=True)}


# ---- Kinds of columns -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["0", "1", "0"], BINARY),
        (["-1", "1", "1"], BINARY),
        (["Yes", "no", "NO"], BINARY),
        (["true", "False", ""], BINARY),
        (["1.0", "0.0", "0.0"], BINARY),
        (["1", "2", "3"], NUMERIC),
        (["1e3", "-0.5", "nan"], NUMERIC),
        (["left", "right", "left"], CATEGORICAL),
        (["1", "2", "two", "2"], CATEGORICAL),
    ],
)
def test_the_kind_of_a_column_is_inferred(texts, kind):
    column, reason = infer_column("x", texts)
    assert column is not None and column.kind == kind, reason


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["a", "a", ""], "every image has the same value"),
        (["a", "b", "c"], "every image has another value"),
        (["", "nan"], "all values are missing"),
        ([f"v{i}" for i in range(200)] * 2, "200 different values"),
        (["x" * 500, "y", "y"], "not text of at most"),
    ],
)
def test_a_column_that_is_no_label_has_a_reason(texts, reason):
    column, found = infer_column("x", texts)
    assert column is None and reason in found


def test_a_kind_can_be_given(tmp_path):
    table = write(tmp_path / "t.csv", "file,number\na.png,1\nb.png,2\nc.png,1\n")
    assert read_label_table(table, "number:categorical").columns[0].values == ("1", "2")
    with pytest.raises(UsageError, match="expected a kind of binary, categorical, numeric"):
        read_label_table(table, "number:integer")
    with pytest.raises(UsageError, match="is not binary"):
        read_label_table(table, "number:binary")


@given(st.lists(st.text(max_size=8), min_size=2, max_size=12))
def test_every_text_gets_a_number_that_is_valid_for_its_column(texts):
    column, reason = infer_column("x", texts)
    if column is None:
        assert reason
        return
    for text in texts:
        number = encode_label(column, text)
        if column.kind != NUMERIC:
            assert math.isnan(number) or number in range(len(column.values))
        else:
            assert math.isnan(number) or math.isfinite(number)


# ---- Files ----------------------------------------------------------------------------------------------------------


def test_all_formats_of_tables_give_the_same_labels(tmp_path):
    rows = [("a.png", "1", "x"), ("b.png", "-1", "y"), ("c.png", "1", "x")]
    tables = {
        "t.csv": "image_id,smile,kind\n" + "".join(",".join(row) + "\n" for row in rows),
        "t.tsv": "image_id\tsmile\tkind\n" + "".join("\t".join(row) + "\n" for row in rows),
        "t.jsonl": "".join(json.dumps({"file_name": a, "smile": int(b), "kind": c}) + "\n\n" for a, b, c in rows),
        "t.txt": "3\nsmile kind\n" + "".join("  ".join(row) + "\n" for row in rows),
    }
    for name, text in tables.items():
        table = read_label_table(write(tmp_path / name, text))
        assert [column.name for column in table.columns] == ["smile", "kind"], name
        assert table.rows == {"a.png": [1.0, 0.0], "b.png": [0.0, 1.0], "c.png": [1.0, 0.0]}, name


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "", "needs a header"),
        ("t.csv", "file,a\n", "holds no rows"),
        ("t.csv", "file,a,a\nx,1,2\n", "two columns are called 'a'"),
        ("t.csv", "file,a\nx.png,1\ny.png,1\n", "no column is a label (a (every image has the same value, 1))"),
        ("t.csv", "file,a\n\0", "holds no rows|no column is a label|cannot be read"),
        ("t.jsonl", '{"file": "a"}\n[1]\n', "line 2 is no JSON object"),
        ("t.jsonl", "[" * 100_000, "line 1 is no JSON object"),
        ("t.txt", "smile\na.png 1\nb.png\n", "different numbers of columns"),
        ("t.png", "", "expected a .csv"),
        ("missing.csv", None, "no such file"),
    ],
)
def test_a_bad_table_has_a_message_of_one_line(tmp_path, name, text, message):
    path = tmp_path / name
    if text is not None:
        write(path, text)
    with pytest.raises(VaeganError) as caught:
        read_label_table(path)
    assert any(part in str(caught.value) for part in message.split("|")) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ('file_name,"a; b; c"', ["a; b; c"]),
        ('"file_name","a; b; c"', ["a; b; c"]),
        ('file_name;"a, b, c"', ["a, b, c"]),
        ("file_name,a;b;c", ["a;b;c"]),
    ],
)
def test_delimiters_in_names_of_columns_separate_nothing(tmp_path, header, names):
    mark = ";" if header.startswith("file_name;") else ","
    rows = "".join(f"{name}.png{mark}{value}\n" for name, value in zip("abc", "101", strict=True))
    table = read_label_table(write(tmp_path / "t.csv", f"{header}\n{rows}"))
    assert [column.name for column in table.columns] == names


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_header_tells_the_delimiter(tmp_path, suffix, delimiter):
    lines = ['file|smile|"height, in cm; or so"', "a.png|1|1.5", "b.png|0|2.5", "c.png|1|3.5"]
    table = read_label_table(write(tmp_path / f"t{suffix}", "\n".join(lines).replace("|", delimiter)))
    assert [column.name for column in table.columns] == ["smile", "height, in cm; or so"]
    assert table.rows == {"a.png": [1.0, 1.5], "b.png": [0.0, 2.5], "c.png": [1.0, 3.5]}


def test_a_delimiter_in_a_name_is_part_of_the_name(tmp_path):
    table = read_label_table(write(tmp_path / "t.csv", "file;smile;size, shoe\na.png;1;40\nb.png;0;41\n"))
    assert [column.name for column in table.columns] == ["smile", "size, shoe"]
    table = read_label_table(write(tmp_path / "u.tsv", "file\ta,b,c\na.png\t1\nb.png\t0\n"))
    assert [column.name for column in table.columns] == ["a,b,c"]


SIZES = {"a": "klein", "b": "groß", "c": "groß"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".csv", "file,größe\r\na.png,klein\r\nb.png,groß\r\nc.png,groß\r\n"),
        (".csv", "file;größe\na.png;klein\nb.png;groß\nc.png;groß\n"),
        (".tsv", "file\tgröße\ra.png\tklein\rb.png\tgroß\rc.png\tgroß\r"),
        (".jsonl", "".join(f'{{"f": "{name}.png", "größe": "{text}"}}\n' for name, text in SIZES.items())),
        (".txt", "3\ngröße\na.png klein\nb.png groß\nc.png groß\n"),
    ],
)
def test_the_byte_order_mark_tells_the_encoding(tmp_path, encoding, suffix, text):
    path = tmp_path / f"t{suffix}"
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""  # "utf-16" writes its own
    path.write_bytes((mark + text).encode(encoding))
    table = read_label_table(path)
    assert [(column.name, column.values) for column in table.columns] == [("größe", ("groß", "klein"))]
    assert table.rows == {"a.png": [1.0], "b.png": [0.0], "c.png": [0.0]}


@pytest.mark.parametrize("content", ["file,größe\na.png,klein\nb.png,groß\n".encode("latin-1"), b"\xff\xfef"])
def test_a_table_in_another_encoding_is_refused(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(VaeganError, match=r"cannot be read \(.*\): save it as UTF-8$"):
        read_label_table(path)


# ---- Matching -------------------------------------------------------------------------------------------------------


def match(tmp_path, keys, names, copies=None):
    text = "file,n\n" + "".join(f"{key},{number}\n" for number, key in enumerate(keys, 1))
    matched = match_labels(read_label_table(write(tmp_path / "t.csv", text), "n:numeric"), names, copies or {})
    return [None if math.isnan(row[0]) else int(row[0]) for row in matched.rows], matched


@pytest.mark.parametrize(
    ("keys", "names", "expected"),
    [
        (["a.png", "b.png"], ["b.png", "a.png"], [2, 1]),
        (["a", "b"], ["deep/b.png", "deep/a.jpg"], [2, 1]),
        (["images/a.png", "images/b.png"], ["a.png", "b.png"], [1, 2]),
        (["x/a.png", "y/a.png"], ["all/y/a.png", "all/x/a.png"], [2, 1]),
        (["x/a.png", "y/a.png"], ["a.png", "z/a.png"], [None, None]),
        (["a.png", "b.png"], ["x/a.png", "y/a.png", "b.png"], [None, None, 2]),
        (["a.png", "b.png"], ["a.png", "y/a.png"], [1, None]),
        (["./a.png", "c\\b.png"], ["a.png", "c/b.png"], [1, 2]),
    ],
)
def test_rows_are_found_by_path_and_never_guessed(tmp_path, keys, names, expected):
    assert match(tmp_path, keys, names)[0] == expected


def test_images_without_a_row_and_rows_without_an_image_are_counted(tmp_path):
    found, matched = match(tmp_path, ["a.png", "b.png", "c.png"], ["a.png", "z.png", "a.png"])
    assert found == [1, None, 1]  # two frames of one file
    assert (matched.num_unlabeled, matched.num_unused) == (1, 2)


def test_an_image_takes_the_row_of_a_copy_that_was_dropped(tmp_path):
    assert match(tmp_path, ["copy.png", "b.png"], ["a.png"], {"a.png": ["other.png", "copy.png"]})[0] == [1]


@pytest.mark.parametrize("columns", [["age:numeric", "smile"], ("age:numeric", "smile"), "age:numeric, smile"])
def test_columns_may_be_a_list_in_python(faces, tmp_path, columns):
    table = write(tmp_path / "t.csv", CSV)
    out = prepare(faces, tmp_path / "set", size=32, labels=str(table), label_columns=columns)
    assert [column.name for column in open_dataset(out).load_labels().columns] == ["age", "smile"]
    assert (
        json.loads((out / "set.json").read_text())["options"]["label_columns"].replace(" ", "") == "age:numeric,smile"
    )


def test_a_column_whose_name_has_a_comma_can_be_chosen(tmp_path):
    table = write(tmp_path / "t.csv", 'file,"hair, color",smile\na.png,1,0\nb.png,2,1\nc.png,1,1\n')
    for chosen in ('"hair, color":categorical', 'smile,"hair, color:categorical"'):
        assert read_label_table(table, chosen).columns[-1].name == "hair, color"


# ---- Datasets -------------------------------------------------------------------------------------------------------


def test_a_dataset_keeps_its_labels(faces, tmp_path):
    table = write(tmp_path / "t.csv", CSV)
    dataset = open_dataset(prepare(faces, tmp_path / "set", size=32, labels=str(table), val_fraction=0.3))
    columns = [(column.name, column.kind, column.values) for column in dataset.load_labels().columns]
    assert columns == [
        ("smile", BINARY, ("no", "yes")),
        ("kind", CATEGORICAL, ("cat", "dog", "owl")),
        ("age", NUMERIC, ()),
    ]
    for name, row in labels_by_name(dataset).items():
        index = int(name[5:8])
        assert row == [index % 2, index % 3, 20 + index]
    assert dataset.is_intact()
    (dataset.path / "labels.safetensors").write_bytes(b"x")
    assert not dataset.is_intact()
    with pytest.raises(VaeganError, match="damaged"):
        dataset.load_labels()


def test_labels_are_part_of_the_fingerprint_and_change_no_image(faces, tmp_path):
    plain = open_dataset(prepare(faces, tmp_path / "plain", size=32))
    prepared = []
    for number in range(2):
        table = write(tmp_path / f"{number}.csv", CSV.replace("face-000.png,0", f"face-000.png,{number}"))
        prepared.append(open_dataset(prepare(faces, tmp_path / f"set{number}", size=32, labels=str(table))))
    assert len({plain.fingerprint, *(dataset.fingerprint for dataset in prepared)}) == 3
    assert all(torch.equal(a, b) for a, b in zip(plain.load(), prepared[0].load(), strict=True))
    with pytest.raises(VaeganError, match="has no labels"):
        plain.load_labels()


def test_a_changed_table_prepares_the_dataset_again(faces, tmp_path):
    table = write(tmp_path / "t.csv", CSV)
    first = open_dataset(prepare(faces, tmp_path / "set", size=32, labels=str(table)))
    events: list = []
    prepare(faces, tmp_path / "set", size=32, labels=str(table), on_event=events.append)
    assert any(isinstance(event, Note) and "up to date" in event.text for event in events)
    write(table, CSV.replace("cat", "lion"))
    second = open_dataset(prepare(faces, tmp_path / "set", size=32, labels=str(table)))
    assert first.fingerprint != second.fingerprint
    assert "lion" in second.load_labels().columns[1].values


def test_folders_are_classes(tmp_path):
    for index, folder in enumerate(("cat", "dog")):
        save_faces(tmp_path / "in" / folder, range(10 * index, 10 * index + 4))
    dataset = open_dataset(prepare(tmp_path / "in", tmp_path / "set", size=32, labels="folders"))
    values = dataset.load_labels().columns[0].values
    assert values == ("cat", "dog")
    assert all(name.startswith(values[int(row[0])] + "/") for name, row in labels_by_name(dataset).items())


def test_folders_need_two_folders(faces, tmp_path):
    with pytest.raises(VaeganError, match="must lie in two or more folders"):
        prepare(faces, tmp_path / "set", size=32, labels="folders")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_metadata_beside_the_images_is_found_and_told(faces, tmp_path, name):
    text = CSV.replace("file,", "file_name,", 1)
    if name.endswith("l"):
        keys, *rows = (line.split(",") for line in text.splitlines())
        text = "".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in rows)
    write(faces / name, text)
    events: list = []
    dataset = open_dataset(prepare(faces, tmp_path / "set", size=32, on_event=events.append))
    assert [column.name for column in dataset.load_labels().columns] == ["smile", "kind", "age"]
    assert any(isinstance(event, Note) and name in event.text for event in events)
    ignoring = open_dataset(prepare(faces, tmp_path / "none", size=32, labels="none"))
    assert not ignoring.has_labels


def test_metadata_without_labels_is_no_error(faces, tmp_path):
    write(faces / "metadata.csv", "file_name,text\n" + "".join(f"face-{i:03d}.png,caption {i}\n" for i in range(12)))
    events: list = []
    dataset = open_dataset(prepare(faces, tmp_path / "set", size=32, on_event=events.append))
    assert not dataset.has_labels
    assert any(isinstance(event, Note) and "No labels are used" in event.text for event in events)


def test_archives_and_groups_keep_their_labels(faces, tmp_path):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in sorted(faces.iterdir()):
            archive.write(path, f"inside/{path.name}")
    table = write(tmp_path / "t.csv", CSV)
    options = {"size": 32, "labels": str(table), "group_by": r"face-(\d\d)", "val_fraction": 0.4}
    dataset = open_dataset(prepare(tmp_path / "in.zip", tmp_path / "set", **options))
    rows = labels_by_name(dataset)
    assert len(rows) == 12
    assert all(row[2] == 20 + int(name[-7:-4]) for name, row in rows.items())


def test_images_and_rows_without_counterpart_are_told_once(faces, tmp_path):
    shutil.copy(faces / "face-000.png", faces / "face-000-again.png")  # a copy, dropped
    save_faces(faces, range(20, 22))
    table = write(tmp_path / "t.csv", CSV + "gone.png,1,cat,3\n")
    events: list = []
    prepare(faces, tmp_path / "set", size=32, labels=str(table), on_event=events.append)
    warnings = [event.text for event in events if isinstance(event, WarningMessage)]
    assert any("images without a row in the labels: 2 of 14; rows without an image: 1" in text for text in warnings)


def test_a_table_of_other_images_is_refused_before_the_work(faces, here, capsys):
    write(here / "t.csv", CSV.replace("face-", "photo-"))
    assert main(["preprocess", str(faces), "--size", "32", "--labels", "t.csv"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: --labels t.csv: no row of the labels fits an image. Its first row is of 'photo-000.png', the first"
        " image is 'face-000.png': the column of names must hold the images' file names"
    )
    assert not (here / "data").exists()
    write(here / "t.csv", CSV)  # mended
    assert main(["preprocess", str(faces), "--size", "32", "--labels", "t.csv", "-q"]) == 0


def test_a_table_of_skipped_files_only_is_refused(faces, here, capsys):
    write(faces / "broken.png", "x")
    write(faces / "empty.png", "y")
    write(here / "t.csv", "file,smile\nbroken.png,1\nempty.png,0\n")
    assert main(["preprocess", str(faces), "--size", "32", "--labels", "t.csv"]) == 1
    assert "no row of the labels fits an image" in capsys.readouterr().err.splitlines()[-1]
    assert not (here / "data" / "faces-32").exists()


def test_metadata_of_other_images_is_left_out(faces, tmp_path):
    write(faces / "metadata.csv", CSV.replace("face-", "photo-"))
    for note in ("'photo-000.png', the first image is 'face-000.png'", "up to date"):
        events: list = []
        dataset = open_dataset(prepare(faces, tmp_path / "set", size=32, on_event=events.append))
        assert not dataset.has_labels
        assert any(isinstance(event, Note) and note in event.text for event in events)


def test_a_missing_table_is_named_before_other_options(faces, here, capsys):
    assert main(["preprocess", str(faces), "--size", "32", "-q"]) == 0
    assert main(["preprocess", str(faces), "--size", "32", "--labels", "gone.csv"]) == 1
    assert "error: --labels gone.csv: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--label-columns", "smile"], "needs --labels FILE"),
        (["--labels", "folders", "--label-columns", "smile"], "needs a file of labels"),
        (["--labels", "t.csv", "--label-columns", "hat"], "has the columns smile, kind, age"),
        (["--labels", "gone.csv"], "no such file"),
    ],
)
def test_wrong_label_options_have_one_line_before_the_work(faces, here, capsys, flags, message):
    write(here / "t.csv", CSV)
    assert main(["preprocess", str(faces), "--size", "32", *flags]) in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not (here / "data").exists()


def test_info_and_the_summary_show_the_labels(faces, here, capsys):
    write(here / "t.csv", CSV)
    assert main(["preprocess", str(faces), "--size", "32", "--labels", "t.csv"]) == 0
    assert "Labels: smile (yes or no), kind (3 values), age (number)" in capsys.readouterr().err
    assert main(["info", "data/faces-32"]) == 0
    assert "smile (yes or no), kind (3 values), age (number); 0 images have none" in capsys.readouterr().out
