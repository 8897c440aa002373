"""All tensors of a batch padded in one launch."""

import unittest

import numpy as np

import tilewright
from support import random, same
from tilewright import Pad


def padded(out, src, count, fill, axis):
    expected = np.moveaxis(out.copy(), axis, 0)
    if src is not None:
        moved = np.moveaxis(src, axis, 0)[:count][: len(expected)]
        expected[: len(moved)] = moved
    else:
        moved = expected[:count]
    if fill is not None:
        expected[len(moved) :] = fill
    return np.moveaxis(expected, 0, axis)


class Batches(unittest.TestCase):
    def test_tensors_of_all_kinds_are_padded_at_once(self):
        entries, expected = [], []
        cases = [
            ("int64", (5,), (8,), 3, 0, 0),
            ("int32", (5,), (8,), None, 1, 0),
            ("bool", (5,), (8,), 5, True, 0),
            ("float16", (3, 7), (6, 7), 2, 0.5, 0),
            ("float64", (2, 3, 4), (5, 3, 4), 1, -1.25, 0),
            ("float32", (2, 4, 3), (2, 4, 5), 2, 1, 2),
            ("int64", (3, 5), (3, 8), 4, -1, -1),
            ("uint64", (2, 2), (4, 2), 1, 2**64 - 1, 0),
            ("float32", (6, 2), (3, 2), 6, 0, 0),
            ("int16", (2, 2), (5, 2), 1, None, 0),
        ]
        for seed, (dtype, shape, out_shape, count, fill, axis) in enumerate(cases):
            src, out = random(shape, dtype, seed), random(out_shape, dtype, seed + 100)
            entries.append(Pad(out, src, count, fill, axis))
            expected.append(padded(out, src, count if count is not None else shape[axis], fill, axis))
        in_place = random((5, 2), "int32")
        expected.append(padded(in_place, None, 2, 7, 0))
        entries.append((in_place, None, np.array([2]), 7))
        tilewright.pad_batch(entries)
        for entry, wanted in zip(entries, expected):
            same(self, entry[0], wanted)

    def test_more_than_a_launch_has_room_for_is_an_error(self):
        entries = [(np.zeros(2), np.ones(1)) for _ in range(64)]
        tilewright.pad_batch(entries)
        self.assertEqual(entries[63][0].tolist(), [1, 0])
        with self.assertRaisesRegex(tilewright.PaddingError, "at most 64 tensors"):
            tilewright.pad_batch(entries + [(np.zeros(2), np.ones(1))])

    def test_an_axis_between_others_is_refused(self):
        with self.assertRaisesRegex(tilewright.TensorError, "no matrix of rows along axis 1"):
            tilewright.pad_batch([(np.zeros((2, 9, 4)), np.zeros((2, 3, 4)), None, 0, 1)])

    def test_nothing_is_padded_by_no_entries(self):
        tilewright.pad_batch([])

    def test_what_is_no_value_of_the_type_is_refused(self):
        out, src = np.zeros(3, "int32"), np.ones(2, "int32")
        for fill in [0.5, 2**31, "x", [1]]:
            with self.subTest(fill=fill), self.assertRaises((tilewright.ArgumentError)):
                tilewright.pad_batch([(out, src, 1, fill)])
        for entry in [3, (out,), (out, src, 1, 0, 1), (out, src, 1, 0, 0, 0), (out, None), (out, None, 1, None)]:
            with self.subTest(entry=entry), self.assertRaises(tilewright.TilewrightError):
                tilewright.pad_batch([entry])

    def test_a_plan_says_how_tensors_are_padded(self):
        batch = tilewright.plan([8, 5]).batch(1, "decode", 5)
        self.assertEqual((batch.rows, batch.requests, batch.kept), (8, 8, 5))
        ids, lengths, positions = np.arange(5), np.full(5, 70, "int32"), np.arange(15).reshape(3, 5)
        room, hidden = np.arange(5) + 40, random((5, 4), "float32")
        tensors = {
            "input_ids": (np.full(8, 9), ids),
            "seq_lens": (np.full(8, 9, "int32"), lengths),
            "mrope_positions": (np.full((3, 8), 9), positions),
            "bootstrap_room_ids": (np.full(8, 9), room),
        }
        batch.pad(tensors)
        self.assertEqual(tensors["input_ids"][0].tolist(), [0, 1, 2, 3, 4, 0, 0, 0])
        self.assertEqual(tensors["seq_lens"][0].tolist(), [70] * 5 + [1] * 3)
        self.assertEqual(tensors["mrope_positions"][0][2].tolist(), [10, 11, 12, 13, 14, 0, 0, 0])
        self.assertEqual(tensors["bootstrap_room_ids"][0].tolist(), [40, 41, 42, 43, 44, -1, -1, -1])
        with self.assertRaisesRegex(tilewright.PaddingError, "pads no `hidden`: it pads input_ids"):
            batch.pad({"hidden": (hidden, hidden)})
        with self.assertRaisesRegex(tilewright.PaddingError, "has 7 elements on axis 0, and the plan pads it to 8"):
            batch.pad({"input_ids": (np.zeros(7, "int64"), ids)})
        batch.pad({})


if __name__ == "__main__":
    unittest.main()
