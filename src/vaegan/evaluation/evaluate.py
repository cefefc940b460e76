"""Compare the samples of a checkpoint with validation images, beside real images and its VAE."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from vaegan.checkpoint import WEIGHTS_FILE, read_weights_info
from vaegan.config.option_types import EvaluateOptions
from vaegan.config.options import build_settings
from vaegan.config.tool_settings import EvaluateSettings
from vaegan.data.classes import NO_CLASS, read_class_ids
from vaegan.data.dataset import PreparedDataset
from vaegan.errors import VaeganError
from vaegan.evaluation.feature_spaces import FeatureExtractor, FeatureSpaces, channels_last, load_or_train_features
from vaegan.evaluation.inception import check_inception, inception_metrics
from vaegan.evaluation.metric_specs import LEARNED_SPACE, MetricDict
from vaegan.evaluation.per_class import ClassResult, evaluate_classes
from vaegan.evaluation.reference import FeatureSet, Reference
from vaegan.evaluation.verdict import make_verdict
from vaegan.events import EventHandler, Note, TaskProgress
from vaegan.inference.latent_files import WEIGHTS_HASH_KEY
from vaegan.inference.model import Model, load
from vaegan.metrics.prdc import MIN_IMAGES_FOR_NEIGHBORS
from vaegan.progress.reporter import default_reporter
from vaegan.report.figures import image_or_mirror
from vaegan.run_lookup import dataset_for, source_vae_for
from vaegan.utils.files import file_sha256
from vaegan.version import __version__

MIN_TRAIN_IMAGES, MIN_VAL_IMAGES = 8, 2
MIN_RELIABLE_VAL_IMAGES = 200
UNSTABLE_METRICS = ("precision", "recall", "coverage", "coverage_coarse", "ndb_over_k", "ndb_missing")
"""Left out below MIN_IMAGES_FOR_NEIGHBORS."""
SAMPLES_COLUMN, REAL_COLUMN = "samples", "real"
DATASET_FINGERPRINT_KEY = "dataset_fingerprint"
NUM_NEIGHBOR_PAIRS = 8
NUM_EXAMPLES = 64
MAX_EXTRA_MEMORIZED = 0.2
MIN_DUPLICATE_PAIRS, MIN_DUPLICATE_RATE = 3, 0.02
"""Fewer pairs of near-duplicates can occur by chance, or because one face is common; the rate is per sample."""
MAX_FINE_TO_COARSE = 4.0


def _caution(num_train: int, num_val: int, is_small: bool) -> str:
    """Return what to keep in mind about metrics of a small dataset; empty if it is large enough."""
    if is_small:
        return (
            f"small dataset, {num_train + num_val} images: precision, recall, coverage and NDB are left out, because"
            " with so few images they rate noise as high as real images. The distances in fixed features at the top"
            " still tell them apart; compare them with the column of real images"
        )
    if num_val < MIN_RELIABLE_VAL_IMAGES:
        return f"only {num_val} validation images: metrics are noisy, compare them with the column of real images"
    return ""


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Result of `evaluate`.

    Attributes:
        metrics: metrics by name for "samples", then "VAE" (of a GAN) or "reconstructions" (of a VAE), and "real".
        caution: what to keep in mind about a small dataset, or empty.
        neighbors: uint8 [2 * P, C, S, S], the P samples nearest to a training image, each followed by that image.
        verdict: how good the samples are, in sentences.
        samples, real: uint8 [E, C, S, S] each, the first samples and as many validation images.
        classes: result of each class of a conditional model.
    """

    metrics: dict[str, MetricDict]
    facts: dict[str, Any]
    caution: str
    warnings: list[str]
    neighbors: Tensor
    verdict: list[str]
    samples: Tensor
    real: Tensor
    classes: list[ClassResult] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The run or checkpoint, or a weights file with another name than that of runs."""
        path = Path(self.facts["checkpoint"])
        return str(path.parent if path.name == WEIGHTS_FILE else path)

    def __repr__(self) -> str:
        return "\n".join([f"<Evaluation of {self.name}>", *self.verdict])


class Evaluator:
    """Metrics of any number of models against the real images of one dataset.

    The encoder in the weights at `vae_path` is used as an additional feature space.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        settings: EvaluateSettings,
        device: torch.device,
        vae_path: Path | None,
        emit: EventHandler,
    ) -> None:
        self.dataset, self.settings, self.device = dataset, settings, device
        if settings.inception is not None:
            check_inception(settings.inception)
        train, val = dataset.load()
        if len(train) < MIN_TRAIN_IMAGES or len(val) < MIN_VAL_IMAGES:
            raise VaeganError(
                f"{dataset.path} has {len(train)} training and {len(val)} validation images, an evaluation needs at"
                f" least {MIN_TRAIN_IMAGES} and {MIN_VAL_IMAGES}: prepare more images, with --val-fraction 0.1"
            )
        self.num_images = min(settings.n, 3 * len(train) // 4)
        if self.num_images < settings.n:
            text = f"Comparing {self.num_images} images instead of {settings.n}"
            emit(Note(f"{text}: {dataset.path} has only {len(train)} training images"))
        network = load_or_train_features(dataset, train, emit).to(device)
        extractors: dict[str, FeatureExtractor] = {LEARNED_SPACE: channels_last(network)}
        if vae_path is not None:
            encoder = load(vae_path, str(device)).encoder
            assert encoder is not None
            extractors["vae"] = lambda images: encoder(images).mean
        self.reference = Reference(FeatureSpaces(extractors, device), train, val, self.num_images, settings.seed)
        self.is_small = len(train) + len(val) < MIN_IMAGES_FOR_NEIGHBORS
        self.caution = _caution(len(train), len(val), self.is_small)
        if self.caution:
            emit(Note(self.caution))

    def generate_samples(self, model: Model) -> FeatureSet:
        """Generate samples of consecutive seeds and extract their features.

        Args:
            model: the model.

        Returns:
            samples and features.
        """
        return self.reference.extract_features(model.sample(self.num_images, self.settings.seed))

    def compute_metrics(self, feature_set: FeatureSet) -> MetricDict:
        """Compute all metrics: on Inception features only if asked for, unstable ones not on small sets.

        Args:
            feature_set: images and their features.

        Returns:
            value by name; None for what was not measured.
        """
        metrics = self.reference.compute_metrics(feature_set)
        if self.is_small:
            metrics |= dict.fromkeys(UNSTABLE_METRICS)
        if self.settings.inception is not None:
            val_images, use_gpu = self.reference.val.images, self.device.type == "cuda"
            metrics |= inception_metrics(val_images, feature_set.images, self.settings.inception, use_gpu)
        return metrics

    def real_metrics(self) -> MetricDict:
        """Compute the metrics of as many real images, the best possible values.

        Returns:
            value by name.
        """
        return self.compute_metrics(self.reference.real_baseline)


def evaluate(
    ckpt: Path | str,
    data: Path | str | None = None,
    *,
    vae_encoder: bool = False,
    device: str = "auto",
    on_event: EventHandler | None = None,
    **options: Unpack[EvaluateOptions],
) -> Evaluation:
    """Compare the samples of a checkpoint with the validation images of a dataset.

    Args:
        ckpt: run, checkpoint or weights file.
        data: prepared dataset; by default the one that the checkpoint was trained on.
        vae_encoder: also compare in the feature space of the encoder saved with the generator.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        on_event: is called with every event. By default progress is shown in a terminal and in a notebook.
        **options: fields of EvaluateSettings.

    Returns:
        metrics, warnings and nearest neighbors.

    Raises:
        UsageError: if an option is invalid.
        VaeganError: if the checkpoint or the dataset cannot be read, or the dataset has too few images.
    """
    with default_reporter(on_event) as emit:
        return _evaluate(Path(ckpt), data, vae_encoder, device, emit, dict(options))


def _evaluate(
    ckpt: Path,
    data: Path | str | None,
    vae_encoder: bool,
    device: str,
    on_event: EventHandler,
    options: dict[str, Any],
) -> Evaluation:
    start_time = time.perf_counter()
    settings = build_settings(EvaluateSettings, options)
    weights = read_weights_info(ckpt)
    weights_hash = file_sha256(weights.path)
    dataset = dataset_for(weights, None if data is None else Path(data), on_event)
    model = load(weights.path, device)
    vae_path = source_vae_for(weights, on_event)
    if vae_encoder and model.encoder is None:
        raise VaeganError(f"--vae-encoder: {weights.path} holds no encoder, it is a GAN that was trained from scratch")
    evaluator = Evaluator(dataset, settings, model.device, weights.path if vae_encoder else None, on_event)
    reference = evaluator.reference

    # the columns of the table
    samples = evaluator.generate_samples(model)
    feature_sets = {SAMPLES_COLUMN: samples}
    if weights.kind == "vae":
        images = reference.real_baseline.images
        rows = reference.train_order[: len(images)]
        reconstructions = model.reconstruct(images, settings.seed, _labeled_classes(model, dataset, rows))
        feature_sets["reconstructions"] = reference.extract_features(reconstructions)
    elif vae_path is not None:
        feature_sets["VAE"] = evaluator.generate_samples(load(vae_path, device))
    feature_sets[REAL_COLUMN] = reference.real_baseline

    metrics: dict[str, MetricDict] = {}
    for index, (name, feature_set) in enumerate(feature_sets.items()):
        metrics[name] = evaluator.compute_metrics(feature_set)
        on_event(TaskProgress("Computing metrics", index + 1, len(feature_sets), "columns"))
    classes = evaluate_classes(model, dataset, reference, evaluator.num_images, settings.seed, on_event)
    facts = {
        "checkpoint": str(weights.path),
        "kind": weights.kind,
        "step": weights.step,
        WEIGHTS_HASH_KEY: weights_hash,
        "dataset": str(dataset.path),
        DATASET_FINGERPRINT_KEY: dataset.fingerprint,
        "num_images": evaluator.num_images,
        "num_val_images": len(reference.val.images),
        "seed": settings.seed,
        "vaegan_version": __version__,
        "seconds": round(time.perf_counter() - start_time, 1),
    }
    warnings = evaluation_warnings(metrics[SAMPLES_COLUMN], metrics[REAL_COLUMN])
    return Evaluation(
        metrics,
        facts,
        evaluator.caution,
        warnings,
        _nearest_training_pairs(reference, samples),
        make_verdict(metrics[SAMPLES_COLUMN], metrics[REAL_COLUMN], metrics.get("VAE")),
        samples.images[:NUM_EXAMPLES],
        reference.val.images[:NUM_EXAMPLES],
        classes,
    )


def _labeled_classes(model: Model, dataset: PreparedDataset, rows: Tensor) -> list[str] | None:
    """Return the classes of training images by their labels; None without classes, or where one has no label."""
    if not model.classes:
        return None
    try:
        numbers = read_class_ids(dataset, model.info.config.class_label, model.classes).train[rows].tolist()
    except VaeganError:
        return None
    return None if NO_CLASS in numbers else [model.classes[number] for number in numbers]


def _nearest_training_pairs(reference: Reference, samples: FeatureSet) -> Tensor:
    """Return the samples nearest to a training image or its mirror image, each followed by that image."""
    distances, rows = reference.find_nearest_train(samples)
    images = []
    for index in distances.argsort()[:NUM_NEIGHBOR_PAIRS].tolist():
        images += [samples.images[index], image_or_mirror(reference.train_images, int(rows[index]))]
    return torch.stack(images)


def evaluation_warnings(samples: MetricDict, real: MetricDict) -> list[str]:
    """Return warnings if the metrics of the samples are clearly worse than those of as many real images.

    Args:
        samples: metrics of the samples.
        real: metrics of as many real images.

    Returns:
        the warnings.
    """

    def pair(name: str) -> tuple[float, float] | None:
        fake_value, real_value = samples.get(name), real.get(name)
        return None if fake_value is None or real_value is None else (fake_value, real_value)

    warnings = []
    memorized, coverage = pair("memorized_fraction"), pair("coverage") or pair("coverage_fine")
    if memorized is not None and memorized[0] > memorized[1] + MAX_EXTRA_MEMORIZED:
        warnings.append(
            f"memorization: {memorized[0]:.0%} of the samples are closer to a training image than its own nearest"
            f" neighbor is; of new real images, {memorized[1]:.0%}: look at the nearest neighbors; more images or"
            " --augment help"
        )
    if coverage is not None and coverage[0] < coverage[1] / 2:
        warnings.append(
            f"low coverage: the samples cover {coverage[0]:.0%} of the validation images, real images"
            f" {coverage[1]:.0%}: modes are missing (mode collapse), or the samples do not look real yet"
        )
    duplicates, support = pair("duplicate_pairs"), samples.get("birthday_support")
    if duplicates is not None and support is not None and duplicates[0] >= max(MIN_DUPLICATE_PAIRS, 10 * duplicates[1]):
        num_samples = math.sqrt(2 * support * duplicates[0])  # see `birthday_support_size`
        if duplicates[0] >= num_samples * MIN_DUPLICATE_RATE:
            warnings.append(f"duplicate samples: only about {support:,.0f} of them are different (mode collapse)")
    fine, coarse = pair("frechet_fine"), pair("frechet_coarse")
    if fine is not None and coarse is not None and fine[0] / fine[1] > MAX_FINE_TO_COARSE * coarse[0] / coarse[1]:
        warnings.append(
            f"fine texture is off: at the finest scale the Frechet distance is {fine[0] / fine[1]:.0f} times that of"
            f" real images, at the coarsest {coarse[0] / coarse[1]:.0f} times: look for blur, noise or a grid pattern"
        )
    return warnings
