"""Loaders: order, workers and their random numbers, parts of a distributed training."""

from __future__ import annotations

import random

import cv2
import numpy as np
import pytest

from dlc_deploy.errors import ConfigError
from tests.labeled_images import labeled, parameters

torch = pytest.importorskip("torch")

from torchvision import tv_tensors  # noqa: E402

from dlc_deploy.training.data.dataset import PoseDataset  # noqa: E402
from dlc_deploy.training.data.loading import build_dataloader, start_epoch  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    # torch forks its workers, which Python 3.12 warns of in a process with threads
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

IMAGES = 6


def noisy(drawn):
    """A 2 x 2 image of numbers from each generator that a transform may use."""
    noise = np.zeros((1, 1), np.float32)
    cv2.randu(noise, 0, 1)
    parts = [torch.rand(()).item(), random.random(), np.random.rand(), noise.item()]
    return drawn | {"image": tv_tensors.Image(torch.tensor(parts).reshape(1, 2, 2))}


@pytest.fixture
def data(tmp_path):
    images = [
        labeled(tmp_path, [[5, 5, 2], [9, 9, 2]], name=f"{number}.png", number=number)
        for number in range(IMAGES)
    ]
    return PoseDataset(images, parameters(), noisy)


def ids(loader):
    return [batch["image_id"].tolist() for batch in loader]


def flat(batches):
    return [number for batch in batches for number in batch]


def test_batches_in_order_and_the_rest_at_the_end(data):
    assert ids(build_dataloader(data, batch_size=4, shuffle=False)) == [[0, 1, 2, 3], [4, 5]]


def test_a_seed_gives_an_order_and_each_epoch_another(data):
    def epochs(seed):
        loader = build_dataloader(data, batch_size=1, shuffle=True, seed=seed)
        return [flat(ids(loader)) for _ in range(3)]

    assert epochs(1) == epochs(1) != epochs(2)
    assert all(sorted(order) == list(range(IMAGES)) for order in epochs(1))
    assert len({tuple(order) for order in epochs(1)}) == 3


def test_workers_draw_the_same_numbers_in_every_run(data):
    def drawn(seed):
        loader = build_dataloader(data, batch_size=1, shuffle=True, workers=2, seed=seed)
        epochs = [torch.cat([batch["image"] for batch in loader]) for _ in range(2)]
        assert loader.persistent_workers
        return torch.stack(epochs)

    first = drawn(1)
    assert torch.equal(first, drawn(1))
    assert not torch.equal(first, drawn(2))
    assert len(first.unique()) == 4 * 2 * IMAGES, "no two images, workers or epochs drew the same"


def test_workers_run_in_one_thread_each(data):
    data.transform = threads
    loader = build_dataloader(data, batch_size=IMAGES, shuffle=False, workers=1)
    (batch,) = loader
    assert batch["image"].unique().tolist() == [1]


def threads(drawn):
    found = [cv2.getNumThreads(), torch.get_num_threads()]
    return drawn | {"image": tv_tensors.Image(torch.tensor(found).reshape(1, 1, 2))}


def test_a_collate_function_by_its_section_or_itself(data):
    section = {"type": "ResizeFromListCollate", "scales": [[4, 8]]}
    loader = build_dataloader(data, batch_size=2, shuffle=False, collate=section)
    assert next(iter(loader))["image"].shape[2:] == (4, 8)
    assert list(build_dataloader(data, batch_size=3, shuffle=False, collate=len)) == [3, 3]
    with pytest.raises(ConfigError, match="collate function"):
        build_dataloader(data, batch_size=2, shuffle=False, collate={"type": "Nothing"})


@pytest.mark.parametrize("shuffle", [False, True])
def test_each_process_of_a_distributed_training_gets_its_part(data, shuffle, monkeypatch):
    distributed = torch.distributed
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda group=None: 2)
    epochs = []
    for epoch in range(2):
        parts = []
        for rank in range(2):
            monkeypatch.setattr(distributed, "get_rank", lambda group=None, rank=rank: rank)
            loader = build_dataloader(data, batch_size=2, shuffle=shuffle, seed=5)
            start_epoch(loader, epoch)
            parts.append(flat(ids(loader)))
        assert sorted(parts[0] + parts[1]) == list(range(IMAGES))
        epochs.append(parts)
    assert (epochs[0] != epochs[1]) == shuffle
