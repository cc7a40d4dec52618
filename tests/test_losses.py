import math
import operator

import pytest
import torch

from mmmask.losses import (
    info_nce,
    masked_mean_absolute_error,
    masked_mean_squared_error,
    position_cross_entropy,
    position_squared_error,
)


def test_masked_error_by_hand():
    prediction = torch.tensor([[[1.0, 2.0], [0.0, 0.0], [3.0, 3.0]]])
    target = torch.tensor([[[0.0, 0.0], [1.0, 3.0], [3.0, 1.0]]])
    # mean squared errors 2.5, 5, 2; weights 1, 0, 3
    weight = torch.tensor([[1.0, 0.0, 3.0]])
    assert masked_mean_squared_error(prediction, target, weight).item() == (2.5 + 3 * 2.0) / 4
    # mean absolute errors 1.5, 2, 1
    assert masked_mean_absolute_error(prediction, target, weight).item() == (1.5 + 3 * 1.0) / 4


def test_positions_without_weight_get_no_gradient():
    prediction = torch.randn(2, 4, 3, requires_grad=True)
    weight = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0]])
    masked_mean_squared_error(prediction, torch.zeros(2, 4, 3), weight).backward()
    assert torch.equal(prediction.grad.abs().sum(-1) > 0, weight > 0)


def test_half_precision_is_compared_in_fp32():
    prediction = torch.full((1, 1, 2), 300.0, dtype=torch.float16)
    loss = masked_mean_squared_error(prediction, torch.zeros(1, 1, 2), torch.ones(1, 1))
    assert loss.item() == 90_000  # beyond the range of fp16


def cosines(queries, keys):
    """In plain Python."""
    norm = [[math.hypot(*row) for row in rows] for rows in (queries, keys)]
    return [
        [sum(map(operator.mul, q, k)) / norm[0][i] / norm[1][j] for j, k in enumerate(keys)]
        for i, q in enumerate(queries)
    ]


class TestInfoNCE:
    def test_by_hand(self):
        queries, keys = [[1.0, 0.0], [0.0, 2.0]], [[3.0, 1.0], [0.0, 1.0], [1.0, 1.0]]
        expected = 0.0
        for row, own in zip(cosines(queries, keys), (1, 2), strict=True):
            exponentials = [math.exp(value / 0.5) for value in row]
            expected -= math.log(exponentials[own] / sum(exponentials)) / 2
        loss, accuracy = info_nce(torch.tensor(queries), torch.tensor(keys), 0.5, first_key=1)
        assert loss.item() == pytest.approx(2 * 0.5 * expected)
        assert accuracy == 0  # the keys 0 and 1 are nearer
        _, accuracy = info_nce(torch.tensor(queries), torch.tensor(keys), 0.5)
        assert accuracy == 1

    @pytest.mark.parametrize(
        ('number', 'temperature', 'chance'),
        [(4, 1.0, 2.773), (64, 1.0, 8.318), (256, 1.0, 11.090), (64, 0.2, 1.664),
         (4096, 0.07, 1.1645)],
    )  # fmt: skip
    def test_at_chance(self, number, temperature, chance):
        queries = torch.tensor([[1.0, 0.0]]).expand(min(number, 64), 2)
        keys = torch.tensor([[0.0, 1.0]]).expand(number, 2)
        loss, _ = info_nce(queries, keys, temperature)
        assert loss.item() == pytest.approx(chance, abs=5e-4)

    @pytest.mark.parametrize(('number', 'floor'), [(64, 6.340), (256, 9.096)])
    def test_floor_at_a_temperature_of_one(self, number, floor):
        """Vectors at the greatest possible distance from each other: the corners of a simplex."""
        corners = torch.eye(number) - 1 / number
        loss, accuracy = info_nce(corners, 3 * corners, 1.0)
        assert loss.item() == pytest.approx(floor, abs=5e-4)
        assert accuracy == 1

    def test_autocast_does_not_reduce_its_precision(self):
        queries, keys = torch.randn(2, 16, 32)
        with torch.autocast('cpu', torch.bfloat16):
            coarse = info_nce(queries, keys, 0.07)[0]
        assert torch.equal(coarse, info_nce(queries, keys, 0.07)[0])


class TestPositions:
    def test_squared_error_by_hand(self):
        logits = torch.tensor([[[1.0, 0.0, 2.0], [0.5, 0.5, 0.0]]])
        # minus one-hot of 2 and of 0: (1, 0, 1) and (-0.5, 0.5, 0)
        loss = position_squared_error(logits, torch.tensor([[2, 0]]))
        assert loss.item() == pytest.approx((1 + 1 + 0.25 + 0.25) / 6)

    def test_of_196_positions_with_zero_logits(self):
        places = torch.randint(196, (2, 49))
        zeros = torch.zeros(2, 49, 196)
        assert position_squared_error(zeros, places).item() == pytest.approx(0.005102, abs=1e-6)
        best = position_squared_error(zeros + 1 / 196, places)
        assert best.item() == pytest.approx(0.005076, abs=1e-6)
        loss = position_cross_entropy(zeros, places, (14, 14))
        assert loss.item() == pytest.approx(5.278, abs=5e-4)
        loss = position_cross_entropy(zeros[..., :64], places % 64, (8, 8))
        assert loss.item() == pytest.approx(4.159, abs=5e-4)

    @pytest.mark.parametrize('sigma', [0.5, 1.0, 2.0])
    def test_nearby_places_are_partly_correct(self, sigma):
        """On 2x2 patches: distances² 0, 1, 1, 2 from the first one."""
        logits = [0.3, -1.0, 2.0, 0.7]
        weights = [math.exp(-distance / sigma**2) for distance in (0, 1, 1, 2)]
        total = math.log(sum(map(math.exp, logits)))
        expected = sum(
            weight / sum(weights) * (total - logit)
            for weight, logit in zip(weights, logits, strict=True)
        )
        loss = position_cross_entropy(torch.tensor([[logits]]), torch.tensor([[0]]), (2, 2), sigma)
        assert loss.item() == pytest.approx(expected, rel=1e-5)

    def test_columns_are_those_of_the_grid(self):
        """On 2x3 patches the fourth is one row below the first: e^-1 against e^-4."""
        logits = torch.zeros(1, 1, 6)
        logits[..., 0] = 4.0
        weights = [math.exp(-distance) for distance in (1, 2, 5, 0, 1, 4)]  # from the fourth
        expected = math.log(math.exp(4) + 5) - 4 * weights[0] / sum(weights)
        loss = position_cross_entropy(logits, torch.tensor([[3]]), (2, 3), 1.0)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
