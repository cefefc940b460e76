"""The mix of color layers: values and gradients are those of its formula."""

import pytest
import torch

from vaegan.models import layer_mixing
from vaegan.models.color_layers import interpolation_matrix
from vaegan.models.layer_mixing import mix_layers


def mix_plainly(layers, weights, enlarge):
    enlarged = (enlarge @ layers @ enlarge.T).unflatten(1, (-1, weights.shape[1]))
    return (enlarged * weights[:, None]).sum(2)


def make_inputs(count, channels, num_layers, size):
    generator = torch.Generator().manual_seed(0)
    layers = torch.randn(count, channels * num_layers, 4, 4, generator=generator)
    weights = torch.randn(count, num_layers, size, size, generator=generator).softmax(1)
    return layers.requires_grad_(), weights.requires_grad_(), interpolation_matrix(4, size)


def values_and_gradients(mix, layers, weights, enlarge):
    images = mix(layers, weights, enlarge)
    images.backward(torch.randn(images.shape, generator=torch.Generator().manual_seed(1)))
    results = images.detach(), layers.grad, weights.grad
    layers.grad = weights.grad = None
    return results


@pytest.mark.parametrize(("channels", "num_layers"), [(3, 8), (1, 4)])
@pytest.mark.parametrize("images_at_once", [1, 2, 5, 99])
def test_a_few_images_at_a_time_change_nothing(monkeypatch, channels, num_layers, images_at_once):
    inputs = make_inputs(5, channels, num_layers, 16)
    monkeypatch.setattr(layer_mixing, "MIXED_VALUES", images_at_once * channels * num_layers * 16 * 16)
    for result, expected in zip(
        values_and_gradients(mix_layers, *inputs), values_and_gradients(mix_plainly, *inputs), strict=True
    ):
        torch.testing.assert_close(result, expected)  # on most processors they are equal


def test_an_image_of_any_size_is_mixed_at_once(monkeypatch):
    monkeypatch.setattr(layer_mixing, "MIXED_VALUES", 1)
    inputs = make_inputs(2, 3, 2, 8)
    results = (values_and_gradients(mix, *inputs) for mix in (mix_layers, mix_plainly))
    torch.testing.assert_close(*results)


def test_gradients_agree_with_differences():
    inputs = (tensor.detach().double().requires_grad_(tensor.requires_grad) for tensor in make_inputs(2, 1, 2, 8))
    assert torch.autograd.gradcheck(mix_layers, tuple(inputs))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_without_gradients_too_a_few_images_are_enlarged_at_a_time(monkeypatch, context):
    inputs, enlarged, rows = make_inputs(5, 3, 4, 8), layer_mixing._enlarged, []

    def record(layers, *args):
        rows.append(len(layers))
        return enlarged(layers, *args)

    monkeypatch.setattr(layer_mixing, "_enlarged", record)
    monkeypatch.setattr(layer_mixing, "MIXED_VALUES", 2 * 3 * 4 * 8 * 8)
    with context():
        torch.testing.assert_close(mix_layers(*inputs), mix_plainly(*inputs))
    assert rows == [2, 2, 1]
    assert mix_layers(*(tensor.detach() for tensor in inputs)).grad_fn is None
