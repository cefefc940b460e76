"""The measures order what anyone would order: real pictures before spoiled ones, all kinds before a few."""

import pytest
import torch

from benchmarks import spoil
from vaegan.data.dataset import open_dataset

SEEDS = (0, 1, 2)
DISTANCES = ("frechet_together", "kid_together")


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seed: f"seed {seed}")
def lots(request, judged):
    """Numbers of real pictures and of spoiled ones, of one choice of pictures."""
    reference, seed = judged.judge.reference, request.param
    train, _ = open_dataset(judged.judge.dataset.path).load()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=generator)
    real = train[order[:256]]
    pictures = {
        "real": real,
        "noise": spoil.noise(real, seed),
        "blur": spoil.blur(real),
        "weave": spoil.weave(real),
        "contrast": spoil.contrast(real),
        "hues": spoil.hues(real),
        "dropped": spoil.dropped(train[order], [judged.hair[row] for row in order.tolist()], 256, seed),
        "one": real[:1].expand_as(real),
    }
    return {name: reference.compute_metrics(reference.extract_features(lot)) for name, lot in pictures.items()}


def rising(lots, measure, names):
    values = [lots[name][measure] for name in names]
    assert values == sorted(values) and len(set(values)) == len(values), dict(zip(names, values, strict=True))


@pytest.mark.parametrize("measure", DISTANCES)
@pytest.mark.parametrize(
    "names",
    [("real", "noise", "blur"), ("real", "weave"), ("real", "contrast"), ("real", "hues"), ("real", "dropped", "one")],
    ids=" < ".join,
)
def test_distances_rise(lots, measure, names):
    rising(lots, measure, names)


def test_the_faintest_faults_are_seen_where_they_are(lots):
    assert lots["weave"]["frechet_fine"] > 1.1 * lots["real"]["frechet_fine"]
    assert lots["weave"]["frechet_coarse"] < 1.05 * lots["real"]["frechet_coarse"]
    assert lots["contrast"]["channel_deviation"] > 3 * lots["real"]["channel_deviation"]
    rising(lots, "channel_mean", ("real", "hues"))
    rising(lots, "sliced_wasserstein_0", ("real", "weave", "blur"))


def test_learned_features_see_what_is_missing(lots):
    rising(lots, "frechet_set", ("real", "dropped", "one"))
    rising(lots, "frechet_set", ("real", "blur"))
    rising(lots, "ndb_over_k", ("real", "one"))


def test_one_picture_covers_and_recalls_nothing(lots):
    assert lots["one"]["coverage"] < 0.1 and lots["one"]["recall"] < 0.1
    assert lots["real"]["coverage"] > 0.85 and lots["real"]["recall"] > 0.7
    assert lots["one"]["birthday_support"] < 2 < 100 < lots["real"]["birthday_support"]


def test_training_pictures_are_memorised_and_held_out_ones_are_not(judged):
    reference = judged.judge.reference
    copies = reference.extract_features(reference.train_images[:64].flip(-1))
    new = reference.compute_metrics(reference.extract_features(reference.val.images))
    assert reference.compute_metrics(copies)["memorized_fraction"] == 1.0
    assert new["memorized_fraction"] < 0.7
    assert new["memorized_fraction"] == reference.compute_metrics(reference.real_baseline)["memorized_fraction"]
