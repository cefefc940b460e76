"""Names that files get by what is in them."""

from itertools import combinations

from vaegan.cli.checkpoint_args import seeds_slug


def test_other_seeds_have_another_name():
    lists = [[3], [3, 6], [3, 4, 5, 6], [3, 4], [4, 3], [3, 17, 42], [1, 5, 2, 8, 4, 9, 7], [1, 5, 2, 8, 4, 9, 6]]
    for one, other in combinations(lists, 2):
        assert seeds_slug(one) != seeds_slug(other)
    assert [seeds_slug(one) for one in lists[:6]] == ["3", "3-and-6", "3-6", "3-4", "4-and-3", "3-17-42"]
