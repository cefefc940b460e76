"""Compare what a checkpoint draws with held-out pictures, beside what real pictures and its VAE get."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaegan.checkpoint import read_weights
from vaegan.config.options import build
from vaegan.config.settings import EvaluateSettings
from vaegan.data.dataset import PreparedSet
from vaegan.errors import VaeganError
from vaegan.evaluation.feature_spaces import Spaces, features_of_set, learned_space
from vaegan.evaluation.inception import check_inception, inception
from vaegan.evaluation.reference import Lot, Numbers, Reference
from vaegan.events import Counted, Emit, Note, ignore
from vaegan.inference.model import Model, load
from vaegan.run_lookup import dataset_for, source_vae_for
from vaegan.version import __version__

FEW_HELD_OUT = 200
REAL = "real"
NEIGHBOURS = 8
FEW_PAIRS, PAIRED = 3, 0.02
"""Pairs of samples that are nearly the same which are worth a word: at least so many, and for so many samples one."""


@dataclass(frozen=True)
class Evaluation:
    """What was found. `columns`: numbers by measure, for "samples", "VAE" or "reconstructions", and "real", the floor.

    facts: what was compared and how long it took; neighbours: uint8 [2 * 8, C, S, S], samples that come nearest to a
    training picture, each followed by that picture; warnings: what the user should look at, in words.
    """

    columns: dict[str, Numbers]
    facts: dict[str, Any]
    warnings: list[str]
    neighbours: Tensor


class Judge:
    """Real pictures of one set, ready to measure any number of models against."""

    def __init__(
        self, data: PreparedSet, settings: EvaluateSettings, device: torch.device, encoder: Path | None, emit: Emit
    ) -> None:
        """Read `data` and learn its features, or read them; encoder: a VAE whose encoder is to be one more space.

        Raises VaeganError where there is nothing to compare with.
        """
        self.data, self.emit = data, emit
        if settings.inception is not None:
            check_inception(settings.inception)
        train, held_out = data.load()
        if len(held_out) < 2 or len(train) < 8:
            raise VaeganError(
                f"{data.path} holds {len(train)} pictures to train on and {len(held_out)} held out: evaluation compares"
                " with pictures that training never saw; prepare more, with --held-out 0.1"
            )
        if len(held_out) < FEW_HELD_OUT:
            emit(Note(f"Only {len(held_out)} held-out pictures: distances are rough, read them beside the real ones'"))
        self.n = min(settings.n, 3 * len(train) // 4)
        if self.n < settings.n:
            emit(Note(f"Comparing {self.n} pictures instead of {settings.n}: {data.path} has no more real ones"))
        self.settings, self.device, self.vae_space = settings, device, encoder is not None
        extra = {"set": learned_space(features_of_set(data, train, emit), device)}
        if encoder is not None:
            extra["vae"] = _encoder_space(load(encoder, str(device)))
        self.reference = Reference(Spaces(extra, device), train, held_out, self.n, settings.seed)

    def samples(self, model: Model) -> Lot:
        """Draw `n` pictures of consecutive seeds and extract their features."""
        return self.reference.lot(model.sample(self.n, self.settings.seed))

    def numbers(self, lot: Lot) -> Numbers:
        """Every measure of a lot; Inception's where it was asked for."""
        numbers = self.reference.measure(lot)
        if self.settings.inception is not None:
            held_out, gpu = self.reference.held_out.pictures, self.device.type == "cuda"
            numbers |= inception(held_out, lot.pictures, self.settings.inception, gpu)
        return numbers

    def real(self) -> Numbers:
        """What as many real pictures get: the floor."""
        return self.numbers(self.reference.floor)


def _encoder_space(model: Model) -> Any:
    encoder = model.encoder
    assert encoder is not None
    return lambda pictures: encoder(pictures).mean


def evaluate(
    ckpt: Path | str,
    data: Path | str | None = None,
    *,
    vae_encoder: bool = False,
    device: str = "auto",
    on_event: Emit = ignore,
    **options: Any,
) -> Evaluation:
    """Measure the samples of a checkpoint against held-out pictures of a prepared set.

    ckpt: a run, a checkpoint or a weights file; data: a prepared set (the one that it was trained on); vae_encoder:
    also in the space of the encoder that lies beside the generator; options: those of EvaluateSettings. Raises
    VaeganError for all that the user can mend.
    """
    began = time.perf_counter()
    settings = build(EvaluateSettings, options)
    weights = read_weights(Path(ckpt))
    prepared = dataset_for(weights, None if data is None else Path(data), on_event)
    model = load(weights.path, device)
    vae = source_vae_for(weights, on_event)
    encoder = weights.path if vae_encoder else None
    if vae_encoder and model.encoder is None:
        raise VaeganError(f"--vae-encoder: {weights.path} holds no encoder, it is a GAN that was trained from scratch")
    judge = Judge(prepared, settings, model.device, encoder, on_event)
    samples = judge.samples(model)
    lots = {"samples": samples}
    if weights.kind == "vae":
        floor = judge.reference.floor.pictures
        lots["reconstructions"] = judge.reference.lot(model.reconstruct(floor, settings.seed))
    elif vae is not None:
        lots["VAE"] = judge.samples(load(vae, device))
    lots[REAL] = judge.reference.floor
    columns: dict[str, Numbers] = {}
    for index, (name, lot) in enumerate(lots.items()):
        columns[name] = judge.numbers(lot)
        on_event(Counted("Measuring", index + 1, len(lots), "lots"))
    facts = {
        "checkpoint": str(weights.path),
        "kind": weights.kind,
        "step": weights.step,
        "data": str(prepared.path),
        "n": judge.n,
        "held_out": len(judge.reference.held_out.pictures),
        "seed": settings.seed,
        "vaegan": __version__,
        "seconds": round(time.perf_counter() - began, 1),
    }
    return Evaluation(columns, facts, warnings(columns), _neighbours(judge.reference, samples))


def _neighbours(reference: Reference, lot: Lot) -> Tensor:
    """The samples that come nearest to a training picture or its mirror, each followed by it."""
    distances, rows = reference.nearest(lot)
    order = distances.argsort()[:NEIGHBOURS]
    found = []
    for index in order.tolist():
        row = int(rows[index])
        count = len(reference.train_pictures)
        picture = reference.train_pictures[row % count]
        found += [lot.pictures[index], picture.flip(-1) if row >= count else picture]
    return torch.stack(found)


def warnings(columns: dict[str, Numbers]) -> list[str]:
    """Say in words what the numbers of the samples, beside the real ones, should make a user look at."""
    samples, real = columns["samples"], columns[REAL]

    def pair(name: str) -> tuple[float, float] | None:
        mine, theirs = samples.get(name), real.get(name)
        return None if mine is None or theirs is None else (mine, theirs)

    found = []
    memory, variety, doubles = pair("memorised"), pair("coverage"), pair("duplicates")
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
    different = samples.get("support")
    if doubles is not None and different is not None and doubles[0] >= max(FEW_PAIRS, 10 * doubles[1]):
        n = math.sqrt(2 * different * doubles[0])
        if doubles[0] >= n * PAIRED:  # else so few that chance, or one face that comes often, may have done it
            found.append(f"repeated faces: there seem to be only about {different:,.0f} different ones (mode collapse)")
    fine, coarse = pair("frechet_fine"), pair("frechet_coarse")
    if fine is not None and coarse is not None and fine[0] / fine[1] > 4 * coarse[0] / coarse[1]:
        found.append(
            f"fine texture is off: at the finest scale the distance is {fine[0] / fine[1]:.0f} times that of real"
            f" pictures, at the coarsest {coarse[0] / coarse[1]:.0f} times: blur, noise or a weave; look closely"
        )
    return found
