"""What becomes of conditions before and after a network, against DeepLabCut's own."""

from __future__ import annotations

import numpy as np
import pytest

from dlc_deploy.manifest import Manifest, Origin, PoseGraph
from dlc_deploy.poses import Poses
from dlc_deploy.preprocessing import ConditionPreprocessing, CropPreprocessing, Normalization
from dlc_deploy.runtime.conditions import read_conditions
from dlc_deploy.runtime.pipelines import ConditionalTopDown
from dlc_deploy.runtime.pipelines.conditional_top_down import (
    Conditioned,
    boxes_around,
    chosen,
    rescored,
)
from tests.reference import REFERENCE, needs_reference

pytestmark = needs_reference
FOLDER = REFERENCE / "preprocess"
MEAN = np.array((0.485, 0.456, 0.406)) * 255
STD = np.array((0.229, 0.224, 0.225)) * 255
# DeepLabCut's are float64 here
ROUNDING_PX = 1e-4


def load(name):
    return dict(np.load(FOLDER / f"{name}.npz"))


def as_poses(conditions):
    values = np.asarray(conditions, np.float32)[None]
    return Poses(values[..., :2], values[..., 2])


@pytest.mark.parametrize("margin", [0, 25])
def test_boxes_around_keypoints_are_deeplabcuts(margin):
    arrays = load("bbox_from_keypoints")
    boxes = boxes_around(arrays["keypoints"], margin, *arrays["image_hw"])
    assert arrays[f"margin{margin}"].std() > 10
    np.testing.assert_allclose(boxes, arrays[f"margin{margin}"], rtol=0, atol=1e-9)


def test_poses_of_low_confidence_are_dropped_as_by_deeplabcut():
    arrays = load("filter_low_confidence")
    poses = arrays["cond_in"][None]
    boxes = np.tile([0.0, 0.0, 50.0, 50.0], (1, len(arrays["cond_in"]), 1))
    rows = chosen(poses, boxes, ConditionPreprocessing(), len(arrays["cond_in"]))[0]
    kept = arrays["cond_in"][rows[rows >= 0]]
    assert 0 < len(kept) < len(arrays["cond_in"])
    np.testing.assert_array_equal(kept, arrays["cond_out"])


def test_crops_and_conditions_in_them_are_deeplabcuts():
    arrays, frame = load("ctd_preprocessor"), load("frame")["frame"]
    crop = CropPreprocessing(height=256, width=256, with_context=False)
    graph = PoseGraph(
        file="p",
        precision="fp32",
        size=(256, 256),
        normalization=Normalization(),
        crop=crop,
        condition=ConditionPreprocessing(bbox_margin=25),
    )
    manifest = Manifest(
        method="ctd",
        net_type="ctd",
        scorer="",
        bodyparts=("a", "b", "c", "d"),
        individuals=("1", "2", "3"),
        max_individuals=3,
        pose=graph,
        origin=Origin(snapshot=""),
        tools={},
        created="",
        files={},
    )
    pipeline = ConditionalTopDown(manifest, None, 3, None)
    found = pipeline.crop(Conditioned(frame[None], as_poses(arrays["cond_in"])))
    count = len(arrays["bboxes"])
    assert found.crops.places.tolist() == [[0, row] for row in range(count)]
    np.testing.assert_allclose(found.boxes.xywh[0, :count], arrays["bboxes"], atol=ROUNDING_PX)
    assert np.isnan(found.boxes.xywh[0, count:]).all()
    np.testing.assert_array_equal(found.crops.offset, arrays["offsets"])
    np.testing.assert_array_equal(found.crops.scale, arrays["scales"])
    seen = ((found.crops.images - MEAN) / STD).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(seen, arrays["preprocessed"], rtol=0, atol=1e-5)
    expected = arrays["cond_model"][:, 0]
    np.testing.assert_allclose(found.conditions, expected, rtol=0, atol=ROUNDING_PX)


def test_scores_are_deeplabcuts_after_refining():
    arrays = load("rescale")
    score = arrays["ctd_rescored"][..., 2]
    given = arrays["keypoints"][..., 2]
    assert score.std() > 0.01 and (given < 0.2).any() and (given >= 0.2).any()
    found = rescored(given, arrays["cond_kpts"][..., 2], 0.2)
    np.testing.assert_allclose(np.tile(found[:, None], score.shape[1]), score, rtol=0, atol=1e-6)


BODYPARTS = ("snout", "leftear", "rightear", "tailbase")


@pytest.mark.parametrize("name", ["multi", "multi_unique_identity"])
def test_deeplabcuts_files_of_one_video_hold_the_same_poses(name):
    (assemblies,) = (FOLDER / "outputs" / name).glob("*_assemblies.pickle")
    table = assemblies.with_name(assemblies.name.replace("_assemblies.pickle", ".h5"))
    pickled, tabled = (read_conditions(path, BODYPARTS) for path in (assemblies, table))
    assert len(tabled.rows) == len(pickled.rows) == 40
    frames = range(40)
    ours, others = tabled.at(frames), pickled.at(frames)
    animals = others.score.shape[1]
    present = others.score > 0
    assert present.mean() > 0.5
    np.testing.assert_allclose(ours.xy[:, :animals][present], others.xy[present], atol=ROUNDING_PX)
    np.testing.assert_allclose(ours.score[:, :animals][present], others.score[present], atol=1e-6)
    assert not (ours.score[:, animals:] > 0).any()
