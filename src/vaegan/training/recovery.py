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

MAX_CONSECUTIVE_SKIPS = 8
MAX_NAN_ROLLBACKS = 3
MAX_COLLAPSE_ROLLBACKS = 2
RECOVERY_STATE_KEY = "guard.counts"


@dataclass
class RecoveryState:
    """Counts of a run: steps left out in all, in a row just now; how often it went back for such, and for collapse."""

    skipped_steps: int = 0
    consecutive_skips: int = 0
    nan_rollbacks: int = 0
    collapse_rollbacks: int = 0

    @property
    def lr_scale(self) -> float:
        """What the learning rates are multiplied by: halved each time the run went back."""
        return float(0.5**self.num_rollbacks)

    @property
    def penalty_scale(self) -> float:
        """What gradient penalties are multiplied by: doubled each time the run went back for collapse."""
        return float(2.0**self.collapse_rollbacks)

    @property
    def num_rollbacks(self) -> int:
        """How often the run went back, for either cause."""
        return self.nan_rollbacks + self.collapse_rollbacks

    def record_step(self, was_skipped: bool) -> bool:
        """Count a step; say whether so many in a row were left out that it is time to go back."""
        self.skipped_steps += was_skipped
        self.consecutive_skips = self.consecutive_skips + 1 if was_skipped else 0
        return self.consecutive_skips >= MAX_CONSECUTIVE_SKIPS

    @property
    def nan_rollbacks_exhausted(self) -> bool:
        """Say whether going back once more for steps that are not finite is not worth it."""
        return self.nan_rollbacks >= MAX_NAN_ROLLBACKS

    @property
    def collapse_rollbacks_exhausted(self) -> bool:
        """Say whether going back once more for collapse is not worth it."""
        return self.collapse_rollbacks >= MAX_COLLAPSE_ROLLBACKS

    def record_nan_rollback(self) -> None:
        """Note that the run goes back for steps that are not finite."""
        self.consecutive_skips, self.nan_rollbacks = 0, self.nan_rollbacks + 1

    def record_collapse_rollback(self) -> None:
        """Note that the run goes back for mode collapse."""
        self.consecutive_skips, self.collapse_rollbacks = 0, self.collapse_rollbacks + 1

    def state_dict(self) -> dict[str, Tensor]:
        """One int64 tensor of the counts, in the order of the fields; none where there is nothing to tell."""
        counts = astuple(self)
        return {RECOVERY_STATE_KEY: torch.tensor(counts)} if any(counts) else {}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `stateful` gave; what an older version did not count is 0."""
        counts = tensors[RECOVERY_STATE_KEY].tolist() if RECOVERY_STATE_KEY in tensors else []
        for number, field in enumerate(fields(self)):
            setattr(self, field.name, int(counts[number]) if number < len(counts) else 0)
