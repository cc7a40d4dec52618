import torch

from mmmask.losses import masked_mean_squared_error


def test_masked_error_by_hand():
    prediction = torch.tensor([[[1.0, 2.0], [0.0, 0.0], [3.0, 3.0]]])
    target = torch.tensor([[[0.0, 0.0], [1.0, 3.0], [3.0, 1.0]]])
    # mean squared errors 2.5, 5, 2; weights 1, 0, 3
    weight = torch.tensor([[1.0, 0.0, 3.0]])
    assert masked_mean_squared_error(prediction, target, weight).item() == (2.5 + 3 * 2.0) / 4


def test_positions_without_weight_get_no_gradient():
    prediction = torch.randn(2, 4, 3, requires_grad=True)
    weight = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0]])
    masked_mean_squared_error(prediction, torch.zeros(2, 4, 3), weight).backward()
    assert torch.equal(prediction.grad.abs().sum(-1) > 0, weight > 0)


def test_half_precision_is_compared_in_full():
    prediction = torch.full((1, 1, 2), 300.0, dtype=torch.float16)
    loss = masked_mean_squared_error(prediction, torch.zeros(1, 1, 2), torch.ones(1, 1))
    assert loss.item() == 90_000  # beyond the range of fp16
