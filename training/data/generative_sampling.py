"""Poses with the errors that pose models make: conditions to train conditional top-down models on.

The kinds of errors and their distances are PoseFix's (Moon et al. 2019, arXiv:1812.03595), in the
variant of BUCTD (Zhou et al. 2023, arXiv:2306.07879) that DeepLabCut has
(``data/generative_sampling.py``). Each labelled keypoint becomes one of

    good       close to its place
    jitter     a little off
    inversion  at another bodypart of the same animal
    swap       at a bodypart of a near animal
    miss       far off

"A little" and "far" are where the keypoint similarity of OKS falls to 0.85, 0.5 and 0.1; an error
counts only where it is not closer to another place it could be taken for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dlc_deploy.errors import ConfigError

Floats = NDArray[np.float64]
Pairs = tuple[tuple[int, int], ...]

DRAWS = 500
"""Places that are tried for each kind of error."""


@dataclass(frozen=True, slots=True)
class GenerativeSampler:
    """Draws poses with errors; the keys of ``data.gen_sampling``.

    Attributes:
        num_keypoints: K, bodyparts of an animal.
        keypoint_sigmas: of all keypoints, or of each of the K; as in OKS.
        keypoints_symmetry: pairs of bodyparts that are taken for each other; None draws pairs anew
            for each keypoint.
        jitter_prob: how often a keypoint is a little off.
        swap_prob: how often it is at a near animal.
        inv_prob: how often it is at the other bodypart of its pair.
        miss_prob: how often it is far off.

    Raises:
        ConfigError: values that contradict each other.
    """

    num_keypoints: int
    keypoint_sigmas: float | tuple[float, ...] = 0.1
    keypoints_symmetry: Pairs | None = None
    jitter_prob: float = 0.16
    swap_prob: float = 0.08
    inv_prob: float = 0.03
    miss_prob: float = 0.10

    def __post_init__(self) -> None:
        if not 0 <= self._errors().sum() <= 1 or (self._errors() < 0).any():
            raise ConfigError(
                f"Expected probabilities of errors that add up to 1 at most, got {self._errors()}. "
                "Correct data.gen_sampling."
            )
        if np.ndim(self.keypoint_sigmas) and len(self._sigmas()) != self.num_keypoints:
            raise ConfigError(
                f"Expected {self.num_keypoints} keypoint_sigmas, got {len(self._sigmas())}. "
                "Give one number, or one for each bodypart, in data.gen_sampling."
            )

    @classmethod
    def of(cls, num_keypoints: int, section: Mapping[str, Any]) -> GenerativeSampler:
        """From ``data.gen_sampling`` of a configuration.

        Raises:
            ConfigError: a key that is not known, or values that contradict each other.
        """
        known = {field.name for field in fields(cls)} - {"num_keypoints"}
        if unknown := set(section) - known:
            raise ConfigError(
                f"Expected the keys {', '.join(sorted(known))} in data.gen_sampling, "
                f"got {', '.join(sorted(unknown))} as well. Remove them."
            )
        values = dict(section)
        if not isinstance(values.get("keypoint_sigmas", 0.1), (int, float)):
            values["keypoint_sigmas"] = tuple(values["keypoint_sigmas"])
        pairs = values.get("keypoints_symmetry") or None
        values["keypoints_symmetry"] = pairs and tuple((int(a), int(b)) for a, b in pairs)
        return cls(num_keypoints, **values)

    def __call__(
        self, keypoints: Floats, near: Floats, area: float, size: tuple[int, int]
    ) -> Floats:
        """A pose with errors: float64 [K, 3], visibility 2; zeros where nothing is labelled.

        A keypoint's pair is looked up where it was put before, if it comes earlier, as in
        DeepLabCut. Random numbers follow torch's generator.

        Args:
            keypoints: [K, 3]; the labelled pose.
            near: [N, K, 3]; poses that keypoints may be swapped with.
            area: of the animal's box, in pixels; distances grow with its root.
            size: (height, width) of the image; results are clipped to it.
        """
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        reach = self.distances(area)
        placed = keypoints.astype(np.float64)
        for joint in range(self.num_keypoints):
            if keypoints[joint, 2] <= 0:
                placed[joint] = 0
                continue
            pair = self._pair_of(joint, rng)
            places = _Places.of(joint, pair, placed, keypoints[:, 2] > 0, near)
            placed[joint] = self._drawn(places, reach[:, joint], rng)
        placed[np.isnan(placed).any(axis=1), 2] = 0
        placed[:, :2] = placed[:, :2].clip(0, (size[1], size[0]))
        return placed

    def distances(self, area: float) -> Floats:
        """[3, K]; pixels at which the keypoint similarity is 0.85, 0.5 and 0.1."""
        similarity = np.array([0.85, 0.5, 0.1])[:, None]
        sigmas = np.broadcast_to(self._sigmas(), self.num_keypoints)
        reach: Floats = np.sqrt(-2 * area * (2 * sigmas) ** 2 * np.log(similarity))
        return reach

    def _drawn(self, places: _Places, reach: Floats, rng: np.random.Generator) -> Floats:
        """[3]; one kind of error that is possible here, and one of its places.

        A kind that turns out to be impossible is left out and another one drawn: the others come
        up as often as if it had been known before, and most kinds need not be tried.
        """
        near, middle, far = reach
        kinds: list[Callable[[], Floats]] = [
            lambda: places.good(near, rng),
            lambda: places.jitter(near, middle, rng),
            lambda: places.miss(middle, far, rng),
            lambda: places.inversion(middle, rng),
            lambda: places.swap(middle, rng),
        ]
        errors = self._errors()
        odds = np.append(max(0.0, 1 - errors.sum()), errors)
        while odds.sum() > 0:
            kind = rng.choice(len(kinds), p=odds / odds.sum())
            found = kinds[kind]()
            if len(found):
                return np.append(found[rng.integers(len(found))], 2.0)
            odds[kind] = 0
        return np.zeros(3)

    def _pair_of(self, joint: int, rng: np.random.Generator) -> int | None:
        pairs: Any = self.keypoints_symmetry
        if not pairs:
            half = self.num_keypoints // 2
            pairs = rng.permutation(self.num_keypoints)[: 2 * half].reshape(half, 2)
        found = None
        for one, other in pairs:
            if joint in (one, other):
                found = int(other if joint == one else one)
        return found

    def _errors(self) -> Floats:
        return np.array([self.jitter_prob, self.miss_prob, self.inv_prob, self.swap_prob])

    def _sigmas(self) -> Floats:
        return np.atleast_1d(np.asarray(self.keypoint_sigmas, np.float64))


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a keypoint may be put or taken for: [S, 2], its own place first.

    Attributes:
        points: its own place, the same bodypart of near animals, the pair's place (where it is
            visible), the pair of near animals.
        inverse: index that the pair's place has, or would have. Swaps leave it out even where it
            belongs to a near animal, as in DeepLabCut.
        has_inverse: whether it is the pair's.
    """

    points: Floats
    inverse: int
    has_inverse: bool

    @classmethod
    def of(
        cls, joint: int, pair: int | None, placed: Floats, visible: NDArray[np.bool_], near: Floats
    ) -> _Places:
        own, swapped = placed[joint, None, :2], _visible(near, joint)
        has_inverse = pair is not None and bool(visible[pair])
        parts = [own, swapped]
        if has_inverse:
            parts.append(placed[pair, None, :2])
        if pair is not None:
            parts.append(_visible(near, pair))
        return cls(np.concatenate(parts), 1 + len(swapped), has_inverse)

    def good(self, near: float, rng: np.random.Generator) -> Floats:
        return self._around(0, 0, near, DRAWS // 4, rng)

    def jitter(self, near: float, middle: float, rng: np.random.Generator) -> Floats:
        return self._around(0, near, middle, DRAWS, rng)

    def inversion(self, middle: float, rng: np.random.Generator) -> Floats:
        if not self.has_inverse:
            return np.empty((0, 2))
        return self._around(self.inverse, 0, middle, DRAWS, rng)

    def swap(self, middle: float, rng: np.random.Generator) -> Floats:
        own = [index for index in (0, self.inverse) if index < len(self.points)]
        found = [np.empty((0, 2))]
        for index in range(len(self.points)):
            if index not in own:
                points, radius = _ring(self.points[index], 0, middle, DRAWS, rng)
                found.append(_apart(points, self.points[own], radius))
        return np.concatenate(found)

    def miss(self, middle: float, far: float, rng: np.random.Generator) -> Floats:
        """Around each place; those around others count a quarter."""
        found = []
        for index, place in enumerate(self.points):
            points, _ = _ring(place, middle, far, 4 * DRAWS, rng)
            points = _apart(points, np.delete(self.points, index, axis=0), middle)
            if index > 0 and len(points):
                points = points[rng.integers(len(points), size=len(points) // 4)]
            found.append(points)
        return np.concatenate(found)

    def _around(
        self, index: int, low: float, high: float, count: int, rng: np.random.Generator
    ) -> Floats:
        """Points around a place that are not closer to another one."""
        points, radius = _ring(self.points[index], low, high, count, rng)
        return _apart(points, np.delete(self.points, index, axis=0), radius)


def _visible(poses: Floats, joint: int) -> Floats:
    return poses[poses[:, joint, 2] > 0, joint, :2]


def _ring(
    center: Floats, low: float, high: float, count: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """``count`` points [count, 2] between two distances from ``center``, with their distances."""
    angle = rng.uniform(0, 2 * np.pi, count)
    radius = rng.uniform(low, high, count)
    return center + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1), radius


def _apart(points: Floats, others: Floats, distance: Floats | float) -> Floats:
    """Those of ``points`` [M, 2] that are further than ``distance`` from each of ``others``."""
    across = others[:, 0, None] - points[:, 0]
    down = others[:, 1, None] - points[:, 1]
    apart = np.sqrt(across**2 + down**2) > distance
    kept: Floats = points[apart.all(axis=0)]
    return kept
