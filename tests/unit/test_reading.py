"""Decoded images are kept: what is kept, how much, and between which processes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from dlc_deploy.errors import InputError

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402

from dlc_deploy.training.data.collate import join  # noqa: E402
from dlc_deploy.training.data.dataset import PoseDataset  # noqa: E402
from dlc_deploy.training.data.reading import ImageReader, PixelCache  # noqa: E402
from tests.labeled_images import PIXELS, labeled, parameters  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    # torch forks its workers, which Python 3.12 warns of in a process with threads
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

POSE = [[5, 5, 2], [9, 9, 2]]


@pytest.fixture
def images(tmp_path):
    return [
        labeled(tmp_path, POSE, name=f"{number}.png", number=number, pixels=PIXELS + number)
        for number in range(4)
    ]


def lost(images):
    for image in images:
        image.path.unlink()


def test_a_file_is_decoded_once(images):
    reader = ImageReader("RGB", PixelCache(images))
    for image in images:
        reader.read(image.path)[:] = 0  # the caller's own
    lost(images)
    reader.read(images[0].path)[:] = 0
    for number, image in enumerate(images):
        np.testing.assert_array_equal(reader.read(image.path), PIXELS + number)


def test_without_a_cache_it_is_decoded_each_time(images):
    reader = ImageReader("RGB")
    reader.read(images[0].path)
    lost(images)
    with pytest.raises(InputError, match=r"0\.png"):
        reader.read(images[0].path)


@pytest.mark.parametrize(("room", "kept"), [(0, 0), (2 * (PIXELS.size + 1), 2), (10**6, 4)])
def test_no_more_is_kept_than_the_limit(images, room, kept):
    cache = PixelCache(images, room)
    for image in images:
        cache.put(image.path, PIXELS)
    assert [cache.get(image.path) is not None for image in images] == [
        number < kept for number in range(4)
    ]


def test_an_image_of_another_size_than_expected_is_not_kept(images):
    cache = PixelCache(images)
    cache.put(images[0].path, PIXELS.transpose(1, 0, 2))
    assert cache.get(images[0].path) is None


def test_workers_share_what_any_of_them_decoded(images):
    data = PoseDataset(images, parameters())
    first = [batch["image"] for batch in DataLoader(data, collate_fn=join, num_workers=2)]
    lost(images)
    again = DataLoader(data, collate_fn=join, num_workers=1)
    assert all(torch.equal(a, b["image"]) for a, b in zip(first, again, strict=True))


def test_a_copy_for_another_process_keeps_nothing(images):
    cache = PixelCache(images)
    cache.put(images[0].path, PIXELS)
    copy = pickle.loads(pickle.dumps(cache))
    copy.put(images[0].path, PIXELS)
    assert copy.get(images[0].path) is None and len(pickle.dumps(cache)) < 1000
