from __future__ import annotations

import errno
from dataclasses import replace

import numpy as np
import pytest

from dlc_deploy.errors import OutputError
from dlc_deploy.poses import Boxes, Poses
from dlc_deploy.runtime.outputs.files import partial, removed_on_error
from dlc_deploy.runtime.outputs.labeled_video import LabeledVideoWriter
from dlc_deploy.runtime.video.reader import VideoReader, probe

GREY = 90


def writer(path, width=160, height=120, keypoints=3, fps=25.0):
    return LabeledVideoWriter(
        path, width=width, height=height, fps=fps, keypoints=keypoints, pcutoff=0.6
    )


def frame(width=160, height=120):
    return np.full((height, width, 3), GREY, np.uint8)


def poses(*points, boxes=None):
    """Points (x, y, score) of one animal in one frame."""
    values = np.float32(points).reshape(1, 1, -1, 3)
    return Poses(values[..., :2], values[..., 2], boxes)


def drawn(tmp_path, found, **options):
    with writer(tmp_path / "w.mp4", **options) as video:
        image = video.draw(frame(), found, 0)
        video.write(frame(), found, 0)
    return image


def changed(image):
    """(x, y) of the pixels that are drawn on."""
    return np.argwhere((image != GREY).any(axis=-1))[:, ::-1]


def test_a_dot_covers_its_pixel_and_its_neighbours_only(tmp_path):
    image = drawn(tmp_path, poses((40, 30, 0.9), (120, 80, 0.9), (10, 100, 0.9)))
    for x, y in ((40, 30), (120, 80), (10, 100)):
        near = changed(image)[np.abs(changed(image) - (x, y)).max(axis=1) < 10]
        np.testing.assert_allclose(near.mean(axis=0), (x, y), atol=0.5)
        assert np.abs(near - (x, y)).max() <= 3
    assert len(changed(image)) < 3 * 49


def test_unique_bodyparts_are_drawn_in_colours_of_their_own(tmp_path):
    animals, corner = poses((40, 30, 0.9), (80, 30, 0.9)), poses((120, 80, 0.9))
    image = drawn(tmp_path, replace(animals, unique=corner))
    colours = {tuple(image[y, x].tolist()) for x, y in ((40, 30), (80, 30), (120, 80))}
    assert len(colours) == 3 and (GREY, GREY, GREY) not in colours
    unsure = drawn(tmp_path, replace(animals, unique=poses((120, 80, 0.5))))
    assert (unsure[80, 120] == GREY).all()


def test_dots_lie_between_pixels_where_the_pose_does(tmp_path):
    image = drawn(tmp_path, poses((40.5, 30.25, 0.9), keypoints_absent(), keypoints_absent()))
    weight = np.abs(image.astype(float) - GREY).sum(axis=-1)
    y, x = np.mgrid[:120, :160]
    centre = (x * weight).sum() / weight.sum(), (y * weight).sum() / weight.sum()
    np.testing.assert_allclose(centre, (40.5, 30.25), atol=0.15)


def keypoints_absent():
    return (np.nan, np.nan, np.nan)


def test_each_bodypart_has_its_colour(tmp_path):
    image = drawn(tmp_path, poses((40, 30, 0.9), (80, 60, 0.9), (120, 90, 0.9)))
    colours = [image[30, 40].tolist(), image[60, 80].tolist(), image[90, 120].tolist()]
    assert len({tuple(colour) for colour in colours}) == 3
    assert colours[0][2] > colours[0][0] > colours[0][1]  # violet
    assert colours[2][0] > 250 and max(colours[2][1:]) < 30  # red


def test_what_is_unsure_or_absent_is_not_drawn(tmp_path):
    unsure = (50, 50, 0.59)
    assert len(changed(drawn(tmp_path, poses(unsure, unsure, keypoints_absent())))) == 0
    assert len(changed(drawn(tmp_path, poses((50, 50, 0.6), unsure, unsure)))) > 0
    lost = (np.nan, np.nan, 0)
    assert len(changed(drawn(tmp_path, poses(lost, lost, lost)))) == 0


def test_points_outside_the_frame_are_cut_off(tmp_path):
    image = drawn(tmp_path, poses((-50, 30, 0.9), (1e6, -1e6, 0.9), (159, 119, 0.9)))
    assert changed(image).min() > 110


def test_boxes_are_thin_rectangles_where_the_detector_is_sure(tmp_path):
    xywh = np.float32([[[20, 30, 60, 40], [5, 5, 10, 10], [np.nan] * 4]])
    boxes = Boxes(xywh, np.float32([[0.9, 0.3, np.nan]]))
    unsure = (0, 0, 0)
    pixels = changed(drawn(tmp_path, poses(unsure, unsure, unsure, boxes=boxes)))
    np.testing.assert_allclose(pixels.min(axis=0), [20, 30], atol=1)
    np.testing.assert_allclose(pixels.max(axis=0), [80, 70], atol=1)
    inside = (pixels > (22, 32)).all(axis=1) & (pixels < (78, 68)).all(axis=1)
    assert not inside.any()


def test_the_frame_given_is_left_as_it_was(tmp_path):
    image = frame()
    with writer(tmp_path / "v.mp4") as video:
        video.write(image, poses(*[(50, 50, 0.9)] * 3), 0)
    assert (image == GREY).all()


@pytest.mark.parametrize(("width", "height"), [(160, 120), (161, 121), (33, 47)])
def test_the_video_has_every_frame_with_its_dot(tmp_path, width, height):
    path = tmp_path / "v.mp4"
    with writer(path, width, height, keypoints=1, fps=12.5) as video:
        for number in range(9):
            video.write(frame(width, height), poses((8 + number * 2, 20, 0.9)), 0)
    info = probe(path)
    assert (info.width, info.height) == (width // 2 * 2, height // 2 * 2)
    assert info.fps == pytest.approx(12.5)
    frames = list(VideoReader(path))
    assert len(frames) == 9
    for number, read in enumerate(frames):
        row = np.abs(read.rgb[20].astype(int) - GREY).sum(axis=-1)
        weight = np.where(row > 60, row, 0)
        centre = (np.arange(len(row)) * weight).sum() / weight.sum()
        assert centre == pytest.approx(8 + number * 2, abs=1.5)


def test_a_row_of_a_batch_is_drawn_with_its_own_pose(tmp_path):
    both = Poses.concatenate([poses((20, 20, 0.9)), poses((100, 90, 0.9))])
    with writer(tmp_path / "v.mp4", keypoints=1) as video:
        assert np.abs(changed(video.draw(frame(), both, 1)) - (100, 90)).max() <= 3


@pytest.mark.parametrize("fps", [0.0, 29.97, 1 / 60, 1000.0])
def test_any_rate_can_be_written(tmp_path, fps):
    with writer(tmp_path / "v.mp4", fps=fps) as video:
        video.write(frame(), poses(*[(50, 50, 0.9)] * 3), 0)
    assert probe(tmp_path / "v.mp4").fps == pytest.approx(fps or 25, rel=0.02)


def test_a_frame_of_another_size_still_becomes_a_frame_of_the_video(tmp_path):
    path = tmp_path / "v.mp4"
    with writer(path, keypoints=1) as video:
        for size in ((160, 120), (200, 150), (64, 48)):
            video.write(frame(*size), poses((30, 30, 0.9)), 0)
    assert [read.rgb.shape for read in VideoReader(path)] == [(120, 160, 3)] * 3


def test_a_disk_that_is_full_is_told_and_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "v_labeled.mp4"
    rng = np.random.default_rng(0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with (
            pytest.raises(OutputError, match="could not be written") as caught,
            removed_on_error([path]),
            writer(partial(path), keypoints=1) as video,
        ):
            for _ in range(60):
                noise = rng.integers(0, 256, (120, 160, 3), np.uint8)
                video.write(noise, poses((30, 30, 0.9)), 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.__cause__.errno in (errno.EFBIG, errno.ENOSPC)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "point",
    [(np.nan, np.nan, 0.0), (1e9, 5, 0.9), (5, -1e9, 0.9), (3e38, -3e38, 0.9)],
)
def test_points_that_are_nowhere_or_far_away_are_not_drawn(tmp_path, point):
    with LabeledVideoWriter(
        tmp_path / "w.mp4", width=160, height=120, fps=25.0, keypoints=2, pcutoff=0.0
    ) as video:
        image = video.draw(frame(), poses(point, (80, 60, 0.9)), 0)
        video.write(frame(), poses(point, (80, 60, 0.9)), 0)
    assert len(changed(image)) and (np.abs(changed(image) - (80, 60)) < 6).all()


def test_a_box_that_reaches_far_out_keeps_the_edges_that_are_in(tmp_path):
    box = Boxes(np.float32([[[20, -1e12, 1e12, 2e12]]]), np.float32([[0.9]]))
    image = drawn(tmp_path, poses((80, 60, 0.1), boxes=box))
    assert set(changed(image)[:, 0].tolist()) == {19, 20, 21}  # a smooth line
    assert set(changed(image)[:, 1].tolist()) == set(range(120))
