"""What users of the module write, checked: `python test.py` where it and `tilewright` are installed."""

import numpy as np

import python_extension
import tilewright

# ANCHOR: use
src = np.random.default_rng(0).standard_normal((5, 64), np.float32)
out, weights = np.empty_like(src), np.arange(5, dtype=np.float32)

python_extension.scale_rows(out, src, weights)
np.testing.assert_array_equal(out, src * weights[:, None])
# ANCHOR_END: use

python_extension.normalize_rows(out, src, 1e-6)
np.testing.assert_allclose(out, src / np.sqrt((src**2).mean(1, keepdims=True) + 1e-6), rtol=1e-5)

expected, index = out.copy(), np.array([4, 3, 2, 1, 0])
expected[:3] += src[index[:3]]
python_extension.add_rows(out, src, index, np.array([3]))
np.testing.assert_array_equal(out, expected)

try:
    python_extension.scale_rows(out, src, weights.astype(np.float64))
except tilewright.TensorError as error:
    print("as it should be:", error)
else:
    raise AssertionError("a tensor of another type is refused")
