"""How often the discriminator's pictures are augmented: as often as keeps it from learning the faces by heart.

Adaptive discriminator augmentation (Karras et al. 2020, arXiv 2006.06676, section 3) with the measure r_v of eq. 1:
how far towards generated pictures the discriminator puts held-out ones. The paper's other one, r_t, is the mean sign of
the logits of training pictures. It needs no held-out ones, but the level of a relativistic discriminator's logits means
nothing, and the share of pairs that it tells right is high where it is able, not only where it overfits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

EVERY = 8
"""Steps from one look at held-out pictures to the next."""
SPEED = 50_000
"""Pictures over which the share can go from 0 to 1."""
MEMORY = 2_000
"""Half-life, in pictures, of the means that the measure is taken from."""
CERTAIN = 0.5
"""A mean difference of logits under this counts as this: it says too little to compare another with."""
NAMES = ("on_train", "on_held_out")


@dataclass
class Adaptive:
    """The share of pictures that each augmentation changes, 0 at first, and what it follows from.

    target: r_v to keep to; gap, margin: decaying sums of what the discriminator puts training pictures above held-out
    and above generated ones; weight: what to divide them by.
    """

    target: float
    share: float = 0.0
    gap: float = 0.0
    margin: float = 0.0
    weight: float = 0.0

    def due(self, step: int) -> bool:
        """Say whether to look at held-out pictures in step `step`."""
        return step % EVERY == 0

    def hear(self, metrics: Mapping[str, Tensor], batch_size: int) -> dict[str, Tensor]:
        """Adapt by a step's scalars where they tell of held-out pictures; return those to log, the share with them."""
        logged = {name: value for name, value in metrics.items() if name not in NAMES}
        if len(logged) < len(metrics):
            on_train, on_held_out = (float(metrics[name]) for name in NAMES)
            self._take(on_train - on_held_out, float(metrics["margin"]), EVERY * batch_size)
        return logged | {"augment_share": torch.tensor(self.share, device=metrics["margin"].device)}

    def _take(self, gap: float, margin: float, images: int) -> None:
        keep = 0.5 ** (images / MEMORY)
        self.gap, self.margin, self.weight = keep * self.gap + gap, keep * self.margin + margin, keep * self.weight + 1
        overfits = self.gap > self.target * max(self.margin, CERTAIN * self.weight)
        self.share = min(1.0, max(0.0, self.share + (1 if overfits else -1) * images / SPEED))

    def stateful(self) -> dict[str, Tensor]:
        """Float64 [4]: share, gap, margin and weight."""
        return {"state": torch.tensor(astuple(self)[1:], dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `stateful` gave; all is 0 where there is nothing."""
        found = tensors.get("state")
        state = [0.0] * 4 if found is None or found.shape != (4,) else found.tolist()
        self.share, self.gap, self.margin, self.weight = state
