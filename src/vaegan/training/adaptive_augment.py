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

ADA_INTERVAL = 8
"""Steps from one look at held-out pictures to the next."""
ADA_IMAGES = 50_000
"""Pictures over which the share can go from 0 to 1."""
ADA_HALFLIFE_IMAGES = 2_000
"""Half-life, in pictures, of the means that the measure is taken from."""
MIN_LOGIT_MARGIN = 0.5
"""A mean difference of logits under this counts as this: it says too little to compare another with."""
ADA_LOGIT_NAMES = ("on_train", "on_held_out")


@dataclass
class AdaptiveAugment:
    """The share of pictures that each augmentation changes, 0 at first, and what it follows from.

    target: r_v to keep to; gap, margin: decaying sums of what the discriminator puts training pictures above held-out
    and above generated ones; weight: what to divide them by.
    """

    target: float
    augment_p: float = 0.0
    train_val_gap: float = 0.0
    real_fake_margin: float = 0.0
    total_weight: float = 0.0

    def is_due(self, step: int) -> bool:
        """Say whether to look at held-out pictures in step `step`."""
        return step % ADA_INTERVAL == 0

    def update(self, metrics: Mapping[str, Tensor], batch_size: int) -> dict[str, Tensor]:
        """Adapt by a step's scalars where they tell of held-out pictures; return those to log, the share with them."""
        logged = {name: value for name, value in metrics.items() if name not in ADA_LOGIT_NAMES}
        if len(logged) < len(metrics):
            on_train, on_held_out = (float(metrics[name]) for name in ADA_LOGIT_NAMES)
            self._adapt(on_train - on_held_out, float(metrics["d_logit_margin"]), ADA_INTERVAL * batch_size)
        return logged | {"augment_p": torch.tensor(self.augment_p, device=metrics["d_logit_margin"].device)}

    def _adapt(self, train_val_gap: float, real_fake_margin: float, num_images: int) -> None:
        keep = 0.5 ** (num_images / ADA_HALFLIFE_IMAGES)
        self.train_val_gap, self.real_fake_margin, self.total_weight = (
            keep * self.train_val_gap + train_val_gap,
            keep * self.real_fake_margin + real_fake_margin,
            keep * self.total_weight + 1,
        )
        overfits = self.train_val_gap > self.target * max(self.real_fake_margin, MIN_LOGIT_MARGIN * self.total_weight)
        self.augment_p = min(1.0, max(0.0, self.augment_p + (1 if overfits else -1) * num_images / ADA_IMAGES))

    def state_dict(self) -> dict[str, Tensor]:
        """Float64 [4]: share, gap, margin and weight."""
        return {"state": torch.tensor(astuple(self)[1:], dtype=torch.float64)}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `stateful` gave; all is 0 where there is nothing."""
        found = tensors.get("state")
        state = [0.0] * 4 if found is None or found.shape != (4,) else found.tolist()
        self.augment_p, self.train_val_gap, self.real_fake_margin, self.total_weight = state
