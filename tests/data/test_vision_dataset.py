"""Prepared datasets as datasets of torchvision, and datasets of torchvision as sources."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset, TensorDataset
from torchvision import datasets, transforms

import vaegan
from vaegan.data.dataset import open_dataset as open_prepared
from vaegan.errors import VaeganError

OPTIONS = {"size": 32, "dedupe": "off", "val_fraction": 0.25}


@pytest.fixture(scope="module")
def by_class(drawn, tmp_path_factory):
    """A folder of images in a folder per class, as ImageFolder reads it."""
    folder = tmp_path_factory.mktemp("classes") / "faces"
    for index, path in enumerate(sorted(drawn.glob("*.png"))[:24]):
        target = folder / ("blue", "red")[index % 2] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder


@pytest.fixture(scope="module")
def prepared_classes(by_class, tmp_path_factory):
    return vaegan.prepare(by_class, tmp_path_factory.mktemp("prepared") / "set", **OPTIONS)


def test_a_dataset_is_a_vision_dataset_with_folders_as_classes(prepared_classes):
    dataset = vaegan.open_dataset(prepared_classes)
    assert isinstance(dataset, datasets.VisionDataset)
    assert dataset.classes == ["blue", "red"] and dataset.class_to_idx == {"blue": 0, "red": 1}
    train, val = open_prepared(prepared_classes).load()
    for row in (0, 5, -1):
        image, target = dataset[row]
        assert torch.equal(image, train[row]) and dataset.names[row].startswith(dataset.classes[target])
    both = vaegan.open_dataset(prepared_classes, "all")
    assert len(both) == 24 and torch.equal(both[len(train)][0], val[0])
    assert sorted(both.targets) == [0] * 12 + [1] * 12
    with pytest.raises(IndexError):
        dataset[len(dataset)]
    assert "Split: train" in repr(dataset) and "Classes: 2" in repr(dataset)


def test_transforms_are_given_pillow_images_as_elsewhere(prepared_classes):
    to_tensor = transforms.Compose([transforms.RandomHorizontalFlip(0.0), transforms.ToTensor()])
    dataset = vaegan.open_dataset(prepared_classes, "val", to_tensor, lambda target: target + 10)
    image, target = dataset[1]
    assert torch.equal(image, open_prepared(prepared_classes).load()[1][1] / 255) and target in (10, 11)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_loader_reads_all_images_also_in_processes(prepared_classes, workers):
    dataset = vaegan.open_dataset(prepared_classes, "all")
    assert dataset[3][0].shape == (3, 32, 32)  # opens the memory maps, which no process may inherit
    context = "spawn" if workers else None
    loader = DataLoader(dataset, batch_size=5, num_workers=workers, multiprocessing_context=context)
    batches = list(loader)
    assert torch.equal(torch.cat([images for images, _ in batches]), torch.cat(open_prepared(prepared_classes).load()))
    assert torch.cat([targets for _, targets in batches]).tolist() == dataset.targets


def test_a_set_without_folders_has_one_class(prepared):
    dataset = vaegan.open_dataset(prepared)
    assert dataset.classes == [""] and set(dataset.targets) == {0}


def test_bad_input(prepared, tmp_path):
    with pytest.raises(VaeganError, match="split 'test': expected one of train, val, all"):
        vaegan.open_dataset(prepared, "test")
    with pytest.raises(VaeganError, match="does not exist"):
        vaegan.open_dataset(tmp_path / "nothing")


def test_an_image_folder_of_torchvision_gives_the_same_dataset(by_class, prepared_classes, tmp_path):
    source = datasets.ImageFolder(by_class)
    path = vaegan.prepare(source, tmp_path / "set", **OPTIONS)
    ours, files = vaegan.open_dataset(path, "all"), vaegan.open_dataset(prepared_classes, "all")
    assert ours.classes == ["blue", "red"] and sorted(ours.targets) == sorted(files.targets)
    assert {image.numpy().tobytes() for image, _ in ours} == {image.numpy().tobytes() for image, _ in files}
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]
    # the same again is known
    before = (path / "set.json").stat().st_mtime_ns
    vaegan.prepare(datasets.ImageFolder(by_class), path, **OPTIONS)
    assert (path / "set.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("kind", ["tensors", "arrays", "images", "fake"])
def test_items_of_any_kind_are_read(kind, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), dtype=np.uint8)
    source = {
        "tensors": TensorDataset(torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.arange(6) % 2),
        "arrays": Subset([*pixels], range(6)),
        "images": Subset([(Image.fromarray(image), "a/b") for image in pixels], range(6)),
        "fake": datasets.FakeData(6, (3, 40, 40), 3),
    }[kind]
    path = vaegan.prepare(source, tmp_path / "set", size=32)
    dataset = vaegan.open_dataset(path, "all")
    assert len(dataset) == 6
    assert set(dataset.classes) <= ({"0", "1", "2"} if kind == "fake" else {"a_b"} if kind == "images" else {""})


def test_an_item_that_is_no_image_is_named(tmp_path):
    with pytest.raises(VaeganError, match="item 1 of the dataset: str"):
        vaegan.prepare(Subset([np.zeros((8, 8), np.uint8), "no image"], range(2)), tmp_path / "set", size=32)
    assert list(tmp_path.iterdir()) == []
