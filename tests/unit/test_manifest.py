from __future__ import annotations

import json

import pytest

from dlc_deploy.choices import Method, PadPosition, Precision
from dlc_deploy.errors import BundleError
from dlc_deploy.manifest import DetectorGraph, Manifest, Origin, PoseGraph
from dlc_deploy.preprocessing import (
    CropPreprocessing,
    FramePreprocessing,
    Normalization,
    Padding,
    Resize,
)


def manifest():
    graph = dict(precision="fp32", normalization=Normalization())
    frame = FramePreprocessing(
        resize=Resize(height=320, width=320, keep_ratio=False),
        padding=Padding(height_divisor=32, width_divisor=32),
    )
    return Manifest(
        method="td",
        net_type="rtmpose_s",
        scorer="DLC_RtmposeS_maus-ä_snapshot_10",
        bodyparts=("snout", "schwänzchen"),
        individuals=("a", "b"),
        max_individuals=2,
        pose=PoseGraph(
            file="pose.onnx", size=(64, 64), crop=CropPreprocessing(height=64, width=64), **graph
        ),
        detector=DetectorGraph(file="detector.onnx", size=None, batch=1, frame=frame, **graph),
        origin=Origin(snapshot="snapshot-010.pt", train_fraction=0.95),
        tools={"torch": "2.11"},
        created="2026-01-01T00:00:00+00:00",
        files={"pose.onnx": "0" * 64},
    ).sealed()


def refused(content):
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(BundleError) as caught:
        Manifest.from_json(text, source="b/manifest.json")
    assert str(caught.value).startswith("b/manifest.json: ")
    return str(caught.value)


def content(**changes):
    return json.loads(manifest().to_json()) | changes


def test_a_manifest_comes_back_as_it_was_written():
    written = manifest()
    assert Manifest.from_json(written.to_json(), source="") == written
    assert len(written.fingerprint) == 12 and written.seal.startswith(written.fingerprint)


def test_the_seal_rests_on_the_content_and_not_on_the_layout_of_the_text():
    shuffled = dict(reversed(content().items()))
    read = Manifest.from_json(json.dumps(shuffled, indent=None), source="")
    assert read == manifest()


def test_equal_content_has_one_seal_and_other_content_another():
    assert manifest().seal == manifest().sealed().seal
    assert manifest().model_copy(update={"scorer": "other"}).sealed().seal != manifest().seal


def test_an_unknown_key_is_named():
    assert "colour (Extra inputs" in refused(content(colour="red"))
    pose = content()["pose"] | {"fps": 3}
    assert "pose.fps (" in refused(content(pose=pose))


def test_a_key_that_lacks_or_has_another_type_is_named():
    without = content()
    del without["scorer"]
    assert "scorer (Field required)" in refused(without)
    assert "max_individuals (" in refused(content(max_individuals=0))
    assert "method (" in refused(content(method="sideways"))


@pytest.mark.parametrize("version", [0, 2, "1", None, 1.5])
def test_another_schema_is_refused_with_what_to_do(version):
    message = refused(content(schema_version=version))
    assert f"expected schema_version 1, got {version!r}" in message
    assert "Export the snapshot again" in message


@pytest.mark.parametrize("text", ["", "words", "[]", "null", "3", "{}", '{"schema": 1}', '{"sche'])
def test_other_text_is_refused(text):
    assert "expected a bundle's manifest, got other text" in refused(text)


@pytest.mark.parametrize(
    "change",
    [
        {"scorer": "mine"},
        {"bodyparts": ["tail", "snout"]},
        {"files": {}},
        {"seal": ""},
        {"seal": "0" * 64},
        {"max_individuals": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_edited_manifest_does_not_match_its_seal(change):
    assert "does not match its seal" in refused(content(**change))


def test_a_manifest_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="frozen"):
        manifest().scorer = "mine"


def test_choices_are_those_of_the_commands():
    assert Manifest.model_fields["method"].annotation == Method
    assert PoseGraph.model_fields["precision"].annotation == Precision
    assert DetectorGraph.model_fields["precision"].annotation == Precision
    assert Padding.model_fields["position"].annotation == PadPosition
