"""Runners of small networks: what goes in, what comes out, and what is refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.errors import InputError, SnapshotError, UnavailableError, UsageError  # noqa: E402
from dlc_deploy.runtime.pipelines.crops import Crops  # noqa: E402
from dlc_deploy.training.apis.utils import (  # noqa: E402
    get_detector_inference_runner,
    get_inference_runners,
)
from dlc_deploy.training.data.transforms import build_transforms  # noqa: E402
from dlc_deploy.training.inference.runners import transformed_crops  # noqa: E402
from dlc_deploy.training.inference.torch_engine import TorchEngine  # noqa: E402
from dlc_deploy.training.snapshots import save_snapshot  # noqa: E402
from tests import small  # noqa: E402
from tests.drawn_videos import images  # noqa: E402

pytestmark = pytest.mark.torch
BOXES = np.float32([[5, 4, 40, 30], [20, 10, 30.5, 30], [-9, 2, 25, 60]])


def runners(folder, content=None, **options):
    content = content or small.config()
    snapshot = small.write_model(folder, content)
    return get_inference_runners(content, snapshot, device="cpu", **options)


def top_down(folder, *, finds=True, **options):
    content = small.config(top_down=True, individuals=2)
    built = small.detector(content, finds=finds)
    path = folder / "snapshot-detector-010.pt"
    folder.mkdir(exist_ok=True)
    save_snapshot(path, small.snapshot_of(built))
    return runners(folder, content, detector_path=path, **options)


def several(**parts):
    content = small.config()
    small.several(content, **parts)
    return content


def test_the_batch_size_changes_nothing(tmp_path):
    frames = images(5, 96, 64)
    single, _ = runners(tmp_path / "a")
    batched, detector = runners(tmp_path / "b", batch_size=3)
    found = single.inference(frames)
    assert detector is None and len(found) == 5
    assert found[0]["bodyparts"].shape == (1, 3, 3) and found[0].keys() == {"bodyparts"}
    assert np.ptp([result["bodyparts"] for result in found], axis=0).max() > 1
    for one, other in zip(found, batched.inference(frames), strict=True):
        np.testing.assert_allclose(one["bodyparts"], other["bodyparts"], atol=1e-4)


def test_images_come_as_paths_too_and_of_several_sizes(tmp_path):
    frames = [*images(2, 96, 64), *images(2, 64, 80)]
    runner, _ = runners(tmp_path / "model", batch_size=4)
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path, frame in zip(paths, frames, strict=True):
        cv2.imwrite(str(path), frame[..., ::-1])
    found = runner.inference([str(paths[0]), *paths[1:]])
    for frame, result in zip(frames, found, strict=True):
        alone = runner.inference([frame])[0]["bodyparts"]
        np.testing.assert_allclose(result["bodyparts"], alone, atol=1e-4)


@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((0, 8, 3), np.uint8)],
)
def test_what_is_no_image_is_told(tmp_path, image):
    runner, _ = runners(tmp_path)
    with pytest.raises(InputError, match=r"uint8 \[H, W, 3\] in RGB, got "):
        runner.inference([image])
    with pytest.raises(InputError, match=r"nowhere\.png"):
        runner.inference(["nowhere.png"])


def test_rows_are_filled_up_to_the_individuals_that_are_wanted(tmp_path):
    runner, _ = runners(tmp_path, max_individuals=3)
    poses = runner.inference(images(1, 96, 64))[0]["bodyparts"]
    assert poses.shape == (3, 3, 3) and (poses[0, :, :2] >= 0).all() and (poses[1:] == -1).all()


def test_linked_keypoints_have_five_columns_and_identities_on_demand(tmp_path):
    content = several(unique=True, identity=True)
    named, _ = runners(tmp_path, content, with_identity=True)
    plain, _ = runners(tmp_path, content)
    frame = images(1, 96, 64)
    with_names, without = named.inference(frame)[0], plain.inference(frame)[0]
    assert with_names["identity_scores"].shape == (2, 3, 2)
    assert with_names["unique_bodyparts"].shape == (1, 1, 3)
    assert without.keys() == {"bodyparts", "unique_bodyparts"}
    assert with_names["bodyparts"].shape == without["bodyparts"].shape == (2, 3, 5)

    def rows(result):
        return sorted(map(bytes, result["bodyparts"]))

    assert rows(with_names) == rows(without)


def test_a_detector_finds_boxes_for_the_pose_model(tmp_path):
    pose, detector = top_down(tmp_path, batch_size=3, detector_batch_size=2)
    frames = images(3, 96, 64)
    boxes = detector.inference(frames)
    assert [found["bboxes"].shape for found in boxes] == [(2, 4)] * 3
    assert all((np.diff(found["bbox_scores"]) <= 0).all() for found in boxes)
    results = pose.inference(zip(frames, boxes, strict=True))
    for given, result in zip(boxes, results, strict=True):
        assert result["bodyparts"].shape == (2, 3, 3)
        np.testing.assert_array_equal(result["bboxes"], given["bboxes"])
        np.testing.assert_array_equal(result["bbox_scores"], given["bbox_scores"])


def test_boxes_of_a_low_score_are_left_out(tmp_path):
    _, every = top_down(tmp_path)
    frame = images(1, 96, 64)
    first, second = every.inference(frame)[0]["bbox_scores"]
    assert first > second
    _, sure = top_down(tmp_path, min_bbox_score=float(first))
    assert sure.inference(frame)[0]["bbox_scores"].tolist() == [first]
    content = small.config(top_down=True)
    path = tmp_path / "snapshot-detector-010.pt"
    alone = get_detector_inference_runner(content, path, device="cpu", max_individuals=1)
    assert alone.inference(frame)[0]["bboxes"].shape == (1, 4)


def test_poses_of_boxes_are_those_of_each_box_alone(tmp_path):
    runner, _ = runners(tmp_path, small.config(top_down=True, individuals=2), batch_size=2)
    frames = images(3, 96, 64)
    given = [BOXES, BOXES[:0], BOXES[1:2]]
    found = runner.inference([(f, {"bboxes": b}) for f, b in zip(frames, given, strict=True)])
    # more rows than individuals where there are more boxes, as in DeepLabCut
    assert [result["bodyparts"].shape[0] for result in found] == [3, 2, 2]
    assert (found[1]["bodyparts"] == -1).all() and (found[1]["bboxes"] == -1).all()
    assert "bbox_scores" not in found[0]
    for row, box in enumerate(BOXES):
        alone = runner.inference([(frames[0], {"bboxes": [box.tolist()]})])[0]["bodyparts"][0]
        np.testing.assert_allclose(found[0]["bodyparts"][row], alone, atol=1e-4)
    nobody = runner.inference([(frames[0], {"bboxes": []})])[0]
    assert nobody["bodyparts"].shape == (2, 3, 3) and (nobody["bodyparts"] == -1).all()


def conditional(folder, **options):
    content = small.config(top_down=True, individuals=2) | {"method": "ctd"}
    del content["detector"]
    content["model"]["backbone"] = {"type": "SmallConditionalBackbone"}
    return runners(folder, content, **options)[0]


def test_conditions_are_refined(tmp_path):
    runner = conditional(tmp_path, batch_size=2)
    frames = images(2, 96, 64)
    low, one = np.full((1, 3, 3), 0.01), np.float64([[[20, 20, 1], [40, 30, 0.5], [30, 40, 1]]])
    given = [np.concatenate([low, one]), np.zeros((0, 3, 3))]
    found = runner.inference([(f, {"cond_kpts": c}) for f, c in zip(frames, given, strict=True)])
    assert [result["bodyparts"].shape for result in found] == [(2, 3, 3)] * 2
    assert (found[0]["bodyparts"][0] > 0).any() and (found[0]["bodyparts"][1] == -1).all()
    assert (found[1]["bodyparts"] == -1).all() and (found[1]["bboxes"] == -1).all()
    np.testing.assert_allclose(found[0]["bboxes"][0], [0, 0, 65, 64], atol=1e-4)
    assert found[0].keys() == {"bodyparts", "bboxes"}


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({}, "no boxes were given"),
        ({"bboxes": [[1, 2, 3]]}, r"bboxes \[B, 4\]"),
        ({"bboxes": BOXES, "bbox_scores": [1.0]}, r"got \[3, 4\] and \[1\]"),
    ],
)
def test_boxes_that_are_none_are_told(tmp_path, context, message):
    runner, _ = runners(tmp_path, small.config(top_down=True))
    with pytest.raises(InputError, match=message):
        runner.inference([(images(1, 96, 64)[0], context)])


@pytest.mark.parametrize(
    ("context", "message"),
    [({}, "none were given"), ({"cond_kpts": np.ones((1, 4, 3))}, r"\[C, 3, 3\].*got \[1, 4, 3\]")],
)
def test_conditions_that_are_none_are_told(tmp_path, context, message):
    runner = conditional(tmp_path)
    with pytest.raises(InputError, match=message):
        runner.inference([(images(1, 96, 64)[0], context)])


RESIZE = {"resize": {"height": 50, "width": 120, "keep_ratio": True}, "normalize_images": True}


def test_a_transform_takes_the_place_of_the_configured_one(tmp_path):
    content = small.config()
    content["data"]["inference"] = RESIZE
    frames = images(3, 96, 64)
    configured, _ = runners(tmp_path / "configured", content, batch_size=2)
    given, _ = runners(tmp_path / "given", batch_size=2, transform=build_transforms(RESIZE))
    plain, _ = runners(tmp_path / "plain")
    for frame, ours, theirs in zip(
        frames, given.inference(frames), configured.inference(frames), strict=True
    ):
        # rounding chooses among nothing here: float32 of coordinates below 100 px
        np.testing.assert_allclose(ours["bodyparts"], theirs["bodyparts"], atol=2e-3)
        other = plain.inference([frame])[0]["bodyparts"]
        assert np.abs(ours["bodyparts"] - other).max() > 1


def cropping(folder, **options):
    return runners(folder, small.config(top_down=True), **options)[0]


@pytest.mark.parametrize(
    ("make", "context"),
    [
        (cropping, {"bboxes": BOXES}),
        (conditional, {"cond_kpts": [[[20, 20, 1], [40, 30, 0.5], [30, 40, 1]]]}),
    ],
)
def test_a_transform_that_only_normalises_crops_changes_nothing(tmp_path, make, context):
    pairs = [(frame, context) for frame in images(2, 96, 64)]
    same = make(tmp_path / "same", transform=build_transforms({"normalize_images": True}))
    expected = make(tmp_path / "plain").inference(pairs)
    for ours, theirs in zip(same.inference(pairs), expected, strict=True):
        np.testing.assert_allclose(ours["bodyparts"], theirs["bodyparts"], atol=2e-3)


def test_crops_and_conditions_lead_back_through_a_transform():
    padding = {"pad_height_divisor": 48, "pad_width_divisor": 48, "position": "center"}
    transform = build_transforms({"longest_max_size": 32, "auto_padding": padding})
    scale, offset = np.array([[2.0, 3], [1, 1]]), np.array([[5.0, 6], [0, 0]])
    crops = Crops(np.stack(images(2, 64, 64)), np.array([[0, 0], [0, 1]]), scale, offset)
    conditions = np.full((2, 3, 3), 10, np.float32)
    moved, given = transformed_crops(crops, transform, conditions)
    # 64 px become 32, with 8 on each side of them: x = 2 x' - 16
    assert moved.images.shape == (2, 48, 48, 3)
    np.testing.assert_allclose(moved.scale, 2 * scale)
    np.testing.assert_allclose(moved.offset, offset - 16 * scale)
    np.testing.assert_allclose(given, np.broadcast_to([13, 13, 10], given.shape))


def test_the_detectors_transform_is_honoured(tmp_path):
    frame = images(1, 96, 64)
    _, plain = top_down(tmp_path)
    section = small.config(top_down=True)["detector"]["data"]["inference"]
    _, same = top_down(tmp_path, detector_transform=build_transforms(section))
    for key, value in plain.inference(frame)[0].items():
        np.testing.assert_allclose(same.inference(frame)[0][key], value, atol=2e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_bodyparts": 4}, r"num_bodyparts to be 3, .*\(snout, leftear, tailbase\), got 4"),
        ({"num_unique_bodyparts": 1}, r"num_unique_bodyparts to be 0, .*\(none\), got 1"),
        ({"max_individuals": 0}, "max_individuals of 1 or more, got 0"),
        ({"batch_size": 0}, "batch size of 1 or more, got 0"),
        ({"with_identity": True}, "without a head identity, got true"),
        ({"detector_path": "detector.pt"}, "Expected no detector_path for small"),
        ({"min_bbox_score": 0.5}, "Expected a detector_path"),
    ],
)
def test_arguments_that_contradict_the_configuration_are_refused(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        runners(tmp_path, **options)


def test_a_snapshot_of_another_model_is_refused(tmp_path):
    snapshot = small.write_model(tmp_path, several())
    with pytest.raises(SnapshotError, match="do not fit the configuration"):
        get_inference_runners(small.config(), snapshot)


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "no device"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(UnavailableError, match=device):
        TorchEngine(torch.nn.Identity(), device)
