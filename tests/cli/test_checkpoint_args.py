"""File names that are made of seeds and other arguments."""

from itertools import combinations

from vaegan.cli.checkpoint_args import class_slug, parse_seeds, seeds_slug, shorten_slug


def test_different_seeds_give_different_names():
    lists = [[3], [3, 6], [3, 4, 5, 6], [3, 4], [4, 3], [3, 17, 42], [1, 5, 2, 8, 4, 9, 7], [1, 5, 2, 8, 4, 9, 6]]
    for first, second in combinations(lists, 2):
        assert seeds_slug(first) != seeds_slug(second)
    assert [seeds_slug(seeds) for seeds in lists[:6]] == ["3", "3,6", "3-6", "3-4", "4,3", "3,17,42"]
    assert seeds_slug(parse_seeds("3,17,20-25")) == "3,17,20-25"


def test_long_texts_are_shortened_and_stay_different():
    assert shorten_slug("glasses-yes", 11) == "glasses-yes"
    first, second = (shorten_slug("größe" * 9 + end, 12) for end in "ab")
    assert first != second and first.startswith("größegrö-etc-")


def test_a_class_takes_little_of_a_file_name():
    assert class_slug(None) == "" and class_slug("smile") == "-class-smile"
    assert len(class_slug("笑" * 60).encode()) < 64
