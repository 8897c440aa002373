"""How a launch is timed: a CUDA graph of many launches, replayed between two events."""

import random
from collections.abc import Callable, Iterable
from statistics import median

import torch

TUNING_LAUNCHES = 2048  # of a configuration among many, at most


def in_turn(contestants: Iterable, turn: int) -> list:
    """Everyone, in an order of its own for each round: nobody is always measured behind the same neighbour, whose leftovers in caches
    and clocks are not the same as another's."""
    everyone = list(contestants)
    return random.Random(turn).sample(everyone, len(everyone))


class Replay:
    """A captured graph of `launches` launches over `sets` sets of buffers."""

    def __init__(self, launch: Callable[[int], object], sets: int, launches: int):
        self._launches = launches
        self._stream = torch.cuda.Stream()
        self._graph = torch.cuda.CUDAGraph()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            launch(0)  # compiles and loads, which a capture must not
            self._stream.synchronize()
            # Not `torch.cuda.graph`: it collects Python's garbage each time, and tuning captures a thousand graphs.
            self._graph.capture_begin()
            try:
                for i in range(launches):
                    launch(i % sets)
            finally:
                self._graph.capture_end()

    def run(self) -> None:
        """Replays once and waits."""
        with torch.cuda.stream(self._stream):
            self._graph.replay()
        self._stream.synchronize()

    def measure(self, replays: int, warm_up: int = 2, before: Callable[[], object] | None = None) -> list[float]:
        """Device microseconds of one launch, one figure per replay. The first replays are not counted, nor what is done `before` each."""
        times = []
        with torch.cuda.stream(self._stream):
            for _ in range(warm_up + replays):
                if before:
                    before()
                begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                begin.record(self._stream)
                self._graph.replay()
                end.record(self._stream)
                end.synchronize()
                times.append(begin.elapsed_time(end) * 1e3 / self._launches)
        return times[warm_up:]


def best_of(configurations: list, sets: int, launches: int, replays: int, set_bytes: int) -> tuple[str, Replay]:
    """The configuration with the least median, and its graph. Only two graphs live at a time.

    Where launches are many, each configuration is launched over some of the sets, `set_bytes` each, spread over all of them. L2 is filled
    with something else before, unless it holds all sets: then they are there when all are launched, too."""
    if len(configurations) == 1:
        label, launch = configurations[0]
        return label, Replay(launch, sets, launches)
    some = min(launches, TUNING_LAUNCHES)
    apart, l2_bytes = sets // min(sets, some), torch.cuda.get_device_properties(0).L2_cache_size
    before = filling(2 * l2_bytes) if some < launches and sets * set_bytes > l2_bytes else None
    best: tuple[float, str, Callable] | None = None
    for label, launch in configurations:
        replay = Replay(lambda i, launch=launch: launch(i * apart), min(sets, some), some)
        us = median(replay.measure(replays, warm_up=1, before=before))
        if best is None or us < best[0]:
            best = us, label, launch
    assert best is not None, "a peer has at least one configuration"
    _, label, launch = best
    return label, Replay(launch, sets, launches)


def filling(size: int) -> Callable[[], object]:
    """What moves so many other bytes."""
    source, to = (torch.empty(size // 2, dtype=torch.int8, device="cuda") for _ in range(2))
    return lambda: to.copy_(source)

