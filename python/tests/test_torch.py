"""Tensors of torch on the CPU, and operators that torch.compile keeps."""

import unittest

import numpy as np

import tilewright
from support import needs_torch, random, same, torch

if torch is not None:
    import tilewright.torch as ops

    TYPES = [
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
    ]


def tensor(shape, dtype, seed=0):
    """Any bits as a tensor of torch."""
    if dtype == torch.bool:
        return torch.from_numpy(random(shape, bool, seed))
    width = torch.empty(0, dtype=dtype).element_size()
    return torch.from_numpy(random(shape, f"i{width}", seed)).view(dtype)


def gathered(src, index):
    rows = [src[i] if 0 <= i < len(src) else torch.zeros_like(src[0]) for i in index.tolist()]
    return torch.stack(rows)


@needs_torch
class Tensors(unittest.TestCase):
    def test_rows_of_every_type_are_moved_and_padded(self):
        index = torch.tensor([3, -1, 0, 9, 1])
        for dtype in TYPES:
            with self.subTest(dtype=dtype):
                src, out = tensor((4, 6), dtype), tensor((5, 6), dtype, 1)
                tilewright.gather_rows(out, src, index)
                same(self, out, gathered(src, index))
                padded = tensor((7, 6), dtype, 2)
                tilewright.pad_batch([(padded, src, 3, 0)])
                same(self, padded[:3], src[:3])
                self.assertFalse(padded[3:].view(torch.uint8).any())
                dst = tensor((8, 6), dtype, 3)
                expected = dst.clone()
                expected[[7, 2]] = src[[0, 2]]
                tilewright.scatter_rows(dst, src, torch.tensor([7, -1, 2, 8], dtype=torch.int32))
                same(self, dst, expected)

    def test_views_are_used_where_they_are(self):
        whole = tensor((6, 20), torch.bfloat16)
        src, index = whole[1:, 3:9], torch.tensor([4, 0])
        into = tensor((4, 16), torch.bfloat16, 1)
        expected = into.clone()
        expected[1:3, 5:11] = gathered(src, index)
        tilewright.gather_rows(into[1:3, 5:11], src, index)
        same(self, into, expected)
        transposed = tensor((6, 5), torch.int32).t()
        out = torch.empty(2, 6, dtype=torch.int32)
        tilewright.gather_rows(out, transposed, index)
        same(self, out, gathered(transposed, index))

    def test_parameters_and_subclasses_are_tensors(self):
        weight = torch.nn.Parameter(torch.randn(4, 3))
        out = torch.empty(1, 3)
        tilewright.gather_rows(out, weight, torch.tensor([2]))
        same(self, out, weight[2:3])

    def test_what_autograd_or_laziness_would_make_wrong_is_refused(self):
        src, index = torch.randn(4, 3), torch.tensor([2])
        with self.assertRaisesRegex(tilewright.TensorError, "`out` requires a gradient"):
            tilewright.gather_rows(torch.zeros(1, 3, requires_grad=True), src, index)
        lazy = torch.randn(4, 3, dtype=torch.complex64).conj()
        with self.assertRaisesRegex(tilewright.TensorError, "complex"):
            tilewright.gather_rows(torch.zeros(1, 3, dtype=torch.complex64), lazy, index)
        self.assertTrue(lazy.imag.is_neg())
        with self.assertRaisesRegex(tilewright.TensorError, "is to be negated yet"):
            tilewright.gather_rows(torch.zeros(1, 3), lazy.imag, index)
        for other in [torch.zeros(4, 3, device="meta"), torch.randn(4, 3).to_sparse()]:
            with self.assertRaises((tilewright.TensorError, BufferError, RuntimeError, NotImplementedError)):
                tilewright.gather_rows(torch.zeros(1, 3), other, index)

        from torch._subclasses.fake_tensor import FakeTensorMode

        with FakeTensorMode():
            fake = torch.empty(4, 3)
            out = torch.empty(1, 3)
        with self.assertRaises((tilewright.TensorError, BufferError, RuntimeError)):
            tilewright.gather_rows(out, fake, index)

    def test_numpy_and_torch_may_meet(self):
        out = np.zeros((1, 3), "float32")
        src = torch.randn(4, 3)
        tilewright.gather_rows(out, src, np.array([1]))
        same(self, out, src[1:2])

    def test_buffers_of_arenas_become_tensors(self):
        for dtype in TYPES:
            arena = tilewright.Arena(4, dtype, torch.device("cpu"))
            rows = torch.from_dlpack(arena.rows(3))
            self.assertEqual((rows.dtype, tuple(rows.shape)), (dtype, (3, 4)))


@needs_torch
class Operators(unittest.TestCase):
    def test_operators_do_what_the_functions_do(self):
        src, index = tensor((4, 6), torch.float32), torch.tensor([3, -1, 0])
        out = tensor((3, 6), torch.float32, 1)
        ops.gather_rows(out, src, index)
        same(self, out, gathered(src, index))
        for offset, rows in [(2, 3), (torch.tensor(2), torch.tensor([3])), (torch.tensor([2]), 3)]:
            buffer, expected = tensor((8, 6), torch.float32, 2), tensor((8, 6), torch.float32, 2)
            expected[2:5] = src[:3]
            ops.copy_to_slot(buffer, src, offset, rows)
            same(self, buffer, expected)
            back = tensor((4, 6), torch.float32, 3)
            ops.copy_from_slot(back, buffer, offset, rows, padded=True)
            same(self, back[:3], src[:3])
            self.assertFalse(back[3:].view(torch.int32).any())
            ops.place_rows(buffer, src, offset, 0, rows)
            expected[:2], expected[5:] = 0, 0
            same(self, buffer, expected)
        ids = torch.arange(16).reshape(8, 2)
        ops.mask_padding_ids(ids, torch.tensor([3, 1]), 4)
        self.assertEqual((ids[:, 0] == -1).nonzero().flatten().tolist(), [3, 5, 6, 7])
        padded, lengths = torch.full((6,), 9), torch.full((6,), 9, dtype=torch.int32)
        kept = torch.full((6,), 9)
        ids, old = torch.arange(4), torch.full((4,), 70, dtype=torch.int32)
        for count in [3, torch.tensor([3])]:
            ops.pad_batch([(padded, ids, count, -1), (lengths, old, count, 1), (kept, ids, count, None)])
            self.assertEqual(padded.tolist(), [0, 1, 2, -1, -1, -1])
            self.assertEqual(lengths.tolist(), [70, 70, 70, 1, 1, 1])
            self.assertEqual(kept.tolist(), [0, 1, 2, 9, 9, 9])

    def test_schemas_and_fakes_are_right(self):
        src, index, out = torch.randn(4, 6), torch.tensor([3, -1, 0]), torch.empty(3, 6)
        count = torch.tensor([2])
        cases = [
            (torch.ops.tilewright.gather_rows, (out, src, index)),
            (torch.ops.tilewright.scatter_rows, (torch.zeros(5, 6), src[:3], index)),
            (torch.ops.tilewright.copy_to_slot, (torch.zeros(8, 6), src, 2, 3)),
            (torch.ops.tilewright.copy_to_slot_device, (torch.zeros(8, 6), src, count, count)),
            (torch.ops.tilewright.copy_from_slot_padded, (torch.zeros(8, 6), src, 2, 3)),
            (torch.ops.tilewright.place_rows_device, (torch.zeros(8, 6), src, count, count, count)),
            (torch.ops.tilewright.mask_padding_ids, (torch.ones(4, 2, dtype=torch.int64), count, 4)),
            (torch.ops.tilewright.pad_segments, (torch.zeros(2, 3, 6), src, torch.tensor([0, 1, 4]))),
            (
                torch.ops.tilewright.pad_batch,
                ([torch.zeros(6, 6), torch.zeros(6, 6)], [src, src + 1], [3, 2], [], [0.5, 0.0], [0, 0], [False, True]),
            ),
        ]
        for operator, arguments in cases:
            with self.subTest(operator=str(operator)):
                torch.library.opcheck(operator.default, arguments)

    def test_versions_move_so_that_autograd_notices(self):
        src, index = torch.randn(4, 3), torch.tensor([2])
        out = torch.zeros(1, 3)
        before = out._version
        ops.gather_rows(out, src, index)
        self.assertGreater(out._version, before)
        weight = torch.randn(1, 3, requires_grad=True)
        saved = torch.zeros(1, 3)
        product = (weight * saved).sum()
        ops.gather_rows(saved, src, index)
        with self.assertRaisesRegex(RuntimeError, "modified by an inplace operation"):
            product.backward()
        with self.assertRaises(tilewright.TensorError):
            ops.gather_rows(torch.zeros(1, 3, requires_grad=True), src, index)
        with torch.inference_mode():
            ops.gather_rows(torch.zeros(1, 3), src, index)

    def test_compiled_code_keeps_them(self):
        def run(src, index, offset, rows):
            out = src.new_empty(len(index), src.shape[1])
            ops.gather_rows(out, src * 2, index)
            buffer = src.new_zeros(8, src.shape[1])
            ops.copy_to_slot(buffer, out, offset, rows)
            ops.pad_batch([(buffer, out + 1, rows, None)])
            return buffer + 1, out

        def eager(src, index, offset, rows):
            out = gathered(src * 2, index)
            buffer = src.new_zeros(8, src.shape[1])
            buffer[offset : offset + rows] = out[:rows]
            buffer[:rows] = (out + 1)[:rows]
            return buffer + 1, out

        for backend in ["eager", "aot_eager"]:
            compiled = torch.compile(run, fullgraph=True, backend=backend)
            for seed, (rows, offset) in enumerate([(2, 3), (1, 0), (3, 5)]):
                src, index = torch.randn(4 + seed, 6), torch.tensor([3, -1, 0, 2][: 3 + seed % 2])
                for counts in [(offset, rows), (torch.tensor(offset), torch.tensor(rows))]:
                    with self.subTest(backend=backend, seed=seed, counts=counts):
                        found = compiled(src, index, *counts)
                        for one, other in zip(found, eager(src, index, offset, rows)):
                            same(self, one, other)


if __name__ == "__main__":
    unittest.main()
