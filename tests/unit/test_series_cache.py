"""The memory of the series that were seen."""

import gc
import tracemalloc
import weakref
from collections.abc import Callable

from router.parsing.lines.series_cache import NamespaceSeries, SeriesCache


def knows_all(series: NamespaceSeries) -> Callable[[str], bool]:
    """Refers to the series, as a batch does that is being read."""
    return lambda table: len(series) >= 0


def test_what_is_dropped_is_freed_at_once() -> None:
    """Also without a garbage collection, which comes seldom: the bound would else be passed several times over."""
    cache = SeriesCache(4, bytes_max=10_000)
    gc.disable()
    try:
        series = cache.of("ns")
        series.numbers([b"t,host=%d" % n for n in range(100)], knows_all(series))
        assert len(series) == 100
        dropped = weakref.ref(series)
        del series
        assert len(cache.of("ns")) == 0
        assert dropped() is None
    finally:
        gc.enable()


def test_tag_keys_count_against_the_bound() -> None:
    """Each set of keys is kept once, and a key costs ten times what it has in a line: series of many short keys that
    differ from line to line take no more than the bound."""
    cache = SeriesCache(4, bytes_max=2_000_000)
    keys = [b"k%d=v" % number for number in range(400)]
    names = [b",".join((b"t", *keys[:place], *keys[place + 1 :])) for place in range(400)]
    tracemalloc.start()
    try:
        for name in names:
            cache.of("ns").numbers([name], lambda table: True)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_a_name_that_occurs_twice_among_new_ones_is_one_series() -> None:
    """It is remembered once."""
    series = SeriesCache(4).of("ns")
    assert series.numbers([b"t,a=b", b"t", b"t,a=b"], lambda table: True).tolist() == [0, 1, 0]
    assert len(series) == 2
