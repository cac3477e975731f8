"""Evaluation of drawn projects by runners whose errors are known."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.errors import ConfigError, InputError, SnapshotError  # noqa: E402
from dlc_deploy.training.apis.evaluation import (  # noqa: E402
    evaluate,
    evaluate_loader,
    evaluate_network,
    predict,
)
from dlc_deploy.training.data.cocoloader import COCOLoader  # noqa: E402
from dlc_deploy.training.data.dlcloader import DLCLoader  # noqa: E402
from dlc_deploy.training.evaluation.snapshot import EvaluationOptions  # noqa: E402
from dlc_deploy.training.inference import build  # noqa: E402
from tests.training_projects import COCO_CONFIG, make_coco_project, make_dlc_project  # noqa: E402

pytestmark = pytest.mark.torch
MOVE = np.array([3.0, 4.0, 0.0])
UNIQUE = ("door", "food")


class Moved:
    """Finds every label, 5 px away from it, with a score of 0.9; keeps what it was asked."""

    def __init__(self, loader, move=MOVE):
        self.loader, self.move, self.asked = loader, move, []

    def inference(self, images):
        return [self._found(image) for image in images]

    def _found(self, image):
        self.asked.append(image)
        path, context = image if isinstance(image, tuple) else (image, {})
        names = self.loader.get_dataset_parameters()
        found = {"bodyparts": self._moved(path, False)} | dict(context)
        if names.unique_bpts:
            found["unique_bodyparts"] = self._moved(path, True)
        if "identity" in self.loader.model_cfg["model"]["heads"]:
            animals = len(names.individuals)
            scores = np.eye(animals, dtype=np.float32)[:, None]
            found["identity_scores"] = np.repeat(scores, names.num_joints, axis=1)
        return found

    def _moved(self, path, unique):
        for mode in ("train", "test"):
            labels = self.loader.ground_truth_keypoints(mode, unique_bodypart=unique)
            if path in labels:
                poses = labels[path] + self.move
                poses[..., 2] = 0.9
                return poses.astype(np.float32)
        raise AssertionError(path)


class MovedFirst(Moved):
    """Finds the first animal only."""

    def _moved(self, path, unique):
        return super()._moved(path, unique)[:1]


class Boxes:
    def inference(self, images):
        box = np.array([[10.0, 20, 30, 40]], np.float32)
        return [{"bboxes": box, "bbox_scores": np.array([0.3], np.float32)} for _ in images]


def project(folder, snapshots=("snapshot-010.pt",), **options):
    config = make_dlc_project(folder, **options)
    return config, with_snapshots(DLCLoader(config), snapshots)


def with_snapshots(loader, names):
    for name in names:
        (loader.model_folder / name).touch()
    return loader


def use(monkeypatch, pose, detector=None):
    """Let evaluations get these runners; what they ask for is kept."""
    asked = []

    def get_inference_runners(**options):
        asked.append(options)
        return pose, detector if options["detector_path"] else None

    monkeypatch.setattr(build, "get_inference_runners", get_inference_runners)
    return asked


def rows(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_come_by_the_path_of_each_image(tmp_path):
    _, loader = project(tmp_path / "p")
    runner = Moved(loader)
    found = predict(runner, loader, "test")
    assert list(found) == loader.image_filenames("test") == runner.asked
    assert all(one["bodyparts"].shape == (1, 3, 3) for one in found.values())


def test_a_top_down_model_gets_the_labelled_boxes_or_those_of_its_detector(tmp_path):
    _, loader = project(tmp_path / "p", net_type="resnet_50", top_down=True, individuals=2)
    runner = Moved(loader)
    predict(runner, loader, "test")
    for path, context in runner.asked:
        np.testing.assert_array_equal(
            context["bboxes"], loader.ground_truth_bboxes("test")[path]["bboxes"]
        )
        assert context["bboxes"].shape == (2, 4)
    found = predict(Moved(loader), loader, "test", Boxes())
    assert [one["bboxes"].tolist() for one in found.values()] == [[[10, 20, 30, 40]]] * 2


def test_the_figures_of_a_split_are_those_of_the_labels(tmp_path):
    _, loader = project(tmp_path / "p")
    figures, predictions = evaluate(Moved(loader), loader, "test")
    assert list(figures) == ["rmse", "rmse_pcutoff", "mAP", "mAR"]
    assert figures["rmse"] == pytest.approx(5, abs=1e-5)
    assert list(predictions) == loader.image_filenames("test")
    strict, _ = evaluate(Moved(loader), loader, "test", pcutoff=0.95)
    assert np.isnan(strict["rmse_pcutoff"])


def test_some_bodyparts_alone_are_evaluated(tmp_path):
    _, loader = project(tmp_path / "p", individuals=2, unique=UNIQUE)
    some = ["tail", "food"]
    figures, found = evaluate(
        Moved(loader), loader, "train", comparison_bodyparts=some, per_keypoint_evaluation=True
    )
    keypoints = {name for name in figures if "keypoint" in name}
    assert keypoints == {"rmse_keypoint_0", "rmse_unique_keypoint_0"}
    one = next(iter(found.values()))
    assert one["bodyparts"].shape == (2, 1, 3) and one["unique_bodyparts"].shape == (1, 1, 3)
    np.testing.assert_array_equal(
        one["bodyparts"], Moved(loader)._moved(next(iter(found)), False)[:, 2:]
    )


def test_unique_bodyparts_alone_are_those_of_one_animal(tmp_path):
    _, loader = project(tmp_path / "p", individuals=2, unique=UNIQUE)
    figures, found = evaluate(Moved(loader), loader, "train", comparison_bodyparts="food")
    assert figures["rmse"] == pytest.approx(5, abs=1e-5)
    assert {one["bodyparts"].shape for one in found.values()} == {(1, 1, 3)}
    assert all("unique_bodyparts" not in one for one in found.values())


def test_identities_are_evaluated_where_the_model_tells_them(tmp_path):
    _, loader = project(tmp_path / "p", individuals=2, identity=True)
    figures, _ = evaluate(Moved(loader, move=0 * MOVE), loader, "test")
    names = ("nose", "hip", "tail")
    assert {name: figures[f"id_head_{name}_accuracy"] for name in names} == dict.fromkeys(names, 1)


def test_a_model_of_crops_tells_no_identities(tmp_path, monkeypatch):
    config, loader = project(tmp_path / "p", individuals=2, top_down=True)
    loader.update_model_cfg({"metadata.with_identity": True})  # as DeepLabCut writes it
    asked = use(monkeypatch, Moved(loader))
    (evaluation,) = evaluate_network(config, show_errors=False)
    assert asked[0]["with_identity"] is False
    assert not any("id_head" in name for name in evaluation.figures)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"comparison_bodyparts": ["nose", "ear"]}, r"got \['ear'\]"),
        ({"comparison_bodyparts": []}, "got none"),
        ({"pcutoff": [0.5, 0.5]}, "each of the 3 bodyparts"),
    ],
)
def test_unknown_bodyparts_and_other_cutoffs_are_refused_before_work(tmp_path, options, message):
    _, loader = project(tmp_path / "p")
    runner = Moved(loader)
    with pytest.raises(InputError, match=message):
        evaluate(runner, loader, "test", **options)
    assert runner.asked == []


def test_a_model_that_finds_fewer_animals_has_rows_for_all_of_them(tmp_path):
    _, loader = project(tmp_path / "p", individuals=2)

    _, found = evaluate(MovedFirst(loader), loader, "test")
    for one in found.values():
        assert one["bodyparts"].shape == (2, 3, 3) and (one["bodyparts"][1] == -1).all()


def test_results_are_written_where_and_as_deeplabcut_does(tmp_path, monkeypatch):
    config, loader = project(tmp_path / "p", individuals=2, unique=UNIQUE)
    asked = use(monkeypatch, Moved(loader))
    (evaluation,) = evaluate_network(
        config, per_keypoint_evaluation=True, device="cpu", batch_size=3, show_errors=False
    )
    folder = loader.evaluation_folder
    scorer = "DLC_Resnet50_dotsNov24shuffle1_snapshot_10"
    assert evaluation.scorer == scorer
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{scorer}-keypoint-results.csv",
        f"{scorer}-results.csv",
        f"{scorer}.h5",
    ]
    (line,) = rows(folder / f"{scorer}-results.csv")
    assert list(line.values())[:5] == ["0.67", "1", "10", "-1", "0.6"]
    assert list(line)[:9] == [
        "%Training dataset",
        "Shuffle number",
        "Training epochs",
        "Detector epochs (TD only)",
        "pcutoff",
        "train rmse",
        "train rmse_pcutoff",
        "train mAP",
        "train mAR",
    ]
    assert line["test rmse"] == line["train rmse"] == "5.0"
    assert rows(folder.parent / "CombinedEvaluation-results.csv") == [line]
    errors = rows(folder / f"{scorer}-keypoint-results.csv")
    assert [error.pop("") for error in errors] == ["Train error (px)", "Test error (px)"]
    assert list(errors[0]) == ["nose", "hip", "tail", *UNIQUE]
    np.testing.assert_allclose([float(v) for one in errors for v in one.values()], 5, atol=1e-5)
    assert asked[0]["batch_size"] == 3 and asked[0]["max_individuals"] == 2
    assert asked[0]["num_unique_bodyparts"] == 2 and asked[0]["device"] == "cpu"


def test_the_table_of_predictions_has_the_rows_of_the_labels(tmp_path, monkeypatch):
    config, loader = project(tmp_path / "p", individuals=2, unique=UNIQUE)
    use(monkeypatch, Moved(loader))
    (evaluation,) = evaluate_network(config, show_errors=False)
    table = pd.read_hdf(evaluation.files[0], key="df_with_missing")
    assert list(table.index) == list(loader.df.index)
    assert table.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert (table.dtypes == np.float32).all()
    names = table[evaluation.scorer].columns.droplevel("coords").unique()
    animals = [(f"animal{n}", part) for n in (1, 2) for part in ("nose", "hip", "tail")]
    assert list(names) == animals + [("single", part) for part in UNIQUE]
    row = loader.df.droplevel("scorer", axis=1).iloc[3]
    found = table[evaluation.scorer].iloc[3]
    assert found[("animal2", "hip", "x")] == pytest.approx(row[("animal2", "hip", "x")] + 3)
    assert found[("single", "food", "likelihood")] == pytest.approx(0.9)


def test_the_table_of_all_results_keeps_others_and_replaces_its_own_line(tmp_path, monkeypatch):
    config, loader = project(tmp_path / "p", ("snapshot-010.pt", "snapshot-best-005.pt"))
    use(monkeypatch, Moved(loader))
    evaluate_network(config, snapshotindex="all", show_errors=False)
    combined = loader.evaluation_folder.parent / "CombinedEvaluation-results.csv"
    header, best, last = combined.read_text().splitlines()
    assert best.startswith("0.67,1,5,-1,0.6,5.0") and last.startswith("0.67,1,10,-1,0.6,5.0")
    other = last.replace("0.67,1,10,", "0.67,2,200,")
    combined.write_text("\n".join([header + ",mood", other + ",calm", last + ",wild"]) + "\n")
    use(monkeypatch, Moved(loader, move=2 * MOVE))
    evaluate_network(config, snapshotindex=0, show_errors=False)
    found = [(line["Training epochs"], line["test rmse"], line["mood"]) for line in rows(combined)]
    assert found == [("10", "10.0", "wild"), ("200", "5.0", "calm")]


def test_a_table_of_all_results_that_is_something_else_stays(tmp_path, monkeypatch):
    config, loader = project(tmp_path / "p")
    use(monkeypatch, Moved(loader))
    combined = loader.evaluation_folder.parent / "CombinedEvaluation-results.csv"
    combined.parent.mkdir(parents=True)
    combined.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="expected the columns %Training dataset"):
        evaluate_network(config, show_errors=False)
    assert combined.read_text() == "a,b\n1,2\n"
    assert not loader.evaluation_folder.exists()


def test_snapshots_are_chosen_by_index_name_best_or_all(tmp_path, monkeypatch):
    names = ("snapshot-010.pt", "snapshot-020.pt", "snapshot-best-015.pt")
    config, loader = project(tmp_path / "p", names)
    use(monkeypatch, Moved(loader))

    def chosen(choice, **options):
        done = evaluate_network(config, snapshotindex=choice, show_errors=False, **options)
        return [evaluation.snapshot for evaluation in done]

    assert chosen(None) == chosen(-1) == chosen("best") == ["snapshot-best-015.pt"]
    assert chosen(0) == chosen("snapshot-010") == ["snapshot-010.pt"]
    assert chosen("all") == list(names)
    assert chosen(0, snapshots_to_evaluate=["snapshot-020"]) == ["snapshot-020.pt"]
    for wrong in (3, -4, "snapshot-030"):
        with pytest.raises(SnapshotError, match=r"0: snapshot-010.pt, 1: snapshot-020.pt"):
            chosen(wrong)


def test_a_model_that_was_not_trained_yet_says_so(tmp_path):
    config, loader = project(tmp_path / "p", ())
    with pytest.raises(SnapshotError, match="Train it first"):
        evaluate_network(config)
    (loader.model_folder / "snapshot-010.pt").touch()
    with pytest.raises(SnapshotError, match=r"expected a best snapshot, found 0: snapshot-010\.pt"):
        evaluate_network(config, snapshotindex="best")


def test_detectors_are_part_of_names_and_their_lack_is_told(tmp_path, monkeypatch, caplog):
    config, loader = project(tmp_path / "p", top_down=True)
    use(monkeypatch, Moved(loader), Boxes())
    (evaluation,) = evaluate_network(config, show_errors=False)
    assert evaluation.detector is None and "the labelled boxes are taken" in caplog.text
    with_snapshots(loader, ["snapshot-detector-best-004.pt"])
    (evaluation,) = evaluate_network(config, show_errors=False)
    assert evaluation.scorer.endswith("shuffle1_detector_best-4_snapshot_10")
    assert rows(evaluation.files[1])[0]["Detector epochs (TD only)"] == "4"
    (evaluation,) = evaluate_network(config, detector_snapshot_index="none", show_errors=False)
    assert evaluation.detector is None


def test_a_test_set_without_images_has_no_figures(tmp_path, monkeypatch):
    config, loader = project(tmp_path / "p", test=0)
    use(monkeypatch, Moved(loader))
    (evaluation,) = evaluate_network(config, show_errors=False)
    assert evaluation.images == {"train": 6, "test": 0}
    (line,) = rows(evaluation.files[1])
    assert line["train rmse"] == "5.0"
    assert [line[f"test {name}"] for name in ("rmse", "rmse_pcutoff", "mAP", "mAR")] == [""] * 4


def test_a_missing_image_is_named_and_nothing_is_written(tmp_path, monkeypatch):
    config, loader = project(tmp_path / "p")
    use(monkeypatch, Moved(loader))
    (tmp_path / "p" / "labeled-data" / "clip" / "img002.png").unlink()
    with pytest.raises(InputError, match=r"img002\.png"):
        evaluate_network(config)
    assert not loader.evaluation_folder.exists()


def test_the_cutoff_is_the_projects_or_by_name(tmp_path, monkeypatch):
    config, loader = project(tmp_path / "p")
    config.write_text(config.read_text().replace("pcutoff: 0.6", "pcutoff: 0.4"))
    use(monkeypatch, Moved(loader))
    (default,) = evaluate_network(config, show_errors=False)
    assert default.pcutoff == 0.4
    (named,) = evaluate_network(config, pcutoff={"hip": 0.95}, show_errors=False)
    assert named.pcutoff == [0.6, 0.95, 0.6]
    assert rows(named.files[1])[0]["pcutoff"] == "0.6, 0.95, 0.6"


def test_a_coco_folder_has_results_of_its_own(tmp_path, monkeypatch):
    folder = make_coco_project(tmp_path / "c", individuals=2)
    loader = COCOLoader(folder, folder / COCO_CONFIG, test_json_filename="test.json")
    with_snapshots(loader, ["snapshot-010.pt"])
    use(monkeypatch, Moved(loader))
    (evaluation,) = evaluate_loader(loader, options=EvaluationOptions(plotting="individual"))
    results = folder / "evaluation-results-pytorch" / "experiments"
    assert evaluation.scorer == "DLC_Resnet50_experiments_snapshot_10"
    assert evaluation.files[0] == results / f"{evaluation.scorer}.h5"
    (line,) = rows(folder / "evaluation-results-pytorch" / "CombinedEvaluation-results.csv")
    assert (line["%Training dataset"], line["Model"], line["test rmse"]) == (
        "0.67",
        "experiments",
        "5.0",
    )
    assert list(pd.read_hdf(evaluation.files[0]).index) == [f"img{n:03}.png" for n in range(6)]
    drawn = sorted(path.name for path in evaluation.pictures.iterdir())
    assert drawn == [f"Test-img{n:03}.png" for n in (4, 5)] + [
        f"Training-img{n:03}.png" for n in range(4)
    ]


def test_conditions_come_from_the_evaluation_of_a_shuffle(tmp_path, monkeypatch):
    config, loader = project(tmp_path / "p", individuals=2)
    use(monkeypatch, MovedFirst(loader))
    (evaluation,) = evaluate_network(config, show_errors=False)
    refined = DLCLoader(config)
    refined.pose_task = type(loader.pose_task)("ctd")
    refined.model_cfg["inference"] = {"conditions": {"shuffle": 1}}
    runner = Moved(refined)
    predict(runner, refined, "train")
    assert len(runner.asked) == 4
    for path, context in runner.asked:
        # The other animal, which is -1 throughout in the file, is no condition.
        np.testing.assert_allclose(context["cond_kpts"], MovedFirst(loader)._moved(path, False))
    evaluation.files[0].unlink()
    with pytest.raises(InputError, match="evaluate shuffle 1 first"):
        predict(runner, refined, "train")


def test_conditions_come_from_files(tmp_path):
    _, loader = project(tmp_path / "p", individuals=2)
    loader.pose_task = type(loader.pose_task)("ctd")
    paths = loader.image_filenames("test")
    pose = [[1.0, 2.0, 0.5], [3.0, 4.0, 0.5], [5.0, 6.0, 0.5]]
    name = Path(paths[0]).relative_to(tmp_path / "p").as_posix()
    (tmp_path / "p" / "found.json").write_text(json.dumps({name: [pose]}))
    loader.model_cfg["inference"] = {"conditions": "found.json"}
    runner = Moved(loader)
    predict(runner, loader, "test")
    contexts = [context["cond_kpts"] for _, context in runner.asked]
    np.testing.assert_array_equal(contexts[0], [pose])
    assert contexts[1].shape == (0, 3, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("[[]]", "of the frames of a video"),
        ('{"a.png": [[[1, 2, 3]]]}', "poses of 3 keypoints"),
        ('{"a.png": []}', "found none for any"),
        ("{", "damaged"),
    ],
)
def test_conditions_that_do_not_fit_are_refused(tmp_path, content, message):
    _, loader = project(tmp_path / "p")
    loader.pose_task = type(loader.pose_task)("ctd")
    loader.model_cfg["inference"] = {"conditions": {"filepath": "found.json"}}
    if content is not None:
        (tmp_path / "p" / "found.json").write_text(content)
    with pytest.raises(InputError, match=message):
        predict(Moved(loader), loader, "test")


def test_a_conditional_model_without_conditions_is_refused(tmp_path):
    _, loader = project(tmp_path / "p")
    loader.pose_task = type(loader.pose_task)("ctd")
    loader.model_cfg["inference"] = {"conditions": {"config_path": "a", "snapshot_path": "b"}}
    with pytest.raises(ConfigError, match="expected a file"):
        predict(Moved(loader), loader, "test")


def drawn_pixels(evaluation, path):
    """Where the picture of an image differs from it."""
    drawn = cv2.imread(str(evaluation.pictures / f"Test-clip-{path.name}")).astype(int)
    return (np.abs(drawn - cv2.imread(str(path)).astype(int)) > 20).any(axis=-1)


def test_pictures_show_labels_confident_and_unsure_predictions_and_boxes(tmp_path, monkeypatch):
    config, loader = project(tmp_path / "p", top_down=True, size=(240, 320))
    with_snapshots(loader, ["snapshot-detector-010.pt"])
    use(monkeypatch, Moved(loader), Boxes())
    path = Path(loader.image_filenames("test")[0])

    def picture_with(cutoff):
        (evaluation,) = evaluate_network(config, plotting=True, pcutoff=cutoff, show_errors=False)
        assert len(list(evaluation.pictures.iterdir())) == 6
        return drawn_pixels(evaluation, path)

    dots, crosses = picture_with(0.5), picture_with(0.95)
    for x, y in loader.ground_truth_keypoints("test")[str(path)][0, :, :2].round().astype(int):
        for picture in (dots, crosses):
            assert picture[y, x - 7] and picture[y - 7, x] and not picture[y - 7, x - 7]
            assert picture[y + 6, x + 5]
        # Below the place that was found, 3 px right and 4 px down of the label.
        assert dots[y + 7, x + 3] and not crosses[y + 7, x + 3]
    for picture in (dots, crosses):  # the box is dashed: its score is 0.3
        assert picture[20, 10:18].all() and not picture[20, 19:25].any()
