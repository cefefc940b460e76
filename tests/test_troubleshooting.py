"""The table of troubles is keyed to what the code says, and holds all of training's and evaluation's alarms."""

import ast
import re
from pathlib import Path

import pytest

import vaegan
from vaegan.diagnostics import ALARM_RULES

SOURCE = Path(vaegan.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "troubleshooting.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the source tree is not here")


def keys():
    return re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(), flags=re.MULTILINE)


def told(node):
    """The text of a string in the code, an ellipsis for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(told(part) or "…" for part in node.values)
    return ""


def texts(path):
    return [text for node in ast.walk(ast.parse(path.read_text())) if (text := told(node))]


def alarms():
    """Texts of warnings in training, and those that the diagnosis of a VAE and an evaluation's numbers end in."""
    found = {}
    for path in [*sorted((SOURCE / "training").glob("*.py")), SOURCE / "evaluation" / "evaluate.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Return) and path.name in ("diagnosis.py", "alarms.py"):
                text = told(node.value)
            elif isinstance(node, ast.Call) and node.args:
                name = ast.unparse(node.func)
                places = {"Warned": 0, "found.append": 0, "self._go_back": 2}  # which argument is the warning
                text = told(node.args[places[name]]) if name in places else ""
                text += ":" if name == "self._go_back" else ""
            else:
                continue
            if ":" in text and len(text) > 40:
                found[f"{path.name}: {text[:50]}"] = text
    return found


@pytest.mark.parametrize("key", keys())
def test_everything_in_the_table_is_said_somewhere(key):
    words = key.removeprefix("error: ")
    assert any(words in text for path in SOURCE.rglob("*.py") for text in texts(path))


@pytest.mark.parametrize("alarm", alarms())
def test_every_alarm_is_in_the_table(alarm):
    assert any(key in alarms()[alarm] for key in keys())


def test_the_alarms_are_found():
    text = " ".join(alarms())
    assert sum(name.startswith("alarms.py") for name in alarms()) == len(ALARM_RULES)
    for word in ("posterior collapse", "ada_rv", "memorized_fraction", "low coverage", "steps in a row", "do not fit"):
        assert word in text


def test_every_option_in_the_docs_exists():
    from vaegan.config.options import flag_name
    from vaegan.config.settings import (
        EvaluateSettings,
        GANSettings,
        InterpolateSettings,
        PreprocessSettings,
        VAESettings,
    )

    known = {
        flag_name(name)
        for settings in (EvaluateSettings, GANSettings, InterpolateSettings, PreprocessSettings, VAESettings)
        for name in settings.__dataclass_fields__
    }
    known |= {"--from-vae", "--run", "--best", "--separate", "--no-init-d-from-encoder"}
    for page in PAGE.parent.glob("*.md"):
        used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text()))
        assert used <= known, (page.name, used - known)
