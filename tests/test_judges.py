"""The judges that no training has touched: labels, the classifier, and rubbish for small evaluations."""

import pytest
import torch

from benchmarks import judges, small_evaluation


def squares_and_stripes(count):
    """Gray images of noise with a bright square (even rows) or with stripes (odd rows)."""
    images = torch.randint(0, 60, (count, 1, 64, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    images[::2, :, 20:44, 20:44] += 150
    images[1::2, :, ::4] += 150
    return images, {"shape": ["square", "stripes"] * (count // 2), "constant": ["same"] * count}


def test_labels_of_folders_patterns_and_tables(tmp_path):
    names = ["smile/a.png", "none/b.png"]
    assert judges.read_labels(names, "folder") == {"folder": ["smile", "none"]}
    assert judges.read_labels(["dad-1.jpg", "mum-2.jpg", "?"], "^([a-z]+)-") == {"name": ["dad", "mum", ""]}
    (tmp_path / "labels.csv").write_text("file,hat,age\nb.png,cap,3\na.png,none,4\n")
    expected = {"hat": ["none", "cap"], "age": ["4", "3"]}
    assert judges.read_labels(names, str(tmp_path / "labels.csv")) == expected


def test_a_classifier_learns_labels_and_tells_sets_apart(monkeypatch):
    monkeypatch.setattr(judges, "EPOCHS", 4)
    images, labels = squares_and_stripes(320)
    network = judges.train_classifier(images[:256], labels | {"shape": labels["shape"]}, seed=0)
    assert list(network.heads) == ["shape"]  # attributes with one class are left out
    with torch.no_grad():
        predicted = network(judges.to_float(images[256:]))["shape"].argmax(1)
    assert (predicted == torch.tensor([0, 1] * 32)).double().mean() > 0.95
    same, stripes_only = judges.judge(network, images[:128], images[128:256]), images[1:256:2]
    other = judges.judge(network, images[:128], stripes_only)
    assert other["content_fd"] > 3 * same["content_fd"] and other["content_coverage"] < same["content_coverage"]
    assert other["texture_fd"] > 3 * same["texture_fd"]
    assert other["content_white"] > 2 * same["content_white"]


def test_whitened_features_have_variance_one_in_every_direction():
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(500, 1, generator=generator)  # most of each feature, as in a classifier of one label
    features = 10 * shared + torch.randn(500, 4, generator=generator)
    features = torch.cat([features, features[:, :1]], 1)  # the last column adds no direction
    whitened = features @ judges.whitening_matrix(features)
    assert whitened.shape == (500, 4)
    torch.testing.assert_close(torch.cov(whitened.T), torch.eye(4), atol=1e-3, rtol=0)


def test_repeats_are_summarized_by_their_mean_and_largest_deviation():
    assert judges.summarize([{"content_fd": 1.0, "luma_25": 2.0}]) == {"content_fd": 1.0, "luma_25": 2.0}
    repeats = [{"content_fd": value, "luma_25": 2.0} for value in (1.0, 2.0, 6.0)]
    assert judges.summarize(repeats) == {"content_fd": 3.0, "luma_25": 2.0, "content_fd_deviation": 3.0}


@pytest.mark.parametrize("make", [small_evaluation.pink_noise, small_evaluation.patchwork, small_evaluation.ghosts])
def test_rubbish_has_the_shape_and_brightness_of_the_images(make):
    images, _ = squares_and_stripes(64)
    rubbish = make(images, seed=1)
    assert rubbish.shape == images.shape and rubbish.dtype == torch.uint8
    assert not torch.equal(rubbish, images)
    assert abs(float(rubbish.float().mean() - images.float().mean())) < 10
    assert torch.equal(rubbish, make(images, seed=1)) and not torch.equal(rubbish, make(images, seed=2))
