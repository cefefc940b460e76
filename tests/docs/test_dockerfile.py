"""The Dockerfile, which no test can build: its commands are the README's, and what it names exists."""

import re
import shlex
import tomllib

import pytest
from pages import ROOT

DOCKERFILE = ROOT / "Dockerfile"
pytestmark = pytest.mark.skipif(not DOCKERFILE.is_file(), reason="no source tree")


def instructions(name):
    """Return the arguments of each instruction of a name."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    return [line.partition(" ")[2] for line in text.splitlines() if line.startswith(f"{name} ")]


def test_the_readme_builds_and_runs_it_as_its_comments_say():
    readme = " ".join((ROOT / "README.md").read_text().split())
    commands = re.findall(r"^# (docker [^#\n]*)", DOCKERFILE.read_text(), re.MULTILINE)
    build, run, run_on_gpu, _ = (shlex.split(command) for command in commands)
    shown = re.search(r"`(docker build .*?) && (docker run .*?)`, with `(--gpus all)` on a GPU", readme)
    assert shown is not None
    assert [shlex.split(command) for command in shown.groups()[:2]] == [build, run]
    assert [word for word in run_on_gpu if word not in shlex.split(shown.group(3))] == run


def test_the_results_lie_in_the_mounted_folder_and_the_command_is_vaegan():
    assert instructions("WORKDIR") == ["/work"] and instructions("ENTRYPOINT") == ['["vaegan"]']
    for command in re.findall(r"^# (docker run [^#\n]*)", DOCKERFILE.read_text(), re.MULTILINE):
        words = shlex.split(command)
        assert words[words.index("-v") + 1] == "$PWD:/work" and words[words.index("vaegan") :][1] in ("demo", "explore")


def test_what_is_copied_exists_and_is_not_ignored():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {word for line in instructions("COPY") for word in line.split()[:-1]}
    assert copied == kept and all((ROOT / name).exists() for name in copied)


def test_the_extras_and_the_python_version_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"/src\[([\w,]+)\]", DOCKERFILE.read_text())
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    version = re.fullmatch(r"python:(3\.\d+)-slim", instructions("FROM")[0]).group(1)
    assert f"Programming Language :: Python :: {version}" in project["classifiers"]
