"""sample --pick: samples like real images first, without copies and repetitions."""

import json

import pytest
import torch

from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.evaluation.pick import pick_seeds
from vaegan.metrics.prdc import realism_scores


class FixedImages:
    """Stands in for a model: seed i decodes to image i."""

    device = torch.device("cpu")

    def __init__(self, images):
        self.images = images

    def latents_from_seeds(self, seeds, truncation, reencode):
        assert reencode == 0
        return torch.tensor(list(seeds), dtype=torch.float32)[:, None]

    def decode(self, latents):
        return self.images[latents[:, 0].long()]


def test_realism_score_by_hand():
    # radii to the first neighbor: 1, 1, 9; the ball of radius 9 is left out
    real, fake = torch.tensor([[0.0], [1.0], [10.0]]), torch.tensor([[0.5], [3.0], [9.0]])
    assert realism_scores(fake, real, k=1).tolist() == pytest.approx([2.0, 0.5, 0.125])


def test_real_images_are_picked_before_noise_copies_and_repetitions(evaluated):
    dataset = evaluated.evaluator.dataset
    train, val = dataset.load()
    noise = torch.randint(0, 256, val[:8].shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    # seeds 0-7: new faces; 8-15: noise; 16-19: copies of training images; 20-23: the new faces 0-3 again
    images = torch.cat([val[:8], noise, train[:4], val[:4]])
    model, ignore = FixedImages(images), lambda event: None
    order = pick_seeds(model, dataset, range(24), 24, 1.0, ignore)
    assert sorted(order) == list(range(24))
    faces = {index if index < 20 else index - 20 for index in order[:8] if not 8 <= index < 16}
    assert faces == set(range(8))
    assert not {16, 17, 18, 19} & set(order[:8])
    repeated = [max(order.index(face), order.index(face + 20)) for face in range(4)]
    assert min(repeated) >= 8
    assert pick_seeds(model, dataset, range(24), 5, 1.0, ignore) == order[:5]


def test_sample_pick_on_the_command_line(capsys, here, vae_run, prepared):
    assert main(["sample", str(vae_run), "--pick", "3", "--of", "20", "--out", "s.png", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(set(result["seeds"])) == 3 and set(result["seeds"]) <= set(range(20))
    model_seeds = ",".join(map(str, result["seeds"]))
    assert main(["sample", str(vae_run), "--seeds", model_seeds, "--out", "same.png", "-q"]) == 0
    assert (here / "s.png").stat().st_size > 0
    assert open_dataset(prepared).counts["train"] >= 32


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        (["--pick", "9", "--of", "4"], 2, "--pick 9 --of 4: there are fewer samples than shall be picked"),
        (["--of", "4"], 2, "--of 4 goes with --pick"),
        (["--data", "x"], 2, "--data x goes with --pick"),
        (["--pick", "4", "-n", "9"], 2, "--pick and -n contradict each other"),
        (["--pick", "4", "--of", "9", "--seeds", "1-9"], 2, "--seeds and --of contradict each other"),
        (["--pick", "4", "--data", "nowhere"], 1, "nowhere"),
    ],
)
def test_contradictions_are_refused(capsys, here, vae_run, options, status, text):
    assert main(["sample", str(vae_run), *options]) == status
    captured = capsys.readouterr()
    assert captured.out == "" and text in captured.err and captured.err.count("error: ") == 1
