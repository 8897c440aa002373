"""How a launch is timed: a CUDA graph of many launches, replayed between two events."""

import random
from collections.abc import Callable, Iterable
from statistics import median

import torch


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

    def measure(self, replays: int, warm_up: int = 2) -> list[float]:
        """Device microseconds of one launch, one figure per replay. The first replays are not counted."""
        times = []
        with torch.cuda.stream(self._stream):
            for _ in range(warm_up + replays):
                begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                begin.record(self._stream)
                self._graph.replay()
                end.record(self._stream)
                end.synchronize()
                times.append(begin.elapsed_time(end) * 1e3 / self._launches)
        return times[warm_up:]


def best_of(configurations: list, sets: int, launches: int, replays: int) -> tuple[str, Replay]:
    """The configuration with the least median, and its graph. Only two graphs live at a time."""
    if len(configurations) == 1:
        label, launch = configurations[0]
        return label, Replay(launch, sets, launches)
    best: tuple[float, str, Replay] | None = None
    for label, launch in configurations:
        replay = Replay(launch, sets, launches)
        us = median(replay.measure(replays, warm_up=1))
        if best is None or us < best[0]:
            best = us, label, replay
    assert best is not None, "a peer has at least one configuration"
    return best[1], best[2]
