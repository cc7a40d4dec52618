"""Evolved part masking against numbers from its released code."""

import numpy as np
import pytest
import torch

from mmmask.masking import EvolvedPartMask
from mmmask.masking.parts import blend_scores, directions, partition


def generator_at(epoch, num_epochs=300, **kwargs):
    masking = EvolvedPartMask(num_epochs=num_epochs, **kwargs)
    masking.set_progress(epoch / max(num_epochs - 1, 1))
    return masking


def random_attention(num_images, num_patches, maps=144, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num_images, num_patches, num_patches, generator=generator)
    return maps * logits.softmax(2)


@pytest.mark.parametrize(('epoch', 'alpha'), [(0, 0.0577), (74, 0.5), (149, 0.7071), (299, 1.0)])
def test_blend_weight(epoch, alpha):
    assert generator_at(epoch).alpha == pytest.approx(alpha, abs=5e-5)


@pytest.mark.parametrize(
    ('epoch', 'smallest', 'largest'), [(0, 40, 42), (74, 32, 34), (150, 25, 27), (299, 10, 12)]
)
def test_part_ranges(epoch, smallest, largest):
    assert generator_at(epoch).part_range == (smallest, largest)


def test_the_schedule_of_every_epoch_is_exact():
    """Progress is a quotient of integers; a rounding error must not lose a part."""
    for epoch in range(300):
        masking = generator_at(epoch)
        assert masking.part_range[0] == 30 * (300 - epoch) // 300 + 10
        assert masking.alpha == ((epoch + 1) / 300) ** 0.5


def test_a_shorter_run_covers_the_whole_schedule():
    assert [generator_at(e, 3).part_range[0] for e in range(3)] == [40, 30, 20]
    assert generator_at(2, 3).alpha == 1
    assert generator_at(0, 1).alpha == 1
    assert generator_at(149, exponent=0.2).alpha == pytest.approx(0.5**0.2)


def test_without_parts_one_lattice_is_visible():
    torch.manual_seed(0)
    labels = torch.zeros(8, 196, dtype=torch.long)
    scores = blend_scores(labels, (14, 14), alpha=0.0, max_parts=1)
    visible = scores.argsort(dim=1, stable=True)[:, :49].sort(1).values
    lattices = [
        [14 * row + column for row in range(i, 14, 2) for column in range(j, 14, 2)]
        for i in range(2)
        for j in range(2)
    ]
    assert visible[0].tolist() in lattices
    assert (visible == visible[0]).all()  # one lattice for the whole batch


def test_with_parts_alone_whole_parts_are_kept():
    torch.manual_seed(0)
    labels = torch.randint(5, (4, 36))
    scores = blend_scores(labels, (6, 6), alpha=1.0, max_parts=5)
    for part in range(5):
        for image in range(4):
            assert scores[image][labels[image] == part].unique().numel() <= 1
    assert scores[0].unique().numel() == 5


def test_the_first_epoch_is_almost_a_lattice():
    torch.manual_seed(1)
    mask = generator_at(0)(4, (14, 14), 'cpu', random_attention(4, 196))
    rows, columns = mask.ids_keep // 14 % 2, mask.ids_keep % 14 % 2
    fraction = torch.nn.functional.one_hot(2 * rows + columns, 4).float().mean(1).amax(1)
    assert fraction.min() > 0.8


def reference_partition(attention, centroids, concentration, num_rounds):
    """One image, step by step as the method describes it."""
    patches = attention.T

    def memberships(centroids):
        logits = concentration * patches @ centroids.T
        member = np.exp(logits - logits.max(1, keepdims=True))
        member /= member.sum(1, keepdims=True)
        return member / (member.sum(0) + 1e-6)

    centroids = centroids / (np.linalg.norm(centroids, axis=1, keepdims=True) + 1e-6)
    for _ in range(num_rounds):
        centroids = memberships(centroids).T @ patches
        centroids /= np.linalg.norm(centroids, axis=1, keepdims=True) + 1e-6
    return memberships(centroids).argmax(1)


def test_partition_equals_a_numpy_reference():
    attention = random_attention(3, 36, maps=4).double()
    torch.manual_seed(5)
    labels = partition(attention, 6, max_parts=6)
    torch.manual_seed(5)
    start = torch.randn(1, 6, 36)[0].double().numpy()
    for image in range(3):
        expected = reference_partition(attention[image].numpy(), start, 40.0, 15)
        np.testing.assert_array_equal(labels[image].numpy(), expected)
    assert labels[0].unique().numel() > 2


def test_directions_are_divided_by_the_norm_plus_a_constant():
    vectors = torch.tensor([[3e-6, 4e-6], [3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    expected = [[3 / 6, 4 / 6], [3 / 5.000001, 4 / 5.000001], [0, 0]]
    torch.testing.assert_close(directions(vectors), torch.tensor(expected, dtype=torch.float64))


def test_parts_above_the_requested_number_stay_empty():
    attention = random_attention(2, 36, maps=4).double()
    torch.manual_seed(5)
    fewer = partition(attention, torch.tensor([4]), max_parts=7)
    torch.manual_seed(5)
    start = torch.randn(1, 7, 36)[0, :4].double().numpy()
    for image in range(2):
        expected = reference_partition(attention[image].numpy(), start, 40.0, 15)
        np.testing.assert_array_equal(fewer[image].numpy(), expected)


def test_patches_that_receive_the_same_attention_are_in_one_part():
    block = torch.arange(36) % 4
    attention = 0.02 + (block[:, None] == block[None]).float().unsqueeze(0)
    torch.manual_seed(0)
    labels = partition(attention, 10, max_parts=10)[0]
    for part in range(4):
        assert labels[block == part].unique().numel() == 1


@pytest.mark.parametrize('value', [0.0, 1 / 196, torch.nan])
@pytest.mark.parametrize('epoch', [0, 150, 299])
def test_degenerate_attention_gives_exact_counts(value, epoch):
    attention = random_attention(3, 196)
    attention[1] = value
    mask = generator_at(epoch)(3, (14, 14), 'cpu', attention)
    assert (mask.hidden.sum(1) == 147).all()
    assert torch.equal(mask.ids_restore.argsort(1)[:, :49], mask.ids_keep)


def test_same_seed_same_mask():
    attention = random_attention(2, 36)
    masking = generator_at(200)
    torch.manual_seed(5)
    first, second = (masking(2, (6, 6), 'cpu', attention) for _ in range(2))
    torch.manual_seed(5)
    assert torch.equal(masking(2, (6, 6), 'cpu', attention).hidden, first.hidden)
    assert not torch.equal(first.hidden, second.hidden)


def test_full_precision_under_autocast():
    attention = random_attention(2, 36)
    torch.manual_seed(5)
    expected = partition(attention, 6, max_parts=6)
    torch.manual_seed(5)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(partition(attention, 6, max_parts=6), expected)


def test_wrong_options_and_missing_evidence_are_named():
    with pytest.raises(ValueError, match='num_epochs=0'):
        EvolvedPartMask(num_epochs=0)
    with pytest.raises(ValueError, match='final_parts=50'):
        EvolvedPartMask(final_parts=50)
    with pytest.raises(ValueError, match='EvolvedPartMask needs attention.*parser'):
        EvolvedPartMask()(2, (6, 6))
