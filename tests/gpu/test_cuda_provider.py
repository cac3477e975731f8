"""The CUDA provider against the CPU's, on the two models that DeepLabCut trained."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reference import REFERENCE, needs_reference

torch = pytest.importorskip("torch")

import dlc_deploy  # noqa: E402
from dlc_deploy.runtime.video.reader import VideoReader  # noqa: E402

pytestmark = [needs_reference, pytest.mark.gpu, pytest.mark.torch]

PROJECT = REFERENCE / "openfield"
MODELS = PROJECT / "dlc-models-pytorch" / "iteration-0"
SNAPSHOTS = {
    "resnet_50": ("shuffle1", "snapshot-125.pt", None),
    "rtmpose_s": ("shuffle2", "snapshot-132.pt", "snapshot-detector-best-030.pt"),
}


@pytest.fixture(scope="module")
def frames():
    with VideoReader(PROJECT / "videos" / "m3v1mp4.mp4", stop=24) as reader:
        return np.stack([frame.rgb for frame in reader])


@pytest.fixture(params=SNAPSHOTS, scope="module")
def bundle(request, tmp_path_factory):
    shuffle, snapshot, detector = SNAPSHOTS[request.param]
    folder = MODELS / f"openfieldOct30-trainset95{shuffle}" / "train"
    return dlc_deploy.export(
        folder / snapshot,
        detector=detector and folder / detector,
        output=tmp_path_factory.mktemp(request.param) / "bundle",
    )


def test_the_cuda_provider_gives_the_cpus_poses(bundle, frames):
    with dlc_deploy.load(bundle, device="cpu") as cpu:
        expected = cpu(frames)
    with dlc_deploy.load(bundle, device="cuda:0") as cuda:
        assert cuda.device == "cuda:0"
        assert "CUDA" in cuda.pipeline.engines["pose"].description
        # A last batch that is smaller, as at the end of every video, is tried too.
        poses = dlc_deploy.Poses.concatenate([cuda(frames[:16]), cuda(frames[16:])])
    sure = expected.score >= 0.3
    assert sure.sum() > 48 and expected.xy[sure].std() > 20
    distance = np.linalg.norm(poses.xy - expected.xy, axis=-1)[sure]
    # The contract of an fp32 engine is 0.01 px on equal inputs; a box that differs in its last bit
    # may round to a crop one pixel aside, which moves single keypoints of a top-down model.
    assert np.median(distance) <= 0.01
    assert np.percentile(distance, 99) <= 1
    np.testing.assert_allclose(poses.score[sure], expected.score[sure], atol=1e-2)


def test_the_golden_frame_replays_on_the_cuda_provider(bundle):
    from dlc_deploy.command import main

    assert main(["verify", str(bundle.path), "--device", "cuda:0"]) == 0
