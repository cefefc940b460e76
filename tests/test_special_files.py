"""Pipes, sockets, devices, directories and broken links among the sources, or in place of any file of a project."""

import contextlib
import shutil
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("needs Linux's limits and special files", allow_module_level=True)

from fuzzing import COMMANDS, SPECIAL_KINDS, check, check_special, make_project, replace_by_special

SOURCE_NAMES = ("x.png", "x.zip", "x.cbz", "x.tar", "x.tar.gz")
SOURCE_COMMANDS = (
    *("preprocess faces --out new --size 32", "preprocess {} --out new --size 32", "encode vae faces"),
    *("reconstruct vae {}", "interpolate vae --from {} --to face.png --frames 2 --scale 1"),
)
STATE_NAMES = (".preparing-new", ".preparing-new/state.sqlite", ".preparing-new/images.bin", "new", "new/set.json")


@pytest.fixture(scope="module")
def project(drawn, prepared, tmp_path_factory):
    path = tmp_path_factory.mktemp("special") / "project"
    make_project(path, drawn, prepared)
    for face in sorted((path / "faces").iterdir())[4:]:
        face.unlink()
    return path


def check_source(project, folder, name, command, kind):
    """Put something special among the images, and use the folder, or it alone."""
    shutil.copytree(project, folder)
    (folder / "faces" / name).touch()
    replace_by_special(folder / "faces" / name, kind)
    with contextlib.chdir(folder):
        check(command.format(f"faces/{name}").split())


def check_state(project, folder, name, kind):
    """Put something special in place of the output of preprocess, or of its state."""
    shutil.copytree(project, folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()
    replace_by_special(folder / name, kind)
    with contextlib.chdir(folder):
        check(["preprocess", "faces", "--out", "new", "--size", "32"])
        check(["preprocess", "faces", "--out", "new", "--size", "32", "--force"])


@pytest.mark.parametrize("command", SOURCE_COMMANDS)
@pytest.mark.parametrize("name", SOURCE_NAMES)
def test_a_pipe_among_the_sources(project, tmp_path, name, command):
    check_source(project, tmp_path / "case", name, command, "pipe")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_pipe_in_place_of_every_file(project, tmp_path, name):
    check_special(project, tmp_path, name, "pipe")


@pytest.mark.parametrize("name", STATE_NAMES)
@pytest.mark.parametrize("kind", ["pipe", "dangling link"])
def test_special_files_in_place_of_the_output_of_preprocess(project, tmp_path, name, kind):
    check_state(project, tmp_path / "case", name, kind)


@pytest.mark.slow
@pytest.mark.parametrize("command", SOURCE_COMMANDS)
@pytest.mark.parametrize("name", SOURCE_NAMES)
@pytest.mark.parametrize("kind", SPECIAL_KINDS)
def test_special_files_among_the_sources(project, tmp_path, name, command, kind):
    check_source(project, tmp_path / "case", name, command, kind)


@pytest.mark.slow
@pytest.mark.parametrize("name", STATE_NAMES)
@pytest.mark.parametrize("kind", SPECIAL_KINDS)
def test_any_special_file_in_place_of_the_output_of_preprocess(project, tmp_path, name, kind):
    check_state(project, tmp_path / "case", name, kind)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("kind", SPECIAL_KINDS)
def test_special_files_in_place_of_every_file(project, tmp_path, name, kind):
    check_special(project, tmp_path, name, kind)
