"""A prepared dataset as a dataset of torchvision, for data loaders and other people's training loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torchvision.datasets import VisionDataset

from vaegan.data.dataset import SPLIT_NAMES, PreparedDataset
from vaegan.data.dataset import open_dataset as open_prepared_dataset
from vaegan.data.labels import NUMERIC
from vaegan.data.memmap import MemmapImages
from vaegan.errors import UsageError
from vaegan.utils.images import to_pil
from vaegan.utils.text import join_text

ALL_SPLITS = "all"


class PreparedVisionDataset(VisionDataset):  # type: ignore[misc] # torchvision has no types
    """The images of a prepared dataset, memory-mapped, as pairs of image and target.

    An image is a uint8 tensor [C, S, S], or what `transform` makes of it as a Pillow image, like in other datasets of
    torchvision. A target is the index in `classes` of the folder that the image came from, as in `ImageFolder`. With
    the name of a column of labels, it is the index of the image's value, -1 if it is missing, or the number itself.

    Attributes:
        classes: the folders of the images in their source, sorted; [""] if it had none. With labels, the values of the
            column; [] for numbers.
        class_to_idx: the index of each class.
        targets: the target of each image.
        names: the path of each image in its source.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        split: str,
        transform: Callable[[Any], Any] | None,
        target_transform: Callable[[Any], Any] | None,
        label: str | None = None,
    ) -> None:
        super().__init__(str(dataset.path), transform=transform, target_transform=target_transform)
        self.dataset, self.split = dataset, split
        self._splits = SPLIT_NAMES if split == ALL_SPLITS else (split,)
        names = dict(zip(SPLIT_NAMES, dataset.image_names(), strict=True))
        self.names = [name for split_name in self._splits for name in names[split_name]]
        self.targets: list[Any]
        if label is None:
            # classes of the whole dataset, so that the splits agree
            self.classes = sorted({_class_of(name) for split_names in names.values() for name in split_names})
            class_to_idx = {name: index for index, name in enumerate(self.classes)}
            self.targets = [class_to_idx[_class_of(name)] for name in self.names]
        else:
            self.classes, self.targets = self._read_labels(label)
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}
        self._images: list[MemmapImages] | None = None

    def _read_labels(self, name: str) -> tuple[list[str], list[Any]]:
        """Return the values of a column of labels, and the target of each image."""
        labels = self.dataset.load_labels()
        known = [column.name for column in labels.columns]
        if name not in known:
            raise UsageError(f"label {name!r}: {self.dataset.path} has the labels {join_text(known, 300)}")
        index = known.index(name)
        tables = dict(zip(SPLIT_NAMES, (labels.train, labels.val), strict=True))
        numbers = [number for split in self._splits for number in tables[split][:, index].tolist()]
        if labels.columns[index].kind == NUMERIC:
            return [], numbers
        return list(labels.columns[index].values), [-1 if math.isnan(number) else int(number) for number in numbers]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        row = range(len(self))[index]  # a negative index counts from the end; raises IndexError
        image: Any = self._read(row)
        target: Any = self.targets[row]
        if self.transform is not None:
            image = self.transform(to_pil(image))
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def _read(self, row: int) -> torch.Tensor:
        if self._images is None:
            memmaps = dict(zip(SPLIT_NAMES, self.dataset.open_memmap(), strict=True))
            self._images = [memmaps[split] for split in self._splits]
        for images in self._images:
            if row < len(images):
                return images[torch.tensor([row])][0]
            row -= len(images)
        raise IndexError(row)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the memory maps, which each worker process of a data loader opens for itself."""
        return {**self.__dict__, "_images": None}

    def extra_repr(self) -> str:
        """Describe split, images and classes, for `repr`.

        Returns:
            one line each.
        """
        size, channels = self.dataset.size, self.dataset.channels
        return f"Split: {self.split}\nImages: {size}x{size}, {channels} channels\nClasses: {len(self.classes)}"


def _class_of(name: str) -> str:
    """Return the first folder in the path of an image, as `ImageFolder` does."""
    folder, slash, _ = name.partition("/")
    return folder if slash else ""


def open_dataset(
    path: Path | str,
    split: str = "train",
    transform: Callable[[Any], Any] | None = None,
    target_transform: Callable[[Any], Any] | None = None,
    *,
    label: str | None = None,
) -> PreparedVisionDataset:
    """Open a prepared dataset as a `torchvision.datasets.VisionDataset`.

    Args:
        path: directory of the dataset.
        split: "train", "val" or "all".
        transform: is given each image as a Pillow image. Without it, images are uint8 tensors [C, S, S].
        target_transform: is given each target, the index of the image's class.
        label: column of the dataset's labels to take the targets from; None for the folders.

    Returns:
        the dataset, as pairs of image and target.

    Raises:
        UsageError: if there is no such split.
        VaeganError: if the dataset is missing or damaged.
    """
    if split not in (*SPLIT_NAMES, ALL_SPLITS):
        raise UsageError(f"split {split!r}: expected one of {', '.join((*SPLIT_NAMES, ALL_SPLITS))}")
    return PreparedVisionDataset(open_prepared_dataset(Path(path)), split, transform, target_transform, label)
