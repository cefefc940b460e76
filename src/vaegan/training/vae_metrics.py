"""What a VAE is measured by beside its steps: held-out pictures, training pictures, and how its latents are used."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from vaegan.losses.vae import CONSTANTS, LIKELIHOODS, kl_per_axis
from vaegan.metrics.active_units import active_units
from vaegan.metrics.image_quality import psnr, ssim
from vaegan.models.latent_whitening import aggregated_moments
from vaegan.models.vae import VAE
from vaegan.training.precision import Place
from vaegan.training.rng import derive
from vaegan.utils.images import to_float

BATCH = 128
LEVELS_PER_UNIT = 127.5
"""Grey levels per unit of the range [-1, 1]: a density there, divided by this, is one of 8-bit values."""


def per_dimension(metrics: Mapping[str, Tensor], dimensions: int) -> dict[str, Tensor]:
    """Reconstruction and KL in nats per picture, as nats and as bits for each of its C x S x S values."""
    found = {}
    for name in ("reconstruction", "kl"):
        if name in metrics:
            found[f"{name}_nats_per_dim"] = metrics[name] / dimensions
            found[f"{name}_bits_per_dim"] = metrics[name] / (dimensions * math.log(2))
    return found


def bits_per_dim(nats: float, likelihood: str, dimensions: int) -> float | None:
    """The negative evidence lower bound in nats per picture as bits for each 8-bit value, an upper bound on its code.

    As Theis et al. 2016 (arXiv 1511.01844, section 3.1). None for a likelihood that is no density of pixels.
    """
    constant = CONSTANTS.get(likelihood)
    if constant is None:
        return None
    return (nats / dimensions + constant) / math.log(2) + math.log2(LEVELS_PER_UNIT)


class Seen:
    """What a VAE makes of some pictures, a value per picture: means, log_vars, PSNR; on held-out ones more."""

    @torch.no_grad()
    def __init__(self, vae: VAE, pictures: Tensor, place: Place, likelihood: str = "", seed: int = 0) -> None:
        """pictures: uint8 [N, C, S, S]; likelihood: also measure SSIM, and this at one sample of each posterior."""
        self.values: dict[str, list[Tensor]] = {}
        generator = torch.Generator().manual_seed(derive(seed, "measure"))
        for part in torch.split(pictures, BATCH):
            real = to_float(part).to(memory_format=torch.channels_last)
            with place.autocast():
                posterior = vae.encoder(real)
                decoded = vae.decoder(posterior.mean).float()
            self._add(means=posterior.mean, log_vars=posterior.log_var, psnr=psnr(real, decoded))
            if likelihood:
                noise = torch.randn(posterior.mean.shape, generator=generator).to(posterior.mean)
                with place.autocast():
                    sampled = vae.decoder(posterior.sample(noise)).float()
                loss = LIKELIHOODS[likelihood]
                self._add(
                    ssim=ssim(real, decoded), reconstruction=loss(real, decoded, None), bound=loss(real, sampled, None)
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

    def kl(self) -> Tensor:
        """Mean KL per axis, float [d], in nats."""
        return kl_per_axis(self["means"], self["log_vars"]).mean(0)

    def nats(self) -> float:
        """The negative evidence lower bound of a picture, but for what the likelihood leaves out."""
        return self.mean("bound") + float(self.kl().sum())


def measure_vae(
    vae: VAE, held_out: Tensor, train: Tensor, likelihood: str, place: Place, seed: int
) -> dict[str, float]:
    """Every number of a VAE that is not folded, by name.

    held_out, train: uint8 [N, C, S, S]; held_out may be empty, then what it is for is left out. Losses in nats per
    picture at the posteriors' means, PSNR in dB; the use of the latents, and the aggregated posterior's moments before
    folding, over the training pictures.
    """
    found: dict[str, float] = {}
    if len(held_out):
        seen = Seen(vae, held_out, place, likelihood, seed)
        found = {f"held_out_{name}": seen.mean(name) for name in ("reconstruction", "psnr", "ssim")}
        found["held_out_kl"] = float(seen.kl().sum())
        bits = bits_per_dim(seen.nats(), likelihood, held_out[0].numel())
        found |= {} if bits is None else {"held_out_bits_per_dim": bits}
    known = Seen(vae, train, place)
    axes = known.kl()
    moments = aggregated_moments(known["means"], known["log_vars"])
    variances = moments.covariance.diagonal()
    return found | {
        "train_psnr": known.mean("psnr"),
        "train_kl": float(axes.sum()),
        "active_units": float(active_units(known["means"])),
        "kl_axis_smallest": float(axes.min()),
        "kl_axis_median": float(axes.median()),
        "kl_axis_largest": float(axes.max()),
        "posterior_mean_largest": float(moments.mean.abs().max()),
        "posterior_variance_smallest": float(variances.min()),
        "posterior_variance_largest": float(variances.max()),
    }
