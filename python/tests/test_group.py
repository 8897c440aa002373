"""Ranks as threads of one process."""

import threading
import unittest

import numpy as np

import tilewright
from support import random, same


def on_ranks(size, run, **options):
    """What `run` makes on every rank of a group."""
    results = [None] * size

    def one(group):
        try:
            results[group.rank] = run(group)
        except Exception as error:
            results[group.rank] = error

    threads = [threading.Thread(target=one, args=(group,)) for group in tilewright.LocalGroup.ranks(size, **options)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class Groups(unittest.TestCase):
    def test_rows_are_summed_gathered_and_scattered(self):
        def run(group):
            summed = np.full((3, 2), group.rank + 1, "int32")
            group.all_reduce(summed)
            gathered = np.zeros((6, 2), "float16")
            mine = [slice(0, 1), slice(1, 4), slice(4, 4)][group.rank]
            gathered[mine] = group.rank + 1
            group.all_gather(gathered, [1, 3, 0])
            scattered = np.full((4, 2), group.rank + 1.0)
            group.reduce_scatter(scattered, [2, 1, 1])
            return summed, gathered, scattered

        results = on_ranks(3, run)
        for rank, (summed, gathered, scattered) in enumerate(results):
            self.assertEqual(summed.tolist(), [[6, 6]] * 3)
            self.assertEqual(gathered[:, 0].tolist(), [1, 2, 2, 2, 0, 0])
            mine = [slice(0, 2), slice(2, 3), slice(3, 4)][rank]
            self.assertTrue((scattered[mine] == 6).all())

    def test_a_group_of_one_changes_nothing(self):
        def run(group):
            rows = random((3, 2), "float32")
            group.all_reduce(rows)
            return rows

        same(self, on_ranks(1, run)[0], random((3, 2), "float32"))

    def test_ranks_that_disagree_are_an_error_on_all(self):
        def run(group):
            group.all_reduce(np.zeros((3 + group.rank, 2)))

        for error in on_ranks(2, run, timeout=5):
            self.assertIsInstance(error, tilewright.CollectiveError)

    def test_a_rank_that_does_not_come_is_an_error(self):
        def run(group):
            if group.rank == 0:
                group.all_reduce(np.zeros((3, 2)))

        self.assertIsInstance(on_ranks(2, run, timeout=0.2)[0], tilewright.CollectiveError)

    def test_groups_that_cannot_be_are_refused(self):
        with self.assertRaises(tilewright.CollectiveError):
            tilewright.LocalGroup.ranks(0)
        with self.assertRaises(tilewright.ArgumentError):
            tilewright.LocalGroup.ranks(2, timeout=-1)
        with self.assertRaises(tilewright.TensorError):
            tilewright.LocalGroup.ranks(1)[0].all_reduce(np.zeros((1, 1), bool))


if __name__ == "__main__":
    unittest.main()
