"""Tensors of torch on a GPU: streams, graphs, compiled code. Run as `python -m unittest gpu_torch` where there is
one."""

import gc
import unittest

import tilewright
from support import WHY_NO_TORCH, same, torch

if torch is None or not torch.cuda.is_available():
    raise unittest.SkipTest(WHY_NO_TORCH or "torch finds no GPU")

import tilewright.sglang as sglang
import tilewright.torch as ops
from test_torch import TYPES, gathered, tensor

GPU = torch.device("cuda", 0)


def on_gpu(shape, dtype, seed=0):
    return tensor(shape, dtype, seed).to(GPU)


def slow():
    """Keeps the current stream busy for some tens of milliseconds."""
    torch.cuda._sleep(100_000_000)


class Tensors(unittest.TestCase):
    def test_rows_of_every_type_are_moved_and_padded(self):
        for dtype in TYPES:
            for hidden in [1, 7, 576, 7168]:
                with self.subTest(dtype=dtype, hidden=hidden):
                    src, out = on_gpu((40, hidden), dtype), on_gpu((64, hidden), dtype, 1)
                    index = torch.randint(-2, 42, (64,), device=GPU)
                    tilewright.gather_rows(out, src, index)
                    same(self, out, gathered(src.cpu(), index.cpu()))
                    padded = on_gpu((50, hidden), dtype, 2)
                    tilewright.pad_batch([(padded, src, 33, 0)])
                    same(self, padded[:33], src[:33])
                    self.assertFalse(padded[33:].contiguous().view(torch.uint8).any())
                    dst = on_gpu((80, hidden), dtype, 3)
                    order = torch.randperm(80, device=GPU)[:40].to(torch.int32)
                    expected = dst.clone()
                    expected.view(torch.uint8)[order.long()] = src.view(torch.uint8)
                    tilewright.scatter_rows(dst, src, order)
                    same(self, dst, expected)

    def test_views_are_used_where_they_are(self):
        whole, into = on_gpu((20, 100), torch.bfloat16), on_gpu((20, 100), torch.bfloat16, 1)
        index = torch.tensor([3, -1, 7], device=GPU)
        for first in range(0, 9):
            src, out = whole[1:, first : first + 64], into[4:7, 2 * first : 2 * first + 64]
            before = into.clone()
            before[4:7, 2 * first : 2 * first + 64] = gathered(src.cpu(), index.cpu()).to(GPU)
            tilewright.gather_rows(out, src, index)
            same(self, into, before)

    def test_other_protocols_are_understood(self):
        class Protocol:
            """Of a framework without the exchange table."""

            def __init__(self, of):
                self.of = of

            def __dlpack__(self, **options):
                return self.of.__dlpack__(**options)

            def __dlpack_device__(self):
                return self.of.__dlpack_device__()

        class Interface:
            def __init__(self, of, stream):
                self.__cuda_array_interface__ = {**of.__cuda_array_interface__, "stream": stream}

        src, index = on_gpu((9, 64), torch.float32), torch.tensor([3, -1, 7], device=GPU)
        for wrap in [Protocol, lambda of: Interface(of, None), lambda of: Interface(of, 1)]:
            out = torch.empty(3, 64, device=GPU)
            tilewright.gather_rows(wrap(out), wrap(src), wrap(index))
            same(self, out, gathered(src.cpu(), index.cpu()))

    def test_tensors_of_two_devices_do_not_meet(self):
        out, src = torch.empty(1, 4, device=GPU), torch.empty(3, 4, device=GPU)
        with self.assertRaisesRegex(tilewright.TensorError, "`index` is on cpu and `out` on cuda:0"):
            tilewright.gather_rows(out, src, torch.tensor([1]))

    def test_buffers_of_arenas_become_tensors(self):
        arena = tilewright.Arena(64, torch.bfloat16, GPU)
        for rows in [5, 3, 200]:
            with torch.cuda.stream(torch.cuda.Stream()):
                buffer = torch.from_dlpack(arena.rows(rows))
                self.assertEqual((buffer.dtype, tuple(buffer.shape), buffer.device), (torch.bfloat16, (rows, 64), GPU))
                local = on_gpu((2, 64), torch.bfloat16)
                tilewright.place_rows(buffer, local, 1, 0, 2)
                slow()
                read = buffer.clone()
                del buffer
                gc.collect()
            torch.cuda.synchronize()
            same(self, read[1:3], local)
            self.assertFalse(read[:1].any() or read[3:].any())

    def test_ranks_of_one_gpu_come_together(self):
        import threading

        results = {}

        def run(group):
            with torch.cuda.stream(torch.cuda.Stream()):
                slow()
                rows = torch.full((3, 64), group.rank + 1.0, device=GPU, dtype=torch.bfloat16)
                group.all_reduce(rows)
                results[group.rank] = rows.clone()
                torch.cuda.current_stream().synchronize()

        threads = [threading.Thread(target=run, args=(group,)) for group in tilewright.LocalGroup.ranks(2, GPU)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for rank in [0, 1]:
            self.assertTrue((results[rank] == 3).all())


class Streams(unittest.TestCase):
    def setUp(self):
        self.index = torch.arange(63, -1, -1, device=GPU)
        self.new = on_gpu((64, 512), torch.float32, 1)
        self.src, self.out = torch.zeros(64, 512, device=GPU), torch.empty(64, 512, device=GPU)
        tilewright.gather_rows(self.out, self.src, self.index)
        torch.cuda.synchronize()

    def after_a_slow_producer(self, consume):
        """What comes out if the rows are written late on a stream, and gathered by `consume` at once."""
        self.src.zero_()
        torch.cuda.synchronize()
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            slow()
            self.src.copy_(self.new)
            consume(stream)
        torch.cuda.synchronize()
        return self.out

    def test_a_launch_goes_to_the_stream_of_torch(self):
        out = self.after_a_slow_producer(lambda stream: tilewright.gather_rows(self.out, self.src, self.index))
        same(self, out, self.new.flip(0))

    def test_a_launch_goes_to_the_stream_that_is_named(self):
        for name in [lambda stream: stream, lambda stream: stream.cuda_stream]:

            def consume(stream):
                with torch.cuda.stream(torch.cuda.Stream()):
                    tilewright.gather_rows(self.out, self.src, self.index, stream=name(stream))

            same(self, self.after_a_slow_producer(consume), self.new.flip(0))

    def test_a_wrong_stream_is_seen(self):
        """That the producer is slow enough to catch what the tests above are for."""

        def consume(stream):
            tilewright.gather_rows(self.out, self.src, self.index, stream=torch.cuda.Stream())

        out = self.after_a_slow_producer(consume)
        self.assertFalse(torch.equal(out, self.new.flip(0)))
        self.assertFalse(out.any())

    def test_what_follows_on_the_stream_sees_the_rows(self):
        def consume(stream):
            tilewright.gather_rows(self.out, self.src, self.index)
            self.read = self.out * 2

        self.after_a_slow_producer(consume)
        same(self, self.read, self.new.flip(0) * 2)

    def test_operators_go_there_too(self):
        out = self.after_a_slow_producer(lambda stream: ops.gather_rows(self.out, self.src, self.index))
        same(self, out, self.new.flip(0))

    def test_a_kept_launch_goes_to_the_stream_of_now(self):
        for _ in range(12):
            tilewright.gather_rows(self.out, self.src, self.index)

        def consume(stream):
            for _ in range(12):
                tilewright.gather_rows(self.out, self.src, self.index)

        for _ in range(2):
            same(self, self.after_a_slow_producer(consume), self.new.flip(0))

    def test_many_streams_come_and_go(self):
        for _ in range(200):
            with torch.cuda.stream(torch.cuda.Stream()):
                tilewright.gather_rows(self.out, self.new, self.index)
        torch.cuda.synchronize()
        same(self, self.out, self.new.flip(0))


class Graphs(unittest.TestCase):
    def captured(self, run):
        """A graph of `run`, which was warmed up as torch asks for."""
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            run()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph

    def test_replays_follow_counts_in_device_memory(self):
        local, buffer = on_gpu((64, 512), torch.bfloat16), on_gpu((256, 512), torch.bfloat16, 1)
        back, report = on_gpu((64, 512), torch.bfloat16, 2), torch.zeros(2, dtype=torch.int64, device=GPU)
        start, rows = torch.tensor(5, device=GPU), torch.tensor([7], device=GPU, dtype=torch.int32)
        ids, padded_ids = torch.arange(64, device=GPU), torch.zeros(64, dtype=torch.int64, device=GPU)
        routed = torch.zeros(256, 8, dtype=torch.int32, device=GPU)
        per_rank = torch.zeros(4, dtype=torch.int64, device=GPU)

        def run():
            routed.fill_(3)
            tilewright.place_rows(buffer, local, start, 0, rows, report=report)
            tilewright.copy_from_slot(back, buffer, start, rows, padded=True)
            tilewright.pad_batch([(padded_ids, ids, rows, -1), (local.view(64, 2, 256), None, 60, 0)])
            tilewright.mask_padding_ids(routed, per_rank, 64)

        graph = self.captured(run)
        for seed, (at, count) in enumerate([(5, 7), (0, 64), (200, 60), (250, 64), (0, 0), (300, 3), (17, 1000)]):
            local.copy_(tensor((64, 512), torch.bfloat16, seed))
            before = local.clone()
            start.fill_(at), rows.fill_(count)
            per_rank.copy_(torch.tensor([count % 65, 0, 64, 1]))
            buffer.fill_(9)
            graph.replay()
            torch.cuda.synchronize()
            moved = max(0, min(count, 64, 256 - at))
            expected = torch.zeros_like(buffer)
            expected[at : at + moved] = before[:moved]
            same(self, buffer, expected)
            taken = torch.zeros_like(back)
            taken[:moved] = before[:moved]
            same(self, back, taken)
            self.assertEqual(report.tolist(), [count, moved])
            self.assertEqual(padded_ids.tolist(), [i if i < count else -1 for i in range(64)])
            for rank, real in enumerate(per_rank.tolist()):
                mine = routed[64 * rank : 64 * rank + 64, 0].tolist()
                self.assertEqual(mine, [3] * real + [-1] * (64 - real))

    def test_what_would_compile_in_a_capture_is_refused(self):
        src, out = on_gpu((8, 1003), torch.int16), torch.empty(8, 1003, dtype=torch.int16, device=GPU)
        index = torch.arange(8, device=GPU)
        graph = torch.cuda.CUDAGraph()
        with self.assertRaises(tilewright.LaunchError):
            with torch.cuda.graph(graph):
                tilewright.gather_rows(out, src, index)
        torch.cuda.synchronize()
        tilewright.gather_rows(out, src, index)
        same(self, out, src)

    def test_kept_launches_are_captured(self):
        index = torch.arange(63, -1, -1, device=GPU)
        src, out = on_gpu((64, 512), torch.float32), torch.zeros(64, 512, device=GPU)
        stream = torch.cuda.Stream()
        for warm in [1, 12]:
            with torch.cuda.stream(stream):
                for _ in range(warm):
                    tilewright.gather_rows(out, src, index)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream):
                for _ in range(8):
                    tilewright.gather_rows(out, src, index)
            for seed in [1, 2]:
                src.copy_(on_gpu((64, 512), torch.float32, seed))
                out.zero_()
                torch.cuda.synchronize()
                graph.replay()
                torch.cuda.synchronize()
                same(self, out, src.flip(0))

    def test_graphs_outlive_what_else_is_launched(self):
        src, out = on_gpu((64, 512), torch.float32), torch.empty(64, 512, device=GPU)
        index = torch.arange(63, -1, -1, device=GPU)
        graph = self.captured(lambda: tilewright.gather_rows(out, src, index))
        for hidden in range(1, 40):
            tilewright.gather_rows(on_gpu((2, hidden), torch.int8), on_gpu((4, hidden), torch.int8, 1), index[:2])
        tilewright.settle(20)
        out.zero_()
        graph.replay()
        torch.cuda.synchronize()
        same(self, out, src.flip(0))


class Compiled(unittest.TestCase):
    def test_compiled_code_keeps_operators(self):
        def run(src, index, start, rows):
            out = torch.empty_like(src)
            ops.gather_rows(out, src * 2, index)
            buffer = src.new_empty(128, src.shape[1])
            ops.place_rows(buffer, out, start, 0, rows)
            return buffer + 1

        for options in [{}, {"mode": "reduce-overhead"}]:
            compiled = torch.compile(run, fullgraph=True, **options)
            for seed, (at, count) in enumerate([(5, 7), (0, 64), (100, 20), (127, 1)]):
                src = torch.randn(64, 512, device=GPU)
                index = torch.randint(0, 64, (64,), device=GPU)
                start, rows = torch.tensor(at, device=GPU), torch.tensor(count, device=GPU)
                expected = torch.zeros(128, 512, device=GPU)
                expected[at : at + count] = (src * 2)[index][:count]
                for _ in range(3):
                    same(self, compiled(src, index, start, rows).clone(), expected + 1)


class Sglang(unittest.TestCase):
    """1,000 random steps of what one rank does, against the same in torch."""

    def test_steps_have_the_same_bits(self):
        from types import SimpleNamespace

        group = sglang.ThreadGroup.ranks(1)[0]
        generator = torch.Generator().manual_seed(1)

        def draw(most):
            return int(torch.randint(0, most + 1, (1,), generator=generator))

        hidden = 512
        for step in range(1000):
            ranks = 1 + draw(7)
            counts = [draw(40) for _ in range(ranks)]
            rank = draw(ranks - 1)
            is_max = draw(1) == 1
            padded = [max(counts)] * ranks if is_max else counts
            # The rank's place is all that a step needs of its group here.
            parallel = SimpleNamespace(
                tp_group=group, attn_tp_size=1, attn_tp_rank=0, tp_size=ranks, attn_dp_size=ranks, attn_dp_rank=rank
            )
            sglang.initialize_dp_attention(parallel, of_thread=True)
            total = sum(padded)
            on_device = torch.tensor(padded, device=GPU)
            batch = SimpleNamespace(dp_padding_mode=None, global_num_tokens_gpu=on_device, dp_local_start_pos=None)
            local = torch.randn(padded[rank], hidden, device=GPU, dtype=torch.bfloat16)
            buffer = torch.full((total, hidden), 9.0, device=GPU, dtype=torch.bfloat16)
            sglang.dp_gather_partial(buffer, local, batch)
            start = sum(padded[:rank])
            expected = torch.zeros_like(buffer)
            expected[start : start + padded[rank]] = local
            same(self, buffer, expected)
            back = torch.full((padded[rank] + draw(3), hidden), 9.0, device=GPU, dtype=torch.bfloat16)
            sglang.dp_scatter(back, buffer, batch)
            expected = torch.zeros_like(back)
            expected[: padded[rank]] = local
            same(self, back, expected)
            if is_max and max(counts):
                ids = torch.randint(0, 256, (total, 8), device=GPU, dtype=torch.int32)
                expected = ids.clone()
                for other, count in enumerate(counts):
                    expected[other * max(counts) + count : (other + 1) * max(counts)] = -1
                sglang.set_dp_buffer_len(total, max(counts), True, padded, torch.tensor(counts, device=GPU))
                sglang.mask_dp_pad_moe_topk_ids(ids)
                same(self, ids, expected)
            bs = counts[rank]
            fields = {
                "input_ids": torch.arange(bs, device=GPU),
                "positions": torch.arange(bs, device=GPU),
                "out_cache_loc": torch.arange(bs, device=GPU),
                "req_pool_indices": torch.arange(bs, device=GPU, dtype=torch.int32),
                "seq_lens": torch.full((bs,), 7, device=GPU, dtype=torch.int32),
            }
            forward = SimpleNamespace(
                **fields, seq_lens_cpu=torch.full((bs,), 7, dtype=torch.int32), seq_lens_sum=7 * bs
            )
            size = bs + draw(9)
            sglang.pad_inputs_to_size(forward, None, size, size)
            for name, tensor in fields.items():
                fill = 1 if name == "seq_lens" else 0
                same(self, getattr(forward, name), torch.cat([tensor, tensor.new_full((size - bs,), fill)]))
            self.assertEqual(forward.seq_lens_sum, 7 * bs + size - bs)


if __name__ == "__main__":
    unittest.main()
