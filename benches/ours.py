"""The other side: the library `movement`, which answers JSON with JSON."""

import ctypes
import json
import os


# What is compiled is timed, and the user's cache is not a measurement's.
os.environ.setdefault("TILEWRIGHT_CACHE", "off")


class OursError(Exception):
    """What the library says is wrong."""


class Ours:
    """The loaded library."""

    def __init__(self, library: str):
        loaded = ctypes.CDLL(library)
        self._kept = []
        self._ask, self._free = loaded.movement_ask, loaded.movement_free
        self._ask.argtypes, self._ask.restype = [ctypes.c_char_p], ctypes.c_void_p
        self._free.argtypes, self._free.restype = [ctypes.c_void_p], None

    def ask(self, **request) -> dict:
        """Asks and returns the answer."""
        pointer = self._ask(json.dumps(request).encode())
        try:
            answer = json.loads(ctypes.string_at(pointer))
        finally:
            self._free(pointer)
        if "error" in answer:
            raise OursError(answer["error"])
        return answer

    def hello(self) -> dict:
        """What it says about itself: its variants, the GPU, the compiler."""
        return self.ask(do="hello")

    def prepare(
        self,
        name: str,
        case: dict,
        binding: str,
        schedule: dict | None = None,
        check: bool = True,
        compiler: str | None = None,
        memory: object = None,
    ) -> dict:
        """Compiles, captures a graph, checks what it does; `absent` where the operation has no such binding. The memory of ours
        that it uses is kept until `release`."""
        self._kept.append(memory)
        return self.ask(
            do="prepare", name=name, binding=binding, schedule=schedule, compiler=compiler, check=check, **case
        )

    def measure(self, name: str, replays: int, warm_up: int = 2) -> list[float]:
        """Device microseconds of one launch of what was prepared, one figure per replay."""
        return self.ask(do="measure", name=name, replays=replays, warm_up=warm_up)["us"]

    def prepare_meeting(self, name: str, case: dict, memory: list, spread: tuple[int, int] | None = None) -> None:
        """Compiles and captures a graph over rows in which elements meet, in memory of ours, which is kept until `release`."""
        self._kept.append(memory)
        self.ask(do="prepare_meeting", name=name, spread=spread, **case)

    def measure_meeting(self, name: str, replays: int, warm_up: int = 2) -> list[float]:
        """As `measure`, of what `prepare_meeting` made."""
        return self.ask(do="measure_meeting", name=name, replays=replays, warm_up=warm_up)["us"]

    def release(self) -> None:
        """Frees what `prepare` took."""
        self.ask(do="release")
        self._kept.clear()
