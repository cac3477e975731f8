"""Videos through networks that run in PyTorch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

torch = pytest.importorskip("torch")

from dlc_deploy.errors import UsageError, VideoError  # noqa: E402
from dlc_deploy.runtime.outputs.tables import KEY  # noqa: E402
from dlc_deploy.runtime.video.reader import VideoReader  # noqa: E402
from dlc_deploy.training.apis.analyze_videos import analyze_videos, video_inference  # noqa: E402
from dlc_deploy.training.apis.utils import get_inference_runners  # noqa: E402
from dlc_deploy.training.snapshots import save_snapshot  # noqa: E402
from dlc_deploy.training.task import Task  # noqa: E402
from tests import small  # noqa: E402
from tests.drawn_videos import write_video  # noqa: E402

pytestmark = pytest.mark.torch
FRAMES = 7


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "mouse.mp4", FRAMES, width=96, height=64)


@pytest.fixture(scope="module")
def frames(video):
    with VideoReader(video) as reader:
        return [frame.rgb for frame in reader]


@pytest.fixture(scope="module")
def bottom_up(tmp_path_factory):
    snapshot = small.write_model(tmp_path_factory.mktemp("model"))
    return get_inference_runners(small.config(), snapshot, batch_size=2, device="cpu")[0]


def write_detector(folder, content):
    path = folder / "snapshot-detector-010.pt"
    save_snapshot(path, small.snapshot_of(small.detector(content, finds=True)))
    return path


@pytest.fixture(scope="module")
def top_down(tmp_path_factory):
    content = small.config(top_down=True)
    snapshot = small.write_model(tmp_path_factory.mktemp("model"), content)
    path = write_detector(snapshot.parent, content)
    return get_inference_runners(
        content, snapshot, batch_size=3, device="cpu", detector_path=path, detector_batch_size=2
    )


def test_every_frame_has_a_result(video, frames, bottom_up, capsys):
    found = video_inference(video_path=video, task=Task.BOTTOM_UP, pose_runner=bottom_up)
    for result, expected in zip(found, bottom_up.inference(frames), strict=True):
        np.testing.assert_array_equal(result["bodyparts"], expected["bodyparts"])
    printed = capsys.readouterr()
    assert f"{FRAMES}/{FRAMES}" in printed.err and printed.out == ""


def test_a_detector_goes_first(video, frames, top_down):
    pose, detector = top_down
    found = video_inference(str(video), Task.TOP_DOWN, pose, detector, quiet=True)
    expected = pose.inference(zip(frames, detector.inference(frames), strict=True))
    assert len(found) == FRAMES
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == {"bodyparts", "bboxes", "bbox_scores"}
        # batches of other sizes: float32 rounding
        np.testing.assert_allclose(ours["bodyparts"], theirs["bodyparts"], atol=1e-3)


def test_a_part_of_the_frames_can_be_chosen(video, frames, bottom_up):
    found = video_inference(video, Task.BOTTOM_UP, bottom_up, cropping=(16, 80, 8, 60), quiet=True)
    expected = bottom_up.inference([frame[8:60, 16:80] for frame in frames])
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours["bodyparts"], theirs["bodyparts"])
    with pytest.raises(UsageError, match=r"inside of frames of 96 x 64 pixels, got \(0, 97, 0, 9"):
        video_inference(video, Task.BOTTOM_UP, bottom_up, cropping=(0, 97, 0, 9), quiet=True)


def test_frames_that_cannot_be_decoded_are_nan(video, bottom_up, monkeypatch, caplog):
    read = VideoReader._frame

    def damaged(self, index, item):
        frame = read(self, index, item)
        return frame if index != 2 else type(frame)(index, None, None, "damaged")

    whole = video_inference(video, Task.BOTTOM_UP, bottom_up, quiet=True)
    monkeypatch.setattr(VideoReader, "_frame", damaged)
    found = video_inference(video, Task.BOTTOM_UP, bottom_up, quiet=True)
    assert len(found) == FRAMES and np.isnan(found[2]["bodyparts"]).all()
    np.testing.assert_allclose(found[3]["bodyparts"], whole[3]["bodyparts"], atol=1e-3)
    assert "1 frames could not be decoded" in caplog.text


def test_runners_that_do_not_fit_are_refused(video, bottom_up, top_down):
    pose, detector = top_down
    for task, runners, message in (
        (Task.TOP_DOWN, (bottom_up, None), "runner of a TOP_DOWN model, got one of BOTTOM_UP"),
        (Task.BOTTOM_UP, (bottom_up, detector), "no detector_runner for a BOTTOM_UP"),
        (Task.TOP_DOWN, (pose, None), "needs its detector"),
    ):
        with pytest.raises(UsageError, match=message):
            video_inference(video, task, *runners)
    with pytest.raises(UsageError, match="tells individuals apart"):
        video_inference(video, Task.BOTTOM_UP, bottom_up, with_identity=True)
    with pytest.raises(VideoError, match=r"nothing\.mp4"):
        video_inference("nothing.mp4", Task.BOTTOM_UP, bottom_up)


def project(folder, content):
    """A project with one shuffle, as far as an analysis reads it."""
    config = {"Task": "dots", "scorer": "Ann", "date": "Nov24", "project_path": str(folder)}
    config |= {"multianimalproject": False, "bodyparts": list(small.BODYPARTS), "iteration": 0}
    config |= {"TrainingFraction": [0.95], "snapshotindex": -1}
    name = "dotsNov24-trainset95shuffle1"
    train = folder / "dlc-models-pytorch" / "iteration-0" / name / "train"
    small.write_model(train, content)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / "config.yaml", train


def test_a_project_analyses_its_videos(tmp_path, video, frames, bottom_up):
    config, _ = project(tmp_path, small.config())
    out = tmp_path / "out"
    scorer = analyze_videos(config, video, device="cpu", destfolder=out, save_as_csv=True)
    assert scorer == "DLC_Small_dotsNov24shuffle1_snapshot_10"
    names = {path.name for path in out.iterdir()}
    assert {f"mouse{scorer}{end}" for end in (".h5", ".csv", "_full.pickle")} < names
    table = pd.read_hdf(out / f"mouse{scorer}.h5", KEY)
    expected = [result["bodyparts"][0] for result in bottom_up.inference(frames)]
    found = table.to_numpy().reshape(FRAMES, 3, 3)
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-3)
    with pytest.raises(UsageError, match=r"one of 1 snapshots \(snapshot-010.pt\), got 3"):
        analyze_videos(config, [video], snapshot_index=3)


def test_a_top_down_model_takes_its_detector_from_the_project(tmp_path, video, top_down):
    content = small.config(top_down=True)
    config, train = project(tmp_path, content)
    with pytest.raises(UsageError, match="expected a detector snapshot, found none"):
        analyze_videos(config, video, device="cpu", destfolder=tmp_path)
    write_detector(train, content)
    scorer = analyze_videos(config, video, device="cpu", destfolder=tmp_path)
    assert scorer == "DLC_Small_dotsNov24shuffle1_detector_10_snapshot_10"
    table = pd.read_hdf(tmp_path / f"mouse{scorer}.h5", KEY)
    pose, detector = top_down
    found = video_inference(video, Task.TOP_DOWN, pose, detector, quiet=True)
    expected = np.stack([result["bodyparts"][0] for result in found])
    np.testing.assert_allclose(table.to_numpy().reshape(FRAMES, 3, 3), expected, atol=1e-3)


def test_conditions_come_from_a_snapshot(tmp_path, video):
    content = small.config(top_down=True) | {"method": "ctd"}
    del content["detector"]
    content["model"]["backbone"] = {"type": "SmallConditionalBackbone"}
    config, _ = project(tmp_path / "project", content)
    with pytest.raises(UsageError, match="refines poses"):
        analyze_videos(config, video, device="cpu", destfolder=tmp_path)
    finder = small.write_model(tmp_path / "finder")
    scorer = analyze_videos(config, video, device="cpu", destfolder=tmp_path, ctd_conditions=finder)
    table = pd.read_hdf(tmp_path / f"mouse{scorer}.h5", KEY)
    assert table.shape == (FRAMES, 9) and (table.to_numpy()[:, 0] > 0).any()
    with pytest.raises(UsageError, match="bottom-up model that gives"):
        analyze_videos(
            config, video, device="cpu", ctd_conditions=next(tmp_path.rglob("t*/sn*.pt"))
        )
