"""What happens to steps whose numbers are not finite: left out, counted, and gone back from when they do not end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

IN_A_ROW = 8
RETREATS = 3
NAME = "guard.counts"


@dataclass
class Guard:
    """Counts of a run: steps left out in all, in a row just now, and how often it went back.

    Everything follows from the steps alone, and a checkpoint holds it: a resumed run decides as the whole one would.
    """

    skipped: int = 0
    in_a_row: int = 0
    retreats: int = 0

    @property
    def rate_scale(self) -> float:
        """What the learning rates are multiplied by: halved each time the run went back."""
        return float(0.5**self.retreats)

    def take(self, skipped: bool) -> bool:
        """Count a step; say whether so many in a row were left out that it is time to go back."""
        self.skipped += skipped
        self.in_a_row = self.in_a_row + 1 if skipped else 0
        return self.in_a_row >= IN_A_ROW

    @property
    def exhausted(self) -> bool:
        """Say whether going back once more is not worth it."""
        return self.retreats >= RETREATS

    def retreat(self) -> None:
        """Note that the run went back."""
        self.in_a_row, self.retreats = 0, self.retreats + 1

    def stateful(self) -> dict[str, Tensor]:
        """One int64 tensor [skipped, in a row, retreats]; none where there is nothing to tell."""
        counts = [self.skipped, self.in_a_row, self.retreats]
        return {NAME: torch.tensor(counts)} if any(counts) else {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `stateful` gave."""
        counts = tensors.get(NAME, torch.zeros(3, dtype=torch.int64))
        self.skipped, self.in_a_row, self.retreats = (int(count) for count in counts)
