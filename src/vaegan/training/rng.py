"""Random numbers derived from (seed, step, purpose): a resumed run needs no stored state."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def derive_seed(seed: int, *purpose: object) -> int:
    """Hash a seed and the names of a purpose into a new seed.

    Args:
        seed: seed of the run.
        *purpose: texts and numbers.

    Returns:
        a number of 63 bits.
    """
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


@contextmanager
def fork_rng_with_seed(seed: int, purpose: str) -> Iterator[None]:
    """Seed torch's CPU generator within the context, to initialize models; restore it afterwards.

    Args:
        seed: seed of the run.
        purpose: what the numbers are for.

    Yields:
        nothing, while the generator is seeded.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, purpose))
        yield


class StepRandom:
    """Random numbers of one training step. Each purpose has its own stream."""

    def __init__(self, seed: int, step: int, device: torch.device) -> None:
        self.seed, self.step, self.device = seed, step, device

    def _generator(self, purpose: str) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(derive_seed(self.seed, self.step, purpose))

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """Draw standard normal float32 numbers.

        Args:
            purpose: what the numbers are for.
            *shape: of the result.

        Returns:
            float32, on the device.
        """
        return torch.randn(shape, generator=self._generator(purpose), device=self.device)

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Draw uniform float32 numbers in [0, 1).

        Args:
            purpose: what the numbers are for.
            *shape: of the result.

        Returns:
            float32, on the device.
        """
        return torch.rand(shape, generator=self._generator(purpose), device=self.device)


def fixed_permutation(count: int) -> Tensor:
    """Return a random permutation that is the same in every run.

    Neighboring images of a dataset are often alike. The minibatch standard deviation must not see them side by side.

    Args:
        count: number of rows.

    Returns:
        0 to count - 1, long [count].
    """
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))
