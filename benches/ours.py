"""The other side: `movement --serve`, a child process that answers lines of JSON with lines of JSON."""

import json
import subprocess


class OursError(Exception):
    """What the child says is wrong, or that it is gone."""


class Ours:
    """The running child."""

    def __init__(self, program: str):
        self._child = subprocess.Popen([program, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request) -> dict:
        """Sends a request and waits for its answer."""
        try:
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise OursError(f"the child ended with status {self._child.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise OursError(answer["error"])
        return answer

    def hello(self) -> dict:
        """What the child says about itself: its variants, the GPU, the compiler."""
        return self.ask(do="hello")

    def prepare(self, case: dict, variant: str) -> dict:
        """Allocates, compiles, captures a graph, checks what it does; `absent` where the operation has no such variant."""
        return self.ask(do="prepare", variant=variant, **case)

    def measure(self, variant: str, replays: int, warm_up: int = 2) -> list[float]:
        """Device microseconds of one launch of a prepared variant, one figure per replay."""
        return self.ask(do="measure", variant=variant, replays=replays, warm_up=warm_up)["us"]

    def release(self) -> None:
        """Frees what `prepare` took."""
        self.ask(do="release")

    def close(self) -> None:
        """Ends the child."""
        self._child.stdin.close()
        self._child.wait()
