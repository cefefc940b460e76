"""A room imports only lower floors; data, models, losses and metrics do not know each other."""

import ast
from pathlib import Path

import pytest

import vaegan

SOURCE = Path(vaegan.__file__).parent
FLOORS = {
    **dict.fromkeys(("version", "errors", "events"), 0.0),
    **dict.fromkeys(("config", "files", "lock"), 0.1),
    "journal": 0.2,
    "architecture": 0.15,
    "video": 0.2,
    **dict.fromkeys(("settings", "charts"), 0.2),
    **dict.fromkeys(("images", "pyramid", "nearest", "device"), 1.0),
    "animation": 1.1,
    **dict.fromkeys(("data", "models", "losses", "metrics"), 2),
    "checkpoint": 3,
    **dict.fromkeys(("run", "generation"), 3.1),
    **dict.fromkeys(("report", "timelapse"), 3.2),
    "training": 4,
    **dict.fromkeys(("output", "inspection", "evaluation", "export"), 6),
    "inversion": 5.5,
    "reconstruction": 6.5,
    "walking": 6.6,
    **dict.fromkeys(("demo", "explore"), 7),
    "cli": 8,
    **dict.fromkeys(("__init__", "__main__"), 9),
}
TYPER_AND_RICH = {"typer", "rich"}


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down(path):
    own = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] in TYPER_AND_RICH:
            assert own == "cli", f"{name} belongs to cli"
        if parts[0] != "vaegan" or len(parts) < 2:
            continue
        other = parts[1]
        assert other == own or FLOORS[other] < FLOORS[own], f"{own} (floor {FLOORS[own]}) imports {name}"


def test_every_room_has_a_floor():
    assert {room(path) for path in FILES} == set(FLOORS)


# what runs code that a file or another process sends; the object collectives of torch.distributed are pickles too
FORBIDDEN = (
    *("torch.load", "torch.save", "pickle", "marshal", "shelve", "joblib", "eval(", "exec(", "compile(", "__import__"),
    *("yaml.load", "np.load", "numpy.load", "object_list", "gather_object", "mp.Queue", "torch.jit", "torch.package"),
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_that_runs_a_strangers_code(path):
    text = path.read_text()
    for harmless in (".eval()", "re.compile(", "no pickle", "No pickle", "sent as a pickle"):
        text = text.replace(harmless, "")
    for word in FORBIDDEN:
        assert word not in text, word
