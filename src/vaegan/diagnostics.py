"""Rules that turn metrics into warnings. A warning names the value, what it means and what to change.

- `AlarmTracker` applies `ALARM_RULES` during the training of a GAN.
- `vae_warnings` looks at the validation metrics of a VAE.
- `past_best_warning` and `run_warnings` look at the metrics of a run.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MetricMapping = Mapping[str, float]

# --- GAN, during training

CONSECUTIVE_VALUES = 3
D_WINS_MAX_LOSS = 0.05
D_BLIND_MAX_MARGIN = 0.02
PENALTY_EXPLOSION_FACTOR = 50.0
MIN_PENALTY_HISTORY = 8
DROP_RATIO = 0.5
MIN_BEST_COVERAGE, MIN_BEST_DIVERSITY = 0.1, 0.3
NEVER_DIVERSE_AFTER_IMAGES = 100_000
MAX_DUPLICATE_FRACTION = 0.1
MAX_ADA_RV = 0.6
COLLAPSE_ADVICE = "Raise --gamma, lower --lr-g, or start --from-vae; --best uses the weights with the best KID"


@dataclass
class MetricHistory:
    """All values of every metric so far, by name."""

    images_seen: int = 0
    values: dict[str, list[float]] = field(default_factory=dict)

    def last(self, name: str, count: int = 1) -> list[float]:
        """Return the newest values of a metric.

        Args:
            name: the metric.
            count: number of values.

        Returns:
            the values, the newest last; an empty list if there are fewer.
        """
        values = self.values.get(name, [])
        return values[-count:] if len(values) >= count else []

    def add(self, images_seen: int, metrics: MetricMapping) -> None:
        """Append metrics.

        Args:
            images_seen: training images seen when they were measured.
            metrics: value by name.
        """
        self.images_seen = images_seen
        for name, value in metrics.items():
            self.values.setdefault(name, []).append(value)


def _check_discriminator_wins(history: MetricHistory) -> str:
    losses = history.last("loss_d", CONSECUTIVE_VALUES)
    is_d_warmup = not history.last("loss_g", CONSECUTIVE_VALUES)  # only the discriminator trains, and should win
    if not losses or is_d_warmup or max(losses) >= D_WINS_MAX_LOSS:
        return ""
    return (
        f"the discriminator wins: its loss is {losses[-1]:.2g}, it separates real from fake images almost perfectly, so"
        " the generator learns little. Lower --lr-d, raise --gamma, or use --augment color,translation"
    )


def _check_discriminator_blind(history: MetricHistory) -> str:
    margins = history.last("d_logit_margin", CONSECUTIVE_VALUES)
    if not margins or max(map(abs, margins)) >= D_BLIND_MAX_MARGIN:
        return ""
    return (
        f"the discriminator is blind: its mean logits of real and fake images differ by only {margins[-1]:.2g}, so the"
        " generator learns nothing. Raise --lr-d or lower --gamma"
    )


def _check_penalty_explodes(history: MetricHistory) -> str:
    for name in ("r1_penalty", "r2_penalty"):
        values = history.values.get(name, [])
        if len(values) <= MIN_PENALTY_HISTORY:
            continue
        median = statistics.median(values[:-1])
        if values[-1] > PENALTY_EXPLOSION_FACTOR * max(median, 1e-3):
            return (
                f"the gradient penalty explodes: {name} is {values[-1]:.3g}, its median so far is {median:.3g}."
                " Raise --gamma or lower --lr-d"
            )
    return ""


def _check_duplicate_samples(history: MetricHistory) -> str:
    fraction = history.last("duplicate_fraction")
    if not fraction or fraction[0] < MAX_DUPLICATE_FRACTION:
        return ""
    return f"mode collapse: {fraction[0]:.0%} of the samples nearly equal another sample. {COLLAPSE_ADVICE}"


def _check_low_diversity(history: MetricHistory) -> str:
    values = history.values.get("effective_rank_ratio", [])
    if not values:
        return ""
    best, newest = min(1.0, max(values)), values[-1]  # at most 1: the noise of an untrained generator exceeds it
    if best < MIN_BEST_DIVERSITY or newest >= DROP_RATIO * best:
        return ""
    return (
        f"mode collapse: the effective rank of the samples is {newest:.0%} of that of real images, its best was"
        f" {best:.0%}. {COLLAPSE_ADVICE}"
    )


def _check_never_diverse(history: MetricHistory) -> str:
    values = history.values.get("effective_rank_ratio", [])
    is_early = history.images_seen < NEVER_DIVERSE_AFTER_IMAGES
    if not values or is_early or values[-1] >= MIN_BEST_DIVERSITY or _check_low_diversity(history):
        return ""
    return (
        f"low diversity: the effective rank of the samples is {values[-1]:.0%} of that of real images and was never"
        f" much higher. {COLLAPSE_ADVICE}"
    )


def _check_coverage_drop(history: MetricHistory) -> str:
    values = history.values.get("coverage", [])
    if not values or max(values) < MIN_BEST_COVERAGE or values[-1] >= DROP_RATIO * max(values):
        return ""
    return (
        f"mode collapse: the samples cover {values[-1]:.0%} of the validation images, the best was {max(values):.0%}."
        " Raise --gamma, lower --lr-g, or raise --recon-weight; --best uses the weights with the best KID"
    )


def _check_discriminator_overfits(history: MetricHistory) -> str:
    rv = history.last("ada_rv")
    if not rv or rv[0] < MAX_ADA_RV:
        return ""
    return (
        f"the discriminator overfits: ada_rv is {rv[0]:.2g} (at 1, validation images get the same logits as fake ones)."
        " Add training images, or use --augment color,translation"
    )


AlarmRule = Callable[[MetricHistory], str]
ALARM_RULES: dict[str, AlarmRule] = {
    "discriminator_wins": _check_discriminator_wins,
    "discriminator_blind": _check_discriminator_blind,
    "penalty_explodes": _check_penalty_explodes,
    "duplicate_samples": _check_duplicate_samples,
    "low_diversity": _check_low_diversity,
    "never_diverse": _check_never_diverse,
    "coverage_drop": _check_coverage_drop,
    "discriminator_overfits": _check_discriminator_overfits,
}
"""By alarm name, as in metrics.jsonl: a rule returns its warning, or an empty string if all is well."""
COLLAPSE_ALARMS = frozenset({"duplicate_samples", "low_diversity", "coverage_drop"})
"""Alarms that mean mode collapse."""


@dataclass
class AlarmTracker:
    """Apply the alarm rules to the metrics of a run, in order; a resumed run replays its metrics.jsonl.

    Attributes:
        active: alarms whose rule is broken now.
        best_kid: lowest KID after the first step.
        active_at_best: collapse alarms that were active at the best KID.
        collapse_alarms: collapse alarms that are active since the newest KID but were not at the best.
    """

    history: MetricHistory = field(default_factory=MetricHistory)
    active: set[str] = field(default_factory=set)
    best_kid: float = math.inf
    active_at_best: frozenset[str] = frozenset()
    collapse_alarms: frozenset[str] = frozenset()

    def update(self, images_seen: int, metrics: MetricMapping) -> dict[str, str]:
        """Add metrics and return the alarms that begin now.

        Args:
            images_seen: training images seen when they were measured.
            metrics: value by name.

        Returns:
            warning by name of the alarm.
        """
        self.history.add(images_seen, metrics)
        warnings = {name: text for name, rule in ALARM_RULES.items() if (text := rule(self.history))}
        new = {name: text for name, text in warnings.items() if name not in self.active}
        self.active = set(warnings)
        if "kid" in metrics and images_seen:
            self._update_collapse_alarms(metrics["kid"])
        return new

    def _update_collapse_alarms(self, kid: float) -> None:
        active = COLLAPSE_ALARMS & self.active
        if kid < self.best_kid:
            self.best_kid, self.active_at_best = kid, active
        self.collapse_alarms = active - self.active_at_best


# --- VAE

MIN_KL_NATS = 3.0
"""A posterior with less information per image cannot distinguish even 20 images (ln 20 = 3.0)."""
MIN_ACTIVE_FRACTION = 0.1
MAX_PSNR_GAP = 1.5
"""In dB, training above validation images; 1.5 dB is 1.4 times the squared error."""
SHORT_RUN_IMAGES = 20_000


def describe_latent_usage(metrics: MetricMapping, latent_dim: int) -> str:
    """Describe in one line how the latents are used.

    Args:
        metrics: newest value by name.
        latent_dim: number of latents d.

    Returns:
        the line; empty if it was not measured.
    """
    if "active_units" not in metrics:
        return ""
    text = f"{metrics['active_units']:.0f} of {latent_dim} active"
    if "val_kl" in metrics:
        text += f", KL {metrics['val_kl']:.3g} nats per image"
    if "kl_per_dim_median" in metrics:
        values = ", ".join(f"{name} {metrics.get(f'kl_per_dim_{name}', 0.0):.2g}" for name in ("min", "median", "max"))
        text += f" (per latent: {values})"
    if "agg_posterior_mean_absmax" in metrics:
        text += (
            f"; before whitening, means up to {metrics['agg_posterior_mean_absmax']:.2g}, variances"
            f" {metrics.get('agg_posterior_var_min', 0.0):.2g} to {metrics.get('agg_posterior_var_max', 0.0):.2g}"
        )
    return text


def describe_reconstruction(metrics: MetricMapping) -> str:
    """Describe in one line how well validation images are reconstructed.

    Args:
        metrics: newest value by name.

    Returns:
        the line; empty if it was not measured.
    """
    if "val_psnr" not in metrics:
        return ""
    parts = [f"PSNR {metrics['val_psnr']:.1f} dB"]
    if "val_ssim" in metrics:
        parts.append(f"SSIM {metrics['val_ssim']:.3f}")
    if "train_psnr" in metrics:
        parts.append(f"training images {metrics['train_psnr']:.1f} dB")
    return ", ".join(parts)


def vae_warnings(metrics: MetricMapping, beta: float, latent_dim: int, images_seen: float) -> list[str]:
    """Return warnings for the newest validation metrics of a VAE.

    Args:
        metrics: newest value by name.
        beta: weight of the KL term.
        latent_dim: number of latents d.
        images_seen: training images seen when they were measured.

    Returns:
        the warnings.
    """
    warnings = (_check_posterior_collapse(metrics, beta, latent_dim, images_seen), _check_vae_overfitting(metrics))
    return [text for text in warnings if text]


def _check_posterior_collapse(metrics: MetricMapping, beta: float, latent_dim: int, images_seen: float) -> str:
    active, kl = metrics.get("active_units"), metrics.get("val_kl")
    if active is None:
        return ""
    has_active_latents = active > 0 and active >= MIN_ACTIVE_FRACTION * latent_dim
    if has_active_latents and (kl is None or kl >= MIN_KL_NATS):
        return ""
    measured_kl = "" if kl is None else f" and the KL is {kl:.2g} nats per image"
    if beta > 0:
        advice = f"lower --beta (it is {beta:g})" + (", and train longer" if images_seen < SHORT_RUN_IMAGES else "")
    else:
        advice = "train longer"
    return (
        f"posterior collapse: {active:.0f} of {latent_dim} latents are active{measured_kl}, so all images decode to"
        f" nearly the same image: {advice}"
    )


def _check_vae_overfitting(metrics: MetricMapping) -> str:
    train, val = metrics.get("train_psnr"), metrics.get("val_psnr")
    if train is None or val is None or train - val < MAX_PSNR_GAP:
        return ""
    return (
        f"overfitting: training images are reconstructed {train - val:.1f} dB better than validation images"
        f" ({train:.1f} and {val:.1f} dB): add images, raise --train-augment, train shorter (--images), or use fewer"
        " latents (--latent-dim) or a higher --beta"
    )


# --- a run

MIN_KID_RATIO = 1.25
"""The newest KIDs must be this many times the best one before a warning."""
NUM_RECENT_EVALUATIONS = 2


def run_warnings(config: Mapping[str, Any], metrics_log: Iterable[MetricMapping], has_best_weights: bool) -> list[str]:
    """Return warnings for a run.

    Args:
        config: its config.json.
        metrics_log: the lines of its metrics.jsonl.
        has_best_weights: whether --best works.

    Returns:
        the warnings.
    """
    metrics_log = list(metrics_log)
    newest = {name: value for metrics in metrics_log for name, value in metrics.items()}
    skipped, rollbacks = newest.get("skipped_steps", 0.0), newest.get("rollbacks", 0.0)
    warnings = []
    if skipped >= 1:
        warnings.append(f"{skipped:.0f} steps were skipped because their gradients were not finite.")
    if rollbacks >= 1:
        warnings.append(
            f"Training rolled back to an earlier checkpoint {rollbacks:.0f} times, with half the learning rate each"
            " time: use a lower learning rate from the start."
        )
    if message := past_best_warning(metrics_log, has_best_weights):
        warnings.append(message)
    beta, latent_dim = config["options"].get("beta"), config["model"].get("latent_dim")
    if config["kind"] == "vae" and isinstance(beta, (int, float)) and isinstance(latent_dim, int):
        warnings += vae_warnings(newest, float(beta), latent_dim, newest.get("images_seen", 0.0))
    return warnings


def past_best_warning(metrics_log: Iterable[MetricMapping], has_best_weights: bool) -> str:
    """Return a warning if the newest KIDs of a run are all clearly worse than its best.

    Args:
        metrics_log: the lines of its metrics.jsonl.
        has_best_weights: whether --best works.

    Returns:
        the warning, or an empty string.
    """
    evaluations, kid_stderr = [], 0.0
    for metrics in metrics_log:
        kid, images_seen = metrics.get("kid", math.nan), metrics.get("images_seen", 0.0)
        kid_stderr = metrics.get("kid_stderr", kid_stderr)
        if math.isfinite(kid) and 0 < images_seen < math.inf:
            evaluations.append((kid, images_seen))
    if len(evaluations) <= NUM_RECENT_EVALUATIONS:
        return ""
    best_kid, best_images_seen = min(evaluations)
    # every evaluation uses the same latents: the noise of a difference of two KIDs is below one standard error
    max_kid = max(best_kid * MIN_KID_RATIO, best_kid + kid_stderr)
    if min(kid for kid, _ in evaluations[-NUM_RECENT_EVALUATIONS:]) <= max_kid:
        return ""
    advice = ": --best uses the weights from then" if has_best_weights else ""
    return (
        f"KID was best after {best_images_seen:,.0f} images ({best_kid:.3g}) and is now worse"
        f" ({evaluations[-1][0]:.3g}){advice}."
    )
