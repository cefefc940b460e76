"""Pick the samples that are most like real images, for a good sheet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vaegan.data.dataset import PreparedDataset
from vaegan.data.memmap import strided_subset
from vaegan.errors import UsageError, VaeganError
from vaegan.evaluation.feature_spaces import FeatureSpaces, channels_last, load_or_train_features
from vaegan.evaluation.metric_specs import LEARNED_SPACE
from vaegan.events import EventHandler, TaskProgress
from vaegan.inference.model import Model
from vaegan.inference.networks import INFERENCE_BATCH_SIZE
from vaegan.metrics.prdc import duplicate_radius, realism_scores
from vaegan.utils.neighbors import find_nearest

MAX_REAL_IMAGES = 8192
MIN_REAL_IMAGES = 32


def pick_seeds(
    model: Model,
    dataset: PreparedDataset,
    seeds: Sequence[int],
    count: int,
    truncation: float,
    emit: EventHandler,
    reencode: int = 0,
) -> list[int]:
    """Pick the seeds whose images are most like the training images.

    The score is the realism score (Kynkaanniemi et al. 2019, 1904.06991, eq. 3) in the features learned on the dataset,
    times that in random features of fine texture. Left out as long as others remain are images that are nearly copies
    of a training image, and images that nearly repeat a better one.

    Args:
        model: the model.
        dataset: the dataset that it was trained on.
        seeds: seeds to choose from.
        count: number of seeds to pick.
        truncation: as in `Model.latents_from_seeds`.
        emit: receives progress.
        reencode: as in `Model.latents_from_seeds`.

    Returns:
        `count` of the seeds, the best first.

    Raises:
        UsageError: There are fewer seeds than `count`.
        VaeganError: The dataset has too few training images.
    """
    if count > len(seeds):
        raise UsageError(f"--pick {count} --of {len(seeds)}: there are fewer samples than shall be picked")
    train, _ = dataset.open_memmap()
    if len(train) < MIN_REAL_IMAGES:
        raise VaeganError(f"{dataset.path} has {len(train)} training images, --pick needs at least {MIN_REAL_IMAGES}")
    real_images = strided_subset(train, MAX_REAL_IMAGES)
    network = load_or_train_features(dataset, train, emit).to(model.device)
    spaces = FeatureSpaces({LEARNED_SPACE: channels_last(network)}, model.device)
    real = spaces.fit_whitening(real_images)

    batches: list[dict[str, Tensor]] = []
    for start in range(0, len(seeds), INFERENCE_BATCH_SIZE):
        batch = seeds[start : start + INFERENCE_BATCH_SIZE]
        latents = model.latents_from_seeds(batch, truncation, reencode=reencode)
        batches.append(spaces(model.decode(latents)))
        emit(TaskProgress("Judging samples", min(start + INFERENCE_BATCH_SIZE, len(seeds)), len(seeds)))
    samples = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}

    scores = sum(realism_scores(samples[space], real[space]).log() for space in (LEARNED_SPACE, "fine"))
    assert isinstance(scores, Tensor)
    mirrored = spaces(real_images.flip(-1), LEARNED_SPACE)[LEARNED_SPACE]
    radius = duplicate_radius(real[LEARNED_SPACE])
    distances, _ = find_nearest(samples[LEARNED_SPACE], torch.cat([real[LEARNED_SPACE], mirrored]))
    is_copy = distances < radius
    order = scores.argsort(descending=True, stable=True).tolist()
    return [seeds[index] for index in _spread(order, samples[LEARNED_SPACE], is_copy, radius)[:count]]


def _spread(order: Sequence[int], features: Tensor, is_copy: Tensor, radius: float) -> list[int]:
    """Move copies, and rows that lie closer than `radius` to one that comes earlier, to the end of the order."""
    first: list[int] = []
    last: list[int] = []
    for index in order:
        is_repeated = bool(first) and float((features[first] - features[index]).norm(dim=1).min()) < radius
        (last if is_repeated or bool(is_copy[index]) else first).append(index)
    return first + last
