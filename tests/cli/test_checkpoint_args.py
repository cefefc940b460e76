"""File names that are made of seeds."""

from itertools import combinations

from vaegan.cli.checkpoint_args import parse_seeds, seeds_slug


def test_different_seeds_give_different_names():
    lists = [[3], [3, 6], [3, 4, 5, 6], [3, 4], [4, 3], [3, 17, 42], [1, 5, 2, 8, 4, 9, 7], [1, 5, 2, 8, 4, 9, 6]]
    for first, second in combinations(lists, 2):
        assert seeds_slug(first) != seeds_slug(second)
    assert [seeds_slug(seeds) for seeds in lists[:6]] == ["3", "3,6", "3-6", "3-4", "4,3", "3,17,42"]
    assert seeds_slug(parse_seeds("3,17,20-25")) == "3,17,20-25"
