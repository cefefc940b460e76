"""Dense skip connections between the latents and features of 16x16 pixels.

Otherwise all that latents say of an image passes through features of 4x4 pixels, and convolutions, which act alike at
every place, must bring it to its place. In a dataset of faces an eye is at nearly the same place in all images. A
linear layer has weights for each place. So the latents add a linear map of theirs to the decoder's features of 16x16
pixels, and the encoder's heads also see features of this size. (BigGAN's latents too have skip connections to several
layers: Brock et al. 2019, arXiv 1809.11096, section 3. There they act on whole channels, as in our modulation.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vaegan.models.layers import init_he

SKIP_SIZE = 16
"""Side in pixels of the features that are linked to the latents."""


class LatentMap(nn.Linear):
    """Latents [B, d] -> a map that is added to the first channels of features of SKIP_SIZE.

    It starts at 0, so that at first a decoder is one without it.

    Args:
        latent_dim: number of latents d.
        num_channels: channels of the map.
    """

    def __init__(self, latent_dim: int, num_channels: int) -> None:
        super().__init__(latent_dim, num_channels * SKIP_SIZE**2)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def add_to(self, features: Tensor, latents: Tensor) -> Tensor:
        """Add the map of latents to the first channels.

        Args:
            features: [B, channels, SKIP_SIZE, SKIP_SIZE], of at least `num_channels` channels.
            latents: float [B, d].

        Returns:
            of the shape and dtype of `features`.
        """
        # channels come last, as in the memory of the features
        values = torch.unflatten(self(latents), 1, (SKIP_SIZE, SKIP_SIZE, -1)).permute(0, 3, 1, 2)
        missing = features.shape[1] - values.shape[1]
        return features + nn.functional.pad(values, (0, 0, 0, 0, 0, missing)).to(features.dtype)


class SkipFeatures(nn.Conv2d):
    """A trunk's features of every layer -> linear functions of the channels at each pixel of SKIP_SIZE.

    Args:
        in_channels: the trunk's channels at SKIP_SIZE.
        num_channels: number of functions.
    """

    def __init__(self, in_channels: int, num_channels: int) -> None:
        super().__init__(in_channels, num_channels, 1)
        init_he(self, in_channels)

    def of_levels(self, levels: Sequence[Tensor]) -> Tensor:
        """Compute them.

        Args:
            levels: features [B, channels, s, s] of every layer, from the finest to s = 4.

        Returns:
            [B, num_channels * SKIP_SIZE^2].
        """
        (features,) = (level for level in levels if level.shape[-1] == SKIP_SIZE)
        return torch.flatten(self(features), 1)
