"""Plans of steps: how ranks are padded, where their rows lie, and in which buffer and graph they run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from tilewright import _native

__all__ = ["BatchPlan", "PROFILES", "Plan", "Slot", "TensorPadding", "plan"]

PROFILES: tuple[str, ...] = tuple(_native.profiles())
"""The versions of SGLang whose rules there are, the oldest first. The last is the default."""

_DEFAULT = PROFILES[-1]


@dataclass(frozen=True)
class Slot:
    """A rank's rows of the gathered buffer."""

    start: int
    """The first of them."""
    rows: int
    """How many there are, padding included."""
    tokens: int
    """Those of them that are tokens."""


@dataclass(frozen=True)
class TensorPadding:
    """How one tensor of a batch is padded."""

    tensor: str
    """Its name, as in SGLang's ``ForwardBatch``."""
    axis: int
    """The axis that becomes longer."""
    length: int
    """The extent of that axis afterwards."""
    fill: str
    """``"value"``, ``"nothing"`` (Python's ``None``, of lists), or ``"stale"``: what an earlier replay left."""
    value: int | None
    """The number, where the fill is one."""


@dataclass(frozen=True)
class BatchPlan:
    """How a rank's own batch is padded, and what is kept of it afterwards."""

    forward: str
    """What is run: a prefill may have become another kind of forward."""
    rows: int
    """Rows of tokens after padding."""
    requests: int
    """Requests after padding."""
    is_dummy: bool
    """Whether an idle rank runs a request that was made up."""
    real_rows: int
    """Rows that count as tokens."""
    kept: int
    """Rows of the output that belong to requests."""
    sequence_lengths_added: int
    """What the padding adds to the sum of the sequence lengths."""
    tensors: tuple[TensorPadding, ...]
    """The tensors that are padded."""

    _native: Any = field(default=None, repr=False, compare=False)

    def pad(self, tensors: Mapping[str, tuple[Any, Any]], *, stream: Any = None) -> None:
        """Pads tensors by name in one launch: ``{"input_ids": (out, src), ...}``.

        Each ``out`` is as long as planned, on the axis that is padded; ``src`` holds the batch's own elements, of the
        same type. Those whose padding is what an earlier replay left keep it.

        :raises PaddingError: a name is not planned, or ``out`` is not as long as planned.
        """
        self._native.pad([(name, out, src) for name, (out, src) in tensors.items()], stream=stream)


@dataclass(frozen=True)
class Plan:
    """The plan of one step. Its fields are those of ``tilewright plan --json``; one that does not apply is ``None``.

    ``str(plan)`` is a table for people.
    """

    profile: str
    """Whose rules were followed."""
    scaled: list[int]
    """Tokens of every rank: counts times width."""
    logprob: list[int]
    """Rows of every rank at the logits stage."""
    graph: bool
    """Whether a decode graph serves the step."""
    mode: str
    """``"max"``, every rank as long as the longest, or ``"sum"``, one behind the other."""
    local_start: list[int]
    """Each rank's first row of the buffer."""
    aligned: list[int] | None = None
    """Eager: tokens rounded up to what attention TP divides."""
    padded: list[int] | None = None
    """Eager: each rank's rows of the buffer."""
    buffer_rows: int | None = None
    """Eager: rows of the gathered buffer."""
    buffer_bytes: int | None = None
    """Eager: bytes of the gathered buffer."""
    bucket: int | None = None
    """Graph: the batch size, in requests, that was captured."""
    graph_rows: int | None = None
    """Graph: rows of the buffer that the graph has."""
    graph_bytes: int | None = None
    """Graph: bytes of that buffer."""
    transient_rows: int | None = None
    """Graph: rows that are allocated besides."""
    transient_bytes: int | None = None
    """Graph: bytes that are allocated besides."""
    local_rows_copied: list[int] | None = None
    """Graph: rows of each rank that are copied in."""
    attn_rows_per_rank: int | None = None
    """Graph: rows that each rank's attention runs."""
    exchanged_bytes: int | None = None
    """Bytes that ranks tell each other before the step."""
    exchange: dict[str, Any] | None = None
    """What follows from what ranks told."""
    prefill_graph: int | None = None
    """Tokens for which the prefill graph that serves the step was captured."""
    no_prefill_graph_because: str | None = None
    """Why none does, though ranks voted for one."""
    micro_batches: list[dict[str, Any]] | None = None
    """The parts of a step that is split."""
    whole_because: str | None = None
    """Why it is not, though it was asked for."""
    shard_rows: Any = None
    """Rows of context-parallel parts."""
    wire: str | None = None
    """How hidden states travel to the experts."""
    wire_row: dict[str, Any] | None = None
    """What of a row travels, in bytes."""
    wire_gathered_bytes: int | None = None
    """Bytes that are gathered."""
    wire_combined_bytes: int | None = None
    """Bytes that come back."""
    phase: dict[str, Any] | None = None
    """What a speculative step's forward is."""
    all_to_all: list[dict[str, Any]] | None = None
    """What the experts' back end sends and receives."""
    expert_combine: Any = None
    """How what the experts computed comes back."""
    own_rows: Any = None
    """Planned from a bound: the rank's own rows."""
    received_at_most: Any = None
    """Planned from a bound: rows that come in."""
    expert_rows_at_most: Any = None
    """Planned from a bound: rows of the experts."""
    symmetric: dict[str, Any] | None = None
    """Which buffers may come from symmetric memory."""
    _native: Any = field(default=None, repr=False, compare=False)

    def explain(self) -> str:
        """Why the plan is as it is, in sentences."""
        return str(self._native.explain())

    def slot(self, rank: int) -> Slot:
        """Where the rows of ``rank`` lie."""
        return Slot(*self._native.slot(rank))

    def batch(self, rank: int, forward: str, requests: int) -> BatchPlan:
        """How the batch of ``rank`` is padded that runs ``forward`` of so many ``requests``.

        ``forward`` is ``"idle"``, ``"decode"``, ``"extend"``, ``"mixed"``, ``"draft_decode"``, ``"target_verify"`` or
        ``"draft_extend"``.
        """
        native = self._native.batch(rank, forward, requests)
        found = native.fields()
        tensors = tuple(TensorPadding(*padding) for padding in found.pop("tensors"))
        return BatchPlan(tensors=tensors, _native=native, **found)

    def to_dict(self) -> dict[str, Any]:
        """The fields that apply, as ``tilewright plan --json`` prints them."""
        return dict(self._native.fields())

    def __str__(self) -> str:
        return str(self._native)


def plan(
    raw: Sequence[int],
    *,
    profile: str = _DEFAULT,
    dp: int | None = None,
    attn_tp: int = 1,
    coef: int = 1,
    coef_lp: int | None = None,
    raw_lp: Sequence[int] | None = None,
    extend: bool = False,
    cp_align: int = 1,
    graph_buckets: Iterable[int] | None = None,
    graph_ok: bool = False,
    hybrid_idle: bool = False,
    force_max: bool = False,
    elastic_join: bool = False,
    prefill_buckets: Iterable[int] | None = None,
    micro: Mapping[str, Any] | None = None,
    shards: Sequence[Sequence[int]] | None = None,
    wire: str | None = None,
    experts_per_token: int | None = None,
    mixed: Mapping[str, Any] | None = None,
    all_to_all: Mapping[str, Any] | None = None,
    ep: int | None = None,
    bound: Mapping[str, Any] | None = None,
    exchange: Mapping[str, Any] | None = None,
    symmetric: bool = False,
    padding: str | None = None,
    row_bytes: int | None = None,
) -> Plan:
    """Plans one step from the counts of all ranks, as ``tilewright plan --json`` does, with the same fields.

    :param raw: one count per data-parallel rank: tokens where a rank prefills, requests otherwise.
    :param profile: whose rules to follow, one of ``tilewright.PROFILES``.
    :param dp: data-parallel ranks; as many as there are counts by default.
    :param attn_tp: GPUs that share one rank's attention.
    :param coef: tokens per count in this forward, such as the drafts that are verified.
    :param coef_lp: rows per count at the logits stage; as ``coef`` by default.
    :param raw_lp: counts of the logits stage; as ``raw`` by default.
    :param extend: whether any rank prefills.
    :param cp_align: context parallelism splits a rank's rows into a multiple of this.
    :param graph_buckets: batch sizes for which a graph was captured.
    :param graph_ok: whether every rank voted for a decode graph.
    :param hybrid_idle: whether the model is a hybrid, whose idle ranks join a padded prefill.
    :param force_max: whether the experts' all-to-all needs equal ranks.
    :param elastic_join: whether a rank is just joining an elastic group.
    :param prefill_buckets: token counts of captured prefill graphs, if every rank voted for them.
    :param micro: micro-batches: ``{"kind": "tbo"}`` as SGLang, ``{"kind": "dbo"}`` as vLLM.
    :param shards: real rows of the context-parallel parts of each rank.
    :param wire: how hidden states travel: ``"bf16"``, ``"fp8_128"``, ``"mxfp8"`` or ``"nvfp4"``.
    :param experts_per_token: experts of every row.
    :param mixed: which ranks prefill in a speculative step, and which of its forwards this is:
        ``{"prefills": [True, False], "phase": "draft", "draft_width": 1, "verify_width": 4}``.
    :param all_to_all: the experts' back end: ``{"kind": "deep_ep"}``, for example.
    :param ep: groups that the experts are split over.
    :param bound: the most rows of a rank, if ranks exchange nothing: ``{"rows": 96}``.
    :param exchange: what ranks told each other.
    :param symmetric: whether buffers may come from symmetric memory.
    :param padding: when eager forwards pad their ranks.
    :param row_bytes: bytes of one hidden state; 14336 by default, that is 7168 of bfloat16.
    :raises PlanError: no plan can be made of the request.

    >>> plan([20, 3, 0, 7], profile="pr-8277").buffer_rows
    30
    """
    given = {
        "raw": list(raw),
        "profile": profile,
        "dp": len(raw) if dp is None else dp,
        "attn_tp": attn_tp,
        "coef": coef,
        "coef_lp": coef_lp,
        "raw_lp": None if raw_lp is None else list(raw_lp),
        "extend": extend,
        "cp_align": cp_align,
        "graph_buckets": None if graph_buckets is None else list(graph_buckets),
        "graph_ok": graph_ok,
        "hybrid_idle": hybrid_idle,
        "force_max": force_max,
        "elastic_join": elastic_join,
        "prefill_buckets": None if prefill_buckets is None else list(prefill_buckets),
        "micro": micro,
        "shards": shards,
        "wire": wire,
        "experts_per_token": experts_per_token,
        "mixed": mixed,
        "all_to_all": all_to_all,
        "ep": ep,
        "bound": bound,
        "exchange": exchange,
        "symmetric": symmetric,
        "padding": padding,
        "row_bytes": row_bytes,
    }
    return planned({name: value for name, value in given.items() if value is not None})


def planned(request: Mapping[str, Any]) -> Plan:
    """The plan of a request as ``tilewright plan --json`` reads it, from a mapping: unknown fields are refused."""
    native = _native.plan(dict(request))
    known = {known.name for known in fields(Plan)}
    found = native.fields()
    # A field that came later is in `to_dict()` at least.
    return Plan(**{name: value for name, value in found.items() if name in known}, _native=native)
