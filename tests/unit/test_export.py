from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

import dlc_deploy  # noqa: E402
from dlc_deploy.bundle import Bundle, sha256  # noqa: E402
from dlc_deploy.command import main  # noqa: E402
from dlc_deploy.errors import (  # noqa: E402
    ConfigError,
    InputError,
    SnapshotError,
    UsageError,
    VerificationError,
    VideoError,
)
from dlc_deploy.exporters import export as exporting  # noqa: E402
from dlc_deploy.exporters.export import export  # noqa: E402
from dlc_deploy.exporters.source import load_source  # noqa: E402
from dlc_deploy.runtime.engines import open_engine  # noqa: E402
from dlc_deploy.runtime.estimator import load  # noqa: E402
from dlc_deploy.training.snapshots import save_snapshot  # noqa: E402
from tests import small  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def snapshot(tmp_path):
    return small.write_model(tmp_path / "train")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle of the small bottom-up model; tests do not change it."""
    folder = tmp_path_factory.mktemp("bundle")
    return export(small.write_model(folder / "train"), output=folder / "mouse")


@pytest.fixture
def instant(bundle, monkeypatch):
    """Takes the graph of the same model from the bundle instead of exporting it once more."""

    def write(graph, path, **_):
        shutil.copy(bundle.path / "pose.onnx", path)

    monkeypatch.setattr(exporting, "write_onnx", write)


def rewrite_config(snapshot, change):
    path = snapshot.with_name("pytorch_config.yaml")
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def leftovers(folder):
    """What lies beside the training folder."""
    return sorted(path.name for path in folder.iterdir() if path.name != "train")


def frame(size=(64, 96), seed=0):
    random = np.random.default_rng(seed)
    noise = random.integers(0, 256, (*size, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


# What a bundle is.


def test_a_bundle_holds_graph_configuration_golden_frame_and_parity(bundle):
    assert leftovers(bundle.path) == [
        "golden.npz",
        "manifest.json",
        "parity.json",
        "pose.onnx",
        "pytorch_config.yaml",
    ]
    manifest = bundle.manifest
    assert (manifest.method, manifest.net_type) == ("bu", "small")
    assert manifest.bodyparts == small.BODYPARTS and manifest.individuals == ("mouse1",)
    assert manifest.max_individuals == 1 and manifest.detector is None
    assert manifest.pose.size is None and manifest.pose.normalization.kind == "imagenet"
    assert manifest.origin.snapshot == "snapshot-010.pt"
    assert manifest.tools["torch"] == torch.__version__
    assert manifest.scorer == "DLC_Small_train_snapshot_10"


def test_checksums_and_seal_cover_every_file(bundle):
    manifest = bundle.manifest
    names = {path.name for path in bundle.path.iterdir()} - {"manifest.json"}
    assert set(manifest.files) == names
    for name, checksum in manifest.files.items():
        assert sha256(bundle.path / name) == checksum
    assert bundle.damaged_files() == [] and len(manifest.seal) == 64


def test_the_configuration_is_kept_as_it_stood(bundle):
    written = (bundle.path.parent / "train" / "pytorch_config.yaml").read_text()
    assert (bundle.path / "pytorch_config.yaml").read_text() == written


def test_the_golden_frame_holds_the_poses_of_the_pytorch_model(bundle):
    golden = bundle.golden()
    assert golden.frames.shape == (1, 480, 640, 3) and golden.frames.std() > 10
    images = golden.frames.astype(np.float32).transpose(0, 3, 1, 2) / 255
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    images = (images - mean.reshape(1, 3, 1, 1)) / std.reshape(1, 3, 1, 1)
    model = small.model()
    with torch.inference_mode():
        poses = model.get_predictions(model(torch.from_numpy(images)))["bodypart"]["poses"]
    assert golden.poses.xy.std() > 10
    # float32 rounding of another way to normalise, amplified by the network
    np.testing.assert_allclose(golden.poses.xy, poses[..., :2], atol=0.01)
    np.testing.assert_allclose(golden.poses.score, poses[..., 2], atol=1e-3)


def test_the_golden_frame_is_replayed_by_the_estimator(bundle):
    golden = bundle.golden()
    with load(bundle) as estimator:
        poses = estimator(golden.frames)
    np.testing.assert_allclose(poses.xy, golden.poses.xy, atol=0.01)


def test_the_parity_report_says_what_was_compared(bundle):
    report = json.loads((bundle.path / "parity.json").read_text())
    assert report["reference"].startswith("PyTorch") and "ONNX Runtime" in report["engine"]
    assert report["frames"] == 8 and report["frames_from"] == "frames drawn at random"
    graph = report["graphs"]["pose"]
    assert graph["points"] == 24 and graph["sure"] and graph["spread"] > 10
    assert graph["px_max"] <= report["tolerance_px"] == 0.01


@pytest.mark.parametrize("size", [(64, 96), (49, 77), (201, 33)])
def test_frames_of_every_size_go_through_a_free_graph(bundle, size):
    image = frame(size)
    model = small.model()
    graph = exporting.PoseGraph(model, bundle.manifest.pose.normalization).eval()
    with torch.inference_mode():
        expected = graph(torch.from_numpy(image[None]))[0].numpy()
    with load(bundle) as estimator:
        poses = estimator(image)
    np.testing.assert_allclose(poses.xy, expected[..., :2], atol=0.01)


def test_a_model_left_in_training_mode_is_exported_in_evaluation_mode(snapshot, monkeypatch):
    def still_training(*arguments):
        source = load_source(*arguments)
        source.model.train()
        for module in source.model.modules():
            module.training = True
        return source

    monkeypatch.setattr(exporting, "load_source", still_training)
    made = export(snapshot, output=snapshot.parent.parent / "mouse")
    golden = made.golden()
    with load(made) as estimator:
        once, again = estimator(golden.frames), estimator(golden.frames)
    # dropout would change poses from run to run
    np.testing.assert_array_equal(once.xy, again.xy)
    np.testing.assert_allclose(once.xy, golden.poses.xy, atol=0.01)


# What must not become a bundle.


class WrongEngine:
    """ONNX Runtime with its poses changed."""

    def __init__(self, path, change):
        self.engine, self.change = open_engine(path), change

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def run(self, inputs):
        return {"poses": self.change(self.engine.run(inputs)["poses"])}


def shifted(poses):
    return poses + np.float32([1, 0, 0])


def unsure(poses):
    return poses - np.float32([0, 0, 0.01])


def broken(poses):
    return poses * np.float32([np.nan, 1, 1])


@pytest.mark.parametrize("change", [shifted, unsure, broken])
@pytest.mark.usefixtures("instant")
def test_a_wrong_engine_ends_with_status_3_and_leaves_nothing(
    snapshot, tmp_path, monkeypatch, capsys, change
):
    monkeypatch.setattr(exporting, "open_engine", lambda path: WrongEngine(path, change))
    assert main(["export", str(snapshot), "-o", str(tmp_path / "mouse")]) == 3
    assert "differs from PyTorch" in capsys.readouterr().err
    assert leftovers(tmp_path) == []


@pytest.mark.usefixtures("instant")
def test_a_wider_tolerance_lets_a_shift_pass_and_is_recorded(snapshot, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "open_engine", lambda path: WrongEngine(path, shifted))
    made = export(snapshot, output=tmp_path / "mouse", tolerance=1.1)
    report = json.loads((made.path / "parity.json").read_text())
    assert report["tolerance_px"] == 1.1 and report["graphs"]["pose"]["px_max"] > 0.9


@pytest.mark.usefixtures("instant")
def test_a_tolerance_of_zero_is_zero(snapshot, tmp_path):
    with pytest.raises(VerificationError, match=r"at most 0\.0 px"):
        export(snapshot, output=tmp_path / "mouse", tolerance=0.0)


def interrupt(*_, **__):
    raise KeyboardInterrupt


def full_disk(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(("fault", "status"), [(interrupt, 130), (full_disk, 1)])
def test_an_export_that_is_cut_off_leaves_nothing(snapshot, tmp_path, monkeypatch, fault, status):
    monkeypatch.setattr(exporting, "write_onnx", fault)
    assert main(["export", str(snapshot), "-o", str(tmp_path / "mouse")]) == status
    assert leftovers(tmp_path) == []


def test_an_export_that_is_cut_off_leaves_the_older_bundle_whole(
    snapshot, bundle, tmp_path, monkeypatch
):
    shutil.copytree(bundle.path, tmp_path / "mouse")
    monkeypatch.setattr(exporting, "write_onnx", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(snapshot, output=tmp_path / "mouse", overwrite=True)
    assert Bundle.open(tmp_path / "mouse").damaged_files() == []
    assert leftovers(tmp_path) == ["mouse"]


# Where it is written.


@pytest.mark.usefixtures("instant")
def test_an_existing_bundle_is_replaced_only_when_asked(snapshot, bundle, tmp_path):
    shutil.copytree(bundle.path, tmp_path / "mouse")
    with pytest.raises(UsageError, match=r"already exists. Pass --overwrite"):
        export(snapshot, output=tmp_path / "mouse")
    (tmp_path / "mouse" / "stale.txt").write_text("old")
    made = export(snapshot, output=tmp_path / "mouse", overwrite=True)
    assert "stale.txt" not in leftovers(made.path) and leftovers(tmp_path) == ["mouse"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_bundle_is_never_overwritten(snapshot, tmp_path, kind):
    place = tmp_path / "thesis"
    if kind == "folder":
        place.mkdir()
        (place / "chapter.txt").write_text("years")
    else:
        place.write_text("years")
    with pytest.raises(UsageError, match="is not a bundle"):
        export(snapshot, output=place, overwrite=True)
    assert "years" in (place / "chapter.txt" if kind == "folder" else place).read_text()


def test_a_place_that_cannot_be_written_is_bad_input(snapshot, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a place to write the bundle"):
        export(snapshot, output=tmp_path / "file" / "mouse")


def test_a_bundle_is_named_as_its_snapshot_by_default(snapshot, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(exporting, "write_onnx", interrupt)
    (tmp_path / "snapshot-010").mkdir()
    with pytest.raises(UsageError, match="snapshot-010: already exists"):
        export(snapshot)


# What is given.


def test_an_unknown_key_of_the_configuration_is_named(snapshot, tmp_path):
    rewrite_config(snapshot, lambda content: content["data"].update(infrence={}))
    with pytest.raises(ConfigError, match=r"data\.infrence: unknown key"):
        export(snapshot, output=tmp_path / "mouse")
    assert leftovers(tmp_path) == []


def test_a_missing_configuration_is_told_with_the_option_that_gives_it(snapshot, tmp_path):
    moved = snapshot.with_name("pytorch_config.yaml").rename(tmp_path / "other.yaml")
    with pytest.raises(ConfigError, match=r"found no such file. Give its path with --config"):
        export(snapshot, output=tmp_path / "mouse")
    assert load_source(snapshot, None, moved).config.net_type == "small"


def test_the_configuration_of_another_model_is_refused(snapshot, tmp_path):
    def four_bodyparts(content):
        content["model"]["heads"]["bodypart"] = small.heatmap_head(4)

    rewrite_config(snapshot, four_bodyparts)
    with pytest.raises(SnapshotError, match=r"4 of another shape .*\[8, 3, 3, 3\] instead of"):
        export(snapshot, output=tmp_path / "mouse")


def test_augmentations_in_the_inference_section_are_refused(snapshot, tmp_path):
    rewrite_config(snapshot, lambda content: content["data"]["inference"].update(hflip=True))
    with pytest.raises(UsageError, match=r"augmentations \(hflip\)"):
        export(snapshot, output=tmp_path / "mouse")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_individuals": 2}, "finds 1 individual, got --max-individuals 2"),
        ({"max_individuals": 0}, "--max-individuals of 1 or more, got 0"),
        ({"max_individuals": -1}, "--max-individuals of 1 or more, got -1"),
        ({"tolerance": -0.5}, "--tolerance of 0 pixels or more, got -0.5"),
        ({"tolerance": float("nan")}, "--tolerance of 0 pixels or more, got nan"),
    ],
)
def test_numbers_out_of_range_are_refused(snapshot, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        export(snapshot, output=tmp_path / "mouse", **options)


def test_a_detector_for_a_bottom_up_model_is_refused(snapshot, tmp_path):
    detector = tmp_path / "train" / "snapshot-detector-010.pt"
    save_snapshot(detector, small.snapshot_of(small.model()))
    with pytest.raises(UsageError, match=r"bottom-up model .* has no detector"):
        export(snapshot, detector=detector, output=tmp_path / "mouse")


def test_a_top_down_model_without_its_detector_is_refused_and_a_near_one_named(tmp_path):
    snapshot = small.write_model(tmp_path / "train", small.config(top_down=True))
    with pytest.raises(UsageError, match=r"needs its detector, got none\. Pass --detector"):
        export(snapshot, output=tmp_path / "mouse")
    save_snapshot(snapshot.with_name("snapshot-detector-005.pt"), small.snapshot_of(small.model()))
    with pytest.raises(UsageError, match=r"Found beside it: snapshot-detector-005\.pt"):
        export(snapshot, output=tmp_path / "mouse")


def test_a_network_of_another_size_than_its_crops_is_told(tmp_path):
    content = small.config(top_down=True)
    content["model"]["heads"]["bodypart"] |= {
        "type": "RTMCCHead",
        "input_size": [96, 96],
        "in_channels": small.CHANNELS,
        "out_channels": len(small.BODYPARTS),
        "in_featuremap_size": [24, 24],
        "simcc_split_ratio": 2.0,
        "final_layer_kernel_size": 3,
        "gau_cfg": {"hidden_dims": 8, "s": 4, "expansion_factor": 2},
        "predictor": {
            "type": "SimCCPredictor",
            "simcc_split_ratio": 2.0,
            "sigma": [6.0, 6.0],
            "decode_beta": 150.0,
        },
    }
    for key in ("heatmap_config", "locref_config"):
        del content["model"]["heads"]["bodypart"][key]
    snapshot = small.write_model(tmp_path / "train", content)
    detector = detector_of(snapshot, finds=True)
    with pytest.raises(ConfigError, match=r"prepares \(\(64, 64\)\), but it cannot take them"):
        export(snapshot, detector=detector, output=tmp_path / "mouse")
    assert leftovers(tmp_path) == []


def test_a_size_for_a_top_down_model_is_refused(tmp_path):
    snapshot = top_down(tmp_path)
    with pytest.raises(UsageError, match="crops of the size it was trained with"):
        export(snapshot, detector=detector_of(snapshot), size=(64, 64), output=tmp_path / "mouse")


def several(content):
    content["metadata"]["individuals"] = ["mouse1", "mouse2"]


def unnamed_unique(content):
    content["metadata"]["unique_bodyparts"] = ["corner"]


def no_bodyparts(content):
    content["model"]["heads"]["animal"] = content["model"]["heads"].pop("bodypart")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (several, "finds 1 individual, got the individuals mouse1, mouse2"),
        (unnamed_unique, r"unique bodyparts \['corner'\] and the heads bodypart"),
        (no_bodyparts, "expected the head bodypart, .* got animal"),
    ],
)
def test_what_a_bundle_cannot_hold_is_refused_and_not_dropped(tmp_path, change, message):
    content = small.config()
    change(content)
    snapshot = small.write_model(tmp_path / "train", content)
    with pytest.raises(ConfigError, match=message):
        export(snapshot, output=tmp_path / "mouse")
    assert leftovers(tmp_path) == []


# Sizes.


def fixed_resize(content):
    content["data"]["inference"]["resize"] = {"height": 64, "width": 96, "keep_ratio": True}


def test_a_given_size_fixes_the_graph(snapshot, tmp_path):
    made = export(snapshot, size=(64, 96), output=tmp_path / "mouse")
    assert made.manifest.pose.size == (64, 96)
    assert made.golden().frames.shape == (1, 64, 96, 3)
    with load(made) as estimator, pytest.raises(ValueError, match="expected uint8"):
        estimator(frame((64, 97)))


def test_the_size_of_the_configuration_fixes_the_graph_and_another_is_refused(snapshot, tmp_path):
    rewrite_config(snapshot, fixed_resize)
    with pytest.raises(UsageError, match=r"resizes frames to \(64, 96\), got --size \(96, 64\)"):
        export(snapshot, size=(96, 64), output=tmp_path / "mouse")
    made = export(snapshot, output=tmp_path / "mouse")
    assert made.manifest.pose.size == (64, 96)
    with load(made) as estimator:
        assert estimator(frame((128, 192))).xy.shape == (1, 1, 3, 2)


def test_a_size_that_padding_would_change_is_refused(snapshot, tmp_path):
    padding = {"pad_height_divisor": 32, "pad_width_divisor": 32}
    rewrite_config(
        snapshot, lambda content: content["data"]["inference"].update(auto_padding=padding)
    )
    with pytest.raises(UsageError, match=r"multiples of 32, got --size \(64, 100\)"):
        export(snapshot, size=(64, 100), output=tmp_path / "mouse")


def test_frames_of_another_size_than_the_fixed_one_are_refused_before_the_export(
    snapshot, tmp_path
):
    (tmp_path / "frames").mkdir()
    cv2.imwrite(str(tmp_path / "frames" / "a.png"), frame((80, 96)))
    with pytest.raises(UsageError, match=r"--size \(64, 96\) .* got \[\(80, 96\)\] \(images in fr"):
        export(snapshot, size=(64, 96), calibration=tmp_path / "frames", output=tmp_path / "mouse")


@pytest.mark.parametrize("text", ["480", "480x", "0x640", "axb", "1x2x3"])
def test_a_size_that_is_none_is_a_usage_error(snapshot, text, capsys):
    with pytest.raises(SystemExit) as error:
        main(["export", str(snapshot), "--size", text])
    assert error.value.code == 2 and "expected HxW" in capsys.readouterr().err


# Frames to judge on.


@pytest.mark.usefixtures("instant")
def test_a_folder_of_images_is_taken_to_judge_on(snapshot, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), frame((64, 96 + i), seed=i)[..., ::-1])
    made = export(snapshot, calibration=folder, output=tmp_path / "mouse")
    report = json.loads((made.path / "parity.json").read_text())
    assert (report["frames"], report["frames_from"]) == (3, "images in frames")
    np.testing.assert_array_equal(made.golden().frames[0], frame((64, 96)))


@pytest.mark.usefixtures("instant")
def test_a_video_is_taken_to_judge_on(snapshot, tmp_path):
    from dlc_deploy.benchmarks.drawn import write_video

    write_video(np.stack([frame(seed=i) for i in range(20)]), tmp_path / "mouse.mp4", fps=20)
    made = export(snapshot, calibration=tmp_path / "mouse.mp4", output=tmp_path / "mouse")
    report = json.loads((made.path / "parity.json").read_text())
    assert (report["frames"], report["frames_from"]) == (8, "video mouse.mp4")


def test_the_labelled_images_of_the_project_are_taken_to_judge_on(snapshot, tmp_path):
    labeled = tmp_path / "labeled-data" / "m1"
    labeled.mkdir(parents=True)
    cv2.imwrite(str(labeled / "img0.png"), frame())
    samples = exporting.choose_samples(None, snapshot, (10, 10))
    assert samples.origin == "labeled-data of the project"
    assert [image.shape for image in samples.frames] == [(64, 96, 3)]


def test_frames_that_cannot_be_used_are_refused(snapshot, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: expected images .*, found none"):
        export(snapshot, calibration=tmp_path / "empty", output=tmp_path / "mouse")
    (tmp_path / "empty" / "a.png").write_text("no image")
    with pytest.raises(InputError, match=r"a\.png: expected an image"):
        export(snapshot, calibration=tmp_path / "empty", output=tmp_path / "mouse")
    with pytest.raises(VideoError, match=r"none\.mp4"):
        export(snapshot, calibration=tmp_path / "none.mp4", output=tmp_path / "mouse")
    assert "mouse" not in leftovers(tmp_path)


# The other two forms of a source.


def test_the_single_file_of_export_model_gives_the_same_bundle(bundle, tmp_path):
    content = small.config()
    path = tmp_path / "exported.pt"
    save_snapshot(path, {"config": content, "pose": small.model().state_dict()})
    made = export(path, output=tmp_path / "mouse")
    assert made.manifest.files["pose.onnx"] == bundle.manifest.files["pose.onnx"]
    np.testing.assert_array_equal(made.golden().poses.xy, bundle.golden().poses.xy)
    assert yaml.safe_load((made.path / "pytorch_config.yaml").read_text()) == content


def top_down(tmp_path, individuals=2):
    return small.write_model(
        tmp_path / "train", small.config(top_down=True, individuals=individuals)
    )


def detector_of(snapshot, **options):
    content = yaml.safe_load(snapshot.with_name("pytorch_config.yaml").read_text())
    path = snapshot.with_name("snapshot-detector-best-005.pt")
    save_snapshot(path, small.snapshot_of(small.detector(content, **options)))
    return path


def test_a_detector_that_finds_nothing_proves_nothing(tmp_path, monkeypatch):
    snapshot = top_down(tmp_path)

    def nothing(graph, path, **_):
        path.write_bytes(b"")

    class Blind:
        description = device = "blind"

        def __init__(self, *_):
            pass

        def run(self, inputs):
            count = len(inputs["images"])
            return {
                "boxes": np.zeros((count, 2, 4), np.float32),
                "scores": np.zeros((count, 2), np.float32),
            }

        def close(self):
            pass

    monkeypatch.setattr(exporting, "TorchEngine", Blind)
    monkeypatch.setattr(exporting, "write_onnx", nothing)
    monkeypatch.setattr(exporting, "open_engine", Blind)
    with pytest.raises(VerificationError, match="detector and the pose graph found nothing"):
        export(snapshot, detector=detector_of(snapshot), output=tmp_path / "mouse")
    assert leftovers(tmp_path) == []


@pytest.fixture(scope="module")
def top_down_bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("top_down")
    snapshot = top_down(folder)
    arguments = ["--detector", str(detector_of(snapshot, finds=True)), "--max-individuals", "3"]
    assert main(["export", str(snapshot), *arguments, "-o", str(folder / "mice")]) == 0
    return Bundle.open(folder / "mice")


@pytest.mark.slow
def test_a_top_down_bundle_holds_both_graphs_and_names_for_all_individuals(top_down_bundle):
    manifest = top_down_bundle.manifest
    assert {"pose.onnx", "detector.onnx"} < set(manifest.files)
    assert manifest.max_individuals == 3
    assert manifest.individuals == ("mouse1", "mouse2", "individual1")
    assert manifest.pose.size == (64, 64) and manifest.detector.size == (320, 320)
    assert manifest.scorer == "DLC_Small_train_detector_best-5_snapshot_10"
    report = json.loads((top_down_bundle.path / "parity.json").read_text())
    assert report["graphs"]["detector"]["points"] == 2 * 3 * 8
    assert report["graphs"]["pose"]["points"] > 20


@pytest.mark.slow
def test_a_top_down_bundle_finds_several_animals_and_its_golden_frame_again(top_down_bundle):
    golden = top_down_bundle.golden()
    assert golden.poses.score.shape == (1, 3, 3) and np.isfinite(golden.poses.score).all()
    with load(top_down_bundle) as estimator:
        poses = estimator(golden.frames)
    np.testing.assert_allclose(poses.boxes.xywh, golden.poses.boxes.xywh, atol=0.01)
    np.testing.assert_allclose(poses.boxes.score, golden.poses.boxes.score, atol=1e-3)
    # a box that differs in the last bit may round to a crop that is one pixel off
    assert np.nanmedian(np.abs(poses.xy - golden.poses.xy)) < 0.01


@pytest.mark.slow
def test_a_video_of_more_animals_than_the_project_names_becomes_a_table(top_down_bundle, tmp_path):
    import pandas as pd

    from dlc_deploy.benchmarks.drawn import draw_animal, write_video

    write_video(draw_animal(4, 128).frames, tmp_path / "mice.mp4", fps=20)
    with load(top_down_bundle) as estimator:
        dlc_deploy.analyze_video(estimator, tmp_path / "mice.mp4", output=tmp_path, csv=True)
    (path,) = tmp_path.glob("*.h5")
    table = pd.read_hdf(path)
    names = table.columns.get_level_values("individuals").unique().tolist()
    assert names == ["mouse1", "mouse2", "individual1"] and table.shape == (4, 27)
