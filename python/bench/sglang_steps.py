"""What one rank does in a step of SGLang, written out in torch and Triton as SGLang has it, beside `tilewright.sglang`:
equal bits, and the time of the host and of the GPU side by side.

`python sglang_steps.py [--json FILE]`. The ranks' collectives are left out on both sides.
"""

import argparse
import json
import statistics
import time
from types import SimpleNamespace

import torch
import triton
import triton.language as tl

import tilewright
import tilewright.sglang as sglang

GPU = torch.device("cuda", 0)
HIDDEN, RANKS, RANK = 7168, 8, 3
BLOCK = 8192


@triton.jit
def copy_kernel(dst, src, offset, rows, chunk, FROM_SLOT: tl.constexpr, BLOCK: tl.constexpr):
    start = tl.load(offset).to(tl.int64) * chunk
    size = tl.load(rows).to(tl.int64) * chunk
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    if FROM_SLOT:
        tl.store(dst + at, tl.load(src + start + at, mask=inside), mask=inside)
    else:
        tl.store(dst + start + at, tl.load(src + at, mask=inside), mask=inside)


@triton.jit
def mask_kernel(ids, counts, rows_per_rank, K: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    if row % rows_per_rank >= tl.load(counts + row // rows_per_rank):
        at = tl.arange(0, BLOCK)
        tl.store(ids + row * K + at, -1, mask=at < K)


class Reference:
    """The functions as SGLang has them, one rank's part."""

    @staticmethod
    def copy(dst, src, offset, rows, from_slot):
        grid = (triton.cdiv(min(dst.numel(), src.numel()), BLOCK),)
        copy_kernel[grid](dst, src, offset, rows, src.shape[1], from_slot, BLOCK)

    @staticmethod
    def info(counts):
        ends = torch.cumsum(counts, dim=0)
        return ends[RANK - 1], counts[RANK]

    @classmethod
    def gather(cls, buffer, local, counts):
        start, rows = cls.info(counts)
        buffer.fill_(0)
        cls.copy(buffer, local, start, rows, False)

    @classmethod
    def scatter(cls, local, buffer, counts):
        start, rows = cls.info(counts)
        local.fill_(0)
        cls.copy(local, buffer, start, rows, True)

    @staticmethod
    def mask(ids, counts, rows_per_rank):
        mask_kernel[(ids.shape[0],)](ids, counts, rows_per_rank, ids.shape[1], triton.next_power_of_2(ids.shape[1]))

    @staticmethod
    def pad(batch, size):
        for name, fill in FIELDS:
            tensor = getattr(batch, name)
            rest = tensor.new_zeros(size - len(tensor)) if fill == 0 else tensor.new_full((size - len(tensor),), fill)
            setattr(batch, name, torch.cat([tensor, rest]))


FIELDS = [("input_ids", 0), ("out_cache_loc", 0), ("positions", 0), ("req_pool_indices", 0), ("seq_lens", 1)]


def batch_of(requests):
    long = torch.arange(requests, device=GPU)
    return SimpleNamespace(
        input_ids=long,
        out_cache_loc=long + 1,
        positions=long + 2,
        req_pool_indices=long.to(torch.int32),
        seq_lens=torch.full((requests,), 70, device=GPU, dtype=torch.int32),
    )


def times(run, repeats=300):
    """Medians for one call: of the host, and of the GPU in replays of a captured graph."""
    for _ in range(20):
        run()
    torch.cuda.synchronize()
    tilewright.settle(30)
    host = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        begun = time.perf_counter_ns()
        run()
        host.append((time.perf_counter_ns() - begun) / 1000)
    stream = torch.cuda.Stream()
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(20):
            run()
    device = []
    for _ in range(30):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        device.append(begin.elapsed_time(end) * 1000 / 20)
    return {"host": statistics.median(host), "device": statistics.median(device)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", help="also writes the times there")
    arguments = parser.parse_args()
    group = sglang.ThreadGroup.ranks(1)[0]
    # A sum over the ranks is no part of what is measured.
    group.all_reduce = lambda tensor: tensor
    sglang.initialize_dp_attention(
        SimpleNamespace(
            tp_group=group, attn_tp_size=1, attn_tp_rank=0, tp_size=RANKS, attn_dp_size=RANKS, attn_dp_rank=RANK
        )
    )
    readings = {}
    for requests in [1, 20, 128, 1024]:
        counts = torch.full((RANKS,), requests, device=GPU)
        real = torch.full((RANKS,), requests - requests // 4, device=GPU)
        total = requests * RANKS
        local = torch.randn(requests, HIDDEN, device=GPU, dtype=torch.bfloat16)
        buffers = [torch.full((total, HIDDEN), 9.0, device=GPU, dtype=torch.bfloat16) for _ in range(2)]
        locals_ = [torch.full_like(local, 9) for _ in range(2)]
        ids = [torch.ones(total, 8, device=GPU, dtype=torch.int32) for _ in range(2)]
        sglang.set_dp_buffer_len(total, requests, True, [requests] * RANKS, real)

        def step_of():
            return SimpleNamespace(dp_padding_mode=None, global_num_tokens_gpu=counts, dp_local_start_pos=None)

        size = requests + requests // 8 + 1
        batch = batch_of(requests)

        def copy_of_batch():
            return SimpleNamespace(**vars(batch))

        pairs = {
            "gather": (
                lambda: Reference.gather(buffers[0], local, counts),
                lambda: sglang.dp_gather_partial(buffers[1], local, step_of()),
                lambda: torch.equal(*buffers),
            ),
            "scatter": (
                lambda: Reference.scatter(locals_[0], buffers[0], counts),
                lambda: sglang.dp_scatter(locals_[1], buffers[1], step_of()),
                lambda: torch.equal(*locals_),
            ),
            "mask": (
                lambda: Reference.mask(ids[0], real, requests),
                lambda: sglang.mask_dp_pad_moe_topk_ids(ids[1]),
                lambda: torch.equal(*ids),
            ),
            "pad": (
                lambda: Reference.pad(copy_of_batch(), size),
                lambda: sglang.pad_inputs_to_size(copy_of_batch(), None, size, size),
                None,
            ),
        }
        one, other = copy_of_batch(), copy_of_batch()
        Reference.pad(one, size)
        sglang.pad_inputs_to_size(other, None, size, size)
        assert all(torch.equal(getattr(one, name), getattr(other, name)) for name, _ in FIELDS)
        for name, (reference, ours, equal) in pairs.items():
            found = {"sglang": times(reference), "tilewright": times(ours)}
            if equal is not None:
                reference(), ours()
                torch.cuda.synchronize()
                assert equal(), f"{name} of {requests}: the bits differ"
            readings[f"{name} {requests}"] = found
            print(
                f"{name:8} {requests:5} rows  "
                + "  ".join(
                    f"{who}: host {at['host']:7.2f} us, GPU {at['device']:7.2f} us" for who, at in found.items()
                ),
                flush=True,
            )
    print(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}, Triton {triton.__version__}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(
                {
                    "gpu": torch.cuda.get_device_name(0),
                    "torch": torch.__version__,
                    "triton": triton.__version__,
                    "us": readings,
                },
                file,
            )


if __name__ == "__main__":
    main()
