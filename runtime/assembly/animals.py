"""Links become animals, in one frame.

As build_assemblies and _fill_assembly in deeplabcut's core/inferenceutils.py (Lauer et al., 2022),
without its calibration on labelled data, which its networks do not use. Where two competing links
have the very same affinity (DeepLabCut rounds it to 3 decimals), DeepLabCut's choice depends on how
many peaks there are in the frame; here the link of the earlier edge wins.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np

from dlc_deploy.grouping import PafGrouping

from .grouped import Float, Index
from .links import Links


@dataclass(eq=False, slots=True)
class Animal:
    """An animal that grows.

    Attributes:
        nodes: the node (see :class:`Links`) of each bodypart, -1 where there is none yet.
        links: numbers of its links, in the order in which they came.
        size: bodyparts that are there.
    """

    nodes: list[int]
    links: list[int] = field(default_factory=list)
    size: int = 0

    def overlaps(self, other: Animal) -> bool:
        """Whether both have a bodypart."""
        return any(a >= 0 and b >= 0 for a, b in zip(self.nodes, other.nodes, strict=True))

    def merged(self, other: Animal) -> Animal:
        """Both, which have no bodypart in common, as one."""
        pairs = zip(self.nodes, other.nodes, strict=True)
        nodes = [a if a >= 0 else b for a, b in pairs]
        return Animal(nodes, self.links + other.links, self.size + other.size)

    def total(self, affinity: Float) -> np.float32:
        """Sum of its links' affinities; in single precision and in their order, as DeepLabCut."""
        if not self.links:
            return np.float32(0)
        total: np.float32 = np.cumsum(affinity[self.links], dtype=np.float32)[-1]
        return total


def build_animals(grouping: PafGrouping, links: Links, bodyparts: int, xy: Float) -> list[Animal]:
    """Animals of one frame, complete ones first; perhaps more than there are.

    Args:
        grouping: ``individuals`` and ``force_fusion`` are used.
        links: of the frame.
        bodyparts: K.
        xy: float32 [K * P, 2]; positions of the nodes.
    """
    builder = _Builder(links, bodyparts)
    builder.take_complete()
    if len(builder.animals) == grouping.individuals:
        return builder.animals
    builder.grow_from_best_links()
    surplus = len(builder.animals) - grouping.individuals
    if surplus > 0 and grouping.force_fusion:
        builder.fuse_nearest(surplus, xy)
    elif surplus > 0:
        builder.fuse_linked()
    builder.fill_incomplete()
    return builder.animals


class _Builder:
    """Animals so far, and the links and nodes that are left."""

    def __init__(self, links: Links, bodyparts: int) -> None:
        self.animals: list[Animal] = []
        self._links = links
        self._bodyparts = bodyparts
        places = len(links.component) // bodyparts
        self._part = (np.arange(len(links.component)) // places).tolist()
        self._ends = list(zip(links.source.tolist(), links.target.tolist(), strict=True))
        self._affinity: list[float] = links.affinity.tolist()
        self._connect(np.arange(0))
        self._taken: set[int] = set()

    def take_complete(self) -> None:
        """Groups of linked nodes with as many nodes as there are bodyparts are animals."""
        links = self._links
        of_link = links.component[links.source]
        complete = np.bincount(links.component) == self._bodyparts
        left = np.ones(len(of_link), bool)
        groups = dict.fromkeys(of_link[complete[of_link]].tolist())
        plain: dict[int, Animal | None] = {}
        for group in groups:
            chosen = of_link == group
            nodes = np.flatnonzero(links.component == group)
            plain[group] = self._plain(nodes, np.flatnonzero(chosen))
            if plain[group] is not None:
                left &= ~chosen
        self._connect(np.flatnonzero(left))
        for group in groups:
            animal = plain[group] or self._joined(np.flatnonzero(of_link == group))
            self._take(animal)

    def grow_from_best_links(self) -> None:
        """The best link whose nodes are both free begins an animal, and so on."""
        for seed in sorted(self._open, key=self._affinity.__getitem__, reverse=True):
            if not self._taken.isdisjoint(self._ends[seed]):
                continue
            animal = Animal([-1] * self._bodyparts)
            self._add(animal, seed)
            self._fill(animal)
            self._take(animal)

    def fuse_linked(self) -> None:
        """Incomplete animals between which there is an unused link, and which complement each
        other, are one."""
        owner = {
            node: animal
            for animal in self.animals
            if animal.size != self._bodyparts
            for node in animal.nodes
            if node >= 0
        }
        used = {link for animal in self.animals for link in animal.links}
        for link in self._open:
            first, second = (owner.get(node) for node in self._ends[link])
            if link in used or first is None or second is None or first.overlaps(second):
                continue
            whole = first.merged(second)
            first.nodes, first.links, first.size = whole.nodes, whole.links, whole.size
            self.animals.remove(second)
            owner |= {node: first for node in second.nodes if node >= 0}

    def fuse_nearest(self, surplus: int, xy: Float) -> None:
        """Each of the smallest animals also joins the nearest one that complements it."""
        self.animals.sort(key=lambda animal: animal.size)
        for place in range(surplus):
            animal = self.animals[place]
            others = [other for other in self.animals[place:] if not other.overlaps(animal)]
            if not others:
                continue
            nearest = min(others, key=lambda other: _distance(animal, other, xy))
            self.animals[self.animals.index(nearest)] = nearest.merged(animal)

    def fill_incomplete(self) -> None:
        """What is free and linked to an incomplete animal joins it."""
        for animal in self.animals:
            if animal.size != self._bodyparts:
                self._fill(animal)
                self._taken.update(animal.nodes)

    def _connect(self, links: Index) -> None:
        """Remember the open links, and for each node those that begin or end there: in their order,
        ``_others`` at the other end of ``_through``, from ``_first`` of the node on."""
        ends = self._links.source[links], self._links.target[links]
        node, other = np.concatenate(ends), np.concatenate(ends[::-1])
        through = np.tile(links, 2)
        order = np.argsort(node * (len(self._ends) + 1) + through)
        self._open: list[int] = links.tolist()
        self._others: list[int] = other[order].tolist()
        self._through: list[int] = through[order].tolist()
        nodes = np.arange(len(self._part) + 1)
        self._first: list[int] = np.searchsorted(node[order], nodes).tolist()

    def _plain(self, nodes: Index, links: Index) -> Animal | None:
        """The animal of a complete group that has each bodypart once."""
        parts = [self._part[node] for node in nodes.tolist()]
        forward = bool((self._links.source[links] < self._links.target[links]).all())
        if not forward or parts != list(range(self._bodyparts)):
            return None
        return Animal(nodes.tolist(), links.tolist(), len(parts))

    def _joined(self, links: Index) -> Animal:
        """The animal of another complete group; what comes first wins."""
        animal = Animal([-1] * self._bodyparts)
        for link in links.tolist():
            source, target = self._ends[link]
            if source < target:  # DeepLabCut overlooks other edges
                self._add(animal, link)
        return animal

    def _fill(self, animal: Animal) -> None:
        """Follow the best links from an animal until it is complete or nothing is linked.

        A link to a bodypart that the animal has already can bring nothing, and nor can what lies
        behind it: such links need no look.
        """
        part, affinity, taken, nodes = self._part, self._affinity, self._taken, animal.nodes
        heap: list[tuple[float, int, int, int]] = []
        count = 0
        new = [node for node in nodes if node >= 0]
        while animal.size < self._bodyparts:
            for node in new:
                around = slice(self._first[node], self._first[node + 1])
                for other, link in zip(self._others[around], self._through[around], strict=True):
                    if nodes[part[other]] < 0 and other not in taken:
                        count += 1
                        heapq.heappush(heap, (-affinity[link], count, link, other))
            if not heap:
                return
            link, other = heapq.heappop(heap)[2:]
            new = [other] if self._add(animal, link) else []

    def _add(self, animal: Animal, link: int) -> bool:
        """Add a link and the bodyparts it brings; False if it brings none."""
        source, target = self._ends[link]
        nodes, source_part, target_part = animal.nodes, self._part[source], self._part[target]
        had_source, had_target = nodes[source_part], nodes[target_part]
        if had_source >= 0 and had_target >= 0:
            if had_source == source and had_target == target:
                animal.links.append(link)
            return False
        if had_source < 0:
            nodes[source_part] = source
            animal.size += 1
        if had_target < 0:
            nodes[target_part] = target
            animal.size += 1
        animal.links.append(link)
        return True

    def _take(self, animal: Animal) -> None:
        self.animals.append(animal)
        self._taken.update(animal.nodes)


def _distance(first: Animal, second: Animal, xy: Float) -> float:
    """Between the nearest two of their keypoints."""
    a, b = (xy[[n for n in animal.nodes if n >= 0]].astype(float) for animal in (first, second))
    return float(np.linalg.norm(a[:, None] - b[None], axis=2).min(initial=np.inf))
