from __future__ import annotations

import copy

import pytest
import yaml

from dlc_deploy.config import PoseConfig
from dlc_deploy.errors import ConfigError
from dlc_deploy.preprocessing import Padding, Resize

MINIMAL = {
    "metadata": {
        "project_path": "/somewhere/else",
        "bodyparts": ["snout", "tail"],
        "unique_bodyparts": None,
        "individuals": ["mouse"],
    },
    "data": {"inference": {"normalize_images": True}},
    "model": {"backbone": {"type": "ResNet"}, "backbone_output_channels": 8, "heads": {}},
    "net_type": "resnet_50",
    "method": "bu",
}


def config(**inference):
    content = copy.deepcopy(MINIMAL)
    content["data"]["inference"] = inference
    return PoseConfig.from_mapping(content, source="pytorch_config.yaml")


def changed(path, value):
    content = copy.deepcopy(MINIMAL)
    *parents, key = path.split(".")
    section = content
    for parent in parents:
        section = section.setdefault(parent, {})
    section[key] = value
    return content


def written(tmp_path, text):
    path = tmp_path / "pytorch_config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_configuration_is_read_from_yaml(tmp_path):
    read = PoseConfig.from_yaml(written(tmp_path, yaml.safe_dump(MINIMAL)))
    assert read.metadata.bodyparts == ["snout", "tail"]
    assert read.metadata.unique_bodyparts == []
    assert (read.method, read.net_type, read.detector) == ("bu", "resnet_50", None)


@pytest.mark.parametrize(
    "key",
    [
        "colour",
        "metadata.species",
        "data.inference.normalise_images",
        "data.inference.auto_padding.pad_divisor",
        "data.inference.resize.depth",
        "model.tail",
        "detector.backbone",
    ],
)
def test_an_unknown_key_is_named_with_its_place(key):
    with pytest.raises(ConfigError) as caught:
        PoseConfig.from_mapping(changed(key, 1), source="mine.yaml")
    assert str(caught.value).startswith("mine.yaml: not a configuration of a DeepLabCut 3 model:")
    assert f"  {key}: unknown key; remove it, or check its spelling" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("metadata.bodyparts", "snout"),
        ("metadata.individuals", []),
        ("model.backbone_output_channels", "many"),
        ("data.inference.resize", {"height": 0, "width": 100}),
        ("data.inference.longest_max_size", -5),
        ("method", "sideways"),
        ("method", 3),
        ("model", []),
    ],
)
def test_a_wrong_value_is_named_with_what_came(key, value):
    with pytest.raises(ConfigError) as caught:
        PoseConfig.from_mapping(changed(key, value), source="mine.yaml")
    assert f"  {key}" in str(caught.value)
    assert "(got " in str(caught.value)


@pytest.mark.parametrize("key", ["metadata", "model", "net_type", "method"])
def test_a_key_that_lacks_is_named(key):
    content = {name: value for name, value in MINIMAL.items() if name != key}
    with pytest.raises(ConfigError, match=f"  {key}: Field required"):
        PoseConfig.from_mapping(content, source="mine.yaml")


def test_every_fault_is_told_at_once():
    content = changed("colour", 1) | {"net_type": None, "method": "x"}
    with pytest.raises(ConfigError) as caught:
        PoseConfig.from_mapping(content, source="mine.yaml")
    assert all(f"  {key}:" in str(caught.value) for key in ("colour", "net_type", "method"))


def test_an_absent_file_is_told_with_the_option_that_helps(tmp_path):
    path = tmp_path / "absent.yaml"
    with pytest.raises(ConfigError, match=r"found no such file.*--config") as caught:
        PoseConfig.from_yaml(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "metadata: [unclosed",
        "metadata: {a: 1}}",
        "\tmethod: bu",
        "metadata: !!python/object/apply:os.getcwd []",
        b"\xff\xfe\x00",
        b"PK\x03\x04\x00\x00",
    ],
)
def test_what_is_not_yaml_is_refused(tmp_path, text):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match="expected YAML, got") as caught:
        PoseConfig.from_yaml(path)
    assert str(path) in str(caught.value)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected YAML"):
        PoseConfig.from_yaml(tmp_path)


@pytest.mark.parametrize(
    ("text", "kind"), [("", "NoneType"), ("- a\n- b", "list"), ("only words", "str")]
)
def test_yaml_that_is_no_mapping_is_refused(tmp_path, text, kind):
    with pytest.raises(ConfigError, match=f"expected a mapping of keys, got {kind}"):
        PoseConfig.from_yaml(written(tmp_path, text))


def test_a_method_may_be_in_capitals():
    read = PoseConfig.from_mapping(MINIMAL | {"method": "TD"}, source="")
    assert read.method == "td"


@pytest.mark.parametrize(
    ("images", "unit", "kind"),
    [(True, False, "imagenet"), (False, True, "unit"), (False, False, "none")],
)
def test_normalisation_is_one_of_three(images, unit, kind):
    read = config(normalize_images=images, scale_to_unit_range=unit)
    assert read.data.inference.normalization().kind == kind


def test_imagenet_normalisation_is_the_default():
    assert config().data.inference.normalization().kind == "imagenet"


def test_two_normalisations_at_once_are_refused():
    transforms = config(normalize_images=True, scale_to_unit_range=True).data.inference
    with pytest.raises(ConfigError, match="normalize_images and scale_to_unit_range"):
        transforms.normalization()


def test_padding_to_a_multiple_is_taken_over():
    transforms = config(auto_padding=dict(pad_height_divisor=32, pad_width_divisor=16))
    assert transforms.data.inference.frame().padding == Padding(
        height_divisor=32, width_divisor=16, position="random"
    )


@pytest.mark.parametrize("divisor", [1, None])
def test_padding_to_multiples_of_one_is_none(divisor):
    sections = dict(pad_height_divisor=divisor, pad_width_divisor=divisor)
    assert config(auto_padding=sections).data.inference.frame().padding is None


@pytest.mark.parametrize(
    "change", [dict(min_height=256), dict(min_width=64), dict(border_mode="constant")]
)
def test_padding_that_the_runtime_does_not_do_is_refused(change):
    transforms = config(auto_padding=dict(pad_height_divisor=32) | change).data.inference
    with pytest.raises(ConfigError, match="auto_padding") as caught:
        transforms.frame()
    assert next(iter(change)) in str(caught.value)


def test_resize_may_be_switched_off_with_false():
    assert config(resize=False).data.inference.frame().resize is None


def test_resize_keeps_the_ratio_unless_told_otherwise():
    section = {"height": 100, "width": 200}
    assert config(resize=section).data.inference.frame().resize == Resize(height=100, width=200)
    loose = config(resize=section | {"keep_ratio": False}).data.inference.frame()
    assert loose.resize.keep_ratio is False and loose.fixed_size == (100, 200)


def test_augmentations_that_are_on_are_named():
    transforms = config(hflip=True, affine={"p": 0.5}, motion_blur=False).data.inference
    assert transforms.augmentations() == ["hflip", "affine"]


def test_a_crop_is_taken_over_with_deeplabcuts_defaults():
    crop = config(top_down_crop={"width": 256, "height": 192}).data.inference.top_down_crop
    spec = crop.preprocessing()
    assert (spec.height, spec.width, spec.margin) == (192, 256, 0)
    assert spec.with_context and not spec.center_padding


@pytest.mark.parametrize(("method", "context"), [("td", True), ("TD", True), ("ctd", False)])
@pytest.mark.parametrize("data", [None, {}, {"inference": None}, {"inference": {}}])
def test_a_crop_that_is_not_described_is_deeplabcuts(method, context, data):
    content = {key: value for key, value in MINIMAL.items() if key != "data"}
    content |= {"method": method} | ({} if data is None else {"data": data})
    spec = PoseConfig.from_mapping(content, source="").data.inference.top_down_crop.preprocessing()
    assert (spec.height, spec.width, spec.margin) == (256, 256, 0)
    assert spec.with_context is context


def test_what_is_described_of_a_crop_stays():
    content = changed("data.inference.top_down_crop", {"height": 128}) | {"method": "ctd"}
    read = PoseConfig.from_mapping(content, source="")
    assert read.data.inference.top_down_crop.model_dump(include={"height", "width"}) == {
        "height": 128,
        "width": 256,
    }
    assert content["data"]["inference"]["top_down_crop"] == {"height": 128}


@pytest.mark.parametrize("key", ["data", "data.inference", "data.inference.top_down_crop"])
def test_a_crop_of_another_kind_is_named(key):
    with pytest.raises(ConfigError, match=f"  {key}: .*got 7"):
        PoseConfig.from_mapping(changed(key, 7) | {"method": "td"}, source="")


def test_a_bottom_up_model_has_no_crop():
    assert config().data.inference.top_down_crop is None


def test_the_margin_of_given_poses_is_deeplabcuts():
    assert config().data.bbox_margin == 25
