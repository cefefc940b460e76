"""Randomness derived from (seed, step, purpose), never stored: step 1000 is the same after a resume."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def derive_seed(seed: int, *purpose: object) -> int:
    """Return a seed of 63 bits for a purpose; other names give unrelated ones."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


@contextmanager
def fork_rng_with_seed(seed: int, purpose: str) -> Iterator[None]:
    """Build models here: their first weights depend on the seed and purpose alone, and nothing outside changes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, purpose))
        yield


class StepRandom:
    """The random numbers of one step."""

    def __init__(self, seed: int, step: int, device: torch.device) -> None:
        """Draw on `device`."""
        self.seed, self.step, self.device = seed, step, device

    def _generator(self, purpose: str) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(derive_seed(self.seed, self.step, purpose))

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """Standard normal float32 of `shape`."""
        return torch.randn(shape, generator=self._generator(purpose), device=self.device)

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Uniform float32 in [0, 1) of `shape`."""
        return torch.rand(shape, generator=self._generator(purpose), device=self.device)
