"""Feature spaces in which images are compared: random ones at three scales, and a learned one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from vaegan.checkpoint import METADATA_KEY, load_strict, load_tensors, open_safetensors, save_tensors
from vaegan.data.dataset import FEATURES_FILE, PreparedDataset
from vaegan.data.memmap import ImageArray
from vaegan.errors import VaeganError
from vaegan.events import EventHandler, Note, TaskProgress, WarningMessage
from vaegan.metrics.contrastive_features import ContrastiveFeatures, train_contrastive_features
from vaegan.metrics.random_features import LEVELS, RandomFeatures, Whitening, concat_features
from vaegan.utils.images import to_float

EXTRACT_BATCH_SIZE = 128
FEATURES_VERSION = "2"
MAX_FEATURE = 1e12

FeatureExtractor = Callable[[Tensor], Tensor]
"""From float [B, C, S, S] in [-1, 1] to features [B, d]."""


def _saved_tag(path: Path) -> str:
    """Return the tag in the file of a feature network; empty if there is none."""
    try:
        with open_safetensors(path) as file:
            return str((file.metadata() or {}).get(METADATA_KEY, ""))
    except VaeganError:
        return ""


def _fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the numbers of a network."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode("utf-8", "backslashreplace"))
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def channels_last(network: ContrastiveFeatures) -> FeatureExtractor:
    """Return the network as an extractor; its convolutions are faster on images in channels_last layout.

    Args:
        network: the feature network.

    Returns:
        maps images, float [N, C, S, S], to features [N, d].
    """
    return lambda images: network(images.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]


def load_or_train_features(
    dataset: PreparedDataset, train_images: ImageArray, emit: EventHandler
) -> ContrastiveFeatures:
    """Load the feature network from the dataset's directory, or train it and save it there.

    If it cannot be saved, a warning is emitted.

    Args:
        dataset: the dataset.
        train_images: its training images, uint8 [N, C, S, S].
        emit: receives progress, and a warning if the network cannot be saved.

    Returns:
        the network.
    """
    path, tag = dataset.path / FEATURES_FILE, f"features {FEATURES_VERSION} of {dataset.fingerprint}"
    network = ContrastiveFeatures(dataset.channels)
    if (saved_tag := _saved_tag(path)).startswith(tag):
        try:
            tensors = load_tensors(path)
            if saved_tag != f"{tag}, {_fingerprint(tensors)}":
                raise VaeganError(f"{path} is damaged: its numbers have changed")
            load_strict(network, tensors, path)
            return network.eval().requires_grad_(False)
        except VaeganError as error:
            emit(WarningMessage(f"{error}: training the features again"))
    emit(Note(f"Training features on {dataset.path}; this is done once per dataset"))
    network = train_contrastive_features(
        lambda rows: to_float(train_images[rows]),
        len(train_images),
        dataset.channels,
        lambda done, total: emit(TaskProgress("Training features", done, total, "steps")),
    )
    try:
        # one metadata entry: safetensors writes several in no fixed order
        tensors = network.state_dict()
        save_tensors(path, tensors, {METADATA_KEY: f"{tag}, {_fingerprint(tensors)}"})
    except VaeganError as error:
        emit(WarningMessage(f"{error}; the trained features are not saved"))
    return network


class FeatureSpaces:
    """Extract whitened features of images in every space; `fit_whitening` comes first.

    Args:
        extra_extractors: feature spaces beside the random ones, by name; their input is on `device`.
    """

    def __init__(self, extra_extractors: dict[str, FeatureExtractor], device: torch.device) -> None:
        self.random_features = RandomFeatures().to(device)
        self.extra_extractors, self.device = extra_extractors, device
        self.whitening: dict[str, Whitening] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all feature spaces."""
        return (*LEVELS, *self.extra_extractors)

    @torch.no_grad()
    def _extract(self, images: Tensor, extra_space: str | None = None) -> dict[str, Tensor]:
        batches = []
        for batch in torch.split(images, EXTRACT_BATCH_SIZE):
            inputs = to_float(batch.to(self.device))
            features = self.random_features(inputs) if extra_space is None else {}
            for name, extract in self.extra_extractors.items():
                if extra_space in (None, name):
                    features[name] = extract(inputs)
            batches.append({name: values.float().cpu() for name, values in features.items()})
        return concat_features(batches)

    def fit_whitening(self, train_images: Tensor) -> dict[str, Tensor]:
        """Fit the whitening of every space.

        Args:
            train_images: uint8 [N, C, S, S].

        Returns:
            the whitened features of these images, [N, d] by space.

        Raises:
            VaeganError: if features are not finite, or huge.
        """
        features = self._extract(train_images)
        for name, values in features.items():
            if not bool((values.abs() < MAX_FEATURE).all()):  # NaN compares false
                raise VaeganError(f"the {name} features are not finite, or huge: their network is damaged")
        self.whitening = {name: Whitening(values) for name, values in features.items()}
        return self._whiten(features)

    def _whiten(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.whitening[name](values) for name, values in features.items()}

    def __call__(self, images: Tensor, extra_space: str | None = None) -> dict[str, Tensor]:
        """Return whitened features of uint8 [N, C, S, S], float32 [N, d] by space; only of `extra_space` if given."""
        return self._whiten(self._extract(images, extra_space))
