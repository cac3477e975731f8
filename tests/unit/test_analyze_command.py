from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dlc_deploy.command import main
from dlc_deploy.runtime.video.reader import VideoReader, probe
from tests.drawn_videos import overwrite_packet, packets, write_sound
from tests.tiny_bundle import BOXES, SCORER, TAIL, dot, write_bundle, write_dot_video

pytest.importorskip("onnxruntime")

FRAMES = 20
NAMES = (".h5", "_full.pickle", "_meta.pickle", ".run.json")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_bundle(folder / "mouse")
    write_bundle(folder / "mice", top_down=True, individuals=2)
    write_dot_video(folder / "dot.mp4", FRAMES)
    return folder


@pytest.fixture
def video(made, tmp_path):
    return Path(shutil.copy(made / "dot.mp4", tmp_path / "dot.mp4"))


@pytest.fixture
def analyze(made, capfd):
    """Run dlc-analyze; its exit status, and what it wrote on standard output and error."""

    def run(*words, bundle="mouse"):
        threads = threading.active_count()
        capfd.readouterr()
        try:
            status = main(["analyze", str(made / bundle), *map(str, words)])
        except SystemExit as refused:
            status = refused.code
        assert threading.active_count() == threads
        return status, *capfd.readouterr()

    return run


def table(folder, stem="dot"):
    return pd.read_hdf(folder / f"{stem}{SCORER}.h5", "df_with_missing")


def positions(folder, stem="dot", bodypart="snout"):
    found = table(folder, stem)[SCORER]
    return found[bodypart][["x", "y"]].to_numpy()


def assert_follows_the_dot(found, first=0, width=96, height=64, aside=(0, 0)):
    expected = [np.add(dot(first + n, width, height), aside) for n in range(len(found))]
    np.testing.assert_allclose(found, expected, atol=0.5)


def left(folder, *but):
    """Names in a folder, with hidden ones."""
    return sorted({path.name for path in folder.iterdir()} - set(but))


def results(stem="dot", *more):
    return sorted(f"{stem}{SCORER}{name}" for name in (*NAMES, *more))


@pytest.mark.parametrize("batch", [1, 3, 8, 20, 100])
def test_every_frame_gets_its_own_pose_whatever_the_batch(analyze, video, tmp_path, batch):
    status, out, err = analyze(video, "--batch", batch)
    assert (status, err) == (0, "")
    assert out.startswith("dot.mp4: 20 frames at ")
    found = table(tmp_path)
    assert list(found.index) == list(range(FRAMES))
    assert_follows_the_dot(positions(tmp_path))
    assert_follows_the_dot(positions(tmp_path, bodypart="tail"), aside=TAIL)
    np.testing.assert_allclose(found[SCORER]["snout"]["likelihood"], 250 / 255, atol=0.03)
    assert left(tmp_path, "dot.mp4") == results()
    for name in results():
        assert f"\n  {name}" in out or name.endswith(".run.json")


def test_the_default_batch_is_that_of_the_device(analyze, video):
    report = json.loads(analyze(video, "--json")[1])
    assert report["batch"] == 2


def test_top_down_poses_and_boxes_follow_the_dot(analyze, video, tmp_path):
    status, _, err = analyze(video, "--batch", 3, bundle="mice")
    assert (status, err) == (0, "")
    found = table(tmp_path)[SCORER]
    for mouse in ("mouse1", "mouse2"):
        assert_follows_the_dot(found[mouse]["snout"][["x", "y"]].to_numpy())
    with (tmp_path / f"dot{SCORER}_full.pickle").open("rb") as file:
        frames = pickle.load(file)
    assert len([name for name in frames if name.startswith("frame")]) == FRAMES
    assert left(tmp_path, "dot.mp4") == results("dot", "_assemblies.pickle")
    report = json.loads((tmp_path / f"dot{SCORER}.run.json").read_text())
    assert report["max_individuals"] == 2 and set(report["engines"]) == {"pose", "detector"}
    for number in range(FRAMES):
        boxes = frames[f"frame{number:02d}"]["bboxes"]
        np.testing.assert_allclose(boxes[:, :2], np.subtract.outer(dot(number), BOXES).T, atol=0.5)


def test_fewer_individuals_fill_fewer_columns(analyze, video, tmp_path):
    assert analyze(video, "--max-individuals", 1, bundle="mice")[0] == 0
    assert table(tmp_path).shape == (FRAMES, 6)
    status, out, err = analyze(video, "--max-individuals", 3, bundle="mice")
    assert (status, out) == (2, "") and "Expected 1 to 2 individuals, got 3" in err


def test_several_videos_go_to_the_folder_asked_for(analyze, tmp_path, made):
    folder = tmp_path / "a" / "new" / "folder"
    videos = [write_dot_video(tmp_path / f"{n}.mp4", n) for n in (3, 5, 1)]
    status, out, err = analyze(*videos, "-o", folder)
    assert (status, err) == (0, "")
    assert [line.split(":")[0] for line in out.splitlines() if not line.startswith(" ")] == [
        "3.mp4",
        "5.mp4",
        "1.mp4",
    ]
    for count in (3, 5, 1):
        found = positions(folder, str(count))
        assert len(found) == count
        assert_follows_the_dot(found)
    assert left(tmp_path) == ["1.mp4", "3.mp4", "5.mp4", "a"]


def test_json_is_one_line_for_each_video(analyze, video, tmp_path):
    second = write_dot_video(tmp_path / "second.mp4", 7)
    status, out, err = analyze(video, second, "--json", "--csv")
    assert (status, err) == (0, "")
    reports = [json.loads(line) for line in out.splitlines()]
    assert [report["video"]["name"] for report in reports] == ["dot.mp4", "second.mp4"]
    assert [report["frames_analyzed"] for report in reports] == [FRAMES, 7]
    for report in reports:
        stem = Path(report["video"]["name"]).stem
        on_disk = json.loads((tmp_path / f"{stem}{SCORER}.run.json").read_text())
        assert on_disk == report and report["complete"] and len(report["outputs"]) == 4


def test_csv_and_labelled_video_are_written_when_asked_for(analyze, video, tmp_path):
    status, _, err = analyze(video, "--csv", "--labeled-video")
    assert (status, err) == (0, "")
    assert left(tmp_path, "dot.mp4") == results("dot", ".csv", "_labeled.mp4")
    csv = pd.read_csv(tmp_path / f"dot{SCORER}.csv", header=[0, 1, 2], index_col=0)
    np.testing.assert_allclose(csv.to_numpy(), table(tmp_path).to_numpy(), rtol=1e-6)
    with VideoReader(tmp_path / f"dot{SCORER}_labeled.mp4") as reader:
        drawn = [frame.rgb for frame in reader]
    assert len(drawn) == FRAMES
    for number, image in enumerate(drawn):
        x, y = dot(number)
        pixel = image[y, x].astype(int)
        assert np.ptp(pixel) > 60, f"frame {number} has no coloured dot at {x}, {y}: {pixel}"


def test_nothing_below_pcutoff_is_drawn(analyze, video, tmp_path):
    assert analyze(video, "--labeled-video", "--pcutoff", 1.01)[0] == 0
    with VideoReader(tmp_path / f"dot{SCORER}_labeled.mp4") as reader:
        assert max(np.ptp(frame.rgb, axis=-1).max() for frame in reader) < 30


@pytest.mark.parametrize(
    ("frames", "first", "last"), [("5:12", 5, 12), ("17:", 17, 20), (":4", 0, 4), ("18:99", 18, 20)]
)
def test_a_range_of_frames_keeps_their_numbers(analyze, video, tmp_path, frames, first, last):
    assert analyze(video, "--frames", frames, "--batch", 3)[0] == 0
    assert list(table(tmp_path).index) == list(range(first, last))
    assert_follows_the_dot(positions(tmp_path), first)


def test_a_range_behind_the_end_is_told(analyze, video, tmp_path):
    status, out, err = analyze(video, "--frames", "20:30")
    assert (status, out) == (2, "")
    assert "expected frames from 20 on, but the video has 20" in err
    assert left(tmp_path) == ["dot.mp4"]


@pytest.mark.parametrize("codec", ["ffv1", "mjpeg"])
@pytest.mark.parametrize(("width", "height"), [(97, 65), (33, 131)])
def test_odd_sizes_keep_every_frame(analyze, tmp_path, codec, width, height):
    pixels = {"ffv1": "yuv420p", "mjpeg": "yuvj444p"}[codec]
    size = dict(width=width, height=height)
    video = write_dot_video(tmp_path / "odd.mkv", 7, codec=codec, pixels=pixels, **size)
    status, _, err = analyze(video, "--labeled-video", "--batch", 3)
    assert (status, err) == (0, "")
    assert_follows_the_dot(positions(tmp_path, "odd"), **size)
    info = probe(tmp_path / f"odd{SCORER}_labeled.mp4")
    assert (info.width, info.height) == (width - 1, height - 1)


@pytest.mark.parametrize("pixels", ["gray", "gray12le"])
def test_grey_videos_are_read(analyze, tmp_path, pixels):
    video = write_dot_video(tmp_path / "grey.mkv", 5, codec="ffv1", pixels=pixels)
    status, _, err = analyze(video)
    assert (status, err) == (0, "")
    assert_follows_the_dot(positions(tmp_path, "grey"))


def test_existing_results_are_kept_unless_told_otherwise(analyze, video, tmp_path):
    assert analyze(video, "--frames", ":5")[0] == 0
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    status, out, err = analyze(video)
    assert (status, out) == (2, "")
    assert "results are there already. Pass --overwrite" in err and len(err.splitlines()) == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept
    assert analyze(video, "--overwrite")[0] == 0
    assert len(table(tmp_path)) == FRAMES
    assert left(tmp_path, "dot.mp4") == results()


def test_what_cannot_be_read_is_told_in_one_line(analyze, tmp_path):
    text = tmp_path / "notes.mp4"
    text.write_text("no video at all" * 100)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    sound = write_sound(tmp_path / "sound.m4a")
    for path, message in [
        (text, "FFmpeg cannot read it"),
        (empty, "an empty file"),
        (sound, "its only streams are: audio"),
        (tmp_path / "absent.mp4", "found no such file"),
        (tmp_path, "got a folder"),
    ]:
        status, out, err = analyze(path, "-o", tmp_path / "results")
        assert (status, out) == (2, ""), path
        assert err.startswith(f"dlc-deploy analyze: {path}: expected a video") and message in err
        assert len(err.splitlines()) == 1
    assert left(tmp_path) == ["empty.mp4", "notes.mp4", "sound.m4a"]


def test_a_bundle_that_is_none_is_told(analyze, video, tmp_path):
    status, out, err = analyze(video, bundle="absent")
    assert (status, out) == (2, "") and "found no manifest.json" in err


def test_an_output_folder_that_is_a_file_is_told(analyze, video, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    for folder in (file, file / "below"):
        status, out, err = analyze(video, "-o", folder)
        assert (status, out) == (2, "")
        assert f"{folder}: expected a folder to write results in" in err
        assert len(err.splitlines()) == 1
    assert file.read_text() == "mine" and left(tmp_path) == ["dot.mp4", "file"]


def test_a_damaged_frame_is_counted_and_has_no_pose(analyze, tmp_path):
    video = write_dot_video(tmp_path / "dot.avi", 12, codec="mjpeg", pixels="yuvj420p")
    overwrite_packet(video, 5)
    status, out, err = analyze(video, "--batch", 4)
    assert (status, err) == (0, "")
    assert out.startswith("dot.avi: 11 frames, 1 without a pose at ")
    found = positions(tmp_path)
    assert len(found) == 12 and np.isnan(found[5]).all()
    expected = [dot(number) for number in range(12) if number != 5]
    np.testing.assert_allclose(np.delete(found, 5, axis=0), expected, atol=0.5)


@pytest.mark.parametrize(
    "words",
    [
        ["--no-such-option"],
        ["--batch", "0"],
        ["--batch", "two"],
        ["--batch", "1.5"],
        ["--frames", "5"],
        ["--frames", "9:3"],
        ["--frames=-2:3"],
        ["--max-individuals", "0"],
        ["--engine", "no-such-engine"],
        ["--device", "gpu"],
        ["--pcutoff", "high"],
    ],
)
def test_options_that_say_nothing_sensible_are_usage_errors(analyze, video, tmp_path, words):
    status, out, err = analyze(video, *words)
    assert (status, out) == (2, "") and words[-1].split("=")[-1] in err
    assert left(tmp_path) == ["dot.mp4"]


def test_no_video_is_a_usage_error(analyze):
    status, out, err = analyze()
    assert (status, out) == (2, "") and "VIDEO" in err


def test_a_video_that_fails_keeps_no_other_from_being_analysed(analyze, video, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    last = write_dot_video(tmp_path / "last.mp4", 4)
    status, out, err = analyze(video, broken, last, tmp_path / "absent.mp4", "--json")
    assert status == 2
    assert [json.loads(line)["video"]["name"] for line in out.splitlines()] == [
        "dot.mp4",
        "last.mp4",
    ]
    first, second, end = err.splitlines()
    assert first.startswith(f"not analysed: {broken}: ") and "no such file" in second
    assert "2 of 4 videos were not analysed" in end and "broken.mp4, absent.mp4" in end
    assert_follows_the_dot(positions(tmp_path))
    assert_follows_the_dot(positions(tmp_path, "last"))
    assert left(tmp_path, "dot.mp4", "last.mp4", "broken.mp4") == results() + results("last")


def test_videos_that_would_write_the_same_files_are_refused_at_once(analyze, video, tmp_path):
    (tmp_path / "other").mkdir()
    same = write_dot_video(tmp_path / "other" / "dot.avi", 3, codec="mjpeg", pixels="yuvj420p")
    status, out, err = analyze(video, same, "-o", tmp_path / "results", "--overwrite")
    assert (status, out) == (2, "")
    assert f"{video} and {same}" in err and "would write the same files" in err
    assert not (tmp_path / "results").exists()
    assert analyze(video, same)[0] == 0  # each has its own folder
    assert len(table(tmp_path)) == FRAMES and len(table(tmp_path / "other")) == 3


# Faults in the middle: one message, and nothing half-written.

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def raiser(error, after=0):
    """A function that raises at its call number ``after``, counted from 0; a wrapper otherwise."""
    calls = iter(range(10**6))

    def wrap(function):
        def wrapped(*arguments, **options):
            if next(calls) == after:
                raise error
            return function(*arguments, **options)

        return wrapped

    return wrap


def inject(monkeypatch, place, name, error, after=0):
    monkeypatch.setattr(place, name, raiser(error, after)(getattr(place, name)))


def places():
    from dlc_deploy.runtime.outputs import files
    from dlc_deploy.runtime.outputs.labeled_video import LabeledVideoWriter

    return {
        "h5": (files, "write_h5", 0),
        "csv": (files, "write_csv", 0),
        "pickle": (files, "write_full_pickle", 0),
        "meta": (files, "write_meta", 0),
        "flush": (files, "_flush", 2),
        "labelled video": (LabeledVideoWriter, "write", 7),
        "end of the labelled video": (LabeledVideoWriter, "__exit__", 0),
    }


@pytest.mark.parametrize("where", places())
def test_a_full_disk_is_one_message_and_leaves_nothing(
    analyze, video, tmp_path, monkeypatch, where
):
    place, name, after = places()[where]
    inject(monkeypatch, place, name, FULL, after)
    status, out, err = analyze(video, "--csv", "--labeled-video")
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1 and "No space left on device" in err
    assert "make room" in err and "unexpected" not in err
    assert left(tmp_path) == ["dot.mp4"]


def test_a_full_disk_leaves_the_results_of_before(analyze, video, tmp_path, monkeypatch):
    assert analyze(video, "--frames", ":5")[0] == 0
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    place, name, after = places()["pickle"]
    inject(monkeypatch, place, name, FULL, after)
    assert analyze(video, "--overwrite")[0] == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_a_full_disk_ends_the_whole_list(analyze, video, tmp_path, monkeypatch):
    second = write_dot_video(tmp_path / "second.mp4", 5)
    place, name, after = places()["h5"]
    inject(monkeypatch, place, name, FULL, after)
    assert analyze(video, second)[0] == 1
    assert left(tmp_path) == ["dot.mp4", "second.mp4"]


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own with so many KiB; skipped where none can be mounted."""
    mounted = []

    def mount(kib):
        folder = tmp_path / "small"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(("kib", "more"), [(8, []), (64, ["--csv"]), (16, ["--labeled-video"])])
def test_a_disk_that_is_really_full_is_one_message_and_left_empty(
    analyze, tmp_path, small_disk, kib, more
):
    video = write_dot_video(tmp_path / "long.mp4", 200, width=192, height=128)
    folder = small_disk(kib)
    status, out, err = analyze(video, "-o", folder, "--batch", 50, *more)
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1 and "No space left on device" in err
    assert left(folder) == []


def test_an_interruption_ends_with_130_and_leaves_nothing(analyze, video, tmp_path, monkeypatch):
    from dlc_deploy.runtime.outputs.labeled_video import LabeledVideoWriter

    inject(monkeypatch, LabeledVideoWriter, "write", KeyboardInterrupt(), 9)
    status, out, err = analyze(video, "--labeled-video", "--csv")
    assert (status, out) == (130, "")
    assert len(err.splitlines()) == 1 and err.startswith("interrupted")
    assert left(tmp_path) == ["dot.mp4"]


def test_an_interruption_keeps_the_videos_that_were_done(analyze, video, tmp_path, monkeypatch):
    from dlc_deploy.runtime.outputs import files

    second = write_dot_video(tmp_path / "second.mp4", 5)
    inject(monkeypatch, files, "write_h5", KeyboardInterrupt(), 1)
    assert analyze(video, second)[0] == 130
    assert left(tmp_path, "dot.mp4", "second.mp4") == results()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("the engine broke"),
        ValueError("the engine broke"),
        OSError(errno.EIO, "the engine broke"),
        MemoryError("the engine broke"),
    ],
)
def test_an_engine_that_breaks_in_the_middle_is_told_and_leaves_nothing(
    analyze, video, tmp_path, monkeypatch, error
):
    from dlc_deploy.runtime.engines.onnxruntime import OnnxRuntimeEngine

    inject(monkeypatch, OnnxRuntimeEngine, "run", error, 4)
    status, out, err = analyze(video, "--labeled-video")
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "the engine broke" in err and "in stage 'pose', item " in err and "--debug" in err
    assert left(tmp_path) == ["dot.mp4"]


def test_debug_shows_where_it_happened(analyze, video, tmp_path, monkeypatch):
    from dlc_deploy.runtime.engines.onnxruntime import OnnxRuntimeEngine

    inject(monkeypatch, OnnxRuntimeEngine, "run", RuntimeError("the engine broke"), 4)
    with pytest.raises(RuntimeError, match="the engine broke"):
        analyze(video, "--debug")
    assert left(tmp_path) == ["dot.mp4"]


def test_progress_is_told_to_the_end(made, video):
    import dlc_deploy

    told = []
    with dlc_deploy.load(made / "mouse") as pose:
        dlc_deploy.analyze_video(
            pose, video, batch=8, progress=lambda done, total: told.append((done, total))
        )
    assert told == [(8, 20), (16, 20), (20, 20)]


def test_the_python_call_takes_the_estimators_batch_and_refuses_none_at_all(made, video):
    import dlc_deploy
    from dlc_deploy.errors import UsageError
    from dlc_deploy.runtime.parallel import Parallelism

    plan = Parallelism(workers=2, threads=1, batch=5)
    with dlc_deploy.load(made / "mouse", parallelism=plan) as pose:
        report = dlc_deploy.analyze_video(pose, str(video))
        assert report.batch == 5 and report.stages["pose"].items == 4
        with pytest.raises(UsageError, match="batch of 1 frame or more, got 0"):
            dlc_deploy.analyze_video(pose, video, batch=0)
        with pytest.raises(UsageError, match="count from 0, got -1"):
            dlc_deploy.analyze_video(pose, video, frames=(-1, None))


def test_frames_that_the_header_promises_in_vain_are_told(analyze, tmp_path):
    whole = write_dot_video(tmp_path / "whole.avi", FRAMES, codec="mjpeg", pixels="yuvj420p")
    position, size = packets(whole)[11]
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: position + size])
    status, out, _ = analyze(cut)
    words = f"expected {FRAMES} frames by the header of the video, got 12"
    assert status == 0 and words in out and len(positions(tmp_path, "cut")) == 12
    told = json.loads((tmp_path / f"cut{SCORER}.run.json").read_text())
    assert (told["frames_in_container"], told["frames_decoded"]) == (FRAMES, 12)
    assert words in told["warnings"][0]


@pytest.mark.parametrize("frames", [None, "3:8", "15:99"])
def test_a_video_that_keeps_its_promise_is_not_warned_of(analyze, video, tmp_path, frames):
    status, out, _ = analyze(video, "--json", *(["--frames", frames] if frames else []))
    assert status == 0 and json.loads(out)["warnings"] == []


def test_an_overwritten_result_that_is_a_folder_is_refused_before_the_work(
    analyze, video, tmp_path
):
    (tmp_path / f"dot{SCORER}_full.pickle").mkdir()
    status, _, err = analyze(video, "--overwrite")
    assert status == 2 and "got a folder" in err
    assert left(tmp_path) == ["dot.mp4", f"dot{SCORER}_full.pickle"]
