"""What tests share: tensors of every framework that is there, and references in plain Python."""

import unittest

import numpy as np

try:
    import torch
except ImportError as error:
    torch = None
    WHY_NO_TORCH = f"torch is not there: {error}"
else:
    WHY_NO_TORCH = ""

needs_torch = unittest.skipIf(torch is None, WHY_NO_TORCH)


def bits(array):
    """The elements of a tensor of whatever framework as unsigned numbers, for comparing bit for bit."""
    if torch is not None and isinstance(array, torch.Tensor):
        width = array.element_size()
        whole = array.detach().contiguous().cpu()
        signed = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[width]
        array = whole.view(signed).numpy() if whole.dim() else whole.reshape(1).view(signed).numpy()
    array = np.ascontiguousarray(array)
    return array.view(f"u{array.dtype.itemsize}")


def same(test, found, expected):
    """That two tensors have the same bits."""
    np.testing.assert_array_equal(bits(found), bits(expected))


def random(shape, dtype, seed=0):
    """Any bits, NaNs among them."""
    generator = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype == bool:
        return generator.integers(0, 2, shape).astype(bool)
    count = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(generator.bytes(count), dtype=dtype).reshape(shape).copy()
