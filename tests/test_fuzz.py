"""Every file that a command reads, damaged: used or refused in one line, soon and in little memory."""

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("needs the limits of Linux", allow_module_level=True)

from fuzzing import check_damaged, make_project

CASES_PER_BLOCK, NUM_BLOCKS = 500, 20
NUM_QUICK_CASES = 10


@pytest.fixture(scope="module")
def project(drawn, prepared, tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "project"
    make_project(path, drawn, prepared)
    return path


def test_damaged_files_are_used_or_refused_by_every_command(project, tmp_path):
    for seed in range(NUM_QUICK_CASES):
        check_damaged(project, tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(NUM_BLOCKS))
def test_ten_thousand_damaged_files(project, tmp_path, block):
    seeds = range(1000 + block * CASES_PER_BLOCK, 1000 + (block + 1) * CASES_PER_BLOCK)
    refused = sum(check_damaged(project, tmp_path, seed) != 0 for seed in seeds)
    assert CASES_PER_BLOCK / 10 < refused < CASES_PER_BLOCK
