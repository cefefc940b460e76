"""What a VAE is measured by beside its steps: held-out pictures, training pictures, and how its latents are used."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from vaegan.losses.vae import LIKELIHOODS, LOG_NORMALIZERS, kl_per_dim
from vaegan.metrics.dimensionality import active_units
from vaegan.metrics.image_quality import psnr, ssim
from vaegan.models.latent_whitening import aggregated_moments
from vaegan.models.vae import VAE
from vaegan.training.precision import DeviceContext
from vaegan.training.rng import derive_seed
from vaegan.utils.images import to_float

VALIDATION_BATCH_SIZE = 128
GRAY_LEVELS_PER_UNIT = 127.5
"""Grey levels per unit of the range [-1, 1]: a density there, divided by this, is one of 8-bit values."""


def per_dim_metrics(metrics: Mapping[str, Tensor], num_dims: int) -> dict[str, Tensor]:
    """Reconstruction and KL in nats per picture, as nats and as bits for each of its C x S x S values."""
    found = {}
    for name in ("recon_loss", "kl"):
        if name in metrics:
            found[f"{name}_nats_per_dim"] = metrics[name] / num_dims
            found[f"{name}_bits_per_dim"] = metrics[name] / (num_dims * math.log(2))
    return found


def compute_bits_per_dim(negative_elbo: float, likelihood: str, num_dims: int) -> float | None:
    """The negative evidence lower bound in nats per picture as bits for each 8-bit value, an upper bound on its code.

    As Theis et al. 2016 (arXiv 1511.01844, section 3.1). None for a likelihood that is no density of pixels.
    """
    constant = LOG_NORMALIZERS.get(likelihood)
    if constant is None:
        return None
    return (negative_elbo / num_dims + constant) / math.log(2) + math.log2(GRAY_LEVELS_PER_UNIT)


class VAEOutputs:
    """What a VAE makes of some pictures, a value per picture: means, log_vars, PSNR; on held-out ones more."""

    @torch.no_grad()
    def __init__(
        self, vae: VAE, images: Tensor, device_ctx: DeviceContext, likelihood: str = "", seed: int = 0
    ) -> None:
        """pictures: uint8 [N, C, S, S]; likelihood: also measure SSIM, and this at one sample of each posterior."""
        self.values: dict[str, list[Tensor]] = {}
        generator = torch.Generator().manual_seed(derive_seed(seed, "measure"))
        for part in torch.split(images, VALIDATION_BATCH_SIZE):
            real = to_float(part).to(memory_format=torch.channels_last)
            with device_ctx.autocast():
                posterior = vae.encoder(real)
                decoded = vae.decoder(posterior.mean).float()
            self._add(means=posterior.mean, log_vars=posterior.log_var, psnr=psnr(real, decoded))
            if likelihood:
                noise = torch.randn(posterior.mean.shape, generator=generator).to(posterior.mean)
                with device_ctx.autocast():
                    sampled = vae.decoder(posterior.sample(noise)).float()
                loss = LIKELIHOODS[likelihood]
                self._add(
                    ssim=ssim(real, decoded), recon_loss=loss(real, decoded, None), bound=loss(real, sampled, None)
                )

    def _add(self, **values: Tensor) -> None:
        for name, value in values.items():
            self.values.setdefault(name, []).append(value.float().cpu())

    def __getitem__(self, name: str) -> Tensor:
        """The values of a name, a row each picture."""
        return torch.cat(self.values[name])

    def mean(self, name: str) -> float:
        """Mean over the pictures."""
        return float(self[name].mean())

    def mean_kl_per_axis(self) -> Tensor:
        """Mean KL per axis, float [d], in nats."""
        return kl_per_dim(self["means"], self["log_vars"]).mean(0)

    def negative_elbo(self) -> float:
        """The negative evidence lower bound of a picture, but for what the likelihood leaves out."""
        return self.mean("bound") + float(self.mean_kl_per_axis().sum())


def validate_vae(
    vae: VAE, val_images: Tensor, train_images: Tensor, likelihood: str, device_ctx: DeviceContext, seed: int
) -> dict[str, float]:
    """Every number of a VAE that is not folded, by name.

    held_out, train: uint8 [N, C, S, S]; held_out may be empty, then what it is for is left out. Losses in nats per
    picture at the posteriors' means, PSNR in dB; the use of the latents, and the aggregated posterior's moments before
    folding, over the training pictures.
    """
    found: dict[str, float] = {}
    if len(val_images):
        seen = VAEOutputs(vae, val_images, device_ctx, likelihood, seed)
        found = {f"val_{name}": seen.mean(name) for name in ("recon_loss", "psnr", "ssim")}
        found["val_kl"] = float(seen.mean_kl_per_axis().sum())
        bits = compute_bits_per_dim(seen.negative_elbo(), likelihood, val_images[0].numel())
        found |= {} if bits is None else {"val_bits_per_dim": bits}
    known = VAEOutputs(vae, train_images, device_ctx)
    axes = known.mean_kl_per_axis()
    moments = aggregated_moments(known["means"], known["log_vars"])
    variances = moments.covariance.diagonal()
    return found | {
        "train_psnr": known.mean("psnr"),
        "train_kl": float(axes.sum()),
        "active_units": float(active_units(known["means"])),
        "kl_per_dim_min": float(axes.min()),
        "kl_per_dim_median": float(axes.median()),
        "kl_per_dim_max": float(axes.max()),
        "agg_posterior_mean_absmax": float(moments.mean.abs().max()),
        "agg_posterior_var_min": float(variances.min()),
        "agg_posterior_var_max": float(variances.max()),
    }
