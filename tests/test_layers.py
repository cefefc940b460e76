"""Packages import only from lower layers, and nothing runs code that a file or a process sends."""

import ast
from pathlib import Path

import pytest

import vaegan

SOURCE = Path(vaegan.__file__).parent
# A package imports only from lines below its own; packages on one line do not know each other.
LAYERS = (
    ("__main__", "__init__"),
    ("cli",),
    ("demo", "explore"),
    ("training", "exporting"),
    ("evaluation",),
    ("report",),
    ("inference",),
    ("diagnostics",),
    ("run_lookup",),
    ("run_dir",),
    ("checkpoint", "metrics_log"),
    ("data", "models", "losses", "metrics"),
    ("config",),
    ("utils",),
    ("progress",),
    ("events",),
    ("errors", "version"),
)
LEVELS = {package: level for level, packages in enumerate(reversed(LAYERS)) for package in packages}
ALLOWED_IN = {"typer": ("cli",), "rich": ("cli", "progress")}


def package_of(path: Path) -> str:
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
    own = package_of(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] in ALLOWED_IN:
            assert own in ALLOWED_IN[parts[0]], f"{name} belongs to {' and '.join(ALLOWED_IN[parts[0]])}"
        if parts[0] != "vaegan" or len(parts) < 2:
            continue
        other = parts[1]
        assert other == own or LEVELS[other] < LEVELS[own], f"{own} imports {name}"


def test_every_package_has_a_layer():
    assert {package_of(path) for path in FILES} == set(LEVELS)


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
