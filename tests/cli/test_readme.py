"""README and docs name only commands, options, presets and files that exist."""

import inspect
import re
from pathlib import Path

import pytest

from vaegan.cli import COMMANDS
from vaegan.config.model_config import PRESETS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# options of other tools
FOREIGN_OPTIONS = {
    "--dist",
    "--signals-to-handle",
    "--nnodes",
    "--rdzv-endpoint",
    "--nproc-per-node",
    "--help",
    "--version",
    "--install-completion",
    "--index-url",
    "--gpus",
    "--rm",
}

pytestmark = pytest.mark.skipif(not README.is_file(), reason="the source tree is not here")


def all_flags():
    flags = set()
    for command in COMMANDS:
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            for option in getattr(parameter.annotation, "__metadata__", ()):
                names = [option.default, *(option.param_decls or ())] if hasattr(option, "param_decls") else []
                flags |= {flag for name in names if isinstance(name, str) for flag in name.split("/")}
    return flags


@pytest.mark.parametrize("command", [command.__name__.replace("_", "-") for command in COMMANDS])
def test_every_command_is_in_the_readme(command):
    assert re.search(rf"vaegan {command}\b", README.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_on_a_page_exists(page):
    text = re.sub(r"```bash\npython3 -m venv.*?```", "", page.read_text(), flags=re.DOTALL)
    text = re.sub(r"python -m (benchmarks|tests)[^`\n]*", "", text)
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - FOREIGN_OPTIONS
    assert used <= all_flags(), used - all_flags()


def test_the_readme_shows_options():
    assert "--from-vae" in README.read_text()


def test_every_preset_is_described():
    text = "".join(page.read_text() for page in PAGES)
    assert all(f"| `{preset}` |" in text for preset in PRESETS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_linked_file_exists(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_readme_is_short():
    assert len(README.read_text().split()) <= 1_500
