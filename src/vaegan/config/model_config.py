"""What a network is: its presets, one row each, and the configuration that decides every tensor's shape."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vaegan.config.options import option
from vaegan.errors import VaeganError

IMAGE_SIZES = (32, 64, 128, 256)


@dataclass(frozen=True)
class Preset:
    """One network size: channels next to the picture, latent size, and default lengths in pictures seen."""

    base_channels: int
    latent_dim: int
    vae_images: int
    gan_images: int
    description: str


PRESETS = {
    "tiny": Preset(16, 64, 150_000, 400_000, "for a first look and slow laptops"),
    "small": Preset(32, 192, 250_000, 500_000, "for a laptop without a GPU"),
    "base": Preset(64, 192, 1_000_000, 5_000_000, "for one GPU"),
    "large": Preset(128, 256, 2_000_000, 20_000_000, "for a large GPU"),
}

MAX_COMPONENTS = 4096


@dataclass(frozen=True)
class ModelConfig:
    """What decides every tensor's shape: saved inside each published weights file.

    size: picture side in pixels (a power of two, 32 to 256); channels: 1 or 3; latent_dim: length of z;
    width: channels of the layer next to the picture; prior: what z is drawn from (see `vaegan.models.prior`);
    components: of a mixture; directions: of its components' own.
    """

    size: int = option(64, "Side of the square pictures, in pixels.", min=32, max=256)
    channels: int = option(3, "Colour channels.", min=1, max=3)
    latent_dim: int = option(64, "Length of the latent vector.", min=1, max=4096)
    base_channels: int = option(32, "Channels next to the picture.", min=4, max=512)
    prior: str = option("normal", "What latents are drawn from.", choices=("normal", "uniform", "mixture"))
    num_components: int = option(1, "Of a mixture.", min=1, max=MAX_COMPONENTS)
    local_dim: int = option(0, "Of each component's own.", min=0, max=64)

    def __post_init__(self) -> None:
        """Refuse what no network can be built for."""
        if self.size not in IMAGE_SIZES or self.channels not in (1, 3):
            raise VaeganError(
                f"a model of {self.size}x{self.size} pixels and {self.channels} channels cannot be built:"
                f" sizes are {', '.join(map(str, IMAGE_SIZES))}, channels 1 or 3"
            )
        if (self.prior == "mixture") != (self.num_components > 1) or (self.prior != "mixture" and self.local_dim):
            raise VaeganError(
                f"a {self.prior} prior of {self.num_components} components, {self.local_dim} directions, cannot be built"
            )

    def with_normal_prior(self) -> ModelConfig:
        """The same with N(0, I) for a prior, which every VAE is trained with: a mixture is found afterwards."""
        return replace(self, prior="normal", num_components=1, local_dim=0)
