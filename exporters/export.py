"""From a snapshot to a bundle: load, build the graphs, write ONNX, prove it, seal it.

The bundle is built in a hidden folder beside its final name and renamed when it has passed; a
refused or interrupted export leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from dlc_deploy.bundle import CONFIG, GOLDEN, MANIFEST, PARITY, Bundle, Golden, sha256
from dlc_deploy.choices import ExportFormat, Precision
from dlc_deploy.errors import ConfigError, InputError, UsageError
from dlc_deploy.manifest import Manifest
from dlc_deploy.runtime.engines import open_engine
from dlc_deploy.runtime.outputs.scorer import origin_of, scorer_name
from dlc_deploy.runtime.pipelines import ConditionalTopDown, Pipeline, connect, run_steps
from dlc_deploy.runtime.replay import MIN_SCORE
from dlc_deploy.training.inference import entries
from dlc_deploy.training.inference.entries import CONDITIONS, DETECTOR, POSE
from dlc_deploy.training.inference.graphs import DetectorGraph, PoseGraph
from dlc_deploy.training.inference.heads import check_names
from dlc_deploy.training.inference.torch_engine import TorchEngine

from . import modelzoo
from .onnx import INPUT, write_onnx
from .parity import DEFAULT_TOLERANCE, Parity, compare
from .plan import Plan, plan_graphs
from .reference import Recorder
from .rewrites import rewrite_operators
from .samples import Samples, choose_samples, draw_conditions
from .source import Source, load_source

Progress = Callable[[str], None]


def export(
    snapshot: str | Path,
    *,
    detector: str | Path | None = None,
    conditions: str | Path | None = None,
    config: str | Path | None = None,
    format: ExportFormat = "onnx",
    precision: Precision = "fp32",
    size: tuple[int, int] | None = None,
    max_individuals: int | None = None,
    calibration: str | Path | None = None,
    tolerance: float | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = lambda step: None,
) -> Bundle:
    """Make a bundle from a DeepLabCut snapshot.

    Args:
        snapshot: a pose snapshot, the single file of DeepLabCut's ``export_model``, or a model of
            its zoo (``modelzoo:superanimal_quadruped``, see :mod:`.modelzoo`).
        detector: the detector's snapshot of a top-down model.
        conditions: the snapshot of a bottom-up model whose poses a conditional top-down model
            refines; without it they are given when the bundle is used.
        config: by default the ``pytorch_config.yaml`` beside the snapshot.
        format: what to build.
        precision: numbers the networks compute in.
        size: (height, width) of the pose graph's input, for a bottom-up model whose configuration
            leaves it free; free too when None.
        max_individuals: animals looked for in a frame; as many as the configuration names when
            None.
        calibration: a video or folder of images to judge the engines on; the project's labelled
            images when None.
        tolerance: largest distance in pixels from the PyTorch graph; the contract's when None.
        output: the bundle's folder; named as the snapshot, in the working folder, when None.
        overwrite: replace ``output`` if it is a bundle.
        progress: called with the name of each step as it begins.

    Returns:
        The sealed bundle.

    Raises:
        InputError: something given cannot be used; its subclasses say what.
        VerificationError: an engine differs from the PyTorch graph; nothing is written.
    """
    snapshot = Path(snapshot)
    folder = Path(output) if output is not None else Path(_name(snapshot))
    _check_output(folder, overwrite)
    _check_numbers(max_individuals, tolerance)
    progress("loading the snapshot")
    source = load_source(
        snapshot, _path(detector), _path(config), _path(conditions), max_individuals
    )
    plan = plan_graphs(source, size, max_individuals, precision)
    samples = choose_samples(_path(calibration), snapshot, plan.drawn_size)
    with _building(folder, overwrite) as build:
        (build / CONFIG).write_text(source.config_text, encoding="utf-8")
        graphs = _graphs(source, plan)
        references = {name: Recorder(TorchEngine(graph)) for name, graph in graphs.items()}
        progress("running the PyTorch graph")
        _record_golden(source, plan, references, samples).save(build / GOLDEN)
        _check_sizes(plan, references[POSE], samples)
        for name, graph in graphs.items():
            progress(f"exporting the {name} graph to ONNX")
            rewrite_operators(graph)
            write_onnx(
                graph,
                build / f"{name}.onnx",
                size=plan.sizes[name],
                outputs=graph.outputs,
                conditions=plan.keypoints if name == POSE and plan.pose.condition else None,
            )
        progress("comparing ONNX Runtime with PyTorch")
        if tolerance is None:
            tolerance = DEFAULT_TOLERANCE[precision]
        parity = _judge(build, plan, references, samples, tolerance)
        (build / PARITY).write_text(parity.model_dump_json(indent=2) + "\n", encoding="utf-8")
        parity.require()
        manifest = _manifest(source, plan, build)
        (build / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return Bundle.open(folder)


def _graphs(source: Source, plan: Plan) -> dict[str, PoseGraph | DetectorGraph]:
    graphs: dict[str, PoseGraph | DetectorGraph] = {}
    if source.detector is not None and plan.detector is not None:
        graphs[DETECTOR] = DetectorGraph(
            source.detector, plan.detector.normalization, plan.individuals
        )
    if source.conditions is not None and plan.conditions is not None:
        graphs[CONDITIONS] = PoseGraph(source.conditions.model, plan.conditions.pose.normalization)
    graphs[POSE] = PoseGraph(source.model, plan.pose.normalization)
    for graph in graphs.values():
        graph.eval()
    return graphs


def _record_golden(
    source: Source, plan: Plan, references: dict[str, Recorder], samples: Samples
) -> Golden:
    """Run all samples through the reference; the golden frame is the first that shows something."""
    pipeline = connect(draft_manifest(source, plan), references, plan.individuals)
    try:
        golden = [_golden(pipeline, plan, frame[None]) for frame in samples.frames]
    except RuntimeError as error:  # PyTorch's for shapes that do not fit each other
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"{source.snapshot}: expected a network for the images that its configuration prepares "
            f"({plan.pose.size or 'whole frames'}), but it cannot take them: {reason}. Check "
            "data.inference in the configuration, and its sizes."
        ) from error
    finally:  # no pipeline fits a network of other keypoints, so its error says less
        models = {POSE: source, CONDITIONS: source.conditions}
        for name, model in models.items():
            if model is not None and references[name].calls:
                outputs = references[name].calls[0].outputs
                check_names(model.config, model.snapshot, outputs, model.individuals)
    return max(golden, key=_worth)


def _worth(golden: Golden) -> int:
    """How much a replay can compare: keypoints that the model is sure of, others, or none."""
    score = golden.poses.score
    return int((score >= MIN_SCORE).any()) + int(np.isfinite(score).any())


def _golden(pipeline: Pipeline, plan: Plan, frames: NDArray[np.uint8]) -> Golden:
    if not isinstance(pipeline, ConditionalTopDown):
        return Golden(frames, run_steps(pipeline, frames))
    if plan.conditions is None:
        conditions = draw_conditions(frames.shape[1:3], plan.individuals, plan.keypoints)
    else:
        conditions = pipeline.find(frames)
    return Golden(frames, pipeline.refine(frames, conditions), conditions)


def _judge(
    build: Path, plan: Plan, references: dict[str, Recorder], samples: Samples, tolerance: float
) -> Parity:
    engines = {name: open_engine(build / f"{name}.onnx") for name in references}
    groupings = {POSE: plan.pose.grouping}
    if plan.conditions is not None:
        groupings[CONDITIONS] = plan.conditions.pose.grouping
    parity = Parity(
        reference=references[POSE].description,
        engine=engines[POSE].description,
        frames=len(samples.frames),
        frames_from=samples.origin,
        tolerance_px=tolerance,
        graphs={
            name: compare(references[name].calls, engine, groupings.get(name))
            for name, engine in engines.items()
        },
    )
    for engine in engines.values():
        engine.close()
    return parity


def draft_manifest(source: Source, plan: Plan) -> Manifest:
    """The manifest but for the files of the bundle, which are not all there yet."""
    origin = origin_of(source.snapshot, source.detector_snapshot)
    if source.conditions is not None:
        conditions = source.conditions.snapshot.name
        origin = origin.model_copy(update={"conditions_snapshot": conditions})
    scorer = source.scorer or scorer_name(source.config.net_type, origin)
    tools = {"onnx": onnx.__version__}
    return entries.draft_manifest(source.config, plan.entries, origin, scorer, tools)


def _name(snapshot: Path) -> str:
    """The folder of a bundle where nobody names one."""
    return modelzoo.folder_name(snapshot) if modelzoo.is_zoo_name(snapshot) else snapshot.stem


def _manifest(source: Source, plan: Plan, build: Path) -> Manifest:
    files = {path.name: sha256(path) for path in sorted(build.iterdir())}
    return draft_manifest(source, plan).model_copy(update={"files": files}).sealed()


@contextlib.contextmanager
def _building(folder: Path, overwrite: bool) -> Iterator[Path]:
    build = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(build, ignore_errors=True)
    try:
        build.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"{folder}: expected a place to write the bundle, got: {error.strerror}. "
            "Choose another with -o."
        ) from error
    try:
        yield build
        if overwrite and folder.exists():
            shutil.rmtree(folder)
        build.rename(folder)
    finally:
        shutil.rmtree(build, ignore_errors=True)


def _check_output(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not overwrite:
        raise UsageError(f"{folder}: already exists. Pass --overwrite, or another -o.")
    if not (folder / MANIFEST).is_file():
        raise UsageError(f"{folder}: is not a bundle, so it is not overwritten. Choose another -o.")


def _check_numbers(max_individuals: int | None, tolerance: float | None) -> None:
    if max_individuals is not None and max_individuals < 1:
        raise UsageError(f"Expected --max-individuals of 1 or more, got {max_individuals}.")
    if tolerance is not None and not tolerance >= 0:
        raise UsageError(f"Expected a --tolerance of 0 pixels or more, got {tolerance}.")


def _check_sizes(plan: Plan, pose: Recorder, samples: Samples) -> None:
    """With a fixed size, all that the network was given must have it."""
    if plan.pose.size is None:
        return
    found = {call.inputs[INPUT].shape[1:3] for call in pose.calls} - {plan.pose.size}
    if found:
        raise UsageError(
            f"Expected frames of --size {plan.pose.size} to compare engines on, got "
            f"{sorted(found)} ({samples.origin}). Leave --size out, or pass frames of that size: "
            "--calibration VIDEO."
        )


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
