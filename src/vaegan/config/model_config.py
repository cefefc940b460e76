"""Network presets, and the model configuration that determines the shape of every tensor."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vaegan.config.options import option
from vaegan.errors import VaeganError

IMAGE_SIZES = (32, 64, 128, 256)
MAX_COMPONENTS = 4096


@dataclass(frozen=True)
class Preset:
    """A network size, with its default training lengths in images seen."""

    base_channels: int
    latent_dim: int
    vae_images: int
    gan_images: int


PRESETS = {
    "tiny": Preset(16, 64, 150_000, 400_000),  # first look, slow laptop
    "small": Preset(32, 192, 250_000, 500_000),  # laptop without a GPU
    "base": Preset(64, 192, 1_000_000, 5_000_000),  # one GPU
    "large": Preset(128, 256, 2_000_000, 20_000_000),  # large GPU
}


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shape of a model's tensors. Saved in the metadata of each weights file."""

    size: int = option(64, "Side of the square images, in pixels: 32, 64, 128 or 256.", min=32, max=256)
    channels: int = option(3, "Color channels: 1 (grayscale) or 3 (RGB).", min=1, max=3)
    latent_dim: int = option(64, "Length of the latent vector z.", min=1, max=4096)
    base_channels: int = option(
        32, "Channels of the trunk at half the image resolution; lower resolutions have more.", min=4, max=512
    )
    prior: str = option("normal", "Distribution of z.", choices=("normal", "uniform", "mixture"))
    num_components: int = option(1, "Components of a mixture prior.", min=1, max=MAX_COMPONENTS)
    local_dim: int = option(0, "Rank of the covariance that each component adds to the shared one.", min=0, max=64)

    def __post_init__(self) -> None:
        if self.size not in IMAGE_SIZES or self.channels not in (1, 3):
            raise VaeganError(
                f"a model of {self.size}x{self.size} pixels and {self.channels} channels cannot be built:"
                f" sizes are {', '.join(map(str, IMAGE_SIZES))}, channels 1 or 3"
            )
        is_mixture = self.prior == "mixture"
        if is_mixture != (self.num_components > 1) or (self.local_dim and not is_mixture):
            raise VaeganError(
                f"a {self.prior} prior with {self.num_components} components and {self.local_dim} local dimensions"
                " cannot be built: expected at least 2 components for a mixture, else 1 and 0 local dimensions"
            )

    def with_normal_prior(self) -> ModelConfig:
        """Return the configuration with the prior N(0, I), which a VAE has before a mixture is fitted.

        Returns:
            the configuration.
        """
        return replace(self, prior="normal", num_components=1, local_dim=0)
