"""The package: what it shows, refuses, and never does."""

import contextlib
import gc
import inspect
import io
import pathlib
import subprocess
import sys
import unittest
import weakref

import numpy as np

import tilewright
from support import random, same


class Errors(unittest.TestCase):
    def test_every_error_is_one_of_a_hierarchy(self):
        for name in dir(tilewright):
            if name.endswith("Error"):
                self.assertTrue(issubclass(getattr(tilewright, name), tilewright.TilewrightError), name)
        self.assertTrue(issubclass(tilewright.TensorError, ValueError))
        self.assertTrue(issubclass(tilewright.LaunchError, RuntimeError))

    def test_what_is_no_tensor_is_refused_by_name(self):
        out, src, index = np.zeros((1, 2)), np.zeros((3, 2)), np.array([1])
        for bad in [None, 3, "x", [1], object(), np.float64(1)]:
            with self.subTest(bad=bad):
                with self.assertRaisesRegex(tilewright.TensorError, "`out` is of type .*, which is no tensor"):
                    tilewright.gather_rows(bad, src, index)
                with self.assertRaisesRegex(tilewright.TensorError, "`index` is of type .*, which is no tensor"):
                    tilewright.gather_rows(out, src, bad)

    def test_tensors_that_do_not_fit_are_refused(self):
        out, src, index = np.zeros((2, 2)), np.zeros((3, 2)), np.array([1, 0])
        cases = [
            (lambda: tilewright.gather_rows(out, src[:, :1], index), tilewright.LaunchError),
            (lambda: tilewright.gather_rows(out, src.astype("f4"), index), tilewright.TensorError),
            (lambda: tilewright.gather_rows(out, src, index.astype("u1")), tilewright.TensorError),
            (lambda: tilewright.gather_rows(out, src, index.reshape(2, 1)), tilewright.TensorError),
            (lambda: tilewright.gather_rows(out, src, index.astype("f8")), tilewright.TensorError),
            (lambda: tilewright.gather_rows(src[:2], src, index), tilewright.LaunchError),
            (
                lambda: tilewright.gather_rows(np.zeros((2, 2), "c16"), np.zeros((3, 2), "c16"), index),
                tilewright.TensorError,
            ),
            (lambda: tilewright.gather_rows(np.broadcast_to(out[:1], (2, 2)), src, index), tilewright.TensorError),
            (lambda: tilewright.gather_rows(np.array(1.0), src, index), tilewright.TensorError),
            (
                lambda: tilewright.gather_rows(np.zeros((2, 2, 2)).transpose(0, 2, 1), np.zeros((3, 2, 2)), index),
                tilewright.TensorError,
            ),
            (lambda: tilewright.place_rows(out, src, 0, 0, 1, report=np.zeros(2, "i4")), tilewright.TensorError),
            (lambda: tilewright.place_rows(out, src, 0, 0, 1, report=np.zeros(3, "i8")), tilewright.TensorError),
            (lambda: tilewright.copy_to_slot(out, src, np.array([1, 2]), 1), tilewright.TensorError),
            (lambda: tilewright.copy_to_slot(out, src, np.array([1.0]), 1), tilewright.TensorError),
            (lambda: tilewright.copy_to_slot(out, src, -1, 1), tilewright.ArgumentError),
            (lambda: tilewright.copy_to_slot(out, src, 2**41, 1), tilewright.ArgumentError),
            (lambda: tilewright.copy_to_slot(out, src, 1.5, 1), tilewright.ArgumentError),
            (lambda: tilewright.mask_padding_ids(np.zeros((2, 2), "u4"), index, 1), tilewright.TensorError),
            (lambda: tilewright.gather_rows(out, src, index, stream="x"), tilewright.ArgumentError),
            (lambda: tilewright.gather_rows(out, src, index, stream=-1), tilewright.ArgumentError),
            (lambda: tilewright.settle(-1), tilewright.ArgumentError),
            (lambda: tilewright.set_patience("cpu", -1.0), tilewright.ArgumentError),
            (lambda: tilewright.set_patience("cuda:99", None), tilewright.ArgumentError),
            (lambda: tilewright.synchronize("tpu"), tilewright.ArgumentError),
            (lambda: tilewright.synchronize("cuda:99"), tilewright.ArgumentError),
        ]
        for number, (call, error) in enumerate(cases):
            with self.subTest(number), self.assertRaises(error):
                call()

    def test_a_read_only_tensor_is_not_written(self):
        out = np.zeros((1, 2))
        out.flags.writeable = False
        with self.assertRaisesRegex(tilewright.TensorError, "`out` is read-only"):
            tilewright.gather_rows(out, np.ones((3, 2)), np.array([1]))

    def test_liars_about_dlpack_are_refused(self):
        class Liar:
            def __init__(self, capsule, device=(1, 0)):
                self.capsule, self.device = capsule, device

            def __dlpack__(self, **_):
                return self.capsule

            def __dlpack_device__(self):
                return self.device

        good = np.zeros((1, 2))
        taken = good.__dlpack__()
        np.from_dlpack(Liar(taken))
        for liar in [Liar(None), Liar(3), Liar(taken), Liar(good.__dlpack__(), (7, 0)), Liar(good.__dlpack__(), "x")]:
            with self.assertRaises((TypeError, ValueError, tilewright.TensorError)):
                tilewright.gather_rows(liar, np.ones((3, 2)), np.array([1]))

        class Raises:
            def __dlpack_device__(self):
                return (1, 0)

            def __dlpack__(self, **_):
                raise KeyError("no")

        with self.assertRaises(KeyError):
            tilewright.gather_rows(Raises(), np.ones((3, 2)), np.array([1]))

    def test_old_producers_are_understood(self):
        class Old:
            """Of before DLPack 1: it knows no keyword."""

            def __init__(self, array):
                self.array = array

            def __dlpack__(self, stream=None):
                return self.array.__dlpack__()

            def __dlpack_device__(self):
                return (1, 0)

        out = np.zeros((1, 2))
        tilewright.gather_rows(Old(out), Old(np.ones((3, 2))), Old(np.array([1])))
        self.assertEqual(out.tolist(), [[1, 1]])


class Lifetimes(unittest.TestCase):
    def test_tensors_are_given_back(self):
        src = np.ones((3, 2))
        gone = weakref.ref(src)
        count = sys.getrefcount(src)
        out = np.zeros((1, 2))
        for _ in range(10):
            tilewright.gather_rows(out, src, np.array([1]))
            with self.assertRaises(tilewright.TensorError):
                tilewright.gather_rows(out, src, None)
        self.assertEqual(sys.getrefcount(src), count)
        del src
        gc.collect()
        self.assertIsNone(gone())


class Arenas(unittest.TestCase):
    def test_buffers_are_reused_and_stay(self):
        arena = tilewright.Arena(4, "float32")
        first = np.from_dlpack(arena.rows(6))
        self.assertEqual((first.shape, first.dtype), ((6, 4), np.float32))
        first[...] = 3
        again = np.from_dlpack(arena.rows(2))
        self.assertEqual(again.tolist(), [[3.0] * 4] * 2)
        larger = np.from_dlpack(arena.rows(9))
        # Memory that was given out stays.
        self.assertEqual(first.tolist(), [[3.0] * 4] * 6)
        self.assertEqual(larger.shape, (9, 4))
        self.assertEqual(arena.capacity, 9)
        self.assertEqual(arena.usage["growths"], 2)
        self.assertEqual(arena.usage["live_bytes"], (6 + 9) * 16)
        del first, again
        gc.collect()
        self.assertEqual(arena.usage["live_bytes"], 9 * 16)

    def test_a_plan_gets_its_rows_unless_a_graph_serves_it(self):
        arena = tilewright.Arena(4, "float32")
        eager = tilewright.plan([20, 3], row_bytes=16)
        self.assertEqual(arena.for_plan(eager).shape, (eager.buffer_rows, 4))
        self.assertIsNone(arena.for_graph(eager))
        graph = tilewright.plan([5, 8], row_bytes=16, graph_ok=True, graph_buckets=[8])
        self.assertIsNone(arena.for_plan(graph))
        self.assertEqual(arena.for_graph(graph).shape, (graph.graph_rows, 4))
        with self.assertRaisesRegex(tilewright.ArenaError, "has rows of 16 bytes and the plan has rows of 14336"):
            arena.for_plan(tilewright.plan([1]))

    def test_a_sealed_arena_grows_no_more(self):
        arena = tilewright.Arena(4, "bfloat16", "cpu", "graph")
        arena.rows(2)
        arena.seal()
        arena.rows(1)
        with self.assertRaisesRegex(tilewright.ArenaError, "the graph arena has 2 rows and 3 are needed"):
            arena.rows(3)

    def test_functions_take_buffers_as_they_are(self):
        arena = tilewright.Arena(2, "int64")
        buffer = arena.rows(3)
        local = random((2, 2), "int64")
        tilewright.place_rows(buffer, local, 1, 0, 2)
        same(self, np.from_dlpack(buffer), np.concatenate([np.zeros((1, 2), "int64"), local]))

    def test_what_no_arena_can_be_is_refused(self):
        for arguments in [(4, "float33"), (4, "float32", "tpu"), (4, "float32", "cpu", "x")]:
            with self.assertRaises(tilewright.ArgumentError):
                tilewright.Arena(*arguments)
        with self.assertRaises(tilewright.ArenaError):
            tilewright.Arena(2**40, "float64").rows(2**40)
        with self.assertRaises(tilewright.ArgumentError):
            tilewright.Arena(4).for_plan("no plan")


class Package(unittest.TestCase):
    def test_torch_is_not_loaded(self):
        code = "import sys, tilewright; tilewright.plan([1]); assert not {'torch', 'numpy'} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_everything_public_is_documented(self):
        for name in tilewright.__all__:
            value = getattr(tilewright, name)
            if name in ("PROFILES", "__version__"):
                continue
            self.assertTrue(inspect.getdoc(value), name)
            if inspect.isclass(value) and value.__module__.startswith("tilewright"):
                for member, found in vars(value).items():
                    if callable(found) and not member.startswith("_"):
                        self.assertTrue(inspect.getdoc(found), f"{name}.{member}")

    def test_stubs_have_the_functions_that_there_are(self):
        import ast

        from tilewright import _native

        folder = pathlib.Path(tilewright.__file__).parent
        self.assertTrue((folder / "py.typed").is_file())
        stub = ast.parse((folder / "_native.pyi").read_text())
        told = {node.name: node for node in stub.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        there = {name for name in dir(_native) if not name.startswith("__")}
        self.assertEqual(set(told), there)
        for name, node in told.items():
            if isinstance(node, ast.FunctionDef):
                arguments = [a.arg for a in node.args.posonlyargs + node.args.args + node.args.kwonlyargs]
                self.assertEqual(arguments, list(inspect.signature(getattr(_native, name)).parameters), name)
            else:
                members = {member.name for member in node.body if isinstance(member, ast.FunctionDef)}
                found = {member for member in vars(getattr(_native, name)) if not member.startswith("__")}
                self.assertEqual({member for member in members if not member.startswith("__")}, found, name)

    def test_the_page_that_people_read_runs(self):
        from importlib import metadata

        page = metadata.metadata("tilewright").get_payload()
        listings = [part.split("```")[0] for part in page.split("```python")[1:]]
        self.assertTrue(listings)
        for listing in listings:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(listing, {})

    def test_examples_of_documentation_run(self):
        import doctest

        from tilewright import _plan

        import tilewright.sglang

        for module in [tilewright, _plan, tilewright.sglang]:
            result = doctest.testmod(module)
            self.assertEqual(result.failed, 0)
            self.assertGreater(result.attempted, 0)


if __name__ == "__main__":
    unittest.main()
