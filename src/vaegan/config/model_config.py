"""Network presets, and the model configuration that determines the shape of every tensor."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from vaegan.config.options import option
from vaegan.errors import VaeganError, printable

IMAGE_SIZES = (32, 64, 128, 256)
MAX_COMPONENTS = 4096
MIN_REFERENCES, MAX_REFERENCES = 5, 8192
MAX_GROUPS = 64
MAX_CLASSES = 100
MAX_CLASS_NAME_LENGTH = 60


def channel_widths(base_channels: int, size: int) -> list[int]:
    """Return the channels at sizes size/2, size/4, ..., 4: doubling, up to eight times `base_channels`.

    Args:
        base_channels: channels at size/2.
        size: side of the images in pixels, a power of two.

    Returns:
        one number per level.
    """
    return [min(base_channels * 2**level, base_channels * 8) for level in range(int(math.log2(size)) - 2)]


@dataclass(frozen=True)
class Preset:
    """A network size, with its default training lengths in images seen."""

    base_channels: int
    latent_dim: int
    num_color_layers: int
    modulation_dim: int
    skip_channels: int
    vae_images: int
    gan_images: int

    def model_config(self, size: int, channels: int, latent_dim: int | None = None) -> ModelConfig:
        """Return the configuration of new networks of this size.

        Args:
            size: side of the images in pixels.
            channels: 1 (grayscale) or 3 (RGB).
            latent_dim: length of z; that of the preset by default.

        Returns:
            the configuration, with the prior N(0, I).
        """
        latent_dim = self.latent_dim if latent_dim is None else latent_dim
        return ModelConfig(
            size,
            channels,
            latent_dim,
            self.base_channels,
            num_color_layers=self.num_color_layers,
            modulation_dim=self.modulation_dim,
            skip_channels=self.skip_channels,
        )


PRESETS = {
    "tiny": Preset(16, 64, 4, 64, 8, 150_000, 400_000),  # first look, slow laptop
    "small": Preset(32, 192, 8, 128, 16, 250_000, 500_000),  # laptop without a GPU
    "base": Preset(64, 192, 8, 128, 32, 1_000_000, 5_000_000),  # one GPU
    "large": Preset(128, 256, 8, 256, 64, 2_000_000, 20_000_000),  # large GPU
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
    leading_dim: int = option(
        0, "Latents that a mixture prior describes, the others are from references; 0 = all.", min=0, max=4096
    )
    num_references: int = option(0, "Training images' latents in a mixture prior.", min=0, max=MAX_REFERENCES)
    num_groups: int = option(
        0, "Groups of a mixture prior's latents that each are of one training image; 0 = none.", min=0, max=MAX_GROUPS
    )
    group_dim: int = option(0, "Dimensions of the largest of these groups.", min=0, max=4096)
    num_color_layers: int = option(
        0, "Color layers that the decoder mixes; 0 = it draws each pixel's color by itself.", min=0, max=64
    )
    modulation_dim: int = option(
        0,
        "Hidden units of the network by which latents scale and shift the decoder's channels; 0 = none.",
        min=0,
        max=4096,
    )
    skip_channels: int = option(
        0, "Channels of 16x16 pixels that the latents add a linear map to; 0 = none.", min=0, max=512
    )
    classes: tuple[str, ...] = option((), "Names of the classes in order; empty for an unconditional model.")
    class_label: str = option("", "Label of the dataset that the classes are the values of.")

    def __post_init__(self) -> None:
        if self.size not in IMAGE_SIZES or self.channels not in (1, 3):
            raise VaeganError(
                f"a model of {self.size}x{self.size} pixels and {self.channels} channels cannot be built:"
                f" sizes are {', '.join(map(str, IMAGE_SIZES))}, channels 1 or 3"
            )
        if self.skip_channels > self.max_skip_channels:
            raise VaeganError(
                f"a model with {self.skip_channels} skip channels cannot be built: with {self.base_channels} base"
                f" channels and {self.size}x{self.size} pixels there are at most {self.max_skip_channels}"
            )
        is_mixture = self.prior == "mixture"
        if is_mixture != (self.num_components > 1) or (self.local_dim and not is_mixture):
            raise VaeganError(
                f"a {self.prior} prior with {self.num_components} components and {self.local_dim} local dimensions"
                " cannot be built: expected at least 2 components for a mixture, else 1 and 0 local dimensions"
            )
        has_references = self.num_references >= MIN_REFERENCES and 0 < self.leading_dim < self.latent_dim
        if not (has_references and is_mixture) and (self.leading_dim or self.num_references):
            raise VaeganError(
                f"a {self.prior} prior with {self.leading_dim} of {self.latent_dim} latents and {self.num_references}"
                f" references cannot be built: expected fewer latents and at least {MIN_REFERENCES} references for a"
                " mixture, or neither"
            )
        is_divided = 2 <= self.num_groups <= self.leading_dim and self.group_dim < self.leading_dim
        is_divided &= self.num_groups * self.group_dim >= self.leading_dim and self.num_references > 0
        if not is_divided and (self.num_groups or self.group_dim):
            raise VaeganError(
                f"a prior with {self.num_groups} groups of up to {self.group_dim} of {self.leading_dim} latents and"
                f" {self.num_references} references cannot be built: expected at least 2 groups that hold all latents,"
                " or none"
            )
        is_valid = all(0 < len(name) <= MAX_CLASS_NAME_LENGTH and name.isprintable() for name in self.classes)
        is_valid &= len(set(self.classes)) == len(self.classes) and len(self.classes) != 1
        is_valid &= len(self.classes) <= MAX_CLASSES and bool(self.classes) == bool(self.class_label)
        if not is_valid:
            raise VaeganError(
                f"a model with the {len(self.classes)} classes {printable(', '.join(self.classes), 100)} of the label"
                f" {printable(self.class_label)!r} cannot be built: expected a label and 2 to {MAX_CLASSES} different"
                " names, or neither"
            )

    @property
    def max_skip_channels(self) -> int:
        """Channels of the networks at 16x16 pixels."""
        return channel_widths(self.base_channels, self.size)[int(math.log2(self.size)) - 5]

    @property
    def num_encoder_skip_channels(self) -> int:
        """Skip channels of the encoder: half of the decoder's, rounded up."""
        return (self.skip_channels + 1) // 2

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 for an unconditional model."""
        return len(self.classes)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as it is saved.

        Returns:
            values by name; without the entries about what the model does not have.
        """
        values = asdict(self)
        for name in ("num_color_layers", "modulation_dim", "skip_channels"):
            if not values[name]:
                del values[name]
        if not self.num_references:
            del values["leading_dim"], values["num_references"]
        if not self.num_groups:
            del values["num_groups"], values["group_dim"]
        if not self.classes:
            del values["classes"], values["class_label"]
        return values

    def with_normal_prior(self) -> ModelConfig:
        """Return the configuration with the prior N(0, I), which a VAE has before a mixture is fitted.

        Returns:
            the configuration.
        """
        return replace(
            self,
            prior="normal",
            num_components=1,
            local_dim=0,
            leading_dim=0,
            num_references=0,
            num_groups=0,
            group_dim=0,
        )
