"""How what a graph found becomes animals: the part of decoding that has no fixed shape.

A predictor says it (``training``), the manifest carries it, ``runtime.assembly`` does it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dlc_deploy.preprocessing import Value

Edge = tuple[int, int]


class PafGrouping(Value):
    """Peaks of each bodypart are linked by part affinity fields, and links become animals.

    The graph's outputs are then ``peaks`` float32 [N, K, P, 3] (x, y in input pixels, and score;
    best first, and a place without a peak has score 0) and ``affinities`` float32 [N, E, P, P]
    (of the peaks of an edge's first and second bodypart).

    Attributes:
        edges: E pairs of bodyparts.
        individuals: animals looked for; also P.
        min_score: peaks below it are not linked.
        min_affinity: links below it are dropped.
        min_links: links that make an animal.
        max_overlap: share of common keypoints from which the worse of two animals is dropped.
        add_discarded, force_fusion: DeepLabCut's ways to use what is left over.
        clip_scores: clip scores to 0..1 at the end.
    """

    kind: Literal["paf"] = "paf"
    edges: tuple[Edge, ...]
    individuals: Annotated[int, Field(gt=0)]
    min_score: float = 0.1
    min_affinity: float = 0.05
    min_links: int = 2
    max_overlap: float = 0.8
    add_discarded: bool = False
    force_fusion: bool = False
    clip_scores: bool = False


class PoseNmsGrouping(Value):
    """Of two poses that lie on each other only the better one is kept.

    The graph's output is ``poses`` float32 [N, I, K, 3].

    Attributes:
        threshold: share of an animal's size below which one common keypoint makes two poses one.
    """

    kind: Literal["pose_nms"] = "pose_nms"
    threshold: float = 0.05


Grouping = Annotated[PafGrouping | PoseNmsGrouping, Field(discriminator="kind")]
