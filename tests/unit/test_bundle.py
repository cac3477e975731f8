from __future__ import annotations

import numpy as np
import pytest

from dlc_deploy import Bundle
from dlc_deploy.bundle import CONFIG, GOLDEN, MANIFEST, Golden, sha256
from dlc_deploy.errors import BundleError
from dlc_deploy.poses import Boxes, Poses
from tests.unit.test_manifest import manifest


def golden(boxes=True):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, 12, 16, 3), np.uint8)
    xy = rng.random((2, 2, 3, 2), np.float32)
    score = rng.random((2, 2, 3), np.float32)
    xy[1, 1], score[1, 1] = np.nan, np.nan
    found = Boxes(rng.random((2, 4, 4), np.float32), rng.random((2, 4), np.float32))
    return Golden(frames, Poses(xy, score, found if boxes else None))


@pytest.fixture
def bundle(tmp_path):
    golden().save(tmp_path / GOLDEN)
    for name in ("pose.onnx", "detector.onnx", CONFIG):
        (tmp_path / name).write_bytes(name.encode() * 100)
    files = {path.name: sha256(path) for path in sorted(tmp_path.iterdir())}
    sealed = manifest().model_copy(update={"files": files}).sealed()
    (tmp_path / MANIFEST).write_text(sealed.to_json(), encoding="utf-8")
    return tmp_path


def test_a_bundle_opens_from_a_path_or_its_text(bundle):
    assert Bundle.open(bundle) == Bundle.open(str(bundle))
    assert Bundle.open(bundle).damaged_files() == []
    assert Bundle.open(bundle).manifest.scorer == manifest().scorer


@pytest.mark.parametrize("name", ["pose.onnx", "detector.onnx", GOLDEN, CONFIG])
def test_a_damaged_file_is_named(bundle, name):
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    assert Bundle.open(bundle).damaged_files() == [name]


def test_missing_files_are_all_named(bundle):
    (bundle / "pose.onnx").unlink()
    (bundle / CONFIG).unlink()
    with pytest.raises(BundleError, match=f"missing: pose.onnx, {CONFIG}.*Copy the whole folder"):
        Bundle.open(bundle)


def test_a_file_that_goes_away_after_opening_is_damaged(bundle):
    opened = Bundle.open(bundle)
    (bundle / "pose.onnx").unlink()
    assert opened.damaged_files() == ["pose.onnx"]


def test_an_edited_manifest_is_refused_with_its_path(bundle):
    path = bundle / MANIFEST
    path.write_text(path.read_text(encoding="utf-8").replace("snout", "nose"), encoding="utf-8")
    with pytest.raises(BundleError, match="does not match its seal") as caught:
        Bundle.open(bundle)
    assert str(path) in str(caught.value)


def test_a_manifest_of_other_bytes_is_refused(bundle):
    (bundle / MANIFEST).write_bytes(b"\xff\xfe\x00\x01 no text")
    with pytest.raises(BundleError, match="expected a bundle's manifest"):
        Bundle.open(bundle)


def test_what_is_no_bundle_is_refused_with_what_one_is(tmp_path):
    file = tmp_path / "video.mp4"
    file.touch()
    for path in (tmp_path, tmp_path / "absent", file):
        with pytest.raises(BundleError, match=r"found no manifest.json\. A bundle is a folder"):
            Bundle.open(path)


def test_a_snapshot_given_as_bundle_is_told_to_be_exported_first(tmp_path):
    snapshot = tmp_path / "snapshot-100.pt"
    snapshot.write_bytes(b"PK")
    with pytest.raises(BundleError, match="Export the snapshot first: dlc-export"):
        Bundle.open(snapshot)


@pytest.mark.parametrize("boxes", [True, False])
def test_golden_frames_come_back_to_the_last_bit(tmp_path, boxes):
    written = golden(boxes)
    written.save(tmp_path / GOLDEN)
    read = Golden.load(tmp_path / GOLDEN)
    np.testing.assert_array_equal(read.frames, written.frames)
    np.testing.assert_array_equal(read.poses.xy, written.poses.xy)
    np.testing.assert_array_equal(read.poses.score, written.poses.score)
    assert read.frames.dtype == np.uint8 and read.poses.xy.dtype == np.float32
    assert (read.poses.boxes is None) != boxes
    if boxes:
        np.testing.assert_array_equal(read.poses.boxes.xywh, written.poses.boxes.xywh)
        np.testing.assert_array_equal(read.poses.boxes.score, written.poses.boxes.score)


@pytest.mark.parametrize("damage", [b"", b"words", b"PK\x03\x04 half"])
def test_golden_frames_that_cannot_be_read_are_a_fault_of_the_bundle(bundle, damage):
    (bundle / GOLDEN).write_bytes(damage)
    with pytest.raises(BundleError, match=GOLDEN):
        Bundle.open(bundle).golden()


def test_golden_frames_without_their_poses_are_a_fault_of_the_bundle(bundle):
    np.savez(bundle / GOLDEN, frames=golden().frames)
    with pytest.raises(BundleError, match=GOLDEN):
        Bundle.open(bundle).golden()


def test_golden_frames_that_are_away_are_a_fault_of_the_bundle(bundle):
    opened = Bundle.open(bundle)
    (bundle / GOLDEN).unlink()
    with pytest.raises(BundleError, match=GOLDEN):
        opened.golden()
