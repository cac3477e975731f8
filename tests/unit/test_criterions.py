"""Losses worked out by hand."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.training.models.criterions import (  # noqa: E402
    KLDiscreteLoss,
    WeightedBCECriterion,
    WeightedHuberCriterion,
    WeightedLossAggregator,
    WeightedMSECriterion,
)
from dlc_deploy.training.models.heads import HeatmapHead  # noqa: E402
from tests import small  # noqa: E402

pytestmark = pytest.mark.torch
OUTPUT = torch.tensor([[1.0, 4.0], [0.5, -3.0]])
TARGET = torch.tensor([[0.0, 1.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("criterion", "loss"),
    [
        (WeightedMSECriterion(), (1 + 9 + 0.25 + 9) / 4),
        (WeightedHuberCriterion(), (0.5 + 2.5 + 0.125 + 2.5) / 4),
        (
            WeightedBCECriterion(),
            (
                math.log(1 + math.e)
                + math.log(1 + math.exp(-4))
                + math.log(1 + math.exp(0.5))
                + math.log(1 + math.exp(-3))
            )
            / 4,
        ),
    ],
)
def test_without_weights_a_loss_is_the_mean(criterion, loss):
    assert criterion(OUTPUT, TARGET).item() == pytest.approx(loss)


def test_elements_of_weight_0_do_not_count_at_all():
    weights = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    loss = WeightedMSECriterion()(OUTPUT, TARGET, weights=weights)
    assert loss.item() == pytest.approx((1 + 0.25) / 2)


def test_other_weights_multiply_and_count_as_one():
    weights = torch.tensor([[0.5, 0.0], [2.0, 0.0]])
    loss = WeightedMSECriterion()(OUTPUT, TARGET, weights=weights)
    assert loss.item() == pytest.approx((0.5 + 0.5) / 2)


def test_weights_broadcast_and_may_be_a_number():
    column = torch.tensor([[1.0], [0.0]])
    assert WeightedMSECriterion()(OUTPUT, TARGET, weights=column).item() == pytest.approx(5)
    assert WeightedMSECriterion()(OUTPUT, TARGET, weights=2.0).item() == pytest.approx(
        2 * 19.25 / 4
    )


def test_where_nothing_counts_the_loss_is_0_and_has_a_gradient_of_0():
    output = OUTPUT.clone().requires_grad_()
    loss = WeightedMSECriterion()(output, TARGET, weights=torch.zeros(2, 2))
    loss.backward()
    assert loss.item() == 0 and not output.grad.any()


def test_an_invisible_keypoint_has_no_part_in_the_loss_of_a_head():
    head = small.model().heads["bodypart"]
    assert isinstance(head, HeatmapHead)
    torch.manual_seed(0)
    outputs = head(torch.rand(1, small.CHANNELS, 6, 7))
    points = torch.tensor([[[[5.0, 6, 2], [9, 9, 2], [math.nan, math.nan, -1]]]])

    def loss():
        targets = head.target_generator(2.0, outputs, {"keypoints": points})
        return head.get_loss(outputs, targets)["total_loss"].item()

    before = loss()
    for name, channels in (("heatmap", slice(2, 3)), ("locref", slice(4, 6))):
        outputs[name] = outputs[name].detach().clone()
        outputs[name][:, channels] += 100
    assert loss() == pytest.approx(before) and before > 0
    outputs["heatmap"][:, 0] += 100
    assert loss() > before + 100


def test_the_aggregator_takes_the_mean_of_the_weighted_losses():
    losses = {"heatmap": torch.tensor(2.0), "locref": torch.tensor(10.0)}
    aggregator = WeightedLossAggregator({"heatmap": 1, "locref": 0.05})
    assert aggregator(losses).item() == pytest.approx((2 + 0.5) / 2)


def row(*values):
    return torch.tensor([[values]])


def test_the_divergence_of_rows_is_meaned_over_bins_and_summed_over_the_batch():
    output, target = row(0.0, math.log(3)), row(0.5, 0.5)
    divergence = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    loss = KLDiscreteLoss()
    assert loss(output, target).item() == pytest.approx(divergence / 2)
    twice = loss(output.repeat(2, 1, 1), target.repeat(2, 1, 1))
    assert twice.item() == pytest.approx(divergence)
    keypoints = loss(output.repeat(1, 3, 1), target.repeat(1, 3, 1))
    assert keypoints.item() == pytest.approx(divergence / 2)


def test_temperatures_multiply_outputs_and_targets():
    output, target = row(0.0, math.log(3) / 10), row(0.0, math.log(3) / 5)
    loss = KLDiscreteLoss(beta=10.0, label_softmax=True, label_beta=5.0)
    assert loss(output, target).item() == pytest.approx(0, abs=1e-7)


def test_a_keypoint_of_weight_0_has_no_part_in_the_divergence():
    output = torch.tensor([[[0.0, 1.0], [0.0, 5.0]]])
    target = torch.tensor([[[[0.5, 0.5], [1.0, 0.0]]]])  # with the axis of individuals
    weights = torch.tensor([[[1.0, 0.0]]])
    alone = KLDiscreteLoss()(output[:, :1], target[:, :, :1]).item()
    assert KLDiscreteLoss()(output, target, weights=weights).item() == pytest.approx(alone / 2)
    ignored = KLDiscreteLoss(use_target_weight=False)(output, target, weights=weights)
    assert ignored.item() > alone


def test_masked_keypoints_have_their_own_weight():
    output, target = row(0.0, 1.0).repeat(1, 2, 1), row(0.5, 0.5).repeat(1, 2, 1)
    plain, masked = KLDiscreteLoss(), KLDiscreteLoss(mask=[1], mask_weight=3.0)
    assert masked(output, target).item() == pytest.approx(2 * plain(output, target).item())
