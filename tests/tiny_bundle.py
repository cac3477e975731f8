"""Bundles that find a bright dot, made by code without the onnx package, and videos of that dot.

The snout is the dot; the tail is TAIL pixels of the network input aside. The score is the
brightest red divided by 255.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import av
import numpy as np

from dlc_deploy.bundle import CONFIG, GOLDEN, MANIFEST, PARITY, Bundle, Golden, sha256
from dlc_deploy.manifest import ConditionsModel, DetectorGraph, Manifest, Origin, PoseGraph
from dlc_deploy.poses import Poses
from dlc_deploy.preprocessing import (
    ConditionPreprocessing,
    CropPreprocessing,
    FramePreprocessing,
    Normalization,
)
from dlc_deploy.runtime.estimator import load
from dlc_deploy.runtime.parallel import Parallelism

SCORER = "DLC_Tiny_dotNov24shuffle1_snapshot_001"
TAIL = (4.0, 2.0)
CROP = 64
BOXES = (12.0, 20.0)
"""Half the side of the best box and of the second one, both around the dot."""


def write_bundle(
    folder: Path,
    *,
    top_down: bool = False,
    individuals: int = 1,
    conditional: bool = False,
    finder: bool = True,
) -> Path:
    """A whole bundle; the golden frame is a dot at (30, 20), found by the graph itself.

    A conditional one keeps the tail where the condition has it, and has a model that finds
    conditions if it has a ``finder``.
    """
    folder.mkdir(parents=True)
    size = (CROP, CROP) if top_down else None
    (folder / "pose.onnx").write_bytes(refining_graph() if conditional else pose_graph(size))
    if conditional and finder:
        (folder / "conditions.onnx").write_bytes(pose_graph())
    if top_down:
        (folder / "detector.onnx").write_bytes(detector_graph())
    (folder / CONFIG).write_text("net_type: tiny\n", encoding="utf-8")
    parity = {"graphs": {"pose": {"points": 2, "px_max": 0.0}}}
    (folder / PARITY).write_text(json.dumps(parity), encoding="utf-8")
    manifest = _manifest(top_down, individuals)
    if conditional:
        manifest = _conditional(manifest, finder)
    bundle = Bundle(folder, manifest)
    golden = frame((30, 20), 64, 48)[None]
    plan = Parallelism(workers=1, threads=1)
    known = None
    if conditional and not finder:
        known = Poses(np.float32([[[[30, 20], [34, 22]]]]), np.ones((1, 1, 2), np.float32))
    with load(bundle, parallelism=plan) as estimator:
        Golden(golden, estimator(golden, known)).save(folder / GOLDEN)
    return seal(folder, bundle.manifest)


def seal(folder: Path, manifest: Manifest | None = None) -> Path:
    """Write the manifest anew, so that it matches the files as they are now."""
    manifest = manifest or Bundle.open(folder).manifest
    files = {p.name: sha256(p) for p in sorted(folder.iterdir()) if p.name != MANIFEST}
    text = manifest.model_copy(update={"files": files}).sealed().to_json()
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return folder


def frame(xy: tuple[int, int] | None, width: int, height: int) -> np.ndarray:
    """Uint8 [H, W, 3]: dark, with a white square of 5 x 5 pixels whose centre is at ``xy``."""
    image = np.full((height, width, 3), 20, np.uint8)
    if xy is not None:
        x, y = xy
        image[y - 2 : y + 3, x - 2 : x + 3] = 250
    return image


def dot(number: int, width: int = 96, height: int = 64) -> tuple[int, int]:
    """Where the dot is in that frame of a video; another place in each of the first 70 or more."""
    return 10 + number * 7 % (width - 20), 10 + number * 5 % (height - 20)


def write_dot_video(
    path: Path,
    count: int = 20,
    *,
    width: int = 96,
    height: int = 64,
    codec: str = "libx264",
    pixels: str = "yuv420p",
) -> Path:
    """A video of the moving dot."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        for number in range(count):
            image = frame(dot(number, width, height), width, height)
            picture = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def _manifest(top_down: bool, individuals: int) -> Manifest:
    graph = dict(precision="fp32", normalization=Normalization(kind="none"))
    whole = FramePreprocessing()
    crop = CropPreprocessing(height=CROP, width=CROP)
    pose = (
        PoseGraph(file="pose.onnx", size=(CROP, CROP), crop=crop, **graph)
        if top_down
        else PoseGraph(file="pose.onnx", size=None, frame=whole, **graph)
    )
    detector = DetectorGraph(file="detector.onnx", size=None, frame=whole, **graph)
    return Manifest(
        method="td" if top_down else "bu",
        net_type="tiny",
        scorer=SCORER,
        bodyparts=("snout", "tail"),
        individuals=tuple(f"mouse{number + 1}" for number in range(individuals)),
        max_individuals=individuals,
        pose=pose,
        detector=detector if top_down else None,
        origin=Origin(snapshot="snapshot-001.pt"),
        tools={},
        created="2026-11-24",
        files={},
    )


def _conditional(manifest: Manifest, finder: bool) -> Manifest:
    graph = dict(precision="fp32", normalization=Normalization(kind="none"))
    pose = PoseGraph(
        file="pose.onnx",
        size=(CROP, CROP),
        crop=CropPreprocessing(height=CROP, width=CROP, with_context=False),
        condition=ConditionPreprocessing(bbox_margin=10),
        **graph,
    )
    found = PoseGraph(file="conditions.onnx", size=None, frame=FramePreprocessing(), **graph)
    model = ConditionsModel(net_type="tiny", max_individuals=1, pose=found) if finder else None
    return manifest.model_copy(update={"method": "ctd", "pose": pose, "conditions": model})


# The graphs, in the fields of onnx.proto3.


def pose_graph(size: tuple[int, int] | None = None, batch: int | str = "N") -> bytes:
    """An ONNX model: images uint8 [N, H, W, 3] to poses float32 [N, 1, 2, 3]."""
    tail = np.float32([[[0, 0], TAIL]])
    nodes = [
        *_find_dot(),
        _node("Add", ["xy", "tail"], "points"),  # [N, 2, 2]
        _node("Mul", ["brightest", "of_both"], "scores"),  # [N, 2, 1]
        _node("Concat", ["points", "scores"], "triples", axis=2),
        _node("Unsqueeze", ["triples", "one"], "poses"),
    ]
    constants = _CONSTANTS | {"tail": tail, "of_both": np.ones((1, 2, 1), np.float32)}
    return _model(nodes, constants, size, {"poses": (batch, 1, 2, 3)}, batch)


def refining_graph() -> bytes:
    """An ONNX model: crops and conditions float32 [N, 2, 3] to poses float32 [N, 1, 2, 3]."""
    nodes = [
        *_find_dot(),
        _node("Gather", ["conditions", "one"], "tail", axis=1),  # [N, 1, 3]
        _node("Gather", ["tail", "first_two"], "tail_xy", axis=2),
        _node("Concat", ["xy", "tail_xy"], "points", axis=1),
        _node("Mul", ["brightest", "of_both"], "scores"),
        _node("Concat", ["points", "scores"], "triples", axis=2),
        _node("Unsqueeze", ["triples", "one"], "poses"),
    ]
    constants = _CONSTANTS | {
        "first_two": np.int64([0, 1]),
        "of_both": np.ones((1, 2, 1), np.float32),
    }
    given = _value("conditions", 1, ("N", 2, 3))
    return _model(nodes, constants, (CROP, CROP), {"poses": ("N", 1, 2, 3)}, "N", given)


def detector_graph() -> bytes:
    """An ONNX model: images uint8 [N, H, W, 3] to two boxes around the dot, the best first."""
    sides = np.float32([[[-side, -side, side, side] for side in BOXES]])
    nodes = [
        *_find_dot(),
        _node("Concat", ["xy", "xy"], "centres", axis=2),
        _node("Add", ["centres", "sides"], "boxes"),
        _node("Mul", ["flat_brightest", "falling"], "scores"),
    ]
    constants = _CONSTANTS | {"sides": sides, "falling": np.float32([[1, 0.5]])}
    return _model(nodes, constants, None, {"boxes": ("N", 2, 4), "scores": ("N", 2)}, "N")


_CONSTANTS = {
    "zero": np.int64(0),
    "one": np.int64([1]),
    "last": np.int64([-1]),
    "step": np.int64(1),
    "red": np.int64(0),
    "axis_height": np.int64(1),
    "axis_width": np.int64(2),
    "both": np.int64([1, 2]),
    "width_only": np.int64([2]),
    "height_only": np.int64([1]),
    "half": np.float32(128),
    "tiny": np.float32(1e-3),
    "most": np.float32(255),
}


def _find_dot() -> list[bytes]:
    """Nodes: the centre of what is brighter than 128, ``xy`` [N, 1, 2], and how bright it is."""
    nodes = [
        _node("Cast", ["images"], "numbers", to=1),
        _node("Gather", ["numbers", "red"], "reds", axis=3),
        _node("Sub", ["reds", "half"], "above"),
        _node("Relu", ["above"], "weights"),
        _node("ReduceSum", ["weights", "both"], "sum", keepdims=0),
        _node("Max", ["sum", "tiny"], "total"),
        _node("ReduceMax", ["reds", "both"], "peak"),  # [N, 1, 1]
        _node("Div", ["peak", "most"], "brightest"),
        _node("Squeeze", ["brightest", "last"], "flat_brightest"),
        _node("Shape", ["images"], "shape"),
    ]
    for name, other in (("width", "height_only"), ("height", "width_only")):
        nodes += [
            _node("ReduceSum", ["weights", other], f"{name}_profile", keepdims=0),
            _node("Gather", ["shape", f"axis_{name}"], f"{name}_length", axis=0),
            _node("Range", ["zero", f"{name}_length", "step"], f"{name}_places"),
            _node("Cast", [f"{name}_places"], f"{name}_numbers", to=1),
            _node("MatMul", [f"{name}_profile", f"{name}_numbers"], f"{name}_moment"),
            _node("Div", [f"{name}_moment", "total"], f"{name}_flat"),
            _node("Unsqueeze", [f"{name}_flat", "both"], f"{name}_mean"),
        ]
    return [*nodes, _node("Concat", ["width_mean", "height_mean"], "xy", axis=2)]


def _model(
    nodes: Sequence[bytes],
    constants: dict[str, np.ndarray],
    size: tuple[int, int] | None,
    outputs: dict[str, tuple[int | str, ...]],
    batch: int | str,
    *more_inputs: bytes,
) -> bytes:
    images = _value("images", 2, (batch, *(size or ("H", "W")), 3))
    graph = b"".join(
        [
            *(_field(1, node) for node in nodes),
            _field(2, "dot"),
            *(_field(5, _tensor(name, value)) for name, value in constants.items()),
            *(_field(11, value) for value in (images, *more_inputs)),
            *(_field(12, _value(name, 1, shape)) for name, shape in outputs.items()),
        ]
    )
    return _field(1, 9) + _field(2, "tests") + _field(7, graph) + _field(8, _field(2, 18))


def _node(kind: str, inputs: Iterable[str], output: str, **attributes: int) -> bytes:
    encoded = [
        _field(5, _field(1, name) + _field(3, value) + _field(20, 2))
        for name, value in attributes.items()
    ]
    names = [_field(1, name) for name in inputs]
    return b"".join([*names, _field(2, output), _field(4, kind), *encoded])


def _tensor(name: str, value: np.ndarray) -> bytes:
    kind = {"float32": 1, "int64": 7}[value.dtype.name]
    dims = b"".join(_field(1, length) for length in value.shape)
    return dims + _field(2, kind) + _field(8, name) + _field(9, value.tobytes())


def _value(name: str, kind: int, shape: Iterable[int | str]) -> bytes:
    dims = b"".join(_field(1, _field(2 if isinstance(d, str) else 1, d)) for d in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, dims)))


def _field(number: int, value: int | str | bytes) -> bytes:
    """One protobuf field: a varint, or a length and bytes."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
