"""Pipes, sockets, devices, directories and broken links among the sources, or in place of any file of a project."""

import contextlib
import os
import shutil
import socket
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("needs Linux's limits and special files", allow_module_level=True)

from fuzzing import COMMANDS, check, make_project

SOURCE_NAMES = ("x.png", "x.zip", "x.cbz", "x.tar", "x.tar.gz")
SOURCE_COMMANDS = (
    *("preprocess faces --out new --size 32", "preprocess {} --out new --size 32", "encode vae faces"),
    *("reconstruct vae {}", "interpolate vae --from {} --to face.png --frames 2 --scale 1"),
)
STATE_NAMES = (".preparing-new", ".preparing-new/state.sqlite", ".preparing-new/images.bin", "new", "new/set.json")
SPECIAL_KINDS = ("pipe", "socket", "directory", "device", "dangling link", "cyclic link")


def replace_by_special(path, kind):
    """Put something that is no regular file in the place of a file."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)  # a whole path would be too long
    elif kind == "directory":
        path.mkdir()
    else:
        targets = {"device": "/dev/zero", "dangling link": "nothing", "cyclic link": path.name}
        path.symlink_to(targets[kind])


@pytest.fixture(scope="module")
def project(drawn, prepared, tmp_path_factory):
    path = tmp_path_factory.mktemp("special") / "project"
    make_project(path, drawn, prepared)
    for face in sorted((path / "faces").iterdir())[4:]:
        face.unlink()
    return path


def check_file(project, folder, name, kind):
    """Put something special in the place of one file of the project, and use it by every command that reads it."""
    for index, command in enumerate(COMMANDS[name]):
        case = folder / f"case-{index}"
        shutil.copytree(project, case)
        replace_by_special(case / name, kind)
        with contextlib.chdir(case):
            check(command)


def check_source(project, folder, name, command, kind):
    """Put something special among the images, and use the folder, or it alone."""
    shutil.copytree(project, folder)
    replace_by_special(folder / "faces" / name, kind)
    with contextlib.chdir(folder):
        check(command.format(f"faces/{name}").split())


def check_state(project, folder, name, kind):
    """Put something special in place of the output of preprocess, or of its state."""
    shutil.copytree(project, folder)
    (folder / name).parent.mkdir(exist_ok=True)
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
    check_file(project, tmp_path, name, "pipe")


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
    check_file(project, tmp_path, name, kind)
