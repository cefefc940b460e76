"""Classes of a dataset's images: which there are, which images have one, and batches with equally many of each."""

import re
from dataclasses import replace

import pytest
import torch

from colored import COLORS
from vaegan.data.classes import NO_CLASS, find_classes, read_class_ids
from vaegan.data.dataset import PreparedDataset, open_dataset
from vaegan.data.sampler import BatchSampler
from vaegan.errors import VaeganError


def test_the_classes_are_the_values_of_a_label_and_images_without_it_have_none(colored_set):
    dataset = open_dataset(colored_set)
    names = find_classes(dataset, "color")
    assert sorted(names) == sorted(COLORS)
    class_ids, images = read_class_ids(dataset, "color", names), dataset.load()
    for ids, split in zip((class_ids.train, class_ids.val), images, strict=True):
        means = split.float().mean((2, 3))
        for number, name in enumerate(names):
            assert (means[ids == number].argmax(1) == list(COLORS).index(name)).all()
        assert (means[ids == NO_CLASS] < 60).all()
    both = torch.cat([class_ids.train, class_ids.val])
    assert [int((both == number).sum()) for number in range(3)] == [COLORS[name] for name in names]
    assert int((both == NO_CLASS).sum()) == 4
    assert find_classes(dataset, "is_dark") == ("no", "yes")


def test_a_value_that_a_model_does_not_know_is_no_class(colored_set):
    class_ids = read_class_ids(open_dataset(colored_set), "color", ("blue", "pink", "red"))
    assert set(class_ids.train.tolist()) == {NO_CLASS, 0, 2}


@pytest.mark.parametrize(
    ("label", "parts"),
    [
        ("colour", ("--cond colour", "has no such label; there are", "color (3 values)")),
        ("weight", ("--cond weight: it is a number", "color, is_dark")),
    ],
)
def test_a_label_that_makes_no_classes_is_refused(colored_set, label, parts):
    with pytest.raises(VaeganError) as caught:
        find_classes(open_dataset(colored_set), label)
    assert all(part in str(caught.value) for part in parts) and "\n" not in str(caught.value)


def test_a_long_list_of_labels_is_cut_between_two_of_them(colored_set, monkeypatch):
    dataset = open_dataset(colored_set)
    labels = dataset.load_labels()
    columns = [replace(labels.columns[0], name=f"label-{number:03d}") for number in range(100)]
    monkeypatch.setattr(PreparedDataset, "load_labels", lambda self: replace(labels, columns=columns))
    with pytest.raises(VaeganError) as caught:
        find_classes(dataset, "colour")
    assert re.search(r", label-(\d+) \(3 values\) and (\d+) more$", str(caught.value))
    last, rest = re.findall(r"(\d+) \(3 values\) and (\d+) more$", str(caught.value))[0]
    assert int(last) + 1 + int(rest) == 100


def test_a_dataset_without_labels_says_how_to_add_them(prepared):
    with pytest.raises(VaeganError, match="prepare it with vaegan preprocess SRC --labels FILE"):
        find_classes(open_dataset(prepared), "color")


def test_balanced_epochs_have_equally_many_images_of_each_class_and_use_all():
    class_ids = torch.tensor([0] * 7 + [1] * 2 + [2] * 3)
    images = torch.arange(12, dtype=torch.uint8).view(-1, 1, 1, 1)
    sampler = BatchSampler(images, 7, 3, class_ids=class_ids, balance=True)
    rows = torch.cat([sampler.batch_indices(step) for step in range(6)])  # two epochs of 21
    for epoch in torch.split(rows, 21):
        assert class_ids[epoch].bincount().tolist() == [7, 7, 7]
        assert set(epoch.tolist()) == set(range(12))
        counts = epoch.bincount()
        assert counts[:7].tolist() == [1] * 7 and counts[7:9].sub(3.5).abs().max() <= 0.5
    assert not torch.equal(rows[:21], rows[21:])
    again = BatchSampler(images, 7, 3, class_ids=class_ids, balance=True)
    assert torch.equal(again.batch_indices(4), sampler.batch_indices(4))
    assert torch.equal(sampler.class_ids(4), class_ids[sampler[4].flatten().long()])


def test_classes_without_balance_leave_the_order_as_it_is():
    images = torch.arange(12, dtype=torch.uint8).view(-1, 1, 1, 1)
    plain, classed = BatchSampler(images, 5, 3), BatchSampler(images, 5, 3, class_ids=torch.arange(12) % 2)
    assert plain.class_ids(0) is None
    assert all(torch.equal(plain[step], classed[step]) for step in range(6))
