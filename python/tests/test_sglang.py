"""SGLang's functions of rows, by groups of threads, against what they are said to compute."""

import threading
import unittest
from types import SimpleNamespace

import numpy as np

import tilewright
import tilewright.sglang as sglang
from support import needs_torch, random, same, torch
from tilewright.sglang import DpPaddingMode, Parallel, ThreadGroup

HIDDEN = 6


def on_gpus(dp, attn_tp, run, **options):
    """What `run` makes on every GPU, each a thread."""
    world = ThreadGroup.ranks(dp * attn_tp)
    attention = [group for _ in range(dp) for group in ThreadGroup.ranks(attn_tp)]
    results = [None] * (dp * attn_tp)

    def one(gpu):
        try:
            parallel = Parallel(world[gpu], attention[gpu], **options)
            sglang.initialize_dp_attention(parallel, of_thread=True)
            results[gpu] = run(parallel)
        except BaseException as error:
            results[gpu] = error
            # The others wait for this one otherwise.
            world[gpu] = attention[gpu] = None

    threads = [threading.Thread(target=one, args=(gpu,)) for gpu in range(dp * attn_tp)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def whole_numbers(rows, seed):
    """Rows whose sums are exact."""
    return np.random.default_rng(seed).integers(-64, 64, (rows, HIDDEN)).astype("float32")


class Steps(unittest.TestCase):
    """Steps of a few ranks: rows are gathered, combined and scattered."""

    def step(self, mode, counts, attn_tp, is_partial, convert=lambda array: array, **options):
        dp = len(counts)
        padded = [max(counts)] * dp if mode.is_max_len() else counts
        starts = np.concatenate([[0], np.cumsum(padded)[:-1]]).tolist()
        total = sum(padded)

        def run(parallel):
            rank = parallel.attn_dp_rank
            part = parallel.attn_tp_rank if is_partial else 0
            local = convert(whole_numbers(padded[rank], 10 * rank + part))
            before = np.asarray(local).copy()
            gpu_counts = convert(np.array(padded))
            batch = SimpleNamespace(
                dp_padding_mode=mode,
                global_num_tokens_gpu=gpu_counts,
                global_num_tokens_cpu=padded,
                dp_local_start_pos=None,
            )
            sglang.set_dp_buffer_len(total, padded[rank], mode.is_max_len(), padded, gpu_counts)
            buffer = convert(random((total, HIDDEN), "float32", 5))
            gather = sglang.dp_gather_partial if is_partial else sglang.dp_gather_replicate
            gather(buffer, local, batch)
            same(self, local, before)
            back = convert(random((padded[rank] + 2, HIDDEN), "float32", 6))
            sglang.dp_scatter(back, buffer, batch)
            combined = None
            if mode.is_max_len() or options.get("use_gatherv"):
                combined = convert(np.zeros((padded[rank], HIDDEN), "float32"))
                sglang.dp_reduce_scatter_tensor(combined, buffer)
            return np.asarray(buffer), np.asarray(back), combined if combined is None else np.asarray(combined)

        expected = np.zeros((total, HIDDEN), "float32")
        for rank in range(dp):
            parts = range(attn_tp) if is_partial else [0]
            rows = sum(whole_numbers(padded[rank], 10 * rank + part) for part in parts)
            expected[starts[rank] : starts[rank] + padded[rank]] = rows
        for gpu, (buffer, back, combined) in enumerate(on_gpus(dp, attn_tp, run, **options)):
            rank = gpu // attn_tp
            mine = expected[starts[rank] : starts[rank] + padded[rank]]
            # A sum with zeros has no sign of a zero.
            np.testing.assert_array_equal(buffer, expected)
            np.testing.assert_array_equal(back, np.concatenate([mine, np.zeros((2, HIDDEN), "float32")]))
            if combined is not None:
                np.testing.assert_array_equal(combined, mine * dp * attn_tp)

    def test_packed_ranks(self):
        for counts in [[3, 1], [2, 0, 5], [0, 4], [0, 0]]:
            for attn_tp in [1, 2]:
                for is_partial in [False, True]:
                    with self.subTest(counts=counts, attn_tp=attn_tp, is_partial=is_partial):
                        self.step(DpPaddingMode.SUM_LEN, counts, attn_tp, is_partial)

    def test_equal_ranks(self):
        for counts in [[4, 2], [2, 2, 2], [4]]:
            for attn_tp in [1, 2]:
                for is_partial in [False, True]:
                    with self.subTest(counts=counts, attn_tp=attn_tp, is_partial=is_partial):
                        self.step(DpPaddingMode.MAX_LEN, counts, attn_tp, is_partial)

    def test_packed_ranks_without_sums(self):
        for counts in [[3, 1], [2, 0, 5]]:
            self.step(DpPaddingMode.SUM_LEN, counts, 1, False, use_gatherv=True)

    @needs_torch
    def test_tensors_of_torch(self):
        for mode in DpPaddingMode:
            self.step(mode, [4, 2], 2, True, torch.from_numpy)

    def test_context_parallel_parts_bring_their_own_rows(self):
        shards, rows = [2, 1], [3, 2]
        world = ThreadGroup.ranks(4)
        results = [None] * 4

        def one(gpu):
            dp, cp = divmod(gpu, 2)
            sglang.initialize_dp_attention(Parallel(world[gpu], None, attn_cp_size=2, attn_cp_rank=cp), of_thread=True)
            mine = shards if dp == 0 else [1, 1]
            batch = SimpleNamespace(
                dp_padding_mode=None, global_num_tokens_gpu=np.array(rows), global_num_tokens_cpu=rows
            )
            buffer = random((5, HIDDEN), "float32", 5)
            sglang.dp_gather_partial(buffer, whole_numbers(3, gpu), batch, mine)
            back = np.ones((3, HIDDEN), "float32")
            sglang.dp_scatter(back, buffer, batch, mine)
            results[gpu] = (buffer, back)

        threads = [threading.Thread(target=one, args=(gpu,)) for gpu in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pieces = [whole_numbers(3, 0)[:2], whole_numbers(3, 1)[:1], whole_numbers(3, 2)[:1], whole_numbers(3, 3)[:1]]
        for gpu, (buffer, back) in enumerate(results):
            np.testing.assert_array_equal(buffer, np.concatenate(pieces))
            rest = np.zeros((3 - len(pieces[gpu]), HIDDEN), "float32")
            np.testing.assert_array_equal(back, np.concatenate([pieces[gpu], rest]))


class Alone(unittest.TestCase):
    """What one rank does by itself."""

    def setUp(self):
        sglang.initialize_dp_attention(Parallel(ThreadGroup.ranks(1)[0]), of_thread=True)

    def test_rows_are_copied_by_counts(self):
        dst, src = np.zeros((6, 4)), random((3, 4), "float64")
        sglang.memcpy(dst, src, 0, 2, 3, False)
        same(self, dst[2:5], src)
        back = np.zeros((2, 4))
        sglang.memcpy_triton(back, dst, 0, np.array(3), np.array(2), True)
        same(self, back, src[1:3])
        # More than either has.
        sglang.memcpy(dst, src, 0, 5, 40, False)
        same(self, dst[5], src[0])
        with self.assertRaises(tilewright.ArgumentError):
            sglang.memcpy(dst, src, 1, 0, 1, True)

    def test_padding_is_taken_out_of_routing(self):
        ids = np.arange(16, dtype="int32").reshape(8, 2)
        sglang.set_dp_buffer_len(8, 4, True, [4, 4], np.array([3, 1]))
        sglang.mask_dp_pad_moe_topk_ids(ids)
        self.assertEqual(np.flatnonzero(ids[:, 0] == -1).tolist(), [3, 5, 6, 7])
        # Of another layout nothing is known.
        other = np.ones((7, 2), "int32")
        sglang.mask_dp_pad_moe_topk_ids(other)
        self.assertTrue((other == 1).all())

    def test_buffers_are_as_long_as_the_step_says(self):
        sglang.set_dp_buffer_len(8, 4, True)
        sglang.init_dp_gathered_buffer(5, "float32", "cpu")
        self.assertEqual(sglang.get_global_dp_buffer().shape, (8, 5))
        self.assertEqual(sglang.get_local_dp_buffer(None, 3).shape, (4, 3))
        self.assertEqual((sglang.get_global_dp_buffer_len(), sglang.get_local_dp_buffer_len()), (8, 4))
        self.assertTrue(sglang.is_dp_max_padding())

    def test_the_mode_is_that_of_the_plan(self):
        modes = [DpPaddingMode.get_dp_padding_mode(extend, [5]) for extend in [False, True]]
        self.assertEqual(modes, [DpPaddingMode.MAX_LEN] * 2)

    def test_a_batch_is_padded_whole(self):
        drafts = SimpleNamespace(
            is_draft_input=lambda: True,
            topk_p=random((3, 2), "float32"),
            topk_index=np.arange(6).reshape(3, 2),
            hidden_states=random((5, 4), "float32"),
            accept_length=None,
        )
        batch = SimpleNamespace(
            input_ids=np.arange(5),
            out_cache_loc=np.arange(5) + 10,
            positions=np.arange(5) + 20,
            req_pool_indices=np.arange(3, dtype="int32"),
            seq_lens=np.array([7, 8, 9]),
            seq_lens_cpu=np.array([7, 8, 9]),
            seq_lens_sum=24,
            mrope_positions=np.arange(15).reshape(3, 5),
            bootstrap_room_ids_int=np.array([4, 5, 6]),
            extend_seq_lens=None,
            lora_ids=["a", None, "b"],
            sampling_info=SimpleNamespace(),
            spec_info=drafts,
        )
        hidden = drafts.hidden_states
        runner = SimpleNamespace(attn_backend=SimpleNamespace(get_cuda_graph_seq_len_fill_value=lambda: 1))
        sglang.pad_inputs_to_size(batch, runner, 8, 4)
        self.assertEqual(batch.input_ids.tolist(), [0, 1, 2, 3, 4, 0, 0, 0])
        self.assertEqual(batch.out_cache_loc.tolist(), [10, 11, 12, 13, 14, 0, 0, 0])
        self.assertEqual(batch.positions.tolist(), [20, 21, 22, 23, 24, 0, 0, 0])
        self.assertEqual(batch.req_pool_indices.tolist(), [0, 1, 2, 0])
        self.assertEqual((batch.seq_lens.tolist(), batch.seq_lens_cpu.tolist()), ([7, 8, 9, 1], [7, 8, 9, 1]))
        self.assertEqual(batch.seq_lens_sum, 25)
        self.assertEqual(batch.mrope_positions[1].tolist(), [5, 6, 7, 8, 9, 0, 0, 0])
        self.assertEqual(batch.bootstrap_room_ids_int.tolist(), [4, 5, 6, -1])
        self.assertIs(batch.sampling_info.bootstrap_room_ids_int, batch.bootstrap_room_ids_int)
        self.assertEqual(batch.lora_ids, ["a", None, "b", None])
        self.assertEqual(drafts.topk_index.tolist(), [[0, 1], [2, 3], [4, 5], [0, 0]])
        same(self, drafts.hidden_states, np.concatenate([hidden, np.zeros((3, 4), "float32")]))
        self.assertIs(batch.hidden_states_backup, hidden)
        self.assertIs(batch.output_cache_loc_backup, batch.out_cache_loc)
        with self.assertRaisesRegex(
            tilewright.ArgumentError, "`input_ids` has 8 elements on axis 0, and is to be padded to 7"
        ):
            sglang.pad_inputs_to_size(batch, None, 7, 4)
        same(self, sglang.pad_tensor_to_size(np.array([1, 2]), 4, value=-1), np.array([1, 2, -1, -1]))

    def test_counts_of_other_ranks_are_refused(self):
        batch = SimpleNamespace(global_num_tokens_gpu=np.array([1, 2]), dp_local_start_pos=None)
        with self.assertRaisesRegex(tilewright.ArgumentError, "2 counts for 1 data-parallel ranks"):
            sglang.get_dp_local_info(batch)

    def test_ranks_that_are_not_known_are_an_error(self):
        def run():
            try:
                sglang.get_parallel()
            except tilewright.ArgumentError as error:
                errors.append(str(error))

        errors = []
        sglang._of_process = None
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        self.assertIn("initialize_dp_attention", errors[0])


if __name__ == "__main__":
    unittest.main()
