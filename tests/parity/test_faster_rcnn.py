"""Faster R-CNN against DeepLabCut: raw outputs, proposals, boxes, and its graph in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from tests import families
from tests.reference import needs_reference

torch = pytest.importorskip("torch")

from dlc_deploy.config import PoseConfig  # noqa: E402
from dlc_deploy.exporters.graph import DetectorGraph  # noqa: E402
from dlc_deploy.exporters.onnx import InputSize, write_onnx  # noqa: E402
from dlc_deploy.preprocessing import Normalization  # noqa: E402
from dlc_deploy.training.models.detectors import DETECTORS  # noqa: E402
from dlc_deploy.training.models.detectors.region_proposals import propose  # noqa: E402
from dlc_deploy.training.models.detectors.resize import normalized, resized  # noqa: E402
from dlc_deploy.training.models.detectors.roi import pool_regions  # noqa: E402
from tests import drawn_detectors  # noqa: E402

NAMES = ("fasterrcnn_mobilenet_v3_large_fpn",)
pytestmark = [needs_reference, pytest.mark.torch]
# The contract of an fp32 engine.
TOLERANCE_PX = 0.01


class Family:
    """A detector with DeepLabCut's weights, and what DeepLabCut computed with them."""

    def __init__(self, name):
        self.name = name
        self.config = PoseConfig.from_yaml(families.folder(name) / "pytorch_config.yaml").detector
        self.model = DETECTORS.build(self.config.model, pretrained=False)
        state = {key: torch.from_numpy(value) for key, value in families.weights(name).items()}
        self.model.load_state_dict(state)
        self.model.eval()
        self.arrays = dict(np.load(families.folder(name) / "output.npz"))
        self.frames = np.load(families.folder(name) / "input.npz")["images"]
        self.images = torch.from_numpy(self.arrays["preprocessed"])

    def raw(self, key):
        return self.arrays[f"raw/detector/{key}"]

    @property
    def normalization(self):
        return self.config.data.inference.normalization()


@pytest.fixture(params=NAMES, scope="module")
def family(request):
    return Family(request.param)


@pytest.fixture(scope="module")
def computed(family):
    """The steps of ``decode``, with the proposals of DeepLabCut for the last one."""
    network = family.model.model
    with torch.inference_mode():
        canvas, size = resized(normalized(family.images, network.transform), network.transform)
        features = network.backbone(canvas)
        objectness, deltas = network.rpn.head(list(features.values()))
        proposals, found = propose(network.rpn, list(features.values()), canvas.shape[2:], size)
        heads = network.roi_heads
        levels = [features[name] for name in heads.box_roi_pool.featmap_names if name in features]
        theirs = torch.from_numpy(family.raw("proposals"))
        pooled = pool_regions(heads.box_roi_pool, levels, family.model.strides, theirs)
        logits, codes = heads.box_predictor(heads.box_head(pooled.flatten(0, 1)))
    values = {"class_logits": logits, "box_regression": codes}
    for level, (scores, boxes) in enumerate(zip(objectness, deltas, strict=True)):
        values |= {f"rpn_objectness_{level}": scores, f"rpn_deltas_{level}": boxes}
    return {"canvas": canvas, "size": size, "proposals": proposals, "found": found, "raw": values}


def test_the_state_dict_has_deeplabcuts_keys_and_shapes(family):
    ours = [(key, list(value.shape)) for key, value in family.model.state_dict().items()]
    assert ours == [(entry["key"], entry["shape"]) for entry in families.entries(family.name)]


def test_images_are_deeplabcuts(family, computed):
    assert tuple(computed["canvas"].shape) == tuple(family.raw("transformed_shape"))
    assert [list(computed["size"])] * 2 == family.raw("image_sizes").tolist()
    rows = family.raw("transformed_first_128_rows_of_image_0")
    np.testing.assert_array_equal(computed["canvas"][0, :, :128], rows)


def test_raw_outputs_are_deeplabcuts(family, computed):
    names = [key.split("/")[2] for key in family.arrays if key.startswith("raw/detector/")]
    compared = [name for name in names if name in computed["raw"]]
    assert len(compared) >= 8 and {"class_logits", "box_regression"} < set(compared)
    for name in compared:
        expected = family.raw(name)
        assert expected.std() > 0.01
        found = computed["raw"][name].numpy().reshape(expected.shape)
        # the contract; DeepLabCut against itself with two threads needs a third of it
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3 * float(expected.std()))


def test_proposals_are_deeplabcuts(family, computed):
    assert computed["found"].all()
    for frame in range(2):
        expected = family.raw("proposals")[frame]
        found = computed["proposals"][frame].numpy()
        # Equal scores of a saturated sigmoid may stand in another order: each has its like.
        distance = np.abs(found[:, None] - expected[None]).max(-1)
        assert expected.std() > 10
        assert distance.min(axis=0).max() <= TOLERANCE_PX
        assert distance.min(axis=1).max() <= TOLERANCE_PX


@pytest.mark.parametrize("detections", [3, 100])
def test_decode_gives_deeplabcuts_boxes_in_their_order(family, detections):
    with torch.inference_mode():
        boxes, scores = family.model.decode(family.images, detections)
    assert boxes.shape == (2, detections, 4)
    for frame in range(2):
        expected = family.arrays[f"pred_{frame}/boxes"][:detections]
        heights = family.arrays[f"pred_{frame}/scores"][:detections]
        assert len(expected) == detections and expected.std() > 10
        np.testing.assert_allclose(boxes[frame], expected, rtol=0, atol=TOLERANCE_PX)
        np.testing.assert_allclose(scores[frame], heights, rtol=0, atol=1e-5)


def test_forward_gives_deeplabcuts_boxes(family):
    with torch.inference_mode():
        _, found = family.model(family.images[:1])
    np.testing.assert_allclose(
        found[0]["boxes"], family.arrays["pred_0/boxes"], rtol=0, atol=TOLERANCE_PX
    )


def written(model, normalization, path, *, detections, fixed):
    graph = DetectorGraph(model, normalization, detections).eval()
    size = InputSize((192, 256), fixed=fixed)
    write_onnx(graph, path, size=size, outputs=("boxes", "scores"))
    return graph


@pytest.mark.slow
@pytest.mark.parametrize("variant", NAMES)
def test_a_graph_with_free_sizes_gives_torchvisions_boxes_at_each(variant, tmp_path):
    """Small images and few proposals; what is computed from their size is the same. Pixels are of
    the range that the weights were drawn for, so that scores differ and have one order."""
    engines = pytest.importorskip("dlc_deploy.runtime.engines")
    model = drawn_detectors.faster_rcnn(variant, small=True)
    graph = written(
        model, Normalization(kind="unit"), tmp_path / "d.onnx", detections=6, fixed=False
    )
    random = np.random.default_rng(0)
    with engines.open_engine(tmp_path / "d.onnx") as engine:
        for count, *size in [(1, 192, 256), (3, 97, 131), (2, 300, 193)]:
            frames = random.integers(0, 256, (count, *size, 3), np.uint8)
            found = engine.run({"images": frames})
            with torch.inference_mode():
                _, expected = model(graph.normalize(torch.from_numpy(frames)))
            assert found["boxes"].shape == (count, 6, 4)
            for frame, detected in enumerate(expected):
                assert len(detected["boxes"]) >= 6 and detected["boxes"][:6].std() > 5
                np.testing.assert_allclose(
                    found["boxes"][frame], detected["boxes"][:6], rtol=0, atol=TOLERANCE_PX
                )
                np.testing.assert_allclose(
                    found["scores"][frame], detected["scores"][:6], rtol=0, atol=1e-4
                )
