from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.errors import ConfigError  # noqa: E402
from dlc_deploy.training.config.running import warm_up_and_cosine  # noqa: E402
from dlc_deploy.training.runners import build_optimizer, build_scheduler  # noqa: E402
from dlc_deploy.training.runners.schedulers import (  # noqa: E402
    load_scheduler_state,
    step_scheduler,
)

pytestmark = pytest.mark.torch


def sgd(rate=1.0):
    model = torch.nn.Linear(2, 1)
    return build_optimizer(model, {"type": "SGD", "params": {"lr": rate}})


def rates(config, epochs, optimizer=None, loss=1.0):
    """The learning rate that each epoch is trained with."""
    optimizer = optimizer or sgd()
    scheduler = build_scheduler(config, optimizer)
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        step_scheduler(scheduler, loss)
    return found


def stepwise(milestones, lr_list):
    params = {"milestones": milestones, "lr_list": lr_list}
    return {"type": "LRListScheduler", "params": params}


def test_a_milestone_is_the_number_of_epochs_done_before_its_rate():
    assert rates(stepwise([2, 3], [[0.5], [0.1]]), 5) == [1, 1, 0.5, 0.1, 0.1]
    assert rates(stepwise([0], [[0.5]]), 2) == [0.5, 0.5]


@pytest.mark.parametrize(
    ("milestones", "lr_list"), [([1, 2], [[0.1]]), ([1], [[0.1, 0.2]]), ([1], [[]])]
)
def test_lists_that_do_not_fit_are_refused(milestones, lr_list):
    with pytest.raises(ConfigError, match="expected a list of 1 learning rate"):
        build_scheduler(stepwise(milestones, lr_list), sgd())


def test_rtmposes_schedule_nests_three_others():
    config = warm_up_and_cosine(1.0, 0.1, 20)["scheduler"]
    found = rates(config, 24)
    # torch steps a part of SequentialLR from where it begins: five epochs of warm-up, ten in all
    # before the cosine, and the last rate after all epochs.
    assert found[0] == pytest.approx(0.001) and found[4] < found[5] == pytest.approx(1.0)
    assert found[5:10] == pytest.approx([1.0] * 5)
    assert found[10] > found[15] > found[19]
    assert found[20:] == pytest.approx([0.1] * 4)


@pytest.mark.parametrize(
    ("kind", "params", "expected"),
    [
        ("StepLR", {"step_size": 1, "gamma": 0.5}, [1, 0.5, 0.25]),
        ("ReduceLROnPlateau", {"patience": 0, "factor": 0.1}, [1, 1, 0.1]),
        (
            "ChainedScheduler",
            {
                "schedulers": [
                    {"type": "ExponentialLR", "params": {"gamma": 0.5}},
                    {"type": "ExponentialLR", "params": {"gamma": 0.1}},
                ]
            },
            [1, 0.05, 0.0025],
        ),
    ],
)
def test_every_scheduler_of_torch_may_be_named(kind, params, expected):
    assert rates({"type": kind, "params": params}, 3) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["NoSuchLR", "LRScheduler", "Optimizer", None, 3])
def test_other_names_are_refused(kind):
    with pytest.raises(ConfigError, match="expected LRListScheduler or a class of torch"):
        build_scheduler({"type": kind, "params": {}}, sgd())
    with pytest.raises(ConfigError, match=r"expected a class of torch\.optim"):
        build_optimizer(torch.nn.Linear(1, 1), {"type": kind, "params": {}})


def test_parameters_that_do_not_exist_are_named():
    with pytest.raises(ConfigError, match=r"scheduler StepLR: .*'steps'"):
        build_scheduler({"type": "StepLR", "params": {"steps": 1}}, sgd())
    with pytest.raises(ConfigError, match=r"optimizer SGD: .*'rate'"):
        build_optimizer(torch.nn.Linear(1, 1), {"type": "SGD", "params": {"rate": 1}})
    with pytest.raises(ConfigError, match="optimizer SGD: Invalid learning rate"):
        build_optimizer(torch.nn.Linear(1, 1), {"type": "SGD", "params": {"lr": -1}})


def test_lbfgs_needs_a_loop_of_its_own():
    with pytest.raises(ConfigError, match="got 'LBFGS'"):
        build_optimizer(torch.nn.Linear(1, 1), {"type": "LBFGS", "params": {}})


def test_a_state_brings_its_learning_rate_along():
    config = stepwise([2, 3], [[0.5], [0.1]])
    optimizer = sgd()
    scheduler = build_scheduler(config, optimizer)
    for _ in range(2):
        optimizer.step()
        scheduler.step()
    other = sgd()
    again = build_scheduler(stepwise([7], [[0.7]]), other)
    load_scheduler_state(again, scheduler.state_dict())
    assert other.param_groups[0]["lr"] == 0.5
    other.step()
    again.step()
    assert other.param_groups[0]["lr"] == 0.1


def test_a_state_of_another_kind_is_refused():
    state = build_scheduler({"type": "StepLR", "params": {"step_size": 1}}, sgd()).state_dict()
    scheduler = build_scheduler(stepwise([1], [[0.5]]), sgd())
    with pytest.raises(ConfigError, match=r"LRListScheduler .* keys lr_list, milestones"):
        load_scheduler_state(scheduler, state)
