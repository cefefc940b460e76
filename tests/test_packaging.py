"""Wheel and sdist, built and installed as a package index gives them."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from vaegan.version import __version__

ROOT = Path(__file__).parents[1]
BUILD = """
import sys, warnings
warnings.simplefilter("error")
from setuptools import build_meta
out = sys.argv[1]  # building changes sys.argv
build_meta.build_sdist(out), build_meta.build_wheel(out)
"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="no source tree")]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("build")
    ignore = shutil.ignore_patterns(".git", ".venv", "build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "source", ignore=ignore)
    command = [sys.executable, "-c", BUILD, str(folder / "dist")]
    (folder / "dist").mkdir()
    subprocess.run(command, cwd=folder / "source", check=True, capture_output=True, text=True)
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return sdist, wheel


def test_the_wheel_holds_what_is_needed_and_runs(built, tmp_path):
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
        metadata = wheel.read(f"vaegan-{__version__}.dist-info/METADATA").decode()
        wheel.extractall(tmp_path)
    for name in ("py.typed", "report/page.css", "explore/page/index.html", "explore/page/explore.js"):
        assert f"vaegan/{name}" in names
    assert not any(name.startswith(("tests", "benchmarks")) for name in names)
    assert "License-Expression: MIT" in metadata and "Requires-Dist: torchvision" in metadata
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = "import vaegan, sys; print(vaegan.__file__); from vaegan.cli import main; sys.exit(main(['--version']))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == [str(tmp_path / "vaegan" / "__init__.py"), f"vaegan {__version__}"]


def test_the_sdist_holds_the_package_and_no_tests(built):
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", "src/vaegan/cli/help.py"} <= names
    assert not any(name.startswith(("tests", "benchmarks", "docs")) for name in names)
