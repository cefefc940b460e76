"""Inception metrics by torch-fidelity, with random weights in place of its own."""

import pickle
import socket

import pytest
import torch

from vaegan.errors import VaeganError
from vaegan.evaluation.inception import check_inception, inception_metrics

fidelity = pytest.importorskip("torch_fidelity")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights file with every tensor of the network; small, because the tensors are strided views of few values."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.hub, "load_state_dict_from_url", None)
        expected = {}

        def collect(self, state, *args, **kwargs):
            expected.update({name: (tensor.shape, tensor.dtype) for name, tensor in self.state_dict().items()})
            raise KeyError

        patch.setattr(torch.nn.Module, "load_state_dict", collect)
        module = __import__("torch_fidelity.feature_extractor_inceptionv3", fromlist=["x"])
        patch.setattr(module, "load_state_dict_from_url", lambda *args, **kwargs: {})
        with pytest.raises(KeyError):
            FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    generator, tensors = torch.Generator().manual_seed(0), {}
    for name, (shape, dtype) in expected.items():
        if not shape or not dtype.is_floating_point:
            tensors[name] = torch.zeros(shape, dtype=dtype)
            continue
        inputs = max(1, torch.Size(shape[1:]).numel())
        strides = (1, 3, 5, 7)[: len(shape)]
        length = sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True)) + 1
        values = torch.randn(length, generator=generator) * (2 / inputs) ** 0.5
        values = values.abs() + 0.5 if len(shape) == 1 and name.endswith(("weight", "running_var")) else values
        tensors[name] = values.half().as_strided(shape, strides)
    torch.save(tensors, path)
    assert path.stat().st_size < 5_000_000
    return path


def random_images(seed, shift=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 200, (24, 1, 32, 32), dtype=torch.uint8, generator=generator) + shift


@pytest.mark.slow
def test_a_weights_file_gives_all_metrics(weights):
    metrics = inception_metrics(random_images(0), random_images(1, 50), str(weights), False)
    assert set(metrics) == {f"inception_{name}" for name in ("fid", "kid", "kid_stderr", "precision", "recall")}
    assert metrics["inception_fid"] > 0
    equal = inception_metrics(random_images(0), random_images(0), str(weights), False)
    assert equal["inception_fid"] < metrics["inception_fid"] and equal["inception_precision"] == 1.0


def test_a_file_with_pickled_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(VaeganError, match=r"evil\.pth: cannot be used"):
        inception_metrics(random_images(0), random_images(1), str(path), False)
    assert not (tmp_path / "ran").exists()


def test_a_missing_weights_file_is_an_error(tmp_path):
    with pytest.raises(VaeganError, match=r"no such file.*download"):
        check_inception(str(tmp_path / "none.pth"))


def test_no_network_is_an_error(monkeypatch, tmp_path):
    def unreachable(*args, **kwargs):
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    with pytest.raises(VaeganError, match="without a network give --inception FILE"):
        inception_metrics(random_images(0), random_images(1), "download", False)
    assert socket.getdefaulttimeout() is None
