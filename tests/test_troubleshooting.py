"""docs/troubleshooting.md lists messages of the code, and all warnings of training and evaluation."""

import ast
import re
from pathlib import Path

import pytest

import vaegan
from vaegan.diagnostics import ALARM_RULES

SOURCE = Path(vaegan.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "troubleshooting.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the source tree is not here")


def documented_keys():
    return re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(), flags=re.MULTILINE)


def text_of(node):
    """Return the text of a string or f-string, with an ellipsis for each value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "…" for part in node.values)
    return ""


def texts(path):
    return [text for node in ast.walk(ast.parse(path.read_text())) if (text := text_of(node))]


# Which argument of which function is a warning.
WARNING_ARGUMENTS = {"WarningMessage": 0, "warnings.append": 0, "self._roll_back": 1}


def warnings():
    """Return the warnings in training, diagnostics and evaluation: arguments, and what rules return."""
    found = {}
    paths = [*sorted((SOURCE / "training").glob("*.py")), SOURCE / "diagnostics.py", SOURCE / "evaluation/evaluate.py"]
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Return) and path.name == "diagnostics.py":
                text = text_of(node.value)
            elif isinstance(node, ast.Call) and node.args:
                name = ast.unparse(node.func)
                text = text_of(node.args[WARNING_ARGUMENTS[name]]) if name in WARNING_ARGUMENTS else ""
                text += ":" if name == "self._roll_back" else ""
            else:
                continue
            if ":" in text and len(text) > 40:
                found[f"{path.name}: {text[:60]}"] = text
    return found


@pytest.mark.parametrize("key", documented_keys())
def test_every_documented_message_is_in_the_source(key):
    message = key.removeprefix("error: ")
    assert any(message in text for path in SOURCE.rglob("*.py") for text in texts(path))


@pytest.mark.parametrize("warning", warnings())
def test_every_warning_is_documented(warning):
    assert any(key in warnings()[warning] for key in documented_keys())


def test_the_warnings_are_found():
    num_vae_rules, num_run_rules = 2, 1
    num_rules = len(ALARM_RULES) + num_vae_rules + num_run_rules
    assert sum(name.startswith("diagnostics.py") for name in warnings()) == num_rules
    text = " ".join(warnings().values())
    for start in ("posterior collapse", "overfitting", "memorization", "low coverage", "steps in a row", "every batch"):
        assert start in text
