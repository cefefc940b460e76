"""Compare what a checkpoint draws with held-out pictures, beside what real pictures and its VAE get."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaegan.checkpoint import read_weights_info
from vaegan.config.options import build_settings
from vaegan.config.settings import EvaluateSettings
from vaegan.data.dataset import PreparedDataset
from vaegan.errors import VaeganError
from vaegan.evaluation.feature_spaces import FeatureSpaces, load_or_train_features, make_network_extractor
from vaegan.evaluation.inception import check_inception, inception_metrics
from vaegan.evaluation.reference import FeatureSet, MetricDict, Reference
from vaegan.events import EventHandler, Note, TaskProgress, ignore_event
from vaegan.inference.model import Model, load
from vaegan.run_lookup import dataset_for, source_vae_for
from vaegan.version import __version__

MIN_RELIABLE_VAL_IMAGES = 200
REAL_COLUMN = "real"
NUM_NEIGHBOR_PAIRS = 8
MIN_DUPLICATE_PAIRS, MIN_DUPLICATE_RATE = 3, 0.02
"""Pairs of samples that are nearly the same which are worth a word: at least so many, and for so many samples one."""


@dataclass(frozen=True)
class Evaluation:
    """What was found. `columns`: numbers by measure, for "samples", "VAE" or "reconstructions", and "real", the floor.

    facts: what was compared and how long it took; neighbours: uint8 [2 * 8, C, S, S], samples that come nearest to a
    training picture, each followed by that picture; warnings: what the user should look at, in words.
    """

    metrics: dict[str, MetricDict]
    facts: dict[str, Any]
    warnings: list[str]
    neighbors: Tensor


class Evaluator:
    """Real pictures of one set, ready to measure any number of models against."""

    def __init__(
        self,
        dataset: PreparedDataset,
        settings: EvaluateSettings,
        device: torch.device,
        vae_path: Path | None,
        emit: EventHandler,
    ) -> None:
        """Read `data` and learn its features, or read them; encoder: a VAE whose encoder is to be one more space.

        Raises VaeganError where there is nothing to compare with.
        """
        self.dataset, self.emit = dataset, emit
        if settings.inception is not None:
            check_inception(settings.inception)
        train, held_out = dataset.load()
        if len(held_out) < 2 or len(train) < 8:
            raise VaeganError(
                f"{dataset.path} holds {len(train)} pictures to train on and {len(held_out)} held out: evaluation compares"
                " with pictures that training never saw; prepare more, with --val-fraction 0.1"
            )
        if len(held_out) < MIN_RELIABLE_VAL_IMAGES:
            emit(Note(f"Only {len(held_out)} held-out pictures: distances are rough, read them beside the real ones'"))
        self.num_images = min(settings.n, 3 * len(train) // 4)
        if self.num_images < settings.n:
            emit(
                Note(
                    f"Comparing {self.num_images} pictures instead of {settings.n}: {dataset.path} has no more real ones"
                )
            )
        self.settings, self.device, self.has_vae_space = settings, device, vae_path is not None
        extra = {"set": make_network_extractor(load_or_train_features(dataset, train, emit), device)}
        if vae_path is not None:
            extra["vae"] = _make_encoder_extractor(load(vae_path, str(device)))
        self.reference = Reference(FeatureSpaces(extra, device), train, held_out, self.num_images, settings.seed)

    def generate_samples(self, model: Model) -> FeatureSet:
        """Draw `n` pictures of consecutive seeds and extract their features."""
        return self.reference.extract_features(model.sample(self.num_images, self.settings.seed))

    def compute_metrics(self, feature_set: FeatureSet) -> MetricDict:
        """Every measure of a lot; Inception's where it was asked for."""
        numbers = self.reference.compute_metrics(feature_set)
        if self.settings.inception is not None:
            held_out, gpu = self.reference.val.images, self.device.type == "cuda"
            numbers |= inception_metrics(held_out, feature_set.images, self.settings.inception, gpu)
        return numbers

    def real_metrics(self) -> MetricDict:
        """What as many real pictures get: the floor."""
        return self.compute_metrics(self.reference.real_baseline)


def _make_encoder_extractor(model: Model) -> Any:
    encoder = model.encoder
    assert encoder is not None
    return lambda pictures: encoder(pictures).mean


def evaluate(
    ckpt: Path | str,
    data: Path | str | None = None,
    *,
    vae_encoder: bool = False,
    device: str = "auto",
    on_event: EventHandler = ignore_event,
    **options: Any,
) -> Evaluation:
    """Measure the samples of a checkpoint against held-out pictures of a prepared set.

    ckpt: a run, a checkpoint or a weights file; data: a prepared set (the one that it was trained on); vae_encoder:
    also in the space of the encoder that lies beside the generator; options: those of EvaluateSettings. Raises
    VaeganError for all that the user can mend.
    """
    began = time.perf_counter()
    settings = build_settings(EvaluateSettings, options)
    weights = read_weights_info(Path(ckpt))
    prepared = dataset_for(weights, None if data is None else Path(data), on_event)
    model = load(weights.path, device)
    vae = source_vae_for(weights, on_event)
    encoder = weights.path if vae_encoder else None
    if vae_encoder and model.encoder is None:
        raise VaeganError(f"--vae-encoder: {weights.path} holds no encoder, it is a GAN that was trained from scratch")
    judge = Evaluator(prepared, settings, model.device, encoder, on_event)
    samples = judge.generate_samples(model)
    lots = {"samples": samples}
    if weights.kind == "vae":
        floor = judge.reference.real_baseline.images
        lots["reconstructions"] = judge.reference.extract_features(model.reconstruct(floor, settings.seed))
    elif vae is not None:
        lots["VAE"] = judge.generate_samples(load(vae, device))
    lots[REAL_COLUMN] = judge.reference.real_baseline
    columns: dict[str, MetricDict] = {}
    for index, (name, lot) in enumerate(lots.items()):
        columns[name] = judge.compute_metrics(lot)
        on_event(TaskProgress("Measuring", index + 1, len(lots), "lots"))
    facts = {
        "checkpoint": str(weights.path),
        "kind": weights.kind,
        "step": weights.step,
        "data": str(prepared.path),
        "n": judge.num_images,
        "held_out": len(judge.reference.val.images),
        "seed": settings.seed,
        "vaegan_version": __version__,
        "seconds": round(time.perf_counter() - began, 1),
    }
    return Evaluation(columns, facts, quality_warnings(columns), _nearest_training_pairs(judge.reference, samples))


def _nearest_training_pairs(reference: Reference, feature_set: FeatureSet) -> Tensor:
    """The samples that come nearest to a training picture or its mirror, each followed by it."""
    distances, rows = reference.find_nearest_train(feature_set)
    order = distances.argsort()[:NUM_NEIGHBOR_PAIRS]
    found = []
    for index in order.tolist():
        row = int(rows[index])
        count = len(reference.train_images)
        picture = reference.train_images[row % count]
        found += [feature_set.images[index], picture.flip(-1) if row >= count else picture]
    return torch.stack(found)


def quality_warnings(metrics: dict[str, MetricDict]) -> list[str]:
    """Say in words what the numbers of the samples, beside the real ones, should make a user look at."""
    samples, real = metrics["samples"], metrics[REAL_COLUMN]

    def pair(name: str) -> tuple[float, float] | None:
        mine, theirs = samples.get(name), real.get(name)
        return None if mine is None or theirs is None else (mine, theirs)

    found = []
    memory, variety, doubles = pair("memorized_fraction"), pair("coverage"), pair("duplicate_pairs")
    if memory is not None and memory[0] > memory[1] + 0.2:
        found.append(
            f"memorised: {memory[0]:.0%} of the samples are nearer to a training picture than its own nearest"
            f" neighbour, new real faces {memory[1]:.0%}: look at the neighbours; more pictures or --augment help"
        )
    if variety is not None and variety[0] < variety[1] / 2:
        found.append(
            f"low coverage: the samples cover {variety[0]:.0%} of the held-out faces, real ones {variety[1]:.0%}:"
            " kinds of faces are missing (mode collapse) or none looks real yet"
        )
    different = samples.get("birthday_support")
    if doubles is not None and different is not None and doubles[0] >= max(MIN_DUPLICATE_PAIRS, 10 * doubles[1]):
        n = math.sqrt(2 * different * doubles[0])
        if (
            doubles[0] >= n * MIN_DUPLICATE_RATE
        ):  # else so few that chance, or one face that comes often, may have done it
            found.append(f"repeated faces: there seem to be only about {different:,.0f} different ones (mode collapse)")
    fine, coarse = pair("frechet_fine"), pair("frechet_coarse")
    if fine is not None and coarse is not None and fine[0] / fine[1] > 4 * coarse[0] / coarse[1]:
        found.append(
            f"fine texture is off: at the finest scale the distance is {fine[0] / fine[1]:.0f} times that of real"
            f" pictures, at the coarsest {coarse[0] / coarse[1]:.0f} times: blur, noise or a weave; look closely"
        )
    return found
