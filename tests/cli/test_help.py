"""Help pages and completion, as a terminal of a given width shows them."""

import re
import shlex

import pytest
import typer

from vaegan.cli import COMMANDS, app, main
from vaegan.config.options import option_fields
from vaegan.config.settings import OPTION_GROUPS, GANSettings, VAESettings, group_options

PROGRAM = typer.main.get_command(app)
NAMES = [command.__name__.replace("_", "-") for command in COMMANDS]


def help_of(capsys, monkeypatch, *arguments, columns=100):
    monkeypatch.setenv("COLUMNS", str(columns))
    capsys.readouterr()
    assert main([*arguments]) == 0
    return capsys.readouterr().out


def flags_of(name):
    return {flag for param in PROGRAM.commands[name].params for flag in (*param.opts, *param.secondary_opts)}


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_cut_off(capsys, monkeypatch, name, columns):
    text = help_of(capsys, monkeypatch, name, "--help", columns=columns)
    assert max(map(len, text.splitlines())) <= columns
    assert "…" not in text and "..." not in re.sub(r"\w+\.\.\.|/\.\.\.", "", text)
    for flag in flags_of(name):
        if flag.startswith("-"):
            assert re.search(rf"{re.escape(flag)}(?![\w-])", text), flag


@pytest.mark.parametrize("name", NAMES)
def test_values_have_honest_names(capsys, monkeypatch, name):
    text = help_of(capsys, monkeypatch, name, "--help")
    assert not re.search(r"\[\[|<str>|<path>|<int>|<float>|\(default|default: \(", text)
    for param in PROGRAM.commands[name].params:
        is_flag = param.param_type_name == "option" and getattr(param, "is_flag", False)
        assert is_flag or param.metavar, param.name


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_use_options_that_exist(capsys, monkeypatch, name):
    text = help_of(capsys, monkeypatch, name, "--help")
    assert "Examples" in text
    for line in re.findall(r"│ (vaegan [^│]+)│", text):
        words = shlex.split(line, comments=True)
        assert words[1] == name
        assert {word for word in words if word.startswith("-")} <= flags_of(name), line


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in NAMES)], ids=" ".join)
def test_each_example_has_a_line_of_its_own_in_a_narrow_terminal(capsys, monkeypatch, arguments):
    text = help_of(capsys, monkeypatch, *arguments, columns=80)
    panel = text.split("─ Examples ─")[1].split("╰")[0]
    examples = re.findall(r"│ (.*) │", panel)
    assert examples and all(line.startswith("vaegan ") for line in examples)


def test_the_program_lists_all_commands_in_groups(capsys, monkeypatch):
    text = help_of(capsys, monkeypatch, "--help")
    assert all(re.search(rf"│ {name} .*\.\s+│$", text, re.MULTILINE) for name in NAMES)
    assert [text.index(f"─ {title} ─") for title in ("Train", "Use", "Look")] == sorted(
        text.index(f"─ {title} ─") for title in ("Train", "Use", "Look")
    )
    assert help_of(capsys, monkeypatch) == help_of(capsys, monkeypatch, "help") == text
    assert help_of(capsys, monkeypatch, "help", "sample") == help_of(capsys, monkeypatch, "sample", "--help")


@pytest.mark.parametrize("settings", [VAESettings, GANSettings])
def test_every_option_is_in_one_group(settings):
    fields = option_fields(settings)
    grouped = [name for names in group_options(fields).values() for name in names]
    assert sorted(grouped) == sorted(fields)
    known = {*option_fields(VAESettings), *option_fields(GANSettings)}
    assert {name for names in OPTION_GROUPS.values() for name in names} <= known


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["preprocess"], "error: missing argument 'SRC...'. See vaegan preprocess --help"),
        (["smaple"], "error: no such command 'smaple'. Did you mean 'sample'? See vaegan --help"),
        (["sample", "--seed", "x"], "error: --seed x: expected a whole number, at least 0 and at most 2,147,483,647"),
        (["train-vae", "--beta", "much"], "error: --beta much: expected a number, at least 0"),
    ],
)
def test_usage_errors_are_one_line(capsys, here, arguments, message):
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"{message}\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("train", ["train-vae", "train-gan"]),
        ("sample ", ["runs/gan", "runs/vae"]),
        ("sample w", ["weights.safetensors"]),
        ("sample runs/gan/m", ["runs/gan/model.safetensors"]),
        ("train-vae ", ["data/faces-64"]),
        ("train-gan --from-vae runs/v", ["runs/vae"]),
        ("train-gan --preset s", ["small"]),
        ("train-gan --loss hi", ["hinge"]),
        ("evaluate runs/gan d", ["data/faces-64", "data"]),
    ],
)
def test_the_shell_completes(capfd, here, monkeypatch, line, expected):
    for path in ("runs/gan/config.json", "runs/vae/config.json", "data/faces-64/set.json"):
        (here / path).parent.mkdir(parents=True)
        (here / path).touch()
    for path in ("weights.safetensors", "runs/gan/model.safetensors"):
        (here / path).touch()
    words = f"vaegan {line}".split(" ")
    monkeypatch.setenv("_VAEGAN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    assert main([]) == 0
    assert capfd.readouterr().out.split() == expected
