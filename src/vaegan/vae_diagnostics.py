"""What a VAE's numbers mean, in words: how its latents are used, and what should be changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FEW_NATS = 3.0
"""A posterior that says less of a picture cannot tell twenty of them apart."""
FEW_ACTIVE = 0.1
GAP = 1.5
"""Decibels that training pictures may be better reconstructed than held-out ones: 1.4 times the error."""
SHORT = 20_000

Numbers = Mapping[str, float]


def latents(numbers: Numbers, latent_dim: int) -> str:
    """How the latents are used, in one line; empty where it was not measured."""
    if "active_units" not in numbers:
        return ""
    kl = f", KL {numbers['held_out_kl']:.3g} nats a picture" if "held_out_kl" in numbers else ""
    moments = ""
    if "posterior_mean_largest" in numbers:
        moments = (
            f"; before folding, means up to {numbers['posterior_mean_largest']:.2g} and variances"
            f" {numbers['posterior_variance_smallest']:.2g} to {numbers['posterior_variance_largest']:.2g}"
        )
    names = ("smallest", "median", "largest")
    axes = ", ".join(f"{numbers.get(f'kl_axis_{name}', 0.0):.2g}" for name in names)
    active = f"{numbers['active_units']:.0f} of {latent_dim} active"
    return f"{active}{kl} (per axis {axes}: {', '.join(names)}){moments}"


def quality(numbers: Numbers) -> str:
    """How well held-out pictures are reconstructed, beside training pictures, in one line; empty where unknown."""
    if "held_out_psnr" not in numbers:
        return ""
    parts = [f"PSNR {numbers['held_out_psnr']:.1f} dB"]
    if "held_out_ssim" in numbers:
        parts.append(f"SSIM {numbers['held_out_ssim']:.3f}")
    if "train_psnr" in numbers:
        parts.append(f"training pictures {numbers['train_psnr']:.1f} dB")
    return ", ".join(parts)


def warnings(numbers: Numbers, beta: float, latent_dim: int, images: int) -> list[str]:
    """What is wrong with a VAE whose newest `numbers` these are, after `images` pictures, and which flag mends it."""
    return [text for text in (_collapse(numbers, beta, latent_dim, images), _overfitting(numbers)) if text]


def of_run(config: Mapping[str, Any], numbers: Numbers) -> list[str]:
    """The warnings of a VAE run whose config.json and newest `numbers` these are; none for a GAN."""
    beta, latent_dim = config["options"].get("beta"), config["model"].get("latent_dim")
    if config["kind"] != "vae" or not isinstance(beta, (int, float)) or not isinstance(latent_dim, int):
        return []
    return warnings(numbers, float(beta), latent_dim, int(numbers.get("images", 0)))


def _collapse(numbers: Numbers, beta: float, latent_dim: int, images: int) -> str:
    active, kl = numbers.get("active_units"), numbers.get("held_out_kl")
    if active is None or (active >= FEW_ACTIVE * latent_dim and active > 0 and (kl is None or kl >= FEW_NATS)):
        return ""
    says = f" and say {kl:.2g} nats about a picture" if kl is not None else ""
    longer = ", and train longer" if images < SHORT else ""
    cure = f"lower --beta (it is {beta:g})" if beta > 0 else "train longer"
    return (
        f"posterior collapse: {active:.0f} of {latent_dim} latents are used{says}, so that all pictures decode to"
        f" nearly the same: {cure}{longer if beta > 0 else ''}"
    )


def _overfitting(numbers: Numbers) -> str:
    train, held_out = numbers.get("train_psnr"), numbers.get("held_out_psnr")
    if train is None or held_out is None or train - held_out < GAP:
        return ""
    return (
        f"overfitting: training pictures are reconstructed {train - held_out:.1f} dB better than held-out ones"
        f" ({train:.1f} against {held_out:.1f} dB): give more pictures, vary them more (--jitter), train shorter"
        " (--images), with fewer latents (--latent-dim) or a higher --beta"
    )
