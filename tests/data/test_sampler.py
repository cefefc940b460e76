import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaegan.data.sampler import BatchSampler


@settings(max_examples=50)
@given(st.integers(1, 40), st.integers(1, 90), st.integers(0, 5))
def test_every_epoch_holds_every_image_once(count, batch_size, seed):
    sampler = BatchSampler(torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1), batch_size, seed)
    num_steps = -(-3 * count // batch_size)
    indices = torch.cat([sampler.batch_indices(step) for step in range(num_steps)])
    for epoch in range(3):
        assert sorted(indices[epoch * count : (epoch + 1) * count].tolist()) == list(range(count))


def test_a_batch_does_not_depend_on_earlier_reads():
    images = torch.arange(50, dtype=torch.uint8).view(-1, 1, 1, 1)
    sampler, other_sampler = BatchSampler(images, 7, 3), BatchSampler(images, 7, 3)
    batches = [sampler[step] for step in range(20)]
    for step in (19, 2, 11, 0):
        assert torch.equal(other_sampler[step], batches[step])
    assert not torch.equal(batches[0], BatchSampler(images, 7, 4)[0])
    whole_epochs = BatchSampler(images, 50, 3)
    assert not torch.equal(whole_epochs.batch_indices(0), whole_epochs.batch_indices(1))
