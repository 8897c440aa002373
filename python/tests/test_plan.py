"""Plans: the same fields as those of `tilewright plan --json`."""

import dataclasses
import inspect
import json
import pathlib
import unittest

import tilewright

# Requests that between them ask for everything that a plan may tell.
REQUESTS = [
    {"raw": [20, 3, 0, 7], "dp": 4},
    {"raw": [5, 8], "dp": 2, "graph_ok": True, "graph_buckets": [1, 2, 4, 8]},
    {"raw": [9, 5], "dp": 2, "micro": {"kind": "tbo"}},
    {"raw": [1, 0], "dp": 2, "micro": {"kind": "dbo"}},
    {"raw": [20, 3], "dp": 2, "wire": "fp8_128", "experts_per_token": 8, "ep": 2},
    {"raw": [16, 10], "dp": 2, "shards": [[8, 8], [5, 5]], "profile": "main-2026-11"},
    {
        "raw": [600, 3],
        "dp": 2,
        "mixed": {"prefills": [True, False], "phase": "draft", "draft_width": 2, "verify_width": 4},
    },
    {"raw": [3, 4], "dp": 2, "all_to_all": {"kind": "deep_ep_low_latency", "capacity": 128}, "symmetric": True},
    {"raw": [3], "dp": 8, "bound": {"rows": 96}},
    {"raw": [100, 3], "dp": 2, "extend": True, "prefill_buckets": [128, 256]},
]


class Plans(unittest.TestCase):
    def test_a_plan_has_all_fields_that_the_library_tells(self):
        told = set()
        for request in REQUESTS:
            with self.subTest(request=request):
                plan = tilewright.planned(request)
                fields = plan.to_dict()
                told |= set(fields)
                for name, value in fields.items():
                    self.assertEqual(getattr(plan, name), value)
                absent = {field.name for field in dataclasses.fields(plan)} - set(fields) - {"_native"}
                for name in absent:
                    self.assertIsNone(getattr(plan, name), name)
        self.assertGreaterEqual(len(told), 30)

    def test_the_signature_has_the_fields_of_a_request(self):
        with self.assertRaises(tilewright.PlanError) as refused:
            tilewright.planned({"raw": [1], "dp": 1, "no_such_field": 1})
        known = set(str(refused.exception).split("expected one of ")[1].replace("`", "").split(", "))
        self.assertEqual(set(inspect.signature(tilewright.plan).parameters), known)

    def test_keywords_and_fields_are_one_request(self):
        plan = tilewright.plan((9, 5), profile="main-2026-09", micro={"kind": "tbo"}, attn_tp=2, row_bytes=16)
        request = {
            "raw": [9, 5],
            "dp": 2,
            "profile": "main-2026-09",
            "micro": {"kind": "tbo"},
            "attn_tp": 2,
            "row_bytes": 16,
        }
        self.assertEqual(plan, tilewright.planned(request))
        self.assertEqual(plan.to_dict(), tilewright.planned(request).to_dict())

    def test_every_profile_plans(self):
        for profile in tilewright.PROFILES:
            self.assertEqual(tilewright.plan([1, 9], profile=profile, attn_tp=4).profile, profile)
        self.assertEqual(tilewright.plan([1, 9], profile="pr-8277", attn_tp=4).padded, [1, 9])
        self.assertEqual(tilewright.plan([1, 9], profile="main-2026-09", attn_tp=4).padded, [12, 12])

    def test_recorded_plans_come_out(self):
        file = pathlib.Path(__file__).parents[2] / "dp/tests/data/dp_plan_vectors.json"
        if not file.is_file():
            self.skipTest(f"{file} is not there: the tests run outside of the project")
        vectors = json.loads(file.read_text())
        planned = 0
        for case in vectors["cases"]:
            for expected in case["plans"]:
                request = {name: case[name] for name in ["raw", "dp", "attn_tp"]} | case["args"]
                request |= {"profile": expected["profile"], "row_bytes": vectors["row_bytes"]}
                if case["graph_buckets"] != "none":
                    request["graph_buckets"] = vectors["graph_buckets"][case["graph_buckets"]]
                with self.subTest(case=case["name"], profile=expected["profile"]):
                    self.assertEqual(tilewright.planned(request).to_dict(), expected)
                    self.assertEqual(tilewright.plan(**request).to_dict(), expected)
                planned += 1
        self.assertGreater(planned, 50)

    def test_errors_have_the_words_of_the_library(self):
        with self.assertRaisesRegex(tilewright.PlanError, "`raw` is empty; give one count per data-parallel rank"):
            tilewright.plan([])
        with self.assertRaisesRegex(tilewright.PlanError, "unknown variant `x`"):
            tilewright.plan([1], profile="x")
        for raw in [[-1], ["1"], [1.5], [2**70]]:
            with self.subTest(raw=raw), self.assertRaises(tilewright.PlanError):
                tilewright.plan(raw)
        plan = tilewright.plan([1, 2])
        with self.assertRaises(tilewright.PlanError):
            plan.slot(2)
        with self.assertRaises(tilewright.PlanError):
            plan.batch(0, "decode", 99)
        with self.assertRaisesRegex(tilewright.ArgumentError, "there is no forward `x`: there are idle, decode"):
            plan.batch(0, "x", 1)

    def test_a_plan_shows_itself(self):
        plan = tilewright.plan([20, 3, 0, 7])
        self.assertIn("30 rows", str(plan))
        self.assertIn("mode: SUM", plan.explain())
        self.assertEqual(plan.slot(1), tilewright.Slot(start=20, rows=3, tokens=3))


if __name__ == "__main__":
    unittest.main()
