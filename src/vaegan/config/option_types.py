"""The options of the public functions as types, which editors complete. A test compares them with the settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class VAEOptions(TypedDict, total=False):
    """Options of `train_vae`: the fields of `VAESettings`."""

    batch_size: int | str
    ema_halflife: int | str
    mirror: bool
    seed: int
    cond: str | None
    balance: bool
    preset: str | None
    latent_dim: int | str | None
    steps: int | str | None
    images: int | str | None
    minutes: float | None
    stop_when: str
    checkpoint_every: int | str | None
    sample_every: int | str | None
    evaluate_every: int | str | None
    log_every: int
    keep_checkpoints: int
    log: str
    device: str
    precision: str
    cache: str
    objective: str
    likelihood: str
    beta: float
    kl_warmup: int | str
    free_bits: float
    optimizer: str
    lr: float
    lr_decay_start: int | str
    grad_clip: float
    lr_warmup: int | str
    train_augment: float


class GANOptions(TypedDict, total=False):
    """Options of `train_gan`: the fields of `GANSettings`."""

    batch_size: int | str
    ema_halflife: int | str
    mirror: bool
    seed: int
    cond: str | None
    balance: bool
    preset: str | None
    latent_dim: int | None
    steps: int | str | None
    images: int | str | None
    minutes: float | None
    stop_when: str
    checkpoint_every: int | str | None
    sample_every: int | str | None
    evaluate_every: int | str | None
    log_every: int
    keep_checkpoints: int
    log: str
    device: str
    precision: str
    cache: str
    loss: str
    gamma: float | None
    gamma_final: float | None
    gamma_anneal_images: int | str
    gp_interval: int
    optimizer: str
    lr_g: float | None
    lr_d: float
    lr_decay_start: int | str
    update_clip: float
    augment: str
    ada_target: float | None
    prior: str | None
    minibatch_std: bool | None
    d_recon_weight: float | None
    patch_weight: float
    init_d_from_encoder: bool
    recon_weight: float
    recon_fraction: float
    recon_fraction_final: float
    recon_fade: int | str
    d_warmup_steps: int | None
    freeze_d: int
    on_collapse: str


class PreprocessOptions(TypedDict, total=False):
    """Options of `prepare`: the fields of `PreprocessSettings`."""

    size: int
    fit: str
    crop_position: str
    pad_mode: str
    background: str
    grayscale: bool | None
    gray_bits: str
    frames: str
    include_generated: bool
    min_side: int
    max_aspect: float | None
    max_pixels: int | str
    dedupe: str
    val_fraction: float
    group_by: str | None
    labels: str | None
    label_columns: str | Sequence[str] | None
    strict: bool
    workers: int | None
    pool: str
    ray_address: str | None


class EvaluateOptions(TypedDict, total=False):
    """Options of `evaluate` and `compare`: the fields of `EvaluateSettings`."""

    n: int | str
    seed: int
    inception: str | None


class TimelapseOptions(TypedDict, total=False):
    """Options of `timelapse`: the fields of `TimelapseSettings`."""

    format: str | None
    fps: float | None
    frames: int
    hold_last: float
    captions: bool
    scale: int
