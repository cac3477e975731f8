"""Labels in COCO's format, whole or damaged."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("torch")

from dlc_deploy.errors import ConfigError, InputError
from dlc_deploy.training.data.cocoloader import COCOLoader
from tests import training_projects as drawn

pytestmark = pytest.mark.torch
SIZE = (96, 128)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return drawn.make_coco_project(tmp_path_factory.mktemp("coco") / "two", individuals=2)


@pytest.fixture
def folder(template, tmp_path):
    return shutil.copytree(template, tmp_path / "two")


def load(folder, test="test.json") -> COCOLoader:
    return COCOLoader(folder, folder / drawn.COCO_CONFIG, "train.json", test)


def change(folder, edit, name="test") -> None:
    path = folder / "annotations" / f"{name}.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_labels_are_those_of_the_file(folder):
    loader = load(folder)
    truth = drawn.keypoints(6, 2, 3, SIZE)
    images = loader.labels("test")
    assert [image.path for image in images] == [folder / "images" / f"img00{n}.png" for n in (4, 5)]
    assert [image.id for image in images] == [5, 6]
    for image, animals in zip(images, truth[4:], strict=True):
        assert np.array_equal(image.keypoints[..., :2], animals)
        assert (image.keypoints[..., 2] == 2).all()
        assert (image.height, image.width) == SIZE
        assert image.individuals.tolist() == [-1, -1]
        assert image.categories.tolist() == [1, 1]
        assert image.crowd.tolist() == [False, False]
        assert image.unique.shape == (0, 3)
        poses = loader.ground_truth_keypoints("test")[str(image.path)]
        assert np.array_equal(poses, image.keypoints)
    assert len(loader.labels("train")) == 4


def test_project_parameters_are_the_most_animals_and_the_bodyparts(folder):
    change(folder, lambda content: content["annotations"].pop(), "train")
    train = COCOLoader.load_json(folder, "train.json")
    assert COCOLoader.get_project_parameters(train) == (2, list(drawn.BODYPARTS))
    train["annotations"] = [one for one in train["annotations"] if one["id"] % 2]
    assert COCOLoader.get_project_parameters(train) == (1, list(drawn.BODYPARTS))
    test = COCOLoader.load_json(folder, "test.json")
    assert COCOLoader.get_project_parameters(train, test) == (2, list(drawn.BODYPARTS))


def test_project_parameters_need_annotations(folder):
    train = COCOLoader.load_json(folder, "train.json") | {"annotations": []}
    with pytest.raises(InputError, match="expected annotations, got none"):
        COCOLoader.get_project_parameters(train)


def test_no_test_set(folder):
    loader = load(folder, test=None)
    assert list(loader.labels("test")) == []
    assert loader.ground_truth_bboxes("test") == {}


def test_no_such_mode(folder):
    with pytest.raises(InputError, match="train or test, got 'valid'"):
        load(folder).labels("valid")


def test_the_configuration_may_lie_elsewhere(folder, tmp_path):
    config = shutil.copy(folder / drawn.COCO_CONFIG, tmp_path / "pytorch_cfg.yaml")
    loader = COCOLoader(folder, str(config), train_json_filename="train.json")
    assert loader.model_folder == tmp_path
    assert len(loader.labels("train")) == 4


def test_images_in_subfolders_and_elsewhere(folder, tmp_path):
    images = folder / "images"
    (images / "day").mkdir()
    (images / "img004.png").rename(images / "day" / "img004.png")
    elsewhere = (images / "img005.png").rename(tmp_path / "img005.png")

    def rename(content):
        content["images"][0]["file_name"] = "day/img004.png"
        content["images"][1]["file_name"] = str(elsewhere)

    change(folder, rename)
    found = load(folder).image_filenames("test")
    assert found == [str(images / "day" / "img004.png"), str(elsewhere)]


def test_flags_of_keypoints_are_kept(folder):
    def hide(content):
        content["annotations"][0]["keypoints"] = [10, 20, 1, 30, 40, -1, 50, 60, 0]

    change(folder, hide)
    keypoints = load(folder).labels("test")[0].keypoints[0]
    assert keypoints.tolist() == [[10, 20, 1], [0, 0, -1], [0, 0, 0]]


def test_crowds_are_told(folder):
    change(folder, lambda content: content["annotations"][1].update(iscrowd=1))
    assert load(folder).labels("test")[0].crowd.tolist() == [False, True]


@pytest.mark.parametrize("box", [None, []])
def test_boxes_that_are_not_given_are_around_the_keypoints(folder, box):
    def forget(content):
        content["annotations"][0] |= {"keypoints": [60, 50, 2] + [0] * 6, "bbox": box}

    change(folder, forget)
    image = load(folder).labels("test")[0]
    assert image.boxes[0].tolist() == [40, 30, 40, 40]
    given = COCOLoader.load_json(folder, "test.json")["annotations"][1]["bbox"]
    assert image.boxes[1].tolist() == given


def test_boxes_of_ground_truth_are_inside_the_image_and_not_empty(folder):
    def spoil(content):
        content["annotations"][0]["bbox"] = [-10, 80, 30, 40]
        content["annotations"][1]["bbox"] = [10, 10, 0, 5]

    change(folder, spoil)
    loader = load(folder)
    assert loader.labels("test")[0].boxes.tolist() == [[-10, 80, 30, 40], [10, 10, 0, 5]]
    truth = loader.ground_truth_bboxes("test")[loader.image_filenames("test")[0]]
    assert truth["bboxes"].tolist() == [[0, 80, 20, 16]]
    assert (truth["width"], truth["height"]) == (128, 96)


def test_annotations_without_keypoints_are_left_out(folder):
    def empty(content):
        content["annotations"][0]["keypoints"] = [0] * 9
        del content["annotations"][2]["keypoints"]

    change(folder, empty)
    assert [len(image.keypoints) for image in load(folder).labels("test")] == [1, 1]


def test_images_without_annotations_stay(folder):
    change(folder, lambda content: content["annotations"].clear())
    loader = load(folder)
    assert [image.keypoints.shape for image in loader.labels("test")] == [(0, 3, 3)] * 2
    poses = loader.ground_truth_keypoints("test")
    assert [value.any() for value in poses.values()] == [False, False]


@pytest.mark.parametrize("ids", [(0, 1), (3, 7)])
def test_categories_are_one_class(folder, ids):
    def split(content):
        [category] = content["categories"]
        box_only = {"id": ids[1], "name": "cage"}
        content["categories"] = [box_only, category | {"id": ids[0]}]
        for number, annotation in enumerate(content["annotations"]):
            annotation["category_id"] = ids[number % 2]

    change(folder, split)
    assert load(folder).labels("test")[0].categories.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.pop("images"), "list of objects under 'images'"),
        (lambda c: c["annotations"].append(3), "list of objects under 'annotations'"),
        (lambda c: c["images"][0].update(id="a"), "whole numbers as ids of images"),
        (lambda c: c["images"][0].update(id=6), "id of images once, got 6"),
        (lambda c: c["images"].pop(0), "image_id.*2 annotations refer to nothing: 5"),
        (
            lambda c: c["annotations"][0].update(category_id=9),
            "category_id.*1 annotations refer to nothing: 9",
        ),
        (lambda c: c["categories"][0].pop("keypoints"), "a category with keypoints"),
        (
            lambda c: c["categories"].append({"id": 2, "keypoints": ["a", "b", "c"]}),
            r"same keypoints in every category.*'a', 'b', 'c'",
        ),
    ],
)
def test_files_that_are_not_coco(folder, edit, message):
    change(folder, edit)
    with pytest.raises(InputError, match=f"test.json.*{message}"):
        load(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda a: a.update(keypoints=[1, 2, 2]), "annotation 9: expected keypoints of 9 finite"),
        (lambda a: a.update(keypoints=[1] * 8 + ["x"]), "expected keypoints of 9 finite"),
        (lambda a: a.update(keypoints=[1] * 8 + [float("inf")]), "expected keypoints of 9 finite"),
        (lambda a: a.update(bbox=[1, 2, 3]), "expected bbox of 4 finite"),
        (lambda a: a.update(bbox=[1, 2, 3, float("nan")]), "expected bbox of 4 finite"),
    ],
)
def test_annotations_that_are_no_numbers(folder, edit, message):
    change(folder, lambda content: edit(content["annotations"][0]))
    with pytest.raises(InputError, match=f"test.json.*{message}"):
        load(folder).labels("test")


def test_missing_images_are_counted_and_named(folder):
    (folder / "images" / "img004.png").unlink()
    with pytest.raises(InputError, match=r"1 are missing.*img004\.png"):
        load(folder).labels("test")


def test_images_without_a_name(folder):
    change(folder, lambda content: content["images"][0].pop("file_name"))
    with pytest.raises(InputError, match="image 5: expected file_name"):
        load(folder).labels("test")


def test_images_that_were_resized_since(folder):
    change(folder, lambda content: content["images"][1].update(width=64, height=48))
    with pytest.raises(InputError, match=r"1 of other sizes: img005\.png 128x96 instead of 64x48"):
        load(folder).labels("test")


def test_sizes_may_be_left_out(folder):
    change(folder, lambda content: [content["images"][1].pop(key) for key in ("width", "height")])
    image = load(folder).labels("test")[1]
    assert (image.height, image.width) == SIZE


def test_pictures_of_a_camera_that_are_to_be_turned(folder):
    from PIL import Image

    path = folder / "images" / "img004.jpg"
    picture = Image.open(folder / "images" / "img004.png")
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn, clockwise
    picture.save(path, exif=exif)
    picture.close()

    def turn(content):
        content["images"][0].update(file_name=path.name, width=96, height=128)

    change(folder, turn)
    image = load(folder).labels("test")[0]
    assert (image.height, image.width) == cv2.imread(str(path)).shape[:2] == (128, 96)


def test_a_missing_file_of_annotations(folder):
    with pytest.raises(InputError, match=r"valid\.json.*no such file"):
        load(folder, test="valid.json")


@pytest.mark.parametrize(("text", "got"), [("{", "no JSON"), ("[1]", "got a list")])
def test_files_that_are_no_json_object(folder, text, got):
    (folder / "annotations" / "test.json").write_text(text)
    with pytest.raises(InputError, match=got):
        COCOLoader.load_json(folder, "test.json")


def edit_config(folder, **metadata):
    path = folder / drawn.COCO_CONFIG
    content = yaml.safe_load(path.read_text())
    content["metadata"] |= metadata
    path.write_text(yaml.safe_dump(content))


def test_bodyparts_in_another_order_than_the_models(folder):
    edit_config(folder, bodyparts=["hip", "nose", "tail"])
    with pytest.raises(ConfigError, match=r"in their order, \['nose', 'hip', 'tail'\]"):
        load(folder)


def test_more_animals_than_the_model_knows(folder):
    edit_config(folder, individuals=["animal1"])
    with pytest.raises(ConfigError, match="at least 2 individuals"):
        load(folder)
