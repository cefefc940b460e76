"""Counts of skipped steps and rollbacks, and how they scale learning rates and gradient penalties.

A step whose loss or gradients are not finite is skipped. Too many in a row, or mode collapse, roll the run back to a
checkpoint. The counts are saved in every checkpoint, so a resumed run decides as an uninterrupted one would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields

import torch
from torch import Tensor

from vaegan.checkpoint import state_tensor

MAX_CONSECUTIVE_SKIPS = 8
MAX_NAN_ROLLBACKS = 3
MAX_COLLAPSE_ROLLBACKS = 2
RECOVERY_STATE_KEY = "recovery.counts"


@dataclass
class RecoveryState:
    """Counts of skipped steps (all, and in a row) and of rollbacks by cause (not finite, collapse)."""

    skipped_steps: int = 0
    consecutive_skips: int = 0
    nan_rollbacks: int = 0
    collapse_rollbacks: int = 0

    @property
    def lr_scale(self) -> float:
        """Factor of the learning rates: halved at every rollback."""
        return float(0.5**self.num_rollbacks)

    @property
    def penalty_scale(self) -> float:
        """Factor of the gradient penalties: doubled at every rollback for mode collapse."""
        return float(2.0**self.collapse_rollbacks)

    @property
    def num_rollbacks(self) -> int:
        """Number of rollbacks, for either cause."""
        return self.nan_rollbacks + self.collapse_rollbacks

    @property
    def nan_rollbacks_exhausted(self) -> bool:
        """Whether the run has rolled back for non-finite steps as often as it may."""
        return self.nan_rollbacks >= MAX_NAN_ROLLBACKS

    @property
    def collapse_rollbacks_exhausted(self) -> bool:
        """Whether the run has rolled back for mode collapse as often as it may."""
        return self.collapse_rollbacks >= MAX_COLLAPSE_ROLLBACKS

    def record_step(self, was_skipped: bool) -> bool:
        """Count a step.

        Args:
            was_skipped: whether it was skipped.

        Returns:
            whether so many in a row were skipped that the run has to roll back.
        """
        self.skipped_steps += was_skipped
        self.consecutive_skips = self.consecutive_skips + 1 if was_skipped else 0
        return self.consecutive_skips >= MAX_CONSECUTIVE_SKIPS

    def record_nan_rollback(self) -> None:
        """Count a rollback for steps that are not finite."""
        self.consecutive_skips, self.nan_rollbacks = 0, self.nan_rollbacks + 1

    def record_collapse_rollback(self) -> None:
        """Count a rollback for mode collapse."""
        self.consecutive_skips, self.collapse_rollbacks = 0, self.collapse_rollbacks + 1

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state for a checkpoint.

        Returns:
            the counts as one int64 tensor, in the order of the fields; nothing while all are 0.
        """
        counts = astuple(self)
        return {RECOVERY_STATE_KEY: torch.tensor(counts)} if any(counts) else {}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned; without an entry all counts are 0.

        Args:
            tensors: all tensors of the checkpoint.
        """
        num_counts = len(fields(self))
        counts = state_tensor(tensors, RECOVERY_STATE_KEY, (num_counts,)) or [0] * num_counts
        for field, count in zip(fields(self), counts, strict=True):
            setattr(self, field.name, int(count))
