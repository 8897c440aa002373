"""The functions of :mod:`tilewright` as operators of torch, which ``torch.compile`` keeps.

Importing this module registers ``torch.ops.tilewright.*``, for tensors on the CPU and on CUDA. Their schemas say what
is written, so compiled code orders them with other operators, and each moves the version counter of what it writes, so
autograd notices. They return nothing: they write into tensors that the caller has. Eager loops that need neither call
the functions of :mod:`tilewright`, which cost the host less.

>>> import torch, tilewright.torch  # doctest: +SKIP
>>> @torch.compile(fullgraph=True)  # doctest: +SKIP
... def gathered(src, index):
...     out = src.new_empty(len(index), src.shape[1])
...     tilewright.torch.gather_rows(out, src, index)
...     return out + 1

Counts are integers, or tensors of one int32 or int64 on the device of the others, read when the kernel runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import tilewright

__all__ = [
    "copy_from_slot",
    "copy_to_slot",
    "gather_rows",
    "mask_padding_ids",
    "mask_rows_outside",
    "pack_segments",
    "pad_batch",
    "pad_segments",
    "place_rows",
    "scatter_rows",
]

_library = torch.library.Library("tilewright", "DEF")
_ops = torch.ops.tilewright


def _define(name: str, arguments: str, function: Any, written: Sequence[int]) -> None:
    """An operator: its arguments as in a schema, what it does, and which of them it writes."""

    def run(*given: Any) -> None:
        function(*given)
        # Nobody but autograd asks, and what was made in inference mode has no counter.
        if not torch.is_inference_mode_enabled():
            for position in written:
                tensors = given[position]
                for tensor in tensors if isinstance(tensors, (list, tuple)) else (tensors,):
                    if tensor is not None and not tensor.is_inference():
                        torch.autograd.graph.increment_version(tensor)

    def fake(*given: Any) -> None:
        """What is known without running: nothing is returned, and what is written is in the schema."""

    _library.define(f"{name}({arguments}) -> ()", tags=(torch.Tag.pt2_compliant_tag,))
    for device in ["CPU", "CUDA"]:
        _library.impl(name, run, device)
    torch.library.register_fake(f"tilewright::{name}", fake, lib=_library)


def _with_counts(name: str, tensors: str, counts: Sequence[str], function: Any) -> None:
    """An operator with counts, as integers and as tensors."""
    for suffix, kind in [("", "SymInt"), ("_device", "Tensor")]:
        arguments = [tensors, *(f"{kind} {count}" for count in counts)]
        _define(name + suffix, ", ".join(arguments), function, [0])


def _of(name: str, counts: Sequence[Any]) -> Any:
    """The operator for counts of this kind; integers among tensors become tensors."""
    return getattr(_ops, name + "_device" if any(isinstance(count, Tensor) for count in counts) else name)


def _alike(counts: Sequence[Any]) -> list[Any]:
    tensors = [count for count in counts if isinstance(count, Tensor)]
    if not tensors:
        return list(counts)
    return [count if isinstance(count, Tensor) else tensors[0].new_full((1,), count) for count in counts]


def _slot(padded: bool) -> Any:
    def run(dst: Tensor, src: Tensor, offset: Any, rows: Any) -> None:
        tilewright.copy_from_slot(dst, src, offset, rows, padded=padded)

    return run


def _pad_batch(
    outs: list[Tensor],
    srcs: list[Tensor],
    counts: list[int],
    device_counts: list[Tensor],
    fills: list[float],
    axes: list[int],
    keeps: list[bool],
) -> None:
    if len({len(outs), len(srcs), len(device_counts) or len(counts), len(fills), len(axes), len(keeps)}) > 1:
        raise tilewright.ArgumentError("the lists of `pad_batch` are not equally long")
    entries = []
    for out, src, count, fill, axis, keep in zip(outs, srcs, device_counts or counts, fills, axes, keeps):
        # A schema has no list of numbers of both kinds; a float holds what padding is filled with.
        value = fill if out.is_floating_point() else int(fill)
        entries.append((out, src, count, None if keep else value, axis))
    tilewright.pad_batch(entries)


_define("gather_rows", "Tensor(a!) out, Tensor src, Tensor index", tilewright.gather_rows, [0])
_define(
    "scatter_rows",
    "Tensor(a!) dst, Tensor src, Tensor index, int? reserved=None",
    lambda dst, src, index, reserved=None: tilewright.scatter_rows(dst, src, index, reserved=reserved),
    [0],
)
_with_counts("copy_to_slot", "Tensor(a!) dst, Tensor src", ["offset", "rows"], tilewright.copy_to_slot)
_with_counts("copy_from_slot", "Tensor(a!) dst, Tensor src", ["offset", "rows"], _slot(False))
_with_counts("copy_from_slot_padded", "Tensor(a!) dst, Tensor src", ["offset", "rows"], _slot(True))
_with_counts("place_rows", "Tensor(a!) out, Tensor src", ["start", "first", "rows"], tilewright.place_rows)
_with_counts("mask_padding_ids", "Tensor(a!) ids, Tensor counts", ["rows_per_rank"], tilewright.mask_padding_ids)
_define("mask_rows_outside", "Tensor(a!) ids, Tensor starts, Tensor counts", tilewright.mask_rows_outside, [0])
_define("pad_segments", "Tensor(a!) out, Tensor packed, Tensor starts", tilewright.pad_segments, [0])
_define("pack_segments", "Tensor(a!) out, Tensor padded, Tensor starts", tilewright.pack_segments, [0])
_define(
    "pad_batch",
    "Tensor(a!)[] outs, Tensor[] srcs, SymInt[] counts, Tensor[] device_counts, "
    "float[] fills, int[] axes, bool[] keeps",
    _pad_batch,
    [0],
)


def gather_rows(out: Tensor, src: Tensor, index: Tensor) -> None:
    """``out[i] = src[index[i]]``, zeros where the index is outside. Shapes: ``out`` [m, ...], ``src`` [n, ...],
    ``index`` [m]."""
    _ops.gather_rows(out, src, index)


def scatter_rows(dst: Tensor, src: Tensor, index: Tensor, reserved: int | None = None) -> None:
    """``dst[index[i]] = src[i]``, skipped where the index is outside or ``reserved``. Shapes: ``dst`` [n, ...], ``src``
    [m, ...]."""
    _ops.scatter_rows(dst, src, index, reserved)


def copy_to_slot(dst: Tensor, src: Tensor, offset: int | Tensor, rows: int | Tensor) -> None:
    """``dst[offset:offset + rows] = src[:rows]``, clamped to both. Shapes: ``dst`` [n, ...], ``src`` [m, ...]."""
    counts = (offset, rows)
    _of("copy_to_slot", counts)(dst, src, *_alike(counts))


def copy_from_slot(dst: Tensor, src: Tensor, offset: int | Tensor, rows: int | Tensor, *, padded: bool = False) -> None:
    """``dst[:rows] = src[offset:offset + rows]``, clamped to both; with ``padded`` zeros behind. Shapes: [m, ...] and
    [n, ...]."""
    counts = (offset, rows)
    _of("copy_from_slot_padded" if padded else "copy_from_slot", counts)(dst, src, *_alike(counts))


def place_rows(out: Tensor, src: Tensor, start: int | Tensor, first: int | Tensor, rows: int | Tensor) -> None:
    """``out[start + i] = src[first + i]`` for ``first + i < rows``, zeros everywhere else. Shapes: ``out`` [n, ...],
    ``src`` [m, ...]."""
    counts = (start, first, rows)
    _of("place_rows", counts)(out, src, *_alike(counts))


def mask_padding_ids(ids: Tensor, counts: Tensor, rows_per_rank: int | Tensor) -> None:
    """``ids[r * rows_per_rank + p] = -1`` for ``p >= counts[r]``. Shapes: ``ids`` [ranks * rows_per_rank, k],
    ``counts`` [ranks]."""
    _of("mask_padding_ids", (rows_per_rank,))(ids, counts, rows_per_rank)


def mask_rows_outside(ids: Tensor, starts: Tensor, counts: Tensor) -> None:
    """``ids[r] = -1`` unless ``r`` is one of the ``counts[s]`` rows from ``starts[s]`` on. Shapes: [rows, k], [ranks],
    [ranks]."""
    _ops.mask_rows_outside(ids, starts, counts)


def pad_segments(out: Tensor, packed: Tensor, starts: Tensor) -> None:
    """``out[b, i] = packed[starts[b] + i]``, zeros behind. Shapes: [batch, length, hidden], [total, hidden], [batch +
    1]."""
    _ops.pad_segments(out, packed, starts)


def pack_segments(out: Tensor, padded: Tensor, starts: Tensor) -> None:
    """``out[starts[b] + i] = padded[b, i]``. Shapes: [total, hidden], [batch, length, hidden], [batch + 1]."""
    _ops.pack_segments(out, padded, starts)


def pad_batch(entries: Sequence[tilewright.Pad]) -> None:
    """As :func:`tilewright.pad_batch`, for entries with a source. Counts are all integers or all tensors."""
    entries = [tilewright.Pad(*entry) for entry in entries]
    counts = [entry.src.shape[entry.axis] if entry.count is None else entry.count for entry in entries]
    alike = _alike(counts)
    # torch 2.11 compiles no `bool` of a list.
    on_device = len(alike) > 0 and isinstance(alike[0], Tensor)
    _ops.pad_batch(
        [entry.out for entry in entries],
        [entry.src for entry in entries],
        [] if on_device else alike,
        alike if on_device else [],
        [float(entry.fill or 0) for entry in entries],
        [entry.axis for entry in entries],
        [entry.fill is None for entry in entries],
    )
