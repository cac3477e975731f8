"""A loaded bundle: frames in, poses out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.bundle import Bundle
from dlc_deploy.choices import EngineName
from dlc_deploy.engine import Engine
from dlc_deploy.errors import UsageError
from dlc_deploy.manifest import Manifest
from dlc_deploy.poses import Poses

from .engines import open_engine
from .parallel import Parallelism
from .pipelines import ConditionalTopDown, Pipeline, build_pipeline, run_steps


class Estimator:
    """Poses of frames by the models of one bundle; a context manager.

    May be called from several threads at once.

    Attributes:
        bundle: what was loaded.
        conditions: the bundle that finds the poses which a conditional top-down bundle refines, or
            None: then its own model does, where it has one.
        device: ``cpu`` or ``cuda:N``.
        max_individuals: animals looked for in a frame.
        parallelism: how the cores are used.
        pipeline: the steps from frames to poses.
    """

    def __init__(
        self,
        bundle: Bundle,
        pipeline: Pipeline,
        *,
        max_individuals: int,
        parallelism: Parallelism,
        conditions: Bundle | None = None,
    ) -> None:
        self.bundle, self.conditions = bundle, conditions
        self.pipeline, self.parallelism = pipeline, parallelism
        self.max_individuals = max_individuals
        self.device = pipeline.engines["pose"].device

    def __repr__(self) -> str:
        return f"Estimator({str(self.bundle.path)!r}, device={self.device!r})"

    def __enter__(self) -> Estimator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def refiner(self) -> ConditionalTopDown:
        """The pipeline of a conditional top-down bundle.

        Raises:
            UsageError: the bundle is of another kind.
        """
        if not isinstance(self.pipeline, ConditionalTopDown):
            raise _takes_no_conditions(self.bundle)
        return self.pipeline

    def __call__(self, frames: NDArray[np.uint8], conditions: Poses | None = None) -> Poses:
        """Poses of frames.

        Args:
            frames: uint8 [N, H, W, 3] RGB; one frame [H, W, 3] is taken as N = 1.
            conditions: poses in these frames for a conditional top-down bundle to refine; found by
                its conditions model when None.

        Returns:
            Poses in pixels of the frames.

        Raises:
            ValueError: frames of another dtype or shape, or conditions of other frames.
            UsageError: conditions for a bundle that takes none, or none for one that needs them.
        """
        if frames.ndim == 3:
            frames = frames[None]
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
            raise ValueError(
                f"Expected frames uint8 [N, H, W, 3] in RGB, got {frames.dtype} "
                f"{list(frames.shape)}."
            )
        if 0 in frames.shape:
            raise ValueError(f"Expected at least one frame and one pixel, got {frames.shape}.")
        if conditions is not None:
            return self.refiner.refine(frames, conditions)
        return run_steps(self.pipeline, frames)

    def close(self) -> None:
        """Release the engines."""
        for engine in self.pipeline.engines.values():
            engine.close()


def load(
    bundle: str | Path | Bundle,
    *,
    device: str = "cpu",
    engine: EngineName = "auto",
    max_individuals: int | None = None,
    parallelism: Parallelism | None = None,
    conditions: str | Path | Bundle | None = None,
) -> Estimator:
    """Load a bundle.

    Args:
        bundle: its folder.
        device: ``cpu``, ``cuda`` or ``cuda:N``; an explicit request never falls back.
        engine: what executes the graphs.
        max_individuals: animals to look for; the bundle's own number when None.
        parallelism: by default one batch on all cores, which answers soonest; see
            :meth:`Parallelism.for_throughput` for videos.
        conditions: a bundle of the same bodyparts whose poses a conditional top-down bundle
            refines; the bundle's own conditions model when None.

    Raises:
        BundleError: no bundle, or a damaged one.
        UnavailableError: the engine or device is not on this machine.
        UsageError: more individuals than the bundle was exported for, or conditions that do not
            fit it.
    """
    bundle, parallelism = _opened(bundle), parallelism or Parallelism.for_latency()
    finder = None if conditions is None else _opened(conditions)
    if finder is not None:
        _require_same_animals(bundle, finder)
    individuals = _individuals(bundle.manifest, max_individuals)

    def open_graph(graph: Path) -> Engine:
        return open_engine(graph, name=engine, device=device, threads=parallelism.threads)

    pipeline = build_pipeline(bundle, open_graph, individuals, finder)
    return Estimator(
        bundle,
        pipeline,
        max_individuals=individuals,
        parallelism=parallelism,
        conditions=finder,
    )


def _opened(bundle: str | Path | Bundle) -> Bundle:
    return bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)


def _require_same_animals(bundle: Bundle, conditions: Bundle) -> None:
    if bundle.manifest.method != "ctd":
        raise _takes_no_conditions(bundle)
    expected, got = bundle.manifest.bodyparts, conditions.manifest.bodyparts
    if expected != got:
        raise UsageError(
            f"{conditions.path}: expected a bundle with the bodyparts of {bundle.path}, "
            f"{list(expected)}, got {list(got)}."
        )


def _takes_no_conditions(bundle: Bundle) -> UsageError:
    return UsageError(
        f"{bundle.path}: expected a conditional top-down bundle (method ctd) to give conditions "
        f"to, got one of method {bundle.manifest.method}. Leave the conditions out."
    )


def _individuals(manifest: Manifest, asked: int | None) -> int:
    most = manifest.max_individuals
    if asked is None:
        return most
    if not 1 <= asked <= most:
        raise UsageError(
            f"Expected 1 to {most} individuals, got {asked}: the bundle was exported for {most}. "
            "Export the snapshot again with --max-individuals."
        )
    if asked != most and manifest.pose.identity:
        raise UsageError(
            f"This bundle tells {most} individuals apart and looks for as many, got "
            f"--max-individuals {asked}. Leave the option out."
        )
    return asked
