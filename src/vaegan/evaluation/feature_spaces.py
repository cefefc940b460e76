"""The spaces in which pictures are compared: random features at three scales, and features learned from the set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from vaegan.checkpoint import METADATA_KEY, load_strict, load_tensors, open_safetensors, save_tensors
from vaegan.data.dataset import FEATURES_FILE, PreparedDataset
from vaegan.errors import VaeganError
from vaegan.events import EventHandler, Note, TaskProgress, WarningMessage
from vaegan.metrics.contrastive_features import ContrastiveFeatures, train_contrastive_features
from vaegan.metrics.random_features import LEVELS, RandomFeatures, Whitening, concat_features
from vaegan.utils.images import to_float

EXTRACT_BATCH_SIZE = 128
FEATURES_VERSION = "2"

FeatureExtractor = Callable[[Tensor], Tensor]


def _expected_tag(dataset: PreparedDataset) -> str:
    """What a kept network says of itself: on which pictures it was trained, and how."""
    return f"features {FEATURES_VERSION} of {dataset.fingerprint}"


def _saved_tag(path: Path) -> str:
    """The mark of the network at `path`, empty where there is none."""
    try:
        with open_safetensors(path) as file:
            return str((file.metadata() or {}).get(METADATA_KEY, ""))
    except VaeganError:
        return ""


def load_or_train_features(dataset: PreparedDataset, train_images: Tensor, emit: EventHandler) -> ContrastiveFeatures:
    """Return the network that tells the pictures of `data` apart: read from the set, or trained once and kept there.

    train: uint8 [N, C, S, S]. A set that cannot be written to is told, and the network is used all the same.
    """
    path = dataset.path / FEATURES_FILE
    network = ContrastiveFeatures(dataset.channels)
    if _saved_tag(path) == _expected_tag(dataset):
        try:
            load_strict(network, load_tensors(path), path)
            return network.eval().requires_grad_(False)
        except VaeganError as error:
            emit(WarningMessage(f"{error}: learning them again"))
    emit(Note(f"Learning what tells the pictures of {dataset.path} apart; this is done once for a set"))
    network = train_contrastive_features(
        lambda rows: to_float(train_images[rows]),
        len(train_images),
        dataset.channels,
        lambda done, total: emit(TaskProgress("Learning features", done, total, "steps")),
    )
    try:
        # one entry: safetensors writes several in no fixed order
        save_tensors(path, network.state_dict(), {METADATA_KEY: _expected_tag(dataset)})
    except VaeganError as error:
        emit(WarningMessage(f"{error}; the learned features are not kept"))
    return network


class FeatureSpaces:
    """Every space's features of pictures, made comparable by the training pictures' moments."""

    def __init__(self, extra_extractors: dict[str, FeatureExtractor], device: torch.device) -> None:
        """extra: more spaces by name, each from float [B, C, S, S] in [-1, 1] on `device` to features [B, d]."""
        self.random_features = RandomFeatures().to(device)
        self.extra_extractors, self.device = extra_extractors, device
        self.whitening: dict[str, Whitening] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the spaces: fine, middle, coarse, and the extra ones."""
        return (*LEVELS, *self.extra_extractors)

    @torch.no_grad()
    def _extract(self, images: Tensor, extra_space: str | None = None) -> dict[str, Tensor]:
        """Features of uint8 [N, C, S, S] by space, float32 [N, d] on the CPU; `only` of one of the extra spaces."""
        found = []
        for batch in torch.split(images, EXTRACT_BATCH_SIZE):
            seen = to_float(batch.to(self.device))
            features = self.random_features(seen) if extra_space is None else {}
            features |= {
                name: extract(seen) for name, extract in self.extra_extractors.items() if extra_space in (None, name)
            }
            found.append({name: values.float().cpu() for name, values in features.items()})
        return concat_features(found)

    def fit_whitening(self, train_images: Tensor) -> dict[str, Tensor]:
        """Measure the moments on uint8 [N, C, S, S] and return their features, as compared."""
        raw = self._extract(train_images)
        self.whitening = {name: Whitening(values) for name, values in raw.items()}
        return self._whiten(raw)

    def _whiten(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.whitening[name](values) for name, values in features.items()}

    def __call__(self, images: Tensor, extra_space: str | None = None) -> dict[str, Tensor]:
        """Features of uint8 [N, C, S, S] by space, as compared; `only` of one of the extra spaces."""
        return self._whiten(self._extract(images, extra_space))


def make_network_extractor(network: nn.Module, device: torch.device) -> FeatureExtractor:
    """The features of a network, as a space."""
    network = network.to(device)
    return lambda pictures: network(pictures.contiguous(memory_format=torch.channels_last))
