"""The spaces in which pictures are compared: random features at three scales, and features learned from the set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from vaegan.checkpoint import METADATA, fill, load_tensors, opened, save_tensors
from vaegan.data.dataset import FEATURES, PreparedSet
from vaegan.errors import VaeganError
from vaegan.events import Counted, Emit, Note, Warned
from vaegan.metrics.contrastive_features import LearnedFeatures, learn_features
from vaegan.metrics.random_features import LEVELS, RandomFeatures, Whitening, concatenated
from vaegan.utils.images import to_float

BATCH = 128
RECIPE = "2"

Extract = Callable[[Tensor], Tensor]


def _mark(data: PreparedSet) -> str:
    """What a kept network says of itself: on which pictures it was trained, and how."""
    return f"features {RECIPE} of {data.fingerprint}"


def _kept(path: Path) -> str:
    """The mark of the network at `path`, empty where there is none."""
    try:
        with opened(path) as file:
            return str((file.metadata() or {}).get(METADATA, ""))
    except VaeganError:
        return ""


def features_of_set(data: PreparedSet, train: Tensor, emit: Emit) -> LearnedFeatures:
    """Return the network that tells the pictures of `data` apart: read from the set, or trained once and kept there.

    train: uint8 [N, C, S, S]. A set that cannot be written to is told, and the network is used all the same.
    """
    path = data.path / FEATURES
    network = LearnedFeatures(data.channels)
    if _kept(path) == _mark(data):
        try:
            fill(network, load_tensors(path), path)
            return network.eval().requires_grad_(False)
        except VaeganError as error:
            emit(Warned(f"{error}: learning them again"))
    emit(Note(f"Learning what tells the pictures of {data.path} apart; this is done once for a set"))
    network = learn_features(
        lambda rows: to_float(train[rows]),
        len(train),
        data.channels,
        lambda done, total: emit(Counted("Learning features", done, total, "steps")),
    )
    try:
        # one entry: safetensors writes several in no fixed order
        save_tensors(path, network.state_dict(), {METADATA: _mark(data)})
    except VaeganError as error:
        emit(Warned(f"{error}; the learned features are not kept"))
    return network


class Spaces:
    """Every space's features of pictures, made comparable by the training pictures' moments."""

    def __init__(self, extra: dict[str, Extract], device: torch.device) -> None:
        """extra: more spaces by name, each from float [B, C, S, S] in [-1, 1] on `device` to features [B, d]."""
        self.random = RandomFeatures().to(device)
        self.extra, self.device = extra, device
        self.whitening: dict[str, Whitening] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the spaces: fine, middle, coarse, and the extra ones."""
        return (*LEVELS, *self.extra)

    @torch.no_grad()
    def _raw(self, pictures: Tensor, only: str | None = None) -> dict[str, Tensor]:
        """Features of uint8 [N, C, S, S] by space, float32 [N, d] on the CPU; `only` of one of the extra spaces."""
        found = []
        for batch in torch.split(pictures, BATCH):
            seen = to_float(batch.to(self.device))
            features = self.random(seen) if only is None else {}
            features |= {name: extract(seen) for name, extract in self.extra.items() if only in (None, name)}
            found.append({name: values.float().cpu() for name, values in features.items()})
        return concatenated(found)

    def fit(self, train: Tensor) -> dict[str, Tensor]:
        """Measure the moments on uint8 [N, C, S, S] and return their features, as compared."""
        raw = self._raw(train)
        self.whitening = {name: Whitening(values) for name, values in raw.items()}
        return self._whitened(raw)

    def _whitened(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.whitening[name](values) for name, values in raw.items()}

    def __call__(self, pictures: Tensor, only: str | None = None) -> dict[str, Tensor]:
        """Features of uint8 [N, C, S, S] by space, as compared; `only` of one of the extra spaces."""
        return self._whitened(self._raw(pictures, only))


def learned_space(network: nn.Module, device: torch.device) -> Extract:
    """The features of a network, as a space."""
    network = network.to(device)
    return lambda pictures: network(pictures.contiguous(memory_format=torch.channels_last))
