"""The same work in Triton and in torch.

A Triton kernel is tried in every configuration of `CONFIGURATIONS`, at every size; the best one is the peer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import triton
import triton.language as tl

import by_hand
from cases import Buffers, Case

BLOCKS = (512, 1024, 2048, 4096, 8192)
WARPS = (2, 4, 8, 16)
CONFIGURATIONS = [(block, warps) for block in BLOCKS for warps in WARPS]

Launch = Callable[[int], None]  # launches the work on the set of buffers of that number


@dataclass(frozen=True)
class Peer:
    """A way of doing the work, in one or many configurations."""

    name: str
    role: str  # "peer", "hand": written by hand for this width, or "floor": a copy of as many bytes, for orientation only
    configurations: list[tuple[str, Launch]]


# ANCHOR: gather_rows
@triton.jit
def move_row(to, source, H: tl.constexpr, BLOCK: tl.constexpr, SPLIT: tl.constexpr):
    if SPLIT:
        o = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        tl.store(to + o, tl.load(source + o, mask=o < H), mask=o < H)
    else:
        for c in tl.static_range(0, H, BLOCK):
            o = c + tl.arange(0, BLOCK)
            tl.store(to + o, tl.load(source + o, mask=o < H), mask=o < H)


@triton.jit
def gather_rows(dst, src, idx, H: tl.constexpr, BLOCK: tl.constexpr, SPLIT: tl.constexpr):
    r = tl.program_id(0)
    s = tl.load(idx + r).to(tl.int64)
    move_row(dst + r.to(tl.int64) * H, src + s * H, H, BLOCK, SPLIT)
# ANCHOR_END: gather_rows


@triton.jit
def scatter_rows(dst, src, idx, H: tl.constexpr, BLOCK: tl.constexpr, SPLIT: tl.constexpr):
    r = tl.program_id(0)
    s = tl.load(idx + r).to(tl.int64)
    move_row(dst + s * H, src + r.to(tl.int64) * H, H, BLOCK, SPLIT)


# ANCHOR: pad_rows
@triton.jit
def pad_rows(dst, src, n, H: tl.constexpr, BLOCK: tl.constexpr, SPLIT: tl.constexpr):
    r = tl.program_id(0)
    row = r.to(tl.int64) * H
    if SPLIT:
        o = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        tl.store(dst + row + o, tl.load(src + row + o, mask=(o < H) & (r < n), other=0.0), mask=o < H)
    else:
        for c in tl.static_range(0, H, BLOCK):
            o = c + tl.arange(0, BLOCK)
            tl.store(dst + row + o, tl.load(src + row + o, mask=(o < H) & (r < n), other=0.0), mask=o < H)
# ANCHOR_END: pad_rows


# ANCHOR: copy_slot
@triton.jit
def copy_slot(dst, src, offset_ptr, size_ptr, CHUNK: tl.constexpr, BLOCK: tl.constexpr):
    """As SGLang's data-parallel gather: offset and size are read from the device."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    off = tl.load(offset_ptr).to(tl.int64) * CHUNK
    n = tl.load(size_ptr).to(tl.int64) * CHUNK
    tl.store(dst + off + i, tl.load(src + i, mask=i < n), mask=i < n)
# ANCHOR_END: copy_slot


def triton_launches(b: Buffers) -> Iterator[tuple[str, Launch]]:
    """Every configuration: a program per row, a program per block of a row, or of the slot, a program per block.

    What SGLang does for `place` is a fill of the whole buffer, then the copy to the slot.
    """
    case, h = b.case, b.case.columns
    for block, warps in CONFIGURATIONS:
        if block >= 2 * h and block > BLOCKS[0]:
            continue
        if case.op == "slot":
            grid = (triton.cdiv(case.rows * h, block),)

            def slot(i, grid=grid, block=block, warps=warps):
                copy_slot[grid](b.output[i], b.source[i], b.offset, b.count, h, block, num_warps=warps)

            yield f"block {block}, {warps} warps", slot
            continue
        if case.op == "place":
            grid = (triton.cdiv(case.rows * h, block),)

            def place(i, grid=grid, block=block, warps=warps):
                b.output[i].zero_()
                copy_slot[grid](b.output[i], b.source[i], b.offset, b.count, h, block, num_warps=warps)

            yield f"zero_, then block {block}, {warps} warps", place
            continue
        kernel = {"gather": gather_rows, "scatter": scatter_rows, "pad": pad_rows}[case.op]
        third = [case.rows] * case.sets if case.op == "pad" else b.index32
        rows = case.output_rows if case.op == "pad" else case.rows
        for split in (False, True) if block < h else (False,):
            grid = (rows, triton.cdiv(h, block)) if split else (rows,)

            def row(i, kernel=kernel, grid=grid, third=third, block=block, split=split, warps=warps):
                kernel[grid](b.output[i], b.source[i], third[i], h, block, split, num_warps=warps)

            yield f"block {block}, {warps} warps" + (", row split" if split else ""), row


def torch_launch(b: Buffers) -> tuple[str, Launch]:
    """What torch has for the operation."""
    n, first = b.case.rows, b.case.offset
    if b.case.op == "gather":
        return "torch index_select", lambda i: torch.index_select(b.source[i], 0, b.index64[i], out=b.output[i])
    if b.case.op == "scatter":
        return "torch index_copy_", lambda i: b.output[i].index_copy_(0, b.index64[i], b.source[i])
    if b.case.op == "slot":
        slots = [output[first : first + n] for output in b.output]
        return "torch copy_", lambda i: slots[i].copy_(b.source[i])
    if b.case.op == "place":
        slots = [output[first : first + n] for output in b.output]

        def place(i: int) -> None:
            b.output[i].zero_()
            slots[i].copy_(b.source[i])

        return "torch zero_, copy_", place
    real, rest = [output[:n] for output in b.output], [output[n:] for output in b.output]

    def pad(i: int) -> None:
        real[i].copy_(b.source[i])
        rest[i].zero_()

    return "torch copy_, zero_", pad


def copy_of(case: Case) -> Peer:
    """A copy of half the bytes that the case moves, which reads and writes as many as it does."""
    source, output = (torch.empty((case.sets, case.bytes // 2), dtype=torch.int8, device="cuda") for _ in range(2))
    return Peer("copy", "floor", [("", lambda i: output[i].copy_(source[i]))])


def peers(b: Buffers) -> list[Peer]:
    """All that this case is set beside."""
    name, launch = torch_launch(b)
    triton = Peer("Triton (tuned)", "peer", list(triton_launches(b)))
    hand = [Peer("by hand", "hand", configurations)] if (configurations := list(by_hand.launches(b))) else []
    return [triton, Peer(name, "peer", [("", launch)]), *hand, copy_of(b.case)]
