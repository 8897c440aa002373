"""Launches that are kept: what came often is launched as before, and what differs in anything is not."""

import itertools
import threading
import unittest

import numpy as np

import tilewright
from support import needs_torch, random, same, torch
from tilewright import Pad

# After so many calls a launch is kept, whatever else was launched between them.
OFTEN = 12


def gathered(src, index):
    found = (index >= 0) & (index < len(src))
    return np.where(found[:, None], src[np.where(found, index, 0)], np.zeros((), src.dtype))


class Movement(unittest.TestCase):
    def setUp(self):
        self.memory, self.rows = np.zeros((8, 6), "int32"), random((9, 6), "int32")
        self.index = np.array([3, 8, -1, 0])
        for _ in range(OFTEN):
            tilewright.gather_rows(self.memory[:4], self.rows, self.index)

    def gather(self, out, src, index):
        """Checks what is gathered, and that no other element was written."""
        self.memory[...] = -7
        expected_out = gathered(src, index)
        tilewright.gather_rows(out, src, index)
        same(self, out, expected_out)
        self.assertEqual(int((self.memory == -7).sum()), self.memory.size - out.size * out.itemsize // 4)

    def test_elements_are_those_of_now(self):
        for _ in range(OFTEN):
            self.rows += 5
            self.index[...] = self.index[::-1].copy()
            self.gather(self.memory[:4], self.rows, self.index)

    def test_other_extents_strides_types_and_places_are_seen(self):
        memory, rows, index = self.memory, self.rows, self.index
        pairs = [
            (memory[:4], rows, index),
            (memory[:3], rows, index[:3]),
            (memory[1:5], rows, index),
            (memory[:4], rows[1:], index),
            (memory[:4], rows[:5], index),
            (memory[::2], rows, index),
            (memory[:4], rows[::2], index),
            (memory[:4, :3], rows[:, :3], index),
            (memory[:4, :3], rows[:, 3:], index),
            (memory[:4, ::2], rows[:, 1::2], index),
            (memory[:4].view("int16"), rows.view("int16"), index),
            (memory[:4].view("int64"), rows.view("int64"), index),
            (memory[:4].reshape(4, 2, 3).view("uint32").reshape(4, 6), rows.view("uint32"), index),
            (memory[:4], rows, index.astype("int32")),
            (memory[:4], rows, index.view("int32")[::2]),
            (memory[:4], rows, index[::-1]),
        ]
        for first, second in itertools.product(pairs, repeat=2):
            for out, src, at in [first] * 5 + [second]:
                self.gather(out, src, at)

    def test_what_is_refused_stays_refused(self):
        out, src, index = self.memory[:4], self.rows, self.index
        with self.assertRaisesRegex(tilewright.TensorError, "read-only"):
            out.flags.writeable = False
            tilewright.gather_rows(out, src, index)
        out = self.memory[:4]
        for _ in range(OFTEN):
            with self.assertRaises(tilewright.LaunchError):
                tilewright.gather_rows(out, self.memory[2:6], index)
            with self.assertRaises(tilewright.TensorError):
                tilewright.gather_rows(out, src.astype("int64"), index)
        for _ in range(OFTEN):
            tilewright.gather_rows(out, src, index)
        same(self, out, gathered(src, index))

    def test_a_check_of_values_is_made_each_time(self):
        dst, src, index = np.zeros((4, 2)), np.ones((2, 2)), np.array([1, 2])
        for _ in range(OFTEN):
            tilewright.scatter_rows(dst, src, index)
        index[...] = 1
        for _ in range(OFTEN):
            with self.assertRaisesRegex(tilewright.LaunchError, "written by program"):
                tilewright.scatter_rows(dst, src, index)
        index[...] = [3, 0]
        tilewright.scatter_rows(dst, src, index)
        self.assertEqual(dst[:, 0].tolist(), [1, 1, 1, 1])

    def test_numbers_beside_the_tensors_are_those_of_now(self):
        src, index = random((3, 2), "int64"), np.array([0, 2, 1])
        dst = np.zeros((4, 2), "int64")
        for reserved in [None, 0, 2, None, 1]:
            for _ in range(OFTEN):
                dst[...] = 0
                tilewright.scatter_rows(dst, src, index, reserved=reserved)
                expected = np.zeros((4, 2), "int64")
                for row, to in zip(src, index):
                    if to != reserved:
                        expected[to] = row
                same(self, dst, expected)

    def test_counts_are_those_of_now(self):
        buffer, local = random((8, 3), "int32"), random((5, 3), "int32", 1)
        of_device = [np.zeros(1, "int64"), np.zeros(1, "int32")]
        before, report = local.copy(), np.zeros(2, "int64")
        out = before.copy()
        for start, rows in [*itertools.product(range(6), [0, 2, 5]), (9, 1), (2, 40)] * 2:
            of_device[0][0], of_device[1][0] = start, rows
            for (offset, count), padded in itertools.product([(start, rows), of_device, (start, of_device[1])], [0, 1]):
                moved = max(0, min(rows, 5, 8 - start))
                expected = np.zeros_like(before) if padded else before.copy()
                expected[:moved] = buffer[start : start + moved]
                out[...] = before
                tilewright.copy_from_slot(out, buffer, offset, count, padded=bool(padded))
                same(self, out, expected)
            tilewright.take_rows(out, buffer, start, rows, report)
            self.assertEqual(report.tolist(), [rows, moved])
        for wrong in [-1, 2**41]:
            with self.assertRaises(tilewright.ArgumentError):
                tilewright.copy_from_slot(out, buffer, 0, wrong)

    def test_tensors_that_may_be_left_out_are_looked_for(self):
        local, out = random((3, 2), "float64"), np.zeros((5, 2))
        reports = [np.zeros(2, "int64"), None, np.zeros(2, "int64")]
        for report in reports * 2:
            for start in range(OFTEN):
                out[...] = 7
                tilewright.place_rows(out, local, start % 4, 0, 3, report=report)
                moved = min(3, 5 - start % 4)
                expected = np.zeros((5, 2))
                expected[start % 4 : start % 4 + moved] = local[:moved]
                same(self, out, expected)
                if report is not None:
                    self.assertEqual(report.tolist(), [3, moved])
                    report[...] = 0
        self.assertEqual([report.tolist() for report in reports if report is not None], [[0, 0]] * 2)

    def test_threads_share_what_is_kept(self):
        src, index = random((64, 33), "int64"), np.arange(40) * 2 - 1
        outs = np.empty((4, 40, 33), "int64")
        wrong = []

        def run(out):
            for turn in range(40):
                out[...] = turn
                tilewright.gather_rows(out, src, index)
                if not np.array_equal(out, gathered(src, index)):
                    wrong.append(turn)

        threads = [threading.Thread(target=run, args=(out,)) for out in outs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_more_than_are_kept_are_right(self):
        memory, src = np.zeros((700, 2), "int32"), random((9, 2), "int32")
        for turn in range(6):
            memory[...] = -1
            for at in range(700):
                tilewright.gather_rows(memory[at : at + 1], src, np.full(1, (at + turn) % 9))
            same(self, memory, src[(np.arange(700) + turn) % 9])


class Batches(unittest.TestCase):
    def test_entries_are_those_of_now(self):
        src, out = random((4, 3), "int32"), np.zeros((6, 3), "int32")
        wide = np.zeros((4, 6), "int32")
        length = np.array([2])
        entries = [
            (out, src, None, 0, 0),
            (out, src, 3, 0, 0),
            (out, src, length, 0, 0),
            (out, src, 3, 5, 0),
            (out, src, 3, None, 0),
            (out, None, 3, 5, 0),
            (out, None, length, 5, 0),
            (out, src[::2], 2, 5, 0),
            (out[:4], src, 3, 5, 0),
            (wide, src, 2, 1, 1),
            (wide, src, 2, 1, -1),
            (wide[:, ::2], src, 2, 1, 1),
            (out.view("float32"), src.view("float32"), 3, 0.5, 0),
        ]

        def check(given):
            memory, src, count, fill, axis = given
            memory[...] = 77
            count = len(src) if count is None else int(np.asarray(count).reshape(()))
            expected = np.moveaxis(memory.copy(), axis, 0)
            if src is not None:
                kept = np.moveaxis(src, axis, 0)[:count][: len(expected)]
                expected[: len(kept)] = kept
                count = len(kept)
            if fill is not None:
                expected[count:] = fill
            tilewright.pad_batch([Pad(*given)])
            same(self, memory, np.moveaxis(expected, 0, axis))

        for first, second in itertools.product(entries, repeat=2):
            for given in [first] * 5 + [second]:
                length[0] = (length[0] + 1) % 5
                check(given)

    def test_entries_side_by_side_are_told_apart(self):
        srcs = [random((4,), "int64", seed) for seed in range(3)]
        outs = [np.zeros(6, "int64") for _ in range(3)]
        for counts in itertools.product([1, 4], repeat=3):
            for order in itertools.permutations(range(3)):
                for _ in range(2):
                    tilewright.pad_batch([(outs[at], srcs[at], counts[at], at) for at in order])
                    for at in range(3):
                        expected = np.full(6, at)
                        expected[: counts[at]] = srcs[at][: counts[at]]
                        same(self, outs[at], expected)


@needs_torch
class Torch(unittest.TestCase):
    def test_what_torch_says_of_a_tensor_is_asked_each_time(self):
        src, index = torch.randn(4, 3), torch.tensor([2])
        out = torch.zeros(1, 3)
        for _ in range(OFTEN):
            tilewright.gather_rows(out, src, index)
        out.requires_grad_()
        with self.assertRaisesRegex(tilewright.TensorError, "requires a gradient"):
            tilewright.gather_rows(out, src, index)
        out.requires_grad_(False)
        numbers = torch.randn(4, 3, dtype=torch.complex64)
        for _ in range(OFTEN):
            tilewright.gather_rows(out, numbers.imag, index)
        same(self, out, numbers.imag[2:3])
        # The same place, extents and strides.
        with self.assertRaisesRegex(tilewright.TensorError, "is to be negated yet"):
            tilewright.gather_rows(out, numbers.conj().imag, index)

    def test_a_tensor_in_the_place_of_another_is_that_tensor(self):
        index = torch.arange(5)
        out = torch.zeros(5, 8)
        places = set()
        for turn in range(60):
            # What is freed is given out again.
            src = torch.full((5 + turn % 2, 8), float(turn))
            places.add(src.data_ptr())
            tilewright.gather_rows(out, src, index)
            self.assertTrue((out == turn).all())
            del src
        self.assertLess(len(places), 60)

    def test_a_tensor_that_is_set_to_other_memory_is_seen(self):
        src, index, out = torch.ones(3, 4), torch.arange(3), torch.zeros(3, 4)
        for _ in range(OFTEN):
            tilewright.gather_rows(out, src, index)
        src.set_(torch.full((3, 4), 2.0))
        tilewright.gather_rows(out, src, index)
        self.assertTrue((out == 2).all())


if __name__ == "__main__":
    unittest.main()
