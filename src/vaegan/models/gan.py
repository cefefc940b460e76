"""The discriminator. The generator is `vaegan.models.vae.Decoder`: one class, so weights move one to one."""

from __future__ import annotations

from torch import Tensor, nn

from vaegan.architecture import ModelConfig
from vaegan.models.blocks import Trunk, init_he
from vaegan.models.vae import Decoder

Generator = Decoder


class Discriminator(nn.Module):
    """Picture [B, C, S, S] in [-1, 1] -> one logit each, float32 [B]: high where it looks real."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the trunk and one linear head."""
        super().__init__()
        self.trunk = Trunk(config.channels, config.size, config.width)
        self.head = nn.Linear(self.trunk.features, 1)
        init_he(self.head, self.trunk.features)

    def forward(self, pictures: Tensor) -> Tensor:
        """Judge every picture by itself."""
        return self.look(pictures)[0]

    def look(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits, and the trunk's features at every side that they come from."""
        levels = self.trunk.levels(pictures)
        logits: Tensor = self.head(levels[-1].flatten(1)).float().squeeze(1)
        return logits, levels
