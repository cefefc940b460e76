"""A disk that is full ends a preparation in one line, and the same command resumes when there is space."""

import os
import subprocess
import sys

import pytest

from vaegan.cli import main

LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from vaegan.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of file sizes are POSIX only")
@pytest.mark.parametrize("max_file_bytes", [2_000, 100_000, 147_500])
def test_a_full_disk_is_one_line_with_the_way_to_go_on(drawn, prepared, tmp_path, max_file_bytes):
    """No file may grow beyond a size: that of the state's database, of the pixels, or of a shard."""
    out = tmp_path / "faces-32"
    arguments = ["preprocess", str(drawn), "--out", str(out), "--size", "32", "--val-fraction", "0.2", "-q"]
    command = [sys.executable, "-c", LIMITED, str(max_file_bytes), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: cannot write") and "run the same command again" in line
    assert not out.exists()

    assert main(arguments) == 0
    assert (out / "images-00000.safetensors").read_bytes() == (prepared / "images-00000.safetensors").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["faces-32"]
