"""Means of the steps' scalars between two lines of metrics.jsonl."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vaegan.checkpoint import strip_prefix


class MetricAverager:
    """Sums kept on the device and read once per line."""

    def __init__(self) -> None:
        """Start empty."""
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Take in one step's scalars; a scalar may be missing in some steps."""
        for name, value in metrics.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
            self.counts[name] = self.counts.get(name, 0) + 1

    def pop_means(self) -> dict[str, float]:
        """Return the means and start again."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Tensor]:
        """As tensors [sum, count] by name."""
        return {
            f"tally.{name}": torch.stack([total.cpu().double(), torch.tensor(float(self.counts[name])).double()])
            for name, total in self.sums.items()
        }

    def load_state_dict(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Put back what `stateful` gave."""
        self.sums, self.counts = {}, {}
        for name, pair in strip_prefix(tensors, "tally").items():
            self.sums[name], self.counts[name] = pair[0].float().to(device), int(pair[1])
