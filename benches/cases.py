"""What is measured: an operation on so many rows, and the buffers that it rotates over.

Buffers rotate by bytes: one replay of a graph touches several times the L2 cache, so that no launch finds its rows there
because an earlier one of the same replay, or of the replay before, left them; unless that is what is measured, or rows are so few and
short that as many launches as a graph may have (`MOST_LAUNCHES`) touch no more than L2 holds.
"""

from dataclasses import dataclass

import torch

MOVEMENTS = ("gather", "scatter", "slot", "pad", "place")
COMPUTED = ("store_mla", "quantize_rows", "dequantize_rows", "combine_rows", "abs_in_place")
OPS = MOVEMENTS + COMPUTED
ROPE = 64  # elements at the end of a latent row that carry its position
GROUP = 128  # elements that share a scale
TOP = 8  # rows that are combined into one
# 8-bit floats are bytes here: not all of torch takes them, and rows are moved as bits.
DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32, "f8": torch.int8}
BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32}  # by bytes
MISALIGNED = ("none", "source", "output", "both")
L2 = ("cold", "warm")
LEAST_LAUNCHES = 8  # in a graph, so that the cost of launching the graph itself is shared
WARM_LAUNCHES = 64
MOST_LAUNCHES = 16384
POISON = 0x55  # each byte of what an output holds before a launch that is checked


@dataclass(frozen=True)
class Case:
    """An operation on `rows` rows of `columns` elements."""

    op: str
    rows: int
    columns: int
    traffic: int  # bytes that one replay must touch
    dtype: str = "bf16"
    misaligned: str = "none"  # which rows begin an element behind a multiple of 256 bytes
    l2: str = "cold"  # or warm: every launch is of the same rows, which L2 holds

    @property
    def element_bytes(self) -> int:
        return DTYPES[self.dtype].itemsize

    @property
    def is_any(self) -> bool:
        """Whether there is such a case: what is computed, is computed of aligned bf16; and what L2 does not hold is never warm."""
        moves = self.op in MOVEMENTS
        # Traffic is several times what L2 holds.
        if self.l2 == "warm" and (not moves or 8 * self.bytes > self.traffic):
            return False
        return moves or (self.dtype == "bf16" and self.misaligned == "none" and self.columns % GROUP == 0)

    @property
    def about(self) -> dict:
        """What a reading says of it."""
        fields = ("op", "rows", "columns", "dtype", "misaligned", "l2")
        return {field: getattr(self, field) for field in fields}

    @property
    def output_rows(self) -> int:
        """Rows of the output that one launch owns: all of them for pad, a buffer of twice the rows for slot and place."""
        more = {"pad": self.rows + max(1, self.rows // 4), "slot": 2 * self.rows, "place": 2 * self.rows}
        return more.get(self.op, self.rows)

    @property
    def offset(self) -> int:
        """Where the slot begins in the output."""
        return (self.rows + 1) // 2

    @property
    def bytes(self) -> int:
        """Bytes that one launch must read and write."""
        elements = self.rows * self.columns
        match self.op:
            case "store_mla":
                return 2 * elements * self.element_bytes + self.rows * 8
            case "quantize_rows" | "dequantize_rows":
                return elements * (self.element_bytes + 1) + self.rows * (self.columns // GROUP) * 4
            case "combine_rows":
                return (TOP + 1) * elements * self.element_bytes + self.rows * TOP * 12
            case "abs_in_place":
                return 2 * elements * self.element_bytes
        written = self.output_rows if self.op in ("pad", "place") else self.rows
        return (self.rows + written) * self.columns * self.element_bytes

    @property
    def sets(self) -> int:
        """Distinct sets of rows."""
        return 1 if self.l2 == "warm" else min(-(-self.traffic // self.bytes), MOST_LAUNCHES)

    @property
    def launches(self) -> int:
        """Launches in a graph: every set equally often."""
        return WARM_LAUNCHES if self.l2 == "warm" else self.sets * -(-LEAST_LAUNCHES // self.sets)

    @property
    def pool_rows(self) -> int:
        """Rows that indices point into: twice as many as are touched, in random order."""
        touched = self.sets * self.rows * (TOP if self.op == "combine_rows" else 1)
        return touched if self.op == "combine_rows" else 2 * touched

    def request(self) -> dict:
        """The same case for the other side."""
        fields = ("op", "dtype", "rows", "columns", "sets", "launches", "pool_rows", "output_rows", "offset")
        return {field: getattr(self, field) for field in fields}


class Buffers:
    """Random source rows, an output, and an index vector, with a view of each for every set."""

    def __init__(self, case: Case):
        self.case = case
        touched = case.sets * case.rows
        source_rows = case.pool_rows if case.op == "gather" else touched
        output_rows = case.pool_rows if case.op == "scatter" else case.sets * case.output_rows
        bits, dtype = BITS[case.element_bytes], DTYPES[case.dtype]
        most = 2 ** (8 * case.element_bytes - 1)

        def tensor(rows: int, side: str) -> torch.Tensor:
            """Rows that begin where they are to."""
            shift = int(case.misaligned in (side, "both"))
            elements = torch.empty(shift + rows * case.columns, dtype=bits, device="cuda")
            return elements[shift:].view(rows, case.columns)

        self._source, self._output = tensor(source_rows, "source"), tensor(output_rows, "output")
        # Random bits rather than random numbers: movement must keep NaNs and denormals too.
        self._source.random_(-most, most)
        source, output = self._source.view(dtype), self._output.view(dtype)
        whole_source, whole_output = case.op == "gather", case.op == "scatter"
        self.source = [source] * case.sets if whole_source else list(source.split(case.rows))
        self.output = [output] * case.sets if whole_output else list(output.split(case.output_rows))
        if case.op in ("gather", "scatter"):
            self._index = torch.randperm(case.pool_rows, device="cuda")[:touched]
            self.index64 = list(self._index.split(case.rows))
            self._index32 = self._index.int()
            self.index32 = list(self._index32.split(case.rows))
        else:
            self._index = self._index32 = None
            self.index64 = self.index32 = []
        self.offset = torch.tensor(case.offset, device="cuda")
        self.count = torch.tensor(case.rows, device="cuda")

    @property
    def poisoned(self) -> int:
        """An element of what is poisoned, as an integer."""
        return int.from_bytes(bytes([POISON] * self.case.element_bytes))

    def request(self) -> dict:
        """The case for the other side, with where its memory is."""
        index = self._index32.data_ptr() if self._index32 is not None else 0
        return {
            **self.case.request(),
            "source": self._source.data_ptr(),
            "output": self._output.data_ptr(),
            "index": index,
        }

    def poison(self) -> None:
        """Makes every element of the output wrong."""
        self._output.fill_(self.poisoned)

    def is_right(self) -> bool:
        """Whether the output holds, bit for bit, what the operation leaves after `poison`."""
        case = self.case
        if case.op == "gather":
            return torch.equal(self._output, self._source[self._index])
        if case.op == "scatter":
            untouched = torch.ones(case.pool_rows, dtype=torch.bool, device="cuda")
            untouched[self._index] = False
            return torch.equal(self._output[self._index], self._source) and bool(
                (self._output[untouched] == self.poisoned).all()
            )
        output = self._output.view(case.sets, case.output_rows, case.columns)
        source = self._source.view(case.sets, case.rows, case.columns)
        first = 0 if case.op == "pad" else case.offset
        last = first + case.rows
        around = self.poisoned if case.op == "slot" else 0
        outside = bool((output[:, :first] == around).all()) and bool((output[:, last:] == around).all())
        return outside and torch.equal(output[:, first:last], source)
