"""The pages name only commands, options, presets, files and anchors that exist."""

import re

import pytest
import typer
from pages import PAGES, README, ROOT, anchor, headings, inline_code, links, shell_commands

from test_layers import LAYERS
from vaegan.cli import COMMANDS, app
from vaegan.config.model_config import PRESETS

CHANGELOG = ROOT / "CHANGELOG.md"  # names options that are gone
NO_PROGRAMS = {"COMMAND"}
# options of torchrun and pytest
FOREIGN_OPTIONS = {"--dist", "--signals-to-handle", "--nnodes", "--rdzv-endpoint", "--nproc-per-node"}
FOREIGN_OPTIONS |= {"--install-completion", "--gpus", "--rm"}

pytestmark = pytest.mark.skipif(not README.is_file(), reason="the source tree is not here")


def options_by_command():
    group = typer.main.get_command(app)
    flags = {
        name: {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)}
        for name, command in group.commands.items()
    }
    return {name: names | {"-h", "--help"} for name, names in flags.items()}


OPTIONS = options_by_command()
ALL_OPTIONS = {flag for flags in OPTIONS.values() for flag in flags} | {"--version"}


def vaegan_command_lines(page):
    """Return the words after `vaegan` of each command line on a page, in blocks and in the text."""
    text = page.read_text()
    lines = [command[command.index("vaegan") + 1 :] for command in shell_commands(text) if "vaegan" in command]
    lines += [command[1:] for code in inline_code(text) if (command := code.split())[0] == "vaegan"]
    return [line for line in lines if line and line[0] not in NO_PROGRAMS]


def test_command_lines_are_found():
    assert ["train-gan", "--from-vae", "runs/vae"] in vaegan_command_lines(README)
    assert sum(len(vaegan_command_lines(page)) for page in PAGES) > 50


@pytest.mark.parametrize("command", [command.__name__.replace("_", "-") for command in COMMANDS])
def test_every_command_is_in_the_readme(command):
    assert re.search(rf"vaegan {command}\b", README.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_on_a_page_exists(page):
    for command, *arguments in vaegan_command_lines(page):
        if command in ("--help", "--version", "--install-completion", "help"):
            continue
        assert command in OPTIONS, f"there is no command {command}"
        flags = {word for word in arguments if re.match(r"--?[a-z]", word)}
        assert flags <= OPTIONS[command], f"vaegan {command} has no {flags - OPTIONS[command]}"


@pytest.mark.parametrize("page", [page for page in PAGES if page != CHANGELOG], ids=lambda page: page.name)
def test_every_option_on_a_page_exists(page):
    text = re.sub(r"```bash\npython3 -m venv.*?```", "", page.read_text(), flags=re.DOTALL)
    text = re.sub(r"(python -m (benchmarks|tests)|mkdocs|pip)[^`\n]*", "", text)
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - FOREIGN_OPTIONS
    assert used <= ALL_OPTIONS, used - ALL_OPTIONS


def test_every_preset_is_described():
    text = "".join(page.read_text() for page in PAGES)
    assert all(f"| `{preset}` |" in text for preset in PRESETS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_resolves(page):
    for target in links(page.read_text()):
        path, _, fragment = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if fragment:
            assert fragment in map(anchor, headings(file.read_text())), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_heading_has_an_anchor_of_its_own(page):
    anchors = [anchor(heading) for heading in headings(page.read_text())]
    if page != CHANGELOG:  # "Added" and "Changed" of every version
        assert len(set(anchors)) == len(anchors)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_hold_no_escaped_bars_in_code(page):
    assert not re.search(r"`[^`\n]*\\\|[^`\n]*`", page.read_text()), "the site shows the backslash"


def test_every_page_is_linked_from_the_readme():
    linked = {target.partition("#")[0] for target in links(README.read_text())}
    for page in PAGES:
        assert page == README or page.relative_to(ROOT).as_posix() in linked, page


def test_the_readme_is_short():
    assert len(README.read_text().split()) <= 1_500


def benchmark_command_lines():
    """Return the module and the options of each benchmark that a page names."""
    for page in PAGES:
        for name, arguments in re.findall(r"python -m benchmarks(?:\.(\w+))?([^`\n]*)", page.read_text()):
            yield name or "__main__", re.findall(r"(?<![\w-])--[a-z][a-z-]+", arguments.partition("#")[0])


def test_every_benchmark_on_a_page_exists():
    found = list(benchmark_command_lines())
    assert len(found) > 10
    for name, options in found:
        if name == "NAME":
            continue
        assert (ROOT / "benchmarks" / f"{name}.py").is_file(), name
        # benchmarks of trainings share the options of arms.py
        source = "".join((ROOT / "benchmarks" / f"{module}.py").read_text() for module in (name, "arms"))
        for option in options:
            assert f'"{option}"' in source, f"{name} {option}"


def test_every_benchmark_is_on_its_page():
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    for path in (ROOT / "benchmarks").glob("*.py"):
        if path.stem != "__main__" and "__main__" in path.read_text():
            assert f"`{path.stem}" in text, path.stem


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_source_file_on_a_page_exists(page):
    folders = (ROOT, ROOT / "src" / "vaegan", ROOT / "benchmarks" / "speed", ROOT / "tests")
    for name in re.findall(r"`((?:\w+/)*\w+\.py)\b", page.read_text()):
        found = any((folder / name).is_file() for folder in folders)
        assert found or any((ROOT / "src").rglob(name)) or any((ROOT / "benchmarks").rglob(name)), name


def test_the_architecture_shows_the_layers():
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text[text.index("| package |") : text.index("`vaegan --help`")]
    rows = [tuple(re.findall(r"`(\w+)`", row.split("|")[1])) for row in table.splitlines()[2:] if row]
    assert rows == [layer for layer in LAYERS if "__main__" not in layer]
