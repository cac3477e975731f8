"""Runners in PyTorch against DeepLabCut's own results, of the reference families and of the frames
of a real project."""

from __future__ import annotations

import numpy as np
import pytest

from tests import families
from tests.reference import REFERENCE, needs_reference

torch = pytest.importorskip("torch")

from dlc_deploy.config import PoseConfig  # noqa: E402
from dlc_deploy.runtime.assembly import assign_identities  # noqa: E402
from dlc_deploy.training.apis.utils import (  # noqa: E402
    get_detector_inference_runner,
    get_inference_runners,
)
from dlc_deploy.training.data.transforms import build_transforms  # noqa: E402
from dlc_deploy.training.models import PoseModel  # noqa: E402
from dlc_deploy.training.models.detectors import DETECTORS  # noqa: E402
from dlc_deploy.training.snapshots import save_snapshot  # noqa: E402

pytestmark = [needs_reference, pytest.mark.torch, pytest.mark.slow]
OPENFIELD = REFERENCE / "openfield"
MODELS = OPENFIELD / "dlc-models-pytorch" / "iteration-0"
# Random networks amplify rounding: their coordinates, of some hundred pixels, carry it.
TOLERANCE_PX = 0.01
MIN_SCORE = 0.05
# One family of each way from images to results; others differ by their networks, which have tests.
FAMILIES = (
    "dekr_w18_identity",
    "hrnet_w18_paf_identity_unique",
    "resnet_50_paf_identity",
    "rtmpose_s",
    "rtmpose_s_multi",
    "ctd_prenet_rtmpose_s",
)


def arrays(path):
    with np.load(path) as file:
        return dict(file)


def snapshot_of(model, name, folder):
    state = {key: torch.from_numpy(value) for key, value in families.weights(name).items()}
    path = folder / "snapshot-010.pt"
    save_snapshot(path, {"metadata": {}, "model": model.state_dict() | state})
    return path


def images_with_context(images):
    """Images of a family with what DeepLabCut was told of each."""
    contexts = [
        {key[:-2]: value for key, value in images.items() if key.endswith(f"_{number}")}
        for number in range(2)
    ]
    return list(zip(images["images"], contexts, strict=True))


def expected_results(folder):
    results = [{}, {}]
    for key, value in arrays(folder / "output.npz").items():
        if key.startswith("final_"):
            number, name = key.removeprefix("final_").split("/")
            results[int(number)][name] = value
    return results


def in_our_order(result):
    """DeepLabCut's rows as ours: absent animals have no say in which pose gets which name."""
    if "identity_scores" not in result:
        return result
    absent = (result["bodyparts"][..., 2] < 0).all(axis=1)
    score = np.where(absent[:, None], np.nan, result["bodyparts"][..., 2])
    order = assign_identities(score[None], result["identity_scores"][None])[0]
    identity = np.where(absent[:, None, None], -1, result["identity_scores"])
    return result | {
        "bodyparts": result["bodyparts"][order],
        "identity_scores": identity[order],
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_results_are_deeplabcuts(name, tmp_path):
    folder = families.folder(name)
    wanted = [in_our_order(result) for result in expected_results(folder)]
    config = PoseConfig.from_yaml(folder / "pytorch_config.yaml")
    snapshot = snapshot_of(PoseModel.build(config.model.model_dump()), name, tmp_path)
    runner, detector = get_inference_runners(
        folder / "pytorch_config.yaml",
        snapshot,
        batch_size=2,
        device="cpu",
        with_identity="identity_scores" in wanted[0],
    )
    found = runner.inference(images_with_context(arrays(folder / "input.npz")))
    assert detector is None and len(found) == len(wanted) == 2
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            compare(ours[key], value, points=key.endswith("bodyparts"))


def compare(ours, theirs, *, points):
    assert ours.shape == theirs.shape
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    if points:
        sure = theirs[..., 2] >= MIN_SCORE
        if not sure.any():  # refined poses of a network that is not sure of any keypoint
            sure = theirs[..., 2] >= 0
        assert sure.any()
        distance = np.linalg.norm(ours[..., :2] - theirs[..., :2], axis=-1)
        assert distance[sure].max() <= TOLERANCE_PX
        np.testing.assert_allclose(ours[..., 2:], theirs[..., 2:], atol=1e-3)
    else:
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_boxes_are_deeplabcuts(tmp_path):
    folder = families.folder("ssdlite")
    config = PoseConfig.from_yaml(folder / "pytorch_config.yaml")
    built = DETECTORS.build(dict(config.detector.model), pretrained=False)
    runner = get_detector_inference_runner(
        config, snapshot_of(built, "ssdlite", tmp_path), batch_size=2, device="cpu"
    )
    found = runner.inference(arrays(folder / "input.npz")["images"])
    for ours, theirs in zip(found, expected_results(folder), strict=True):
        np.testing.assert_allclose(ours["bbox_scores"], theirs["bbox_scores"], atol=1e-4)
        # A random network's boxes hang on exponents of its outputs.
        np.testing.assert_allclose(ours["bboxes"], theirs["bboxes"], atol=0.2)


@pytest.mark.parametrize(
    ("model", "shuffle", "snapshot", "detector"),
    [
        ("resnet_50", 1, "snapshot-125.pt", None),
        ("rtmpose_s", 2, "snapshot-132.pt", "snapshot-detector-best-030.pt"),
    ],
)
@pytest.mark.parametrize("own_transform", [False, True])
def test_frames_of_a_video_give_what_deeplabcut_found(
    model, shuffle, snapshot, detector, own_transform
):
    train = MODELS / f"openfieldOct30-trainset95shuffle{shuffle}" / "train"
    config = PoseConfig.from_yaml(train / "pytorch_config.yaml").model_dump()
    transforms = {}
    if own_transform:
        transforms["transform"] = build_transforms(config["data"]["inference"])
    if own_transform and detector:
        section = config["detector"]["data"]["inference"]
        transforms["detector_transform"] = build_transforms(section)
    pose, boxes = get_inference_runners(
        config,
        train / snapshot,
        num_bodyparts=4,
        num_unique_bodyparts=0,
        device="cpu",
        detector_path=None if detector is None else train / detector,
        **transforms,
    )
    predictions = OPENFIELD / "predictions" / model
    number, frame = 100, arrays(predictions / "raw_frames.npz")["frame_100/image_rgb"]
    context = {} if boxes is None else boxes.inference([frame])[0]
    found = pose.inference([(frame, context)])[0]
    expected = arrays(predictions / "video_predictions.npz")
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key].shape == values[number].shape and found[key].dtype == values.dtype
        # float32 rounding of coordinates up to 640, and some of the network's
        np.testing.assert_allclose(found[key], values[number], rtol=0, atol=2e-3)
