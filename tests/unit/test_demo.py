from __future__ import annotations

import contextlib
import io
import json
import math
import re

import av
import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from dlc_deploy.benchmarks import demo, demo_model  # noqa: E402
from dlc_deploy.benchmarks.drawn import KEYPOINTS, draw_animal  # noqa: E402
from dlc_deploy.bundle import Bundle  # noqa: E402
from dlc_deploy.command import main  # noqa: E402
from dlc_deploy.errors import VerificationError  # noqa: E402
from dlc_deploy.exporters.source import load_source  # noqa: E402
from dlc_deploy.training.snapshots import load_snapshot  # noqa: E402

pytestmark = pytest.mark.torch

SCORER = "DLC_ResnetTiny_mouseJan1shuffle1_snapshot_1"
TRAIN = "dlc-models-pytorch/iteration-0/mouseJan1-trainset95shuffle1/train"
SHORT = ("--steps", "2", "--frames", "4", "--seed", "7")


def run(*words):
    """Exit status, standard output and standard error of the verb."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["demo", *map(str, words)])
    return status, out.getvalue(), err.getvalue()


def errors_of(folder, frames, seed):
    """Distances [frames, keypoints] between the .h5 and the drawing, by the columns' names."""
    (path,) = (folder / "results").glob("*.h5")
    table = pd.read_hdf(path)
    table.columns = table.columns.droplevel("scorer")
    truth = draw_animal(frames, 256, seed).keypoints
    assert len(table) == frames
    return np.stack(
        [
            np.hypot(table[name, "x"] - truth[:, place, 0], table[name, "y"] - truth[:, place, 1])
            for place, name in enumerate(KEYPOINTS)
        ],
        axis=1,
    )


@pytest.fixture
def lenient(monkeypatch):
    monkeypatch.setattr(demo, "LIMIT_PX", math.inf)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A demo that passes with next to no training, and what it printed."""
    folder = tmp_path_factory.mktemp("short") / "mouse demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "LIMIT_PX", math.inf)
        status, out, err = run(folder, *SHORT, "--json")
    assert status == 0, err
    return folder, out, err


def test_a_demo_leaves_the_files_of_every_step_and_no_others(short):
    folder = short[0]
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    pickles = ("{}_full.pickle", "{}_meta.pickle")
    results = ("{}.h5", "{}.csv", "{}.run.json", "{}_labeled.mp4", *pickles)
    assert {name for name in files if not name.startswith("bundle/")} == {
        "demo.json",
        "mouse.mp4",
        "mouse_truth.csv",
        f"{TRAIN}/snapshot-001.pt",
        f"{TRAIN}/pytorch_config.yaml",
        *(f"results/mouse{name.format(SCORER)}" for name in results),
    }
    assert Bundle.open(folder / "bundle").manifest.scorer == SCORER


def test_the_snapshot_is_deeplabcuts_and_fits_the_configuration_beside_it(short):
    path = short[0] / TRAIN / "snapshot-001.pt"
    snapshot = load_snapshot(path)
    assert snapshot.metadata["epoch"] == 1 and snapshot.metadata["losses"]["train.total_loss"] > 0
    assert set(torch.load(path, weights_only=True)) == {"metadata", "model", "scheduler"}
    source = load_source(path, None, None)
    assert source.config.metadata.bodyparts == list(KEYPOINTS)
    assert torch.equal(
        source.model.state_dict()["heads.bodypart.heatmap_head.final_conv.weight"],
        snapshot.model["heads.bodypart.heatmap_head.final_conv.weight"],
    )


def test_the_json_holds_the_errors_of_what_the_h5_says(short):
    folder, out, err = short
    result = json.loads(out)
    assert result == json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    assert (result["steps"], result["frames"], result["seed"]) == (2, 4, 7)
    distances = errors_of(folder, 4, 7)
    for name, values in [("all", distances), *zip(KEYPOINTS, distances.T, strict=True)]:
        told = result["error_px"][name]
        expected = np.percentile(values, 50), np.percentile(values, 95)
        np.testing.assert_allclose((told["median"], told["p95"]), expected, atol=1e-3)
    assert [line[:3] for line in err.splitlines()] == ["1/5", "2/5", "3/5", "4/5", "5/5"]


def test_the_truth_is_the_drawings(short):
    truth = pd.read_csv(short[0] / "mouse_truth.csv", header=[0, 1], index_col=0)
    assert list(truth.columns) == [(name, axis) for name in KEYPOINTS for axis in "xy"]
    drawn = draw_animal(4, 256, 7).keypoints.reshape(4, -1)
    np.testing.assert_allclose(truth.to_numpy(), drawn, atol=1e-3)


def test_too_little_training_ends_with_3_and_leaves_nothing(tmp_path):
    status, out, err = run(tmp_path / "demo", *SHORT)
    assert status == 3 and out == ""
    message = r"at most 2 px against the truth, got \d+\.\d+ px after 2 steps.*--steps 800"
    assert re.search(message, err)
    assert not list(tmp_path.iterdir())


def test_a_median_that_is_no_number_does_not_pass():
    with pytest.raises(VerificationError, match="got nan px"):
        demo._judge({"steps": 900, "error_px": {"all": {"median": math.nan}}})


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    for words in ((), ("--overwrite",)):
        status, _, err = run(tmp_path, *SHORT, *words)
        assert status == 2
        assert "found other files (thesis.tex, for one)" in err and "another DIR" in err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "demo").touch()
    status, _, err = run(tmp_path / "demo", *SHORT)
    assert status == 2 and "expected a folder, found a file" in err


def test_a_place_that_cannot_be_written_is_named_before_anything_is_drawn(tmp_path):
    (tmp_path / "file").touch()
    status, _, err = run(tmp_path / "file" / "demo", *SHORT)
    assert status == 2
    assert "expected a place to write the demo, got: Not a directory" in err and "1/5" not in err


def test_an_earlier_demo_is_replaced_only_when_asked(tmp_path, lenient):
    for folder in ("bundle", "results"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "old").touch()
    for name in ("demo.json", "notes.txt"):
        (tmp_path / name).write_text("old", encoding="utf-8")
    status, _, err = run(tmp_path, *SHORT)
    assert status == 2 and "Pass --overwrite to replace it" in err
    assert (tmp_path / "demo.json").read_text(encoding="utf-8") == "old"
    status, out, err = run(tmp_path, *SHORT, "--overwrite")
    assert status == 0, err
    assert "training never saw" in out and "tailbase" in out
    assert not list(tmp_path.rglob("old")) and (tmp_path / "notes.txt").exists()
    assert json.loads((tmp_path / "demo.json").read_text(encoding="utf-8"))["frames"] == 4
    assert not (tmp_path / ".partial").exists()


def test_a_missing_package_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "_NEEDED", ("torch", "no_such_package"))
    status, _, err = run(tmp_path / "demo")
    assert status == 2
    assert "needs no_such_package, which" in err
    assert "pip install 'dlc-deploy[export,cpu]'" in err


@pytest.mark.parametrize("words", [("--steps", "0", 1), ("--frames", "x", 1), ("--seed", "-1", 0)])
def test_numbers_that_mean_nothing_are_refused(words):
    *words, least = words
    with contextlib.redirect_stderr(io.StringIO()) as err, pytest.raises(SystemExit) as end:
        main(["demo", *words])
    assert end.value.code == 2 and f"expected a whole number from {least} on" in err.getvalue()


def test_training_sees_other_walks_than_the_videos_and_no_more_than_its_steps_need():
    frames, labels = demo_model.training_frames(steps=4, seed=7)
    assert frames.shape == (40, 128, 128, 3) and labels.shape == (40, 1, 4, 3)
    walks = np.concatenate([draw_animal(20, 256, seed).keypoints for seed in (8, 9)])
    # What is at x of the video is at x / 2 of the labels, as the runtime scales it back.
    np.testing.assert_allclose(2 * labels[:, 0, :, :2], walks, atol=1e-3)
    assert (labels[..., 2] == 2).all()
    video = draw_animal(40, 256, 7).keypoints
    assert np.abs(video - walks).mean(axis=(1, 2)).min() > 1


def test_a_seed_trains_the_same_network_again(tmp_path):
    frames, labels = demo_model.training_frames(steps=2, seed=0)

    def weights(name, seed):
        torch.rand(1)  # the caller's own random numbers have no influence
        options = {"steps": 2, "seed": seed, "progress": lambda step, loss: None}
        return load_snapshot(
            demo_model.train(frames, labels, folder=tmp_path / name, **options)
        ).model

    once, again, other = weights("a", 0), weights("b", 0), weights("c", 1)
    assert all(torch.equal(once[key], again[key]) for key in once)
    assert not torch.equal(
        once["backbone.model.conv1.0.weight"], other["backbone.model.conv1.0.weight"]
    )


def test_every_walk_is_seen_once_before_any_is_seen_again():
    batches = demo_model._batches(10, seed=0)
    rows = np.concatenate([next(batches) for _ in range(5)])
    assert all(sorted(rows[start : start + 10]) == list(range(10)) for start in range(0, 40, 10))
    assert sorted(next(demo_model._batches(4, seed=0))) == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.slow
def test_the_whole_demo_finds_the_mouse(tmp_path):
    """2 px is the verb's own limit; 0.9 px is usual."""
    status, _, err = run(tmp_path / "demo", "--json")
    assert status == 0, err
    distances = errors_of(tmp_path / "demo", 150, 0)
    assert np.median(distances) <= 2
    assert np.median(distances, axis=0).max() <= 2.5
    assert np.percentile(distances, 95) <= 5
    (labeled,) = (tmp_path / "demo" / "results").glob("*_labeled.mp4")
    with av.open(str(labeled)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 150
