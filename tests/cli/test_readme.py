"""The README names every command and preset, and only options and files that exist."""

import re
from pathlib import Path

import pytest

from vaegan.cli import COMMANDS
from vaegan.config.model_config import PRESETS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"

pytestmark = pytest.mark.skipif(not README.is_file(), reason="needs the source tree")


@pytest.mark.parametrize("command", [command.__name__.replace("_", "-") for command in COMMANDS])
def test_every_command_is_in_the_readme(command):
    assert re.search(rf"vaegan {command}\b", README.read_text())


def test_every_option_in_the_readme_exists():
    import inspect

    flags = {"--help", "--version"}
    for command in COMMANDS:
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            for declared in getattr(parameter.annotation, "__metadata__", ()):
                names = [declared.default, *(declared.param_decls or ())] if hasattr(declared, "param_decls") else []
                flags |= {part for name in names if isinstance(name, str) for part in name.split("/")}
    text = re.sub(r"```bash\npython3 -m venv.*?```", "", README.read_text(), flags=re.DOTALL)
    text = re.sub(r"torchrun .*? -m -- ", "", text)
    text = re.sub(r"python -m benchmarks[^`\n]*", "", text)
    for torchrun_flag in ("--signals-to-handle", "--nnodes", "--rdzv-endpoint"):
        text = text.replace(torchrun_flag, "")
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert used, "the README names no option"
    assert used <= flags, used - flags


def test_every_preset_is_in_the_readme():
    text = README.read_text()
    assert all(f"`{preset}`" in text for preset in PRESETS)


def test_every_file_that_the_readme_links_to_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text()):
        if "://" not in target:
            assert (ROOT / target).exists(), target
