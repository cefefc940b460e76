"""What a run has to go back for, how often it did, and how much gentler its settings are since.

Steps whose numbers are not finite are left out and counted; when they do not end, the run goes back, and so it does
when samples show mode collapse. Everything follows from the steps alone, and a checkpoint holds it: a resumed run
decides as the whole one would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields

import torch
from torch import Tensor

IN_A_ROW = 8
RETREATS = 3
ROLLBACKS = 2
NAME = "guard.counts"


@dataclass
class Guard:
    """Counts of a run: steps left out in all, in a row just now; how often it went back for such, and for collapse."""

    skipped: int = 0
    in_a_row: int = 0
    retreats: int = 0
    collapses: int = 0

    @property
    def rate_scale(self) -> float:
        """What the learning rates are multiplied by: halved each time the run went back."""
        return float(0.5**self.went_back)

    @property
    def penalty_scale(self) -> float:
        """What gradient penalties are multiplied by: doubled each time the run went back for collapse."""
        return float(2.0**self.collapses)

    @property
    def went_back(self) -> int:
        """How often the run went back, for either cause."""
        return self.retreats + self.collapses

    def take(self, skipped: bool) -> bool:
        """Count a step; say whether so many in a row were left out that it is time to go back."""
        self.skipped += skipped
        self.in_a_row = self.in_a_row + 1 if skipped else 0
        return self.in_a_row >= IN_A_ROW

    @property
    def exhausted(self) -> bool:
        """Say whether going back once more for steps that are not finite is not worth it."""
        return self.retreats >= RETREATS

    @property
    def tired(self) -> bool:
        """Say whether going back once more for collapse is not worth it."""
        return self.collapses >= ROLLBACKS

    def retreat(self) -> None:
        """Note that the run goes back for steps that are not finite."""
        self.in_a_row, self.retreats = 0, self.retreats + 1

    def collapse(self) -> None:
        """Note that the run goes back for mode collapse."""
        self.in_a_row, self.collapses = 0, self.collapses + 1

    def stateful(self) -> dict[str, Tensor]:
        """One int64 tensor of the counts, in the order of the fields; none where there is nothing to tell."""
        counts = astuple(self)
        return {NAME: torch.tensor(counts)} if any(counts) else {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `stateful` gave; what an older version did not count is 0."""
        counts = tensors[NAME].tolist() if NAME in tensors else []
        for number, field in enumerate(fields(self)):
            setattr(self, field.name, int(counts[number]) if number < len(counts) else 0)
