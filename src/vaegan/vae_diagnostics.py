"""What a VAE's numbers mean, in words: how its latents are used, and what should be changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MIN_KL_NATS = 3.0
"""A posterior that says less of a picture cannot tell twenty of them apart."""
MIN_ACTIVE_FRACTION = 0.1
MAX_PSNR_GAP = 1.5
"""Decibels that training pictures may be better reconstructed than held-out ones: 1.4 times the error."""
SHORT_RUN_IMAGES = 20_000

MetricMapping = Mapping[str, float]


def describe_latent_usage(metrics: MetricMapping, latent_dim: int) -> str:
    """How the latents are used, in one line; empty where it was not measured."""
    if "active_units" not in metrics:
        return ""
    kl = f", KL {metrics['val_kl']:.3g} nats a picture" if "val_kl" in metrics else ""
    moments = ""
    if "agg_posterior_mean_absmax" in metrics:
        moments = (
            f"; before folding, means up to {metrics['agg_posterior_mean_absmax']:.2g} and variances"
            f" {metrics['agg_posterior_var_min']:.2g} to {metrics['agg_posterior_var_max']:.2g}"
        )
    names = ("smallest", "median", "largest")
    axes = ", ".join(f"{metrics.get(f'kl_axis_{name}', 0.0):.2g}" for name in names)
    active = f"{metrics['active_units']:.0f} of {latent_dim} active"
    return f"{active}{kl} (per axis {axes}: {', '.join(names)}){moments}"


def describe_reconstruction(metrics: MetricMapping) -> str:
    """How well held-out pictures are reconstructed, beside training pictures, in one line; empty where unknown."""
    if "val_psnr" not in metrics:
        return ""
    parts = [f"PSNR {metrics['val_psnr']:.1f} dB"]
    if "val_ssim" in metrics:
        parts.append(f"SSIM {metrics['val_ssim']:.3f}")
    if "train_psnr" in metrics:
        parts.append(f"training pictures {metrics['train_psnr']:.1f} dB")
    return ", ".join(parts)


def vae_warnings(metrics: MetricMapping, beta: float, latent_dim: int, images_seen: int) -> list[str]:
    """What is wrong with a VAE whose newest `numbers` these are, after `images` pictures, and which flag mends it."""
    return [
        text
        for text in (_check_posterior_collapse(metrics, beta, latent_dim, images_seen), _check_vae_overfitting(metrics))
        if text
    ]


def vae_run_warnings(config: Mapping[str, Any], metrics: MetricMapping) -> list[str]:
    """The warnings of a VAE run whose config.json and newest `numbers` these are; none for a GAN."""
    beta, latent_dim = config["options"].get("beta"), config["model"].get("latent_dim")
    if config["kind"] != "vae" or not isinstance(beta, (int, float)) or not isinstance(latent_dim, int):
        return []
    return vae_warnings(metrics, float(beta), latent_dim, int(metrics.get("images_seen", 0)))


def _check_posterior_collapse(metrics: MetricMapping, beta: float, latent_dim: int, images_seen: int) -> str:
    active, kl = metrics.get("active_units"), metrics.get("val_kl")
    if active is None or (
        active >= MIN_ACTIVE_FRACTION * latent_dim and active > 0 and (kl is None or kl >= MIN_KL_NATS)
    ):
        return ""
    says = f" and say {kl:.2g} nats about a picture" if kl is not None else ""
    longer = ", and train longer" if images_seen < SHORT_RUN_IMAGES else ""
    cure = f"lower --beta (it is {beta:g})" if beta > 0 else "train longer"
    return (
        f"posterior collapse: {active:.0f} of {latent_dim} latents are used{says}, so that all pictures decode to"
        f" nearly the same: {cure}{longer if beta > 0 else ''}"
    )


def _check_vae_overfitting(metrics: MetricMapping) -> str:
    train, held_out = metrics.get("train_psnr"), metrics.get("val_psnr")
    if train is None or held_out is None or train - held_out < MAX_PSNR_GAP:
        return ""
    return (
        f"overfitting: training pictures are reconstructed {train - held_out:.1f} dB better than held-out ones"
        f" ({train:.1f} against {held_out:.1f} dB): give more pictures, vary them more (--train-augment), train shorter"
        " (--images), with fewer latents (--latent-dim) or a higher --beta"
    )
