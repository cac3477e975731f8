"""``<stem><scorer>.run.json``: what was analysed, by what, and where the time went."""

from __future__ import annotations

from pydantic import Field

from dlc_deploy.preprocessing import Value


class VideoFacts(Value):
    """The video that was analysed."""

    name: str
    bytes: int
    width: int
    height: int
    fps: float
    codec: str
    pixel_format: str


class StageFacts(Value):
    """One stage of the run.

    Attributes:
        busy_seconds: wall-clock time inside the stage, summed over its workers.
        cpu_seconds: processor time of these workers; threads of an engine's own are not in it.
    """

    workers: int
    items: int
    busy_seconds: float
    cpu_seconds: float


class RunReport(Value):
    """Written last: a results folder without it is of a run that did not end.

    Attributes:
        bundle: fingerprint of the bundle.
        conditions: what gave the poses that a conditional top-down bundle refined: name of the
            file, fingerprint of the other bundle, or None for the bundle's own model.
        engines: what executed each graph.
        frames_range: first frame, and the one after the last.
        frames_in_container: what the header promises, or None.
        frames_decoded, frames_analyzed: of the range.
        missing: frame number to the reason why it has no pose.
        pts_seconds: presentation times of the first and last frame of the range.
        stages: by name.
        warnings: what a person should know about the result, in words.
        outputs: SHA-256 of each written file, by name.
    """

    scorer: str
    bundle: str
    versions: dict[str, str]
    device: str
    conditions: str | None = None
    engines: dict[str, str]
    batch: int
    max_individuals: int
    video: VideoFacts
    frames_range: tuple[int, int]
    frames_in_container: int | None
    frames_decoded: int
    frames_analyzed: int
    missing: dict[int, str]
    pts_seconds: tuple[float | None, float | None]
    stages: dict[str, StageFacts]
    wall_seconds: float
    frames_per_second: float
    warnings: tuple[str, ...] = ()
    outputs: dict[str, str] = Field(default_factory=dict)
    complete: bool = True
