"""What SGLang's ``dp_attention`` and ``ForwardBatch`` do with rows, under their names and with their argument orders.

To try it, import these names from here instead of from ``sglang.srt.layers.dp_attention``, after

>>> import tilewright.sglang as dp_attention
>>> group = dp_attention.ThreadGroup.ranks(1)[0]
>>> dp_attention.initialize_dp_attention(dp_attention.Parallel(tp_group=group))

* What one rank does on its device is Tilewright's: a gather writes its buffer in one pass where SGLang fills it and
  copies into it, a scatter likewise, and all tensors of a batch are padded by one launch. Counts are read on the
  device; rows that a plan has and a tensor does not are never touched.
* Bringing ranks together is the groups' part: SGLang's own ``GroupCoordinator``, or :class:`ThreadGroup`, ranks that
  are threads. ``Parallel`` has the attributes of SGLang's ``get_parallel()``, which can be passed as it is.
* The caller's tensors are left as they are. SGLang zeroes those of replicated ranks.

``forward_batch`` is whatever has the attributes of SGLang's that are named at each function. Tensors are of torch or
numpy.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import tilewright
from tilewright import ArgumentError, LocalGroup

# ANCHOR: names
__all__ = [
    "DpPaddingMode",
    "Parallel",
    "ThreadGroup",
    "attn_tp_all_gather_into_tensor",
    "attn_tp_all_reduce",
    "attn_tp_reduce_scatter_tensor",
    "dp_gather_partial",
    "dp_gather_replicate",
    "dp_reduce_scatter_tensor",
    "dp_scatter",
    "get_dp_global_num_tokens",
    "get_dp_local_info",
    "get_dp_local_slice_cpu",
    "get_global_dp_buffer",
    "get_global_dp_buffer_len",
    "get_local_dp_buffer",
    "get_local_dp_buffer_len",
    "get_parallel",
    "init_dp_gathered_buffer",
    "initialize_dp_attention",
    "is_dp_gatherv_active",
    "is_dp_max_padding",
    "mask_dp_pad_moe_topk_ids",
    "memcpy",
    "memcpy_triton",
    "pad_inputs_to_size",
    "pad_tensor_to_size",
    "set_dp_buffer_len",
]
# ANCHOR_END: names


class DpPaddingMode(IntEnum):
    """How ranks are padded: all to the longest, or one packed behind the other."""

    MAX_LEN = 1
    SUM_LEN = 2

    def is_max_len(self) -> bool:
        """Whether all ranks have as many rows as the longest."""
        return self is DpPaddingMode.MAX_LEN

    def is_sum_len(self) -> bool:
        """Whether ranks are packed."""
        return self is DpPaddingMode.SUM_LEN

    @classmethod
    def get_dp_padding_mode(cls, is_extend_in_batch: bool, global_num_tokens: Sequence[int]) -> DpPaddingMode:
        """The mode of an eager step, by the rules of ``main-2026-09``, from each rank's tokens."""
        width = get_parallel().attn_dp_size
        request = {"profile": "main-2026-09", "dp": width, "extend": is_extend_in_batch}
        mode = tilewright.plan([int(count) for count in global_num_tokens], **request).mode
        return cls.MAX_LEN if mode == "max" else cls.SUM_LEN


class ThreadGroup:
    """One rank's end of a group of threads, with the methods of SGLang's ``GroupCoordinator`` that are used here.

    For tests and for bringing an engine up. Made by :meth:`ranks`, one for each thread.
    """

    def __init__(self, group: LocalGroup) -> None:
        self._group = group

    @classmethod
    def ranks(cls, size: int, device: Any = "cpu", timeout: float = 60.0) -> list[ThreadGroup]:
        """The ranks of a group of ``size`` on a device; one that waits longer than ``timeout`` seconds gives up."""
        return [cls(group) for group in LocalGroup.ranks(size, device, timeout)]

    @property
    def rank_in_group(self) -> int:
        """This rank, from 0."""
        return self._group.rank

    @property
    def world_size(self) -> int:
        """The number of ranks."""
        return self._group.size

    def all_reduce(self, input_: Any) -> Any:
        """``input_`` [n, ...] becomes its sum over all ranks, in place, and is returned."""
        self._group.all_reduce(input_)
        return input_

    def all_gather_into_tensor(self, output: Any, input: Any) -> None:
        """``output`` [ranks * n, ...] becomes the ``input`` [n, ...] of all ranks, one behind the other."""
        self.all_gatherv(input, sizes=[input.shape[0]] * self.world_size, output=output)

    def all_gatherv(self, input_: Any, sizes: Sequence[int], output: Any) -> Any:
        """``output`` [sum(sizes), ...] becomes the ``input_`` [sizes[rank], ...] of all ranks, one behind the other."""
        start = sum(sizes[: self.rank_in_group])
        tilewright.copy_to_slot(output, input_, start, sizes[self.rank_in_group])
        self._group.all_gather(output, list(sizes))
        return output

    def reduce_scatter_tensor(self, output: Any, input: Any) -> Any:
        """``output`` [n, ...] becomes this rank's part of the sum of ``input`` [ranks * n, ...] over all ranks."""
        return self.reduce_scatterv(input, output, [output.shape[0]] * self.world_size)

    def reduce_scatterv(self, input_: Any, output: Any, sizes: Sequence[int]) -> Any:
        """``output`` [sizes[rank], ...] becomes this rank's part of the sum of ``input_`` [sum(sizes), ...] over all
        ranks."""
        summed = _empty(input_, input_.shape)
        tilewright.copy_to_slot(summed, input_, 0, input_.shape[0])
        self._group.reduce_scatter(summed, list(sizes))
        start = sum(sizes[: self.rank_in_group])
        tilewright.copy_from_slot(output, summed, start, sizes[self.rank_in_group])
        return output


@dataclass
class Parallel:
    """How GPUs are grouped, with the attributes of SGLang's ``get_parallel()``.

    GPUs are numbered by data-parallel rank, then by attention TP. Without ``attn_tp_group`` every rank has an attention
    of its own.
    """

    tp_group: Any
    """All GPUs."""
    attn_tp_group: Any = None
    """Those that share this rank's attention."""
    attn_cp_size: int = 1
    """Context-parallel parts of a data-parallel rank."""
    attn_cp_rank: int = 0
    """This GPU's part."""
    use_gatherv: bool = False
    """Gather and combine packed ranks without padding, where each has its own attention. SGLang:
    ``SGLANG_DP_USE_GATHERV``."""

    @property
    def tp_size(self) -> int:
        """All GPUs."""
        return int(self.tp_group.world_size)

    @property
    def tp_rank(self) -> int:
        """This GPU among all."""
        return int(self.tp_group.rank_in_group)

    @property
    def attn_tp_size(self) -> int:
        """GPUs that share an attention."""
        return 1 if self.attn_tp_group is None else self.attn_tp_group.world_size

    @property
    def attn_tp_rank(self) -> int:
        """This GPU among those."""
        return 0 if self.attn_tp_group is None else self.attn_tp_group.rank_in_group

    @property
    def attn_dp_size(self) -> int:
        """Data-parallel ranks."""
        return self.tp_size // (self.attn_tp_size * self.attn_cp_size)

    @property
    def attn_dp_rank(self) -> int:
        """This GPU's data-parallel rank."""
        return self.tp_rank // (self.attn_tp_size * self.attn_cp_size)


class _State:
    """What a rank knows between calls."""

    def __init__(self, parallel: Any) -> None:
        self.parallel = parallel
        self.hidden_size = 0
        self.dtype: Any = None
        self.device: Any = None
        self.global_len = 0
        self.local_len = 0
        self.max_padding = False
        self.global_num_tokens: list[int] | None = None
        self.global_num_tokens_gpu: Any = None


_of_process: _State | None = None
_of_thread = threading.local()


def _state() -> _State:
    state = getattr(_of_thread, "state", None) or _of_process
    if state is None:
        raise ArgumentError("ranks are not known yet: call `tilewright.sglang.initialize_dp_attention(parallel)` first")
    return state


def initialize_dp_attention(parallel: Any, *, of_thread: bool = False) -> None:
    """Says how this rank is grouped: a :class:`Parallel`, or SGLang's ``get_parallel()``.

    It holds for the process, or with ``of_thread`` for the calling thread, where ranks are threads.
    """
    global _of_process
    if of_thread:
        _of_thread.state = _State(parallel)
    else:
        _of_process = _State(parallel)


def get_parallel() -> Any:
    """How this rank is grouped."""
    return _state().parallel


def init_dp_gathered_buffer(hidden_size: int, dtype: Any, device: Any) -> None:
    """The row length, type and device of the buffers that :func:`get_global_dp_buffer` and :func:`get_local_dp_buffer`
    make."""
    state = _state()
    state.hidden_size, state.dtype, state.device = hidden_size, dtype, device


def set_dp_buffer_len(
    global_dp_buffer_len: int,
    local_dp_buffer_len: int,
    dp_max_padding: bool,
    global_num_tokens: Sequence[int] | None = None,
    global_num_tokens_gpu: Any = None,
) -> None:
    """The rows of this step's buffers, whether ranks are padded to the longest, and the padded rows of every rank, on
    the host and as real tokens [ranks] on the device."""
    state = _state()
    state.global_len, state.local_len, state.max_padding = global_dp_buffer_len, local_dp_buffer_len, dp_max_padding
    state.global_num_tokens = None if global_num_tokens is None else [int(count) for count in global_num_tokens]
    state.global_num_tokens_gpu = global_num_tokens_gpu


def get_global_dp_buffer(group: Any = None) -> Any:
    """A tensor [rows of all ranks, hidden size], whose content is whatever was there."""
    return _buffer(_state().global_len)


def get_local_dp_buffer(group: Any = None, hidden_size: int | None = None) -> Any:
    """A tensor [rows of this rank, hidden size], whose content is whatever was there."""
    return _buffer(_state().local_len, hidden_size)


def get_global_dp_buffer_len() -> int:
    """Rows of all ranks in this step."""
    return _state().global_len


def get_local_dp_buffer_len() -> int:
    """Rows of this rank in this step."""
    return _state().local_len


def get_dp_global_num_tokens() -> list[int] | None:
    """Padded rows of every rank in this step."""
    return _state().global_num_tokens


def is_dp_max_padding() -> bool:
    """Whether ranks are padded to the longest in this step."""
    return _state().max_padding


def is_dp_gatherv_active() -> bool:
    """Whether packed ranks of this step are gathered and combined without padding."""
    state = _state()
    parallel = state.parallel
    alone = parallel.attn_tp_size == 1 and parallel.tp_size == parallel.attn_dp_size
    return bool(getattr(parallel, "use_gatherv", False)) and alone and not state.max_padding


def get_dp_local_info(forward_batch: Any) -> tuple[Any, Any]:
    """This rank's first row of the buffer and its rows, as tensors of one number on the device of
    ``forward_batch.global_num_tokens_gpu`` [ranks] or [1]. They are kept in ``dp_local_start_pos`` and
    ``dp_local_num_tokens``."""
    if getattr(forward_batch, "dp_local_start_pos", None) is None:
        counts = forward_batch.global_num_tokens_gpu
        rank = _slot_in(counts)
        # Of rank 0 a sum of nothing.
        start = counts[:rank].sum(dtype=counts.dtype)
        forward_batch.dp_local_start_pos = start
        forward_batch.dp_local_num_tokens = counts[rank : rank + 1].reshape(())
    return forward_batch.dp_local_start_pos, forward_batch.dp_local_num_tokens


def get_dp_local_slice_cpu(forward_batch: Any, can_run_graph: bool, cuda_graph_batch: int | None) -> tuple[int, int]:
    """This rank's first row and its rows by ``forward_batch.global_num_tokens_cpu``, as numbers; in a graph's buffer
    every rank has ``cuda_graph_batch`` rows."""
    counts = forward_batch.global_num_tokens_cpu
    rank = _slot_in(counts)
    start = rank * (cuda_graph_batch or 0) if can_run_graph else sum(counts[:rank])
    return start, counts[rank]


def memcpy(dst: Any, src: Any, dim: int, offset: Any, sz: Any, offset_src: bool) -> None:
    """``dst[:sz] = src[offset:offset + sz]`` if ``offset_src``, else ``dst[offset:offset + sz] = src[:sz]``.

    ``dst`` and ``src`` have rows of one shape; ``offset`` and ``sz`` are numbers or tensors of one int32 or int64 on
    their device. Rows that either tensor does not have are not copied.
    """
    if dim != 0:
        raise ArgumentError(f"rows are copied along axis 0, and `dim` is {dim}")
    if offset_src:
        tilewright.copy_from_slot(dst, src, offset, sz)
    else:
        tilewright.copy_to_slot(dst, src, offset, sz)


memcpy_triton = memcpy


def dp_gather_partial(
    global_tokens: Any, local_tokens: Any, forward_batch: Any, cp_shard_counts: Sequence[int] | None = None
) -> None:
    """Gathers the rows of all ranks, of which every GPU that shares an attention has a part of the sum.

    ``global_tokens`` [rows of all ranks, ...] becomes each rank's rows at their places. ``forward_batch`` has
    ``dp_padding_mode`` and ``global_num_tokens_gpu``. With ``cp_shard_counts``, the rows of each context-parallel part,
    every part brings its own.
    """
    _gather(global_tokens, local_tokens, forward_batch, True, cp_shard_counts)


def dp_gather_replicate(
    global_tokens: Any, local_tokens: Any, forward_batch: Any, cp_shard_counts: Sequence[int] | None = None
) -> None:
    """Gathers the rows of all ranks, which every GPU that shares an attention has alike. As
    :func:`dp_gather_partial`."""
    _gather(global_tokens, local_tokens, forward_batch, False, cp_shard_counts)


def dp_scatter(
    local_tokens: Any, global_tokens: Any, forward_batch: Any, cp_shard_counts: Sequence[int] | None = None
) -> None:
    """Takes this rank's rows out of the buffer: ``local_tokens`` [n, ...] becomes them, and zeros behind, in one
    launch."""
    start, rows = _own_rows(forward_batch, cp_shard_counts)
    tilewright.copy_from_slot(local_tokens, global_tokens, start, rows, padded=True)


def dp_reduce_scatter_tensor(output: Any, input: Any) -> None:
    """``output`` [rows of this rank, ...] becomes its rows of the sum of ``input`` [rows of all ranks, ...] over all
    GPUs."""
    parallel = get_parallel()
    contexts = getattr(parallel, "attn_cp_size", 1)
    if contexts > 1:
        # Rows that context-parallel parts do not divide: a sum of all, and this rank's rows of it.
        summed = parallel.tp_group.all_reduce(input)
        rows = output.shape[0]
        tilewright.copy_from_slot(output, summed, parallel.attn_dp_rank * rows, rows)
        return
    sizes = get_dp_global_num_tokens()
    if is_dp_gatherv_active() and sizes is not None:
        parallel.tp_group.reduce_scatterv(input, output=output, sizes=sizes)
    elif parallel.tp_size == parallel.attn_dp_size:
        parallel.tp_group.reduce_scatter_tensor(output, input)
    else:
        shard = _empty(input, (_share(input, parallel.tp_size), *input.shape[1:]))
        parallel.tp_group.reduce_scatter_tensor(shard, input)
        parallel.attn_tp_group.all_gather_into_tensor(output, shard)


def attn_tp_reduce_scatter_tensor(output: Any, input: Any) -> Any:
    """As the method of the group of GPUs that share this rank's attention."""
    return get_parallel().attn_tp_group.reduce_scatter_tensor(output, input)


def attn_tp_all_reduce(input: Any) -> Any:
    """As the method of the group of GPUs that share this rank's attention."""
    return get_parallel().attn_tp_group.all_reduce(input)


def attn_tp_all_gather_into_tensor(output: Any, input: Any) -> Any:
    """As the method of the group of GPUs that share this rank's attention."""
    return get_parallel().attn_tp_group.all_gather_into_tensor(output, input)


def mask_dp_pad_moe_topk_ids(topk_ids: Any) -> None:
    """Takes padding out of expert routing: -1 in the rows of ``topk_ids`` [rows, k] that hold no token, if ranks are
    padded to the longest in this step and ``topk_ids`` has their rows; by the counts that :func:`set_dp_buffer_len` was
    given."""
    state = _state()
    counts = state.global_num_tokens_gpu
    if counts is None or state.local_len <= 0 or topk_ids.shape[0] != counts.shape[0] * state.local_len:
        return
    tilewright.mask_padding_ids(topk_ids, counts, state.local_len)


def pad_tensor_to_size(tensor: Any, size: int, *, value: float = 0) -> Any:
    """A tensor [size, ...] of the rows of ``tensor``, and ``value`` behind them. SGLang:
    ``ForwardBatch._pad_tensor_to_size``."""
    _check_size("tensor", tensor, size, 0)
    out = _empty(tensor, (size, *tensor.shape[1:]))
    tilewright.pad_batch([(out, tensor, None, value)])
    return out


# Where a batch has tensors, what each has an element for, and what padding is filled with.
_PADDED = [
    ("input_ids", "token", 0),
    ("out_cache_loc", "token", 0),
    ("positions", "token", 0),
    ("req_pool_indices", "request", 0),
    ("encoder_lens", "request", 0),
    ("extend_seq_lens", "request", 0),
    ("mamba_track_indices", "request", 0),
    ("mamba_track_mask", "request", 0),
    ("mamba_track_seqlens", "request", 0),
    ("rids_int", "request", 0),
    ("bootstrap_room_ids_int", "request", -1),
]
_PADDED_OF_DRAFTS = [
    ("topk_p", "request"),
    ("topk_index", "request"),
    ("draft_probs", "request"),
    ("accept_length", "request"),
    ("num_correct_drafts", "request"),
    ("num_accept_tokens", "request"),
    ("hidden_states", "token"),
]


def pad_inputs_to_size(forward_batch: Any, model_runner: Any, num_tokens: int, bs: int) -> None:
    """Pads a batch to ``num_tokens`` rows of tokens and ``bs`` requests, all tensors of a device in one launch.

    SGLang: ``ForwardBatch._pad_inputs_to_size``, with a launch or more for each tensor. The attributes that there are,
    of the batch and of its draft input, become padded tensors; those that are long enough stay.
    ``model_runner.attn_backend`` says what lengths of sequences are filled with; without a ``model_runner`` that is 1.
    """
    lengths = 1
    if model_runner is not None:
        lengths = model_runner.attn_backend.get_cuda_graph_seq_len_fill_value()
    wanted = {"token": num_tokens, "request": bs}
    jobs: list[tuple[Any, str, Any, int, float, int]] = []

    def pad(owner: Any, name: str, size: int, fill: float, axis: int = 0) -> None:
        tensor = getattr(owner, name, None)
        if tensor is not None:
            _check_size(name, tensor, size, axis)
            if tensor.shape[axis] < size:
                jobs.append((owner, name, tensor, size, fill, axis))

    for name, per, fill in _PADDED:
        pad(forward_batch, name, wanted[per], fill)
    pad(forward_batch, "mrope_positions", num_tokens, 0, 1)
    if getattr(forward_batch, "seq_lens_sum", None) is not None:
        forward_batch.seq_lens_sum += lengths * (bs - forward_batch.seq_lens.shape[0])
    pad(forward_batch, "seq_lens", bs, lengths)
    pad(forward_batch, "seq_lens_cpu", bs, lengths)
    drafts = getattr(forward_batch, "spec_info", None)
    if drafts is not None and drafts.is_draft_input():
        for name, per in _PADDED_OF_DRAFTS:
            pad(drafts, name, wanted[per], 0)
    _pad_all(jobs)
    adapters = getattr(forward_batch, "lora_ids", None)
    if adapters is not None:
        adapters.extend([None] * (bs - len(adapters)))
    if drafts is not None and drafts.is_draft_input():
        # What is put back after the forward: hidden states as before the padding, slots as behind it.
        forward_batch.output_cache_loc_backup = forward_batch.out_cache_loc
        before = [tensor for owner, name, tensor, *_ in jobs if owner is drafts and name == "hidden_states"]
        forward_batch.hidden_states_backup = before[0] if before else drafts.hidden_states
    sampling = getattr(forward_batch, "sampling_info", None)
    if sampling is not None:
        for name in ["rids_int", "bootstrap_room_ids_int"]:
            if getattr(forward_batch, name, None) is not None:
                setattr(sampling, name, getattr(forward_batch, name))


def _pad_all(jobs: Sequence[tuple[Any, str, Any, int, float, int]]) -> None:
    """Makes and pads tensors, those of a device in one launch, and puts them where they came from."""
    by_device: dict[str, list[tilewright.Pad]] = {}
    for owner, name, tensor, size, fill, axis in jobs:
        shape = [size if at == axis else extent for at, extent in enumerate(tensor.shape)]
        out = _empty(tensor, tuple(shape))
        device = str(getattr(tensor, "device", "cpu"))
        by_device.setdefault(device, []).append(tilewright.Pad(out, tensor, None, fill, axis))
        setattr(owner, name, out)
    for entries in by_device.values():
        tilewright.pad_batch(entries)


def _gather(
    global_tokens: Any, local_tokens: Any, forward_batch: Any, is_partial: bool, cp_shard_counts: Sequence[int] | None
) -> None:
    parallel = get_parallel()
    mode = getattr(forward_batch, "dp_padding_mode", None)
    is_max = mode is not None and mode.is_max_len()
    if getattr(parallel, "attn_cp_size", 1) == 1:
        if mode is not None and not is_max and is_dp_gatherv_active():
            sizes = _sizes_of(forward_batch, global_tokens.shape[0])
            if sizes is not None:
                own = sizes[_slot_in(sizes)]
                parallel.tp_group.all_gatherv(_of_size(local_tokens, own), sizes=sizes, output=global_tokens)
                return
        if is_max:
            _gather_equal(global_tokens, local_tokens, is_partial)
            return
    start, rows = _own_rows(forward_batch, cp_shard_counts)
    first_of_contexts = cp_shard_counts is not None or getattr(parallel, "attn_cp_rank", 0) == 0
    writes = first_of_contexts and (is_partial or parallel.attn_tp_rank == 0)
    # The rank's rows and zeros everywhere else, each row written once.
    if writes:
        tilewright.place_rows(global_tokens, local_tokens, start, 0, rows)
    else:
        tilewright.place_rows(global_tokens, local_tokens, 0, 0, 0)
    summed = parallel.tp_group.all_reduce(global_tokens)
    if summed is not None and summed is not global_tokens:
        tilewright.copy_to_slot(global_tokens, summed, 0, global_tokens.shape[0])


def _gather_equal(global_tokens: Any, local_tokens: Any, is_partial: bool) -> None:
    """All ranks have as many rows: an all-gather of each GPU's share of them."""
    parallel = get_parallel()
    if parallel.attn_tp_size == 1:
        parallel.tp_group.all_gather_into_tensor(global_tokens, local_tokens)
        return
    share = _share(local_tokens, parallel.attn_tp_size)
    if is_partial:
        shard = _empty(local_tokens, (share, *local_tokens.shape[1:]))
        parallel.attn_tp_group.reduce_scatter_tensor(shard, local_tokens)
    else:
        shard = local_tokens[share * parallel.attn_tp_rank : share * (parallel.attn_tp_rank + 1)]
    parallel.tp_group.all_gather_into_tensor(global_tokens, shard)


def _share(tensor: Any, size: int) -> int:
    rows = tensor.shape[0]
    if rows % size:
        raise ArgumentError(f"{rows} rows are not divided by {size} GPUs: plan with `attn_tp`, which aligns them")
    return int(rows // size)


def _own_rows(forward_batch: Any, cp_shard_counts: Sequence[int] | None) -> tuple[Any, Any]:
    """This rank's first row and its rows, or those of its context-parallel part."""
    if cp_shard_counts is None:
        return get_dp_local_info(forward_batch)
    part = get_parallel().attn_cp_rank
    counts = forward_batch.global_num_tokens_cpu
    return sum(counts[: _slot_in(counts)]) + sum(cp_shard_counts[:part]), cp_shard_counts[part]


def _slot_in(counts: Any) -> int:
    """This rank's place in a list with an entry for each rank, or with its own alone."""
    if len(counts) == 1:
        return 0
    parallel = get_parallel()
    if len(counts) != parallel.attn_dp_size:
        raise ArgumentError(f"there are {len(counts)} counts for {parallel.attn_dp_size} data-parallel ranks")
    return int(parallel.attn_dp_rank)


def _sizes_of(forward_batch: Any, rows: int) -> list[int] | None:
    """Each rank's rows of a buffer of so many, if they are known."""
    candidates = [get_dp_global_num_tokens()]
    for name in ["global_num_tokens_for_logprob_cpu", "global_num_tokens_cpu"]:
        counts = getattr(forward_batch, name, None)
        candidates.append(None if counts is None else [int(count) for count in counts])
    return next((sizes for sizes in candidates if sizes is not None and sum(sizes) == rows), None)


def _of_size(tensor: Any, rows: int) -> Any:
    """The same tensor with so many rows, cut or padded with zeros."""
    if tensor.shape[0] >= rows:
        return tensor[:rows]
    return pad_tensor_to_size(tensor, rows)


def _check_size(name: str, tensor: Any, size: int, axis: int) -> None:
    found = tensor.shape[axis]
    if found > size:
        raise ArgumentError(f"`{name}` has {found} elements on axis {axis}, and is to be padded to {size}")


def _empty(like: Any, shape: Sequence[int]) -> Any:
    """A tensor of the same framework, type and device."""
    if hasattr(like, "new_empty"):
        return like.new_empty(tuple(shape))
    import numpy

    return numpy.empty(tuple(shape), like.dtype)


def _buffer(rows: int, hidden_size: int | None = None) -> Any:
    state = _state()
    shape = (rows, hidden_size or state.hidden_size)
    if type(state.dtype).__module__ == "torch":
        import torch

        return torch.empty(shape, dtype=state.dtype, device=state.device)
    import numpy

    return numpy.empty(shape, state.dtype)
