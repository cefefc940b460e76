"""All files of a run as values that are equal where the runs are, but for times and paths."""

import json
import re

TIMES = {"images_per_second", "path", "relative_path", "train_seconds"}
VARIES = re.compile(r"(?<=data-volatile>)[^<]*|(?<=<title>)[^<]*")


def untimed(value):
    """A JSON value without what depends on the clock and the place."""
    if isinstance(value, dict):
        return {name: untimed(part) for name, part in value.items() if name not in TIMES}
    return value


def contents(run):
    """Every file below `run` by its relative name: bytes, or JSON without times and paths."""
    found = {}
    for path in sorted(run.rglob("*")):
        if path.is_dir():
            continue
        name = path.relative_to(run).as_posix()
        if path.suffix == ".json":
            found[name] = untimed(json.loads(path.read_text()))
        elif path.suffix == ".jsonl":
            found[name] = [untimed(json.loads(line)) for line in path.read_text().splitlines()]
        elif path.suffix == ".html":
            found[name] = VARIES.sub("", path.read_text())
        else:
            found[name] = path.read_bytes()
    return found


def assert_same_run(one, other):
    """Say which file differs, if one does."""
    mine, theirs = contents(one), contents(other)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert value == theirs[name], name
