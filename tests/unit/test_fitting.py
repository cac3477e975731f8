from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.errors import DlcDeployError  # noqa: E402
from dlc_deploy.training.runners import fit  # noqa: E402
from tests import small  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def one_thread():
    """Sharing so small a network among threads costs more than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def labelled(count=12, side=48):
    """Images with a bright spot at each of three keypoints, each in its own colour."""
    random = np.random.default_rng(0)
    keypoints = random.uniform(8, side - 8, (count, 1, 3, 2)).astype(np.float32)
    rows, columns = np.mgrid[:side, :side]
    images = np.zeros((count, 3, side, side), np.float32)
    for image, points in zip(images, keypoints, strict=True):
        for colour, (x, y) in enumerate(points[0]):
            image[colour] = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18)
    visible = np.full((count, 1, 3, 1), 2, np.float32)
    return images, np.concatenate([keypoints, visible], -1)


def losses(seed=0, steps=80):
    seen = []
    torch.manual_seed(0)
    model = small.model()
    images, keypoints = labelled()
    fit(
        model,
        images,
        keypoints,
        steps=steps,
        batch=4,
        learning_rate=2e-2,
        seed=seed,
        progress=lambda step, loss: seen.append((step, loss)),
    )
    return seen, model


def test_a_few_steps_lower_the_loss():
    seen, model = losses()
    assert [step for step, _ in seen] == list(range(1, 81))
    first, last = (np.mean([loss for _, loss in part]) for part in (seen[:4], seen[-4:]))
    assert last < 0.6 * first
    assert not model.training


def test_the_same_seed_sees_the_images_in_the_same_order():
    once, again, other = losses(steps=5)[0], losses(steps=5)[0], losses(seed=1, steps=5)[0]
    assert once == again and once != other


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_training_may_be_a_few_steps_long(steps):
    assert len(losses(steps=steps)[0]) == steps


def test_every_image_is_seen_once_before_any_is_seen_again():
    from dlc_deploy.training.runners.fitting import _batches

    batches = _batches(10, 4, seed=0)
    rows = np.concatenate([next(batches) for _ in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))


def test_a_batch_may_be_larger_than_the_number_of_images():
    from dlc_deploy.training.runners.fitting import _batches

    rows = next(_batches(3, 6, seed=0))
    assert sorted(rows) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_ends_the_training_with_the_step(value):
    images, keypoints = labelled()
    images[:] = value
    with pytest.raises(DlcDeployError, match=r"failed at step 1: expected a finite loss, got nan"):
        fit(small.model(), images, keypoints, steps=3)
