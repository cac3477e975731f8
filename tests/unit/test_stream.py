from __future__ import annotations

import threading
import time

import pytest

from dlc_deploy.runtime.pipelines.stream import Stage, Stream


def run(source, stages, depth=4):
    with Stream(source, stages, depth=depth) as stream:
        return list(stream), stream.times


def test_results_come_in_the_order_of_the_source_whatever_finishes_first():
    def slow_for_even(value):
        time.sleep(0.01 if value % 2 == 0 else 0)
        return value * 10

    stages = [Stage("a", slow_for_even, workers=3), Stage("b", lambda v: v + 1, workers=2)]
    results, times = run(range(20), stages)
    assert results == [v * 10 + 1 for v in range(20)]
    assert times["a"].items == times["b"].items == 20


def test_stages_overlap():
    meeting = threading.Barrier(2, timeout=5)

    def meet(value):
        if value in (0, 1):
            meeting.wait()  # both items must be in the stage at once, or this times out
        return value

    results, _ = run(range(2), [Stage("meet", meet, workers=2)])
    assert results == [0, 1]


def test_no_more_than_depth_items_are_in_flight():
    started, finished, most = 0, 0, 0

    def source():
        nonlocal started, most
        for value in range(50):
            started += 1
            most = max(most, started - finished)
            yield value

    with Stream(source(), [Stage("a", lambda v: v)], depth=3) as stream:
        for _ in stream:
            time.sleep(0.001)
            finished += 1
    # one more than the depth: the consumer's item is given back when it asks for the next
    assert started == 50 and 2 <= most <= 4


@pytest.mark.parametrize("where", ["decode", "a", "b"])
def test_a_fault_in_any_stage_surfaces_with_its_stage_and_item_and_ends_all_threads(where):
    def fail_at(stage):
        def work(value):
            if stage == where and value == 5:
                raise OSError("broken")
            return value

        return work

    def source():
        yield from map(fail_at("decode"), range(100))

    before = threading.active_count()
    with pytest.raises(OSError, match="broken") as error:
        run(source(), [Stage("a", fail_at("a"), workers=2), Stage("b", fail_at("b"))])
    assert error.value.__notes__ == [f"in stage {where!r}, item 5"]
    assert threading.active_count() == before


def test_leaving_early_stops_the_source():
    pulled = []

    def source():
        for value in range(1000):
            pulled.append(value)
            yield value

    before = threading.active_count()
    with Stream(source(), [Stage("a", lambda v: v)], depth=4) as stream:
        assert next(iter(stream)) == 0
    assert threading.active_count() == before
    assert len(pulled) < 20


def test_an_empty_source_ends_at_once():
    assert run([], [Stage("a", lambda v: v)])[0] == []


def test_the_fault_surfaces_even_where_its_thread_is_slow_to_tell():
    ready = threading.Event()

    def fail(value):
        ready.wait(5)
        raise OSError("broken")

    with Stream(range(3), [Stage("a", fail)], depth=2) as stream:
        results = stream._queues[-1]

        class Slow:
            def put(self, item):
                time.sleep(0.4)
                results.put(item)

            def get(self, timeout):
                return results.get(timeout=timeout)

        stream._queues[-1] = Slow()
        ready.set()
        with pytest.raises(OSError, match="broken"):
            list(stream)
