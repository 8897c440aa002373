"""Tilewright: plans, movement and padding for data-parallel attention, over the tensors of torch, numpy and others.

* :func:`plan` says how ranks are padded, where their rows lie, and in which buffer and graph they run.
* :func:`gather_rows`, :func:`scatter_rows`, :func:`place_rows`, ... move rows; :func:`pad_batch` pads all tensors of a
  batch in one launch. They write into tensors that the caller has, in place, and allocate nothing.
* :class:`Arena` is the memory of gathered buffers.
* :mod:`tilewright.torch` has the same as operators that ``torch.compile`` keeps, :mod:`tilewright.sglang` under the
  names of SGLang's ``dp_attention``.

Tensors are found by DLPack (torch, numpy, cupy, jax) or ``__cuda_array_interface__``. On the CPU a call is done when it
returns. On a GPU it is a launch on torch's current stream, or on ``stream=``, and returns at once; the first call for a
kind of tensors compiles. Counts may be tensors on the device: a captured graph reads them at every replay. Torch is
never loaded by this module.

>>> import numpy as np, tilewright
>>> src, out = np.arange(6.0).reshape(3, 2), np.empty((2, 2))
>>> tilewright.gather_rows(out, src, np.array([2, -1]))
>>> out
array([[4., 5.],
       [0., 0.]])
"""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

from tilewright import _native
from tilewright._native import (
    Arena,
    Buffer,
    LocalGroup,
    __version__,
    copy_from_slot,
    copy_to_slot,
    gather_rows,
    mask_padding_ids,
    mask_rows_outside,
    pack_segments,
    pad_batch,
    pad_segments,
    place_rows,
    scatter_rows,
    seal,
    set_patience,
    settle,
    synchronize,
    take_rows,
    unseal,
)
from tilewright._plan import PROFILES, BatchPlan, Plan, Slot, TensorPadding, plan, planned
from tilewright.errors import (
    ArenaError,
    ArgumentError,
    CollectiveError,
    DeviceError,
    InternalError,
    LaunchError,
    PaddingError,
    PlanError,
    TensorError,
    TilewrightError,
)

__all__ = [
    "PROFILES",
    "Arena",
    "ArenaError",
    "ArgumentError",
    "BatchPlan",
    "Buffer",
    "CollectiveError",
    "DeviceError",
    "InternalError",
    "LaunchError",
    "LocalGroup",
    "Pad",
    "PaddingError",
    "Plan",
    "PlanError",
    "Slot",
    "TensorError",
    "TensorPadding",
    "TilewrightError",
    "__version__",
    "copy_from_slot",
    "copy_to_slot",
    "gather_rows",
    "mask_padding_ids",
    "mask_rows_outside",
    "pack_segments",
    "pad_batch",
    "pad_segments",
    "place_rows",
    "plan",
    "planned",
    "scatter_rows",
    "seal",
    "set_patience",
    "settle",
    "synchronize",
    "take_rows",
    "unseal",
]


# Where pip puts NVRTC: beside this package, or wherever else this Python has packages.
for _folder in [os.path.dirname(os.path.dirname(__file__)), *sys.path]:
    if _folder and os.path.isdir(os.path.join(_folder, "nvidia")):
        _native.add_packages(_folder)


class Pad(NamedTuple):
    """One tensor for :func:`pad_batch`: ``out`` becomes the first ``count`` elements of ``src`` on ``axis``, and
    ``fill`` behind."""

    out: Any
    """The padded tensor, which is written."""
    src: Any
    """The tensor to pad, of the same type; ``None`` to fill the padding of ``out`` in place."""
    count: Any = None
    """How many elements count: a number, or a tensor of one int32 or int64; ``None`` for all of ``src``."""
    fill: int | float | None = 0
    """What is behind them; ``None`` leaves what is there."""
    axis: int = 0
    """The axis, which may be negative."""
