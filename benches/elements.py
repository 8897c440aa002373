"""Rows that are computed on their way: the same work in Triton and torch, beside a copy of as many bytes."""

from collections.abc import Iterator

import torch
import triton
import triton.language as tl

from cases import GROUP, POISON, ROPE, TOP, Case
from peers import CONFIGURATIONS, Launch, Peer, copy_of

LARGEST, SMALLEST = 448.0, 1e-10  # of an 8-bit float, and of what a scale is made of


@triton.jit
def store_mla(cache, nope, rope, slots, LATENT: tl.constexpr, ROPE: tl.constexpr, BLOCK: tl.constexpr):
    r = tl.program_id(0)
    slot = tl.load(slots + r)
    row = slot * (LATENT + ROPE)
    for c in tl.static_range(0, LATENT, BLOCK):
        o = c + tl.arange(0, BLOCK)
        tl.store(cache + row + o, tl.load(nope + r.to(tl.int64) * LATENT + o, mask=o < LATENT), mask=o < LATENT)
    o = tl.arange(0, ROPE)
    tl.store(cache + row + LATENT + o, tl.load(rope + r.to(tl.int64) * ROPE + o))


# ANCHOR: quantize_rows
@triton.jit
def quantize_rows(out, scales, src, H: tl.constexpr, GROUP: tl.constexpr, LARGEST: tl.constexpr, SMALLEST: tl.constexpr, BLOCK: tl.constexpr):
    r = tl.program_id(0).to(tl.int64)
    groups: tl.constexpr = BLOCK // GROUP
    for c in tl.static_range(0, H, BLOCK):
        o = c + tl.arange(0, BLOCK)
        x = tl.load(src + r * H + o, mask=o < H, other=0.0).to(tl.float32)
        x = tl.reshape(x, [groups, GROUP])
        scale = tl.maximum(tl.max(tl.abs(x), axis=1), SMALLEST) / LARGEST
        g = c // GROUP + tl.arange(0, groups)
        tl.store(scales + r * (H // GROUP) + g, scale, mask=g < H // GROUP)
        y = tl.reshape(x / scale[:, None], [BLOCK])
        tl.store(out + r * H + o, y.to(tl.float8e4nv), mask=o < H)
# ANCHOR_END: quantize_rows


@triton.jit
def dequantize_rows(out, src, scales, H: tl.constexpr, GROUP: tl.constexpr, BLOCK: tl.constexpr):
    r = tl.program_id(0).to(tl.int64)
    for c in tl.static_range(0, H, BLOCK):
        o = c + tl.arange(0, BLOCK)
        x = tl.load(src + r * H + o, mask=o < H).to(tl.float32)
        scale = tl.load(scales + r * (H // GROUP) + o // GROUP, mask=o < H)
        tl.store(out + r * H + o, (x * scale).to(tl.bfloat16), mask=o < H)


@triton.jit
def combine_rows(out, x, places, weights, H: tl.constexpr, TOP: tl.constexpr, BLOCK: tl.constexpr):
    r = tl.program_id(0).to(tl.int64)
    for c in tl.static_range(0, H, BLOCK):
        o = c + tl.arange(0, BLOCK)
        total = tl.zeros([BLOCK], tl.float32)
        for j in tl.static_range(TOP):
            place = tl.load(places + r * TOP + j)
            weight = tl.load(weights + r * TOP + j)
            total += tl.load(x + place * H + o, mask=o < H).to(tl.float32) * weight
        tl.store(out + r * H + o, total.to(tl.bfloat16), mask=o < H)


@triton.jit
def abs_in_place(x, H: tl.constexpr, BLOCK: tl.constexpr):
    r = tl.program_id(0).to(tl.int64)
    for c in tl.static_range(0, H, BLOCK):
        o = c + tl.arange(0, BLOCK)
        tl.store(x + r * H + o, tl.abs(tl.load(x + r * H + o, mask=o < H)), mask=o < H)


class Elements:
    """Random numbers, and what is written of them, with a view of each for every set."""

    def __init__(self, case: Case):
        self.case = case
        op, h, rows = case.op, case.columns, case.sets * case.rows

        def sets(tensor: torch.Tensor) -> list[torch.Tensor]:
            return list(tensor.split(case.rows))

        wide = h - ROPE if op == "store_mla" else h
        read = case.pool_rows if op == "combine_rows" else rows
        self.all = {}
        if op != "dequantize_rows":
            self.all["x"] = (torch.rand((read, wide), device="cuda") * 2 - 1).bfloat16()
        if op == "store_mla":
            self.all["rope"] = (torch.rand((rows, ROPE), device="cuda") * 2 - 1).bfloat16()
            self.all["slots"] = torch.randperm(case.pool_rows, device="cuda")[:rows]
            self.all["out"] = torch.zeros((case.pool_rows, h), dtype=torch.bfloat16, device="cuda")
        if op in ("quantize_rows", "dequantize_rows"):
            self.all["scales"] = torch.rand((rows, h // GROUP), device="cuda")
            self.all["narrow"] = (torch.rand((rows, h), device="cuda") * 2 - 1).to(torch.float8_e4m3fn)
        if op in ("dequantize_rows", "combine_rows"):
            self.all["out"] = torch.zeros((rows, h), dtype=torch.bfloat16, device="cuda")
        if op == "combine_rows":
            self.all["places"] = torch.randperm(case.pool_rows, device="cuda")[: rows * TOP].view(rows, TOP)
            self.all["weights"] = torch.rand((rows, TOP), device="cuda")
        # What all sets read or write is one.
        whole = {"store_mla": ("out",), "combine_rows": ("x",)}.get(op, ())
        self.of = {
            name: [tensor] * case.sets if name in whole else sets(tensor) for name, tensor in self.all.items()
        }
        self._fresh = self.all["x"].clone() if op == "abs_in_place" else None

    def request(self) -> dict:
        """The case for the other side, which has tensors of its own."""
        return self.case.request()

    def poison(self) -> None:
        """Makes every element that is written wrong."""
        if self._fresh is not None:
            self.all["x"].copy_(self._fresh)
        elif self.case.op == "quantize_rows":
            self.all["narrow"].view(torch.int8).fill_(0x7F)
            self.all["scales"].fill_(-1.0)
        else:
            self.all["out"].view(torch.int8).fill_(POISON)

    def is_right(self) -> bool:
        """Whether the first and last set hold what the operation leaves, near enough for another order of rounding."""
        return all(self._is_right(i) for i in (0, self.case.sets - 1))

    def _is_right(self, i: int) -> bool:
        of = {name: tensors[i] for name, tensors in self.of.items()}
        match self.case.op:
            case "store_mla":
                return torch.equal(of["out"][of["slots"]], torch.cat((of["x"], of["rope"]), 1))
            case "abs_in_place":
                rows = slice(i * self.case.rows, (i + 1) * self.case.rows)
                return torch.equal(of["x"], self._fresh[rows].abs())
            case "combine_rows":
                terms = of["x"][of["places"][:64]].float() * of["weights"][:64, :, None]
                return torch.allclose(of["out"][:64].float(), terms.sum(1), rtol=0.02, atol=0.02)
            case "dequantize_rows":
                wide = of["narrow"].float() * of["scales"].repeat_interleave(GROUP, 1)
                return torch.equal(of["out"], wide.bfloat16())
        groups = of["x"].float().view(-1, self.case.columns // GROUP, GROUP)
        scales = groups.abs().amax(2).clamp(min=SMALLEST) / LARGEST
        back = of["narrow"].float() * of["scales"].repeat_interleave(GROUP, 1)
        return torch.allclose(of["scales"], scales, rtol=1e-5) and torch.allclose(back, of["x"].float(), rtol=0.07, atol=1e-2)


def triton_launches(b: Elements) -> Iterator[tuple[str, Launch]]:
    """Every configuration, a program per row."""
    op, h, grid, of = b.case.op, b.case.columns, (b.case.rows,), b.of
    for block, warps in CONFIGURATIONS:
        if block >= 2 * h and block > 512:
            continue

        def launch(i: int, block: int = block, warps: int = warps) -> None:
            t = {name: tensors[i] for name, tensors in of.items()}
            match op:
                case "store_mla":
                    store_mla[grid](t["out"], t["x"], t["rope"], t["slots"], h - ROPE, ROPE, block, num_warps=warps)
                case "quantize_rows":
                    quantize_rows[grid](
                        t["narrow"], t["scales"], t["x"], h, GROUP, LARGEST, SMALLEST, block, num_warps=warps
                    )
                case "dequantize_rows":
                    dequantize_rows[grid](t["out"], t["narrow"], t["scales"], h, GROUP, block, num_warps=warps)
                case "combine_rows":
                    combine_rows[grid](t["out"], t["x"], t["places"], t["weights"], h, TOP, block, num_warps=warps)
                case _:
                    abs_in_place[grid](t["x"], h, block, num_warps=warps)

        yield f"block {block}, {warps} warps", launch


def element_peers(b: Elements) -> list[Peer]:
    """Triton, and the copy."""
    found = [Peer("Triton (tuned)", "peer", list(triton_launches(b))), copy_of(b.case)]
    if b.case.op == "abs_in_place":
        found.append(Peer("torch abs_", "peer", [("", lambda i: b.of["x"][i].abs_())]))
    return found
