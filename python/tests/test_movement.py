"""Rows moved over tensors of numpy, compared bit for bit with plain Python."""

import threading
import unittest

import numpy as np

import tilewright
from support import random, same

TYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
]


def gathered(src, index):
    rows = [src[i] if 0 <= i < len(src) else np.zeros_like(src[0]) for i in index.tolist()]
    return np.array(rows, src.dtype).reshape((len(index), *src.shape[1:]))


class Gather(unittest.TestCase):
    def test_rows_of_every_type_arrive_bit_for_bit(self):
        for dtype in TYPES:
            for index_type in ["int32", "int64"]:
                with self.subTest(dtype=dtype, index=index_type):
                    src = random((7, 5), dtype)
                    index = np.array([6, -1, 0, 3, 3, 7, 2], index_type)
                    out = random((7, 5), dtype, 1)
                    tilewright.gather_rows(out, src, index)
                    same(self, out, gathered(src, index))

    def test_rows_may_have_any_number_of_axes(self):
        index = np.array([2, 0])
        for shape in [(3,), (3, 4), (3, 2, 4), (3, 2, 1, 5), (3, 0), (3, 1, 1)]:
            with self.subTest(shape=shape):
                src = random(shape, "int32")
                out = random((2, *shape[1:]), "int32", 1)
                tilewright.gather_rows(out, src, index)
                same(self, out, gathered(src, index))

    def test_strided_views_are_used_in_place(self):
        whole = random((9, 12), "int16")
        into = random((8, 20), "int16", 1)
        before = into.copy()
        views = [
            (whole[1::2], into[:4, 3:15]),
            (whole[::-1], into[2:, 8:]),
            (whole[:, 2:9], into[:6:2, 1:8]),
            (whole[:, ::3], into[3:, ::5]),
            (np.broadcast_to(whole[4], (9, 12)), into[1:4, :12]),
        ]
        for src, out in views:
            into[...] = before
            index = np.array([3, 0, -1])
            expected = into.copy()
            view = np.ndarray(out.shape, out.dtype, expected, out.ctypes.data - into.ctypes.data, out.strides)
            view[: min(3, len(out))] = gathered(src, index)[: len(out)]
            tilewright.gather_rows(out, src, index)
            # What is beside the view keeps its bits.
            same(self, into, expected)

    def test_an_unsigned_type_stands_for_any_bits(self):
        src = random((3, 2), "float32")
        out = np.zeros((1, 2), "uint32")
        tilewright.gather_rows(out, src, np.array([1]))
        same(self, out, src[1:2])

    def test_counts_of_zero_move_nothing(self):
        out = random((0, 4), "float32")
        tilewright.gather_rows(out, random((3, 4), "float32"), np.zeros(0, "int64"))
        tilewright.gather_rows(out, random((0, 4), "float32"), np.zeros(0, "int32"))

    def test_a_read_only_source_is_read(self):
        src = random((3, 2), "float32")
        src.flags.writeable = False
        index = np.array([1])
        index.flags.writeable = False
        out = np.zeros((1, 2), "float32")
        tilewright.gather_rows(out, src, index)
        same(self, out, src[1:2])

    def test_threads_may_call_at_once(self):
        src = random((64, 33), "int64")
        wrong = []

        def run(seed):
            index = np.random.default_rng(seed).integers(-1, 64, 40)
            out = np.empty((40, 33), "int64")
            for _ in range(20):
                tilewright.gather_rows(out, src, index)
                if not np.array_equal(out, gathered(src, index)):
                    wrong.append(seed)

        threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])


class Scatter(unittest.TestCase):
    def test_rows_go_where_the_index_says_and_the_others_stay(self):
        src, dst = random((4, 3), "float16"), random((6, 3), "float16", 1)
        expected = dst.copy()
        expected[[5, 0]] = src[[0, 3]]
        tilewright.scatter_rows(dst, src, np.array([5, -1, 6, 0], "int32"))
        same(self, dst, expected)

    def test_rows_of_a_reserved_index_are_skipped(self):
        src, dst = random((3, 2), "uint8"), random((4, 2), "uint8", 1)
        expected = dst.copy()
        expected[2] = src[1]
        tilewright.scatter_rows(dst, src, np.array([0, 2, 0]), reserved=0)
        same(self, dst, expected)

    def test_a_duplicate_is_an_error(self):
        with self.assertRaisesRegex(tilewright.LaunchError, "written by program"):
            tilewright.scatter_rows(np.zeros((4, 2)), np.ones((2, 2)), np.array([1, 1]))


class Slots(unittest.TestCase):
    def counts(self, *values):
        """As numbers, and as tensors of every kind that is read when the kernel runs."""
        yield values
        yield tuple(np.int64(value) for value in values)
        for dtype in ["int32", "int64"]:
            yield tuple(np.array([value], dtype) for value in values)
            yield tuple(np.array(value, dtype) for value in values)

    def test_a_slot_is_filled_and_emptied(self):
        buffer, local = random((8, 3), "int32"), random((5, 3), "int32", 1)
        for offset, rows in [(2, 3), (0, 0), (6, 5), (9, 1), (0, 40)]:
            for start, count in self.counts(offset, rows):
                with self.subTest(offset=offset, rows=rows, given=start):
                    moved = max(0, min(rows, 5, 8 - offset))
                    dst = buffer.copy()
                    expected = buffer.copy()
                    expected[offset : offset + moved] = local[:moved]
                    tilewright.copy_to_slot(dst, local, start, count)
                    same(self, dst, expected)

                    out = local.copy()
                    expected = local.copy()
                    expected[:moved] = buffer[offset : offset + moved]
                    tilewright.copy_from_slot(out, buffer, start, count)
                    same(self, out, expected)

                    expected[moved:] = 0
                    tilewright.copy_from_slot(out, buffer, start, count, padded=True)
                    same(self, out, expected)

    def test_a_buffer_is_written_whole_and_reports(self):
        local = random((3, 2), "float64")
        for start, first, rows in self.counts(2, 1, 20):
            out, report = random((5, 2), "float64", 1), np.zeros(2, "int64")
            expected = np.zeros((5, 2))
            expected[2:4] = local[1:3]
            tilewright.place_rows(out, local, start, first, rows)
            same(self, out, expected)
            out[...] = 7
            tilewright.place_rows(out, local, start, first, rows, report=report)
            same(self, out, expected)
            self.assertEqual(report.tolist(), [19, 2])
        taken, report = random((4, 2), "float64", 1), np.zeros(2, "int64")
        tilewright.take_rows(taken, expected, 3, 3, report)
        self.assertEqual(report.tolist(), [3, 2])
        same(self, taken, np.concatenate([expected[3:5], np.zeros((2, 2))]))


class Masks(unittest.TestCase):
    def test_padding_is_taken_out_of_routing(self):
        for ids_type in ["int32", "int64"]:
            for counts_type in ["int32", "int64"]:
                ids = np.arange(16).reshape(8, 2).astype(ids_type)
                expected = ids.copy()
                expected[[3, 5, 6, 7]] = -1
                again = ids.copy()
                tilewright.mask_padding_ids(ids, np.array([3, 1], counts_type), 4)
                same(self, ids, expected)
                tilewright.mask_rows_outside(again, np.array([0, 4], counts_type), np.array([3, 1], counts_type))
                same(self, again, expected)


class Segments(unittest.TestCase):
    def test_sequences_are_padded_and_packed(self):
        packed = random((6, 3), "float32")
        starts = np.array([0, 2, 2, 6], "int32")
        out, mask = random((3, 3, 3), "float32", 1), np.ones((3, 3), bool)
        expected = np.zeros((3, 3, 3), "float32")
        expected[0, :2], expected[2] = packed[:2], packed[2:5]
        tilewright.pad_segments(out, packed, starts)
        same(self, out, expected)
        out[...] = 7
        tilewright.pad_segments(out, packed, starts, mask=mask)
        same(self, out, expected)
        self.assertEqual(mask.tolist(), [[True, True, False], [False] * 3, [True] * 3])
        back = np.zeros((6, 3), "float32")
        tilewright.pack_segments(back, out, starts)
        same(self, back, np.concatenate([packed[:5], np.zeros((1, 3), "float32")]))


if __name__ == "__main__":
    unittest.main()
