import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaegan.config.model_config import ModelConfig
from vaegan.errors import UsageError
from vaegan.models.interpolation import default_method, interpolate_path, lerp, slerp
from vaegan.models.prior import Prior


@given(st.integers(2, 12), st.sampled_from(["slerp", "lerp"]), st.sampled_from(["linear", "smooth"]), st.booleans())
def test_path_contains_every_keyframe_bit_for_bit(frames, method, easing, loop):
    keyframes = Prior(ModelConfig(latent_dim=8)).sample_seeds([1, 2, 3])
    latents = interpolate_path(keyframes, frames, method, easing, loop)
    segments = 3 if loop else 2
    assert len(latents) == segments * (frames - 1) + 1
    expected = torch.cat([keyframes, keyframes[:1]]) if loop else keyframes
    assert torch.equal(latents[:: frames - 1], expected)


def test_smooth_easing_is_slow_at_both_ends():
    keyframes = torch.tensor([[0.0], [1.0]])
    even, eased = (interpolate_path(keyframes, 9, "lerp", easing).squeeze(1).diff() for easing in ("linear", "smooth"))
    torch.testing.assert_close(even, torch.full((8,), 1 / 8))
    assert eased[0] < eased[1] < eased[3] and eased.sum() == pytest.approx(1)
    torch.testing.assert_close(eased, eased.flip(0))


def test_default_method_keeps_uniform_latents_in_their_cube():
    keyframes = Prior(ModelConfig(latent_dim=8, prior="uniform")).sample_seeds(range(40))
    assert default_method("normal") == "slerp"
    assert interpolate_path(keyframes, 5, default_method("uniform")).abs().max() <= math.sqrt(3)
    assert interpolate_path(keyframes, 5, "slerp").abs().max() > math.sqrt(3)


def test_slerp_keeps_the_length_and_lerp_does_not():
    a, b = torch.tensor([2.0, 0, 0]), torch.tensor([0, 2.0, 0])
    middle = torch.tensor([0.5])
    assert slerp(a, b, middle)[0].norm() == pytest.approx(2.0)
    assert lerp(a, b, middle)[0].norm() == pytest.approx(math.sqrt(2))
    torch.testing.assert_close(slerp(a, b, torch.tensor([1 / 3]))[0], torch.tensor([math.sqrt(3), 1.0, 0]))


@pytest.mark.parametrize("other", [[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
def test_slerp_of_degenerate_ends_is_finite(other):
    latents = slerp(torch.tensor([1.0, 0.0]), torch.tensor(other), torch.linspace(0, 1, 5))
    assert latents.isfinite().all()
    assert latents[-1].tolist() == other


def test_unknown_method_or_easing_is_refused():
    with pytest.raises(UsageError, match=r"--method zigzag.*slerp, lerp"):
        interpolate_path(torch.zeros(2, 3), 4, "zigzag")
    with pytest.raises(UsageError, match=r"--easing bouncy.*linear, smooth"):
        interpolate_path(torch.zeros(2, 3), 4, easing="bouncy")
