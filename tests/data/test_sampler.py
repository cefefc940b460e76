import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaegan.data.sampler import BatchSampler


@settings(max_examples=50)
@given(st.integers(1, 40), st.integers(1, 90), st.integers(0, 5))
def test_every_epoch_holds_every_picture_once(count, batch, seed):
    batches = BatchSampler(torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1), batch, seed)
    steps = -(-3 * count // batch)
    stream = torch.cat([batches.batch_indices(step) for step in range(steps)])
    for epoch in range(3):
        part = stream[epoch * count : (epoch + 1) * count]
        assert sorted(part.tolist()) == list(range(count))


def test_a_step_does_not_depend_on_what_was_read_before():
    images = torch.arange(50, dtype=torch.uint8).view(-1, 1, 1, 1)
    one, other = BatchSampler(images, 7, 3), BatchSampler(images, 7, 3)
    before = [one[step] for step in range(20)]
    for step in (19, 2, 11, 0):
        assert torch.equal(other[step], before[step])
    assert not torch.equal(before[0], BatchSampler(images, 7, 4)[0])
    assert not torch.equal(BatchSampler(images, 50, 3).batch_indices(0), BatchSampler(images, 50, 3).batch_indices(1))
