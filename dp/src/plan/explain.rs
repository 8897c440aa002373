//! A plan in words.

use std::fmt::{self, Write};

use super::exchange::{Conclusion, Rows};
use super::micro::MicroPlan;
use super::{AllToAllPlan, Execution, ExpertCombine, Phase, Plan, PrefillGraph, Profile};
use crate::draw::{bytes, quantity, summary};
use crate::table::{self, grouped};

impl Plan {
    /// Why the plan is as it is: one line for each decision.
    ///
    /// ```
    /// use tilewright_dp::plan::{Plan, Request};
    ///
    /// let plan = Plan::new(&Request { attn_tp: 4, ..Request::new(vec![1, 9], 2) })?;
    /// assert_eq!(plan.explain(), "\
    /// rules: main-2026-11
    /// counts: 2 ranks with 10 tokens
    /// exchange: 8 numbers from each GPU, 512 B of all GPUs before the step
    /// run: eager, because not every rank voted for a decode graph
    /// alignment: every rank has a multiple of 4 rows, so 10 tokens need 16 rows
    /// mode: MAX, because an all-gather of equal ranks would move 24 rows, fewer than the 32 of an all-reduce
    /// buffer: 24 rows of 14336 B, 336 KiB, allocated for this step
    /// logits: 10 rows, packed, in 1 buffer of 10 rows, 140 KiB
    /// ");
    /// # Ok::<(), tilewright_dp::plan::PlanError>(())
    /// ```
    pub fn explain(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_reasons(&mut text);
        text
    }

    fn write_reasons(&self, f: &mut String) -> fmt::Result {
        let layout = &self.layout;
        let tokens = layout.real_rows();
        writeln!(f, "rules: {}", self.profile)?;
        let ranks = quantity(layout.ranks() as u64, "rank");
        match self.bound().and_then(|bound| bound.own) {
            Some(own) if layout.ranks() > 1 => write!(
                f,
                "counts: {} of the local rank, and {ranks} with at most {}",
                quantity(own.get(), "token"),
                quantity(tokens, "token")
            )?,
            _ => write!(f, "counts: {ranks} with {}", quantity(tokens, "token"))?,
        }
        match self.phase() {
            Some(phase) if phase.is_mixed() => {}
            _ if self.width > 1 => write!(f, ", {} per request", self.width)?,
            _ => {}
        }
        if layout.ranks() == 1 && self.dp > 1 {
            write!(f, "; the local rank alone of {}", self.dp)?;
        }
        writeln!(
            f,
            "{}",
            match (tokens, self.bound()) {
                (0, None) => "; all are idle, so no forward runs",
                (0, Some(_)) => "; all are idle, and run nothing but padding, since nobody knows it of the others",
                _ => "",
            }
        )?;

        match (self.exchanged_bytes(), self.bound()) {
            (_, Some(_)) => writeln!(f, "exchange: none, because every rank knows a bound of the others")?,
            (0, None) => writeln!(f, "exchange: none, because a rank alone has nobody to agree with")?,
            (exchanged, None) => {
                let numbers = self
                    .told()
                    .map_or(self.profile.exchanged_numbers(), |told| told.form.numbers());
                writeln!(
                    f,
                    "exchange: {} from each GPU, {} of all GPUs before the step",
                    quantity(numbers, "number"),
                    bytes(exchanged)
                )?
            }
        }
        self.write_told(f)?;
        self.write_phase(f)?;
        match &self.execution {
            Execution::Eager(why) => writeln!(f, "run: eager, because {why}")?,
            Execution::Graph(graph) if self.bound().is_some() => writeln!(
                f,
                "run: the graph of {}, which has exactly the bound's rows, so that ranks without one send as many",
                quantity(graph.bucket, "request")
            )?,
            Execution::Graph(graph) if self.told().is_some_and(|told| told.rows.is_some()) => writeln!(
                f,
                "run: the graph of {} on every rank, on which all agreed",
                quantity(graph.attention_rows, "row")
            )?,
            Execution::Graph(graph) => {
                let counted = match self.profile {
                    Profile::Base8277 | Profile::Pr8277 => "all ranks together",
                    _ => "the longest rank",
                };
                writeln!(
                    f,
                    "run: the graph of {}, the smallest that holds the {} of {counted}; every rank's attention computes {}",
                    quantity(graph.bucket, "request"),
                    graph.key,
                    quantity(graph.attention_rows, "row"),
                )?;
            }
        }
        match self.prefill_graph() {
            None => {}
            Some(PrefillGraph::Refused(why)) => writeln!(f, "prefill graph: none, because {why}")?,
            Some(PrefillGraph::Runs {
                bucket, tolerates_sum, ..
            }) => writeln!(
                f,
                "prefill graph: that of {}, {}",
                quantity(bucket, "row"),
                match tolerates_sum {
                    true => "or of what each rank needs, since the back end's graph holds no collective of the ranks",
                    false => "the smallest that holds the longest rank",
                }
            )?,
        }
        // A graph's sizes were aligned when it was captured.
        if layout.alignment() > 1 {
            writeln!(
                f,
                "alignment: every rank has a multiple of {} rows, so {} need {}",
                layout.alignment(),
                quantity(tokens, "token"),
                quantity(layout.aligned().sum(), "row")
            )?;
        }
        writeln!(f, "mode: {}, because {}", layout.mode(), self.reason)?;

        let (rows, row_bytes) = (quantity(layout.rows(), "row"), layout.row_bytes());
        write!(f, "buffer: {rows} of {row_bytes} B, {}, ", bytes(layout.bytes()))?;
        match (&self.execution, self.allocated_rows()) {
            (Execution::Eager(_), _) if !self.parts().is_empty() => writeln!(f, "were it one step")?,
            (Execution::Eager(_), _) if self.bound().is_some() => {
                writeln!(f, "the same in every step, so allocated once")?
            }
            (Execution::Eager(_), _) => writeln!(f, "allocated for this step")?,
            (Execution::Graph(_), 0) => writeln!(f, "the graph's own; nothing is allocated for this step")?,
            (Execution::Graph(_), rows) => writeln!(
                f,
                "the graph's own; {} more, {}, are allocated for this step and never read",
                quantity(rows, "row"),
                bytes(self.allocated_bytes())
            )?,
        }
        self.write_logits(f)?;
        self.write_micro(f)?;
        self.write_shards(f)?;
        self.write_wire(f)?;
        self.write_experts(f)?;
        self.write_bound(f)?;
        self.write_symmetric(f)
    }

    fn write_told(&self, f: &mut String) -> fmt::Result {
        let Some(told) = self.told() else { return Ok(()) };
        let dead = match &told.dead[..] {
            [] => String::new(),
            dead => format!(" of those alive, without {}", quantity(dead.len() as u64, "dead rank")),
        };
        write!(f, "told: as {}{dead}; all conclude that ", told.form.name())?;
        let yes = |is: bool, what: &'static str, or: &'static str| if is { what } else { or };
        match (&told.concluded, told.runs()) {
            (Conclusion::Trt(_), false) => writeln!(f, "nobody runs, because some rank has no request"),
            (_, false) => writeln!(f, "nobody runs, because no rank has a token"),
            (Conclusion::Sglang8(concluded), true) => writeln!(
                f,
                "{}, {}, {}, and ranks that decode {}",
                yes(concluded.extend, "a rank prefills", "none prefills"),
                yes(
                    concluded.decode_graph,
                    "decode graphs may run",
                    "no decode graph may run"
                ),
                yes(concluded.two_batches, "two batches may", "two batches may not"),
                yes(
                    concluded.decode_becomes_extend,
                    "run as prompts of one token",
                    "stay as they are"
                )
            ),
            (_, true) => writeln!(
                f,
                "{}, {}, and it runs {}",
                match &told.rows {
                    Some(Rows::Equal { rows, .. }) => format!("every rank has {}", quantity(*rows, "row")),
                    _ => "every rank has its own rows".to_owned(),
                },
                yes(self.graph().is_some(), "a graph runs", "no graph runs"),
                yes(self.parts().is_empty(), "as one step", "in micro-batches")
            ),
        }
    }

    fn write_phase(&self, f: &mut String) -> fmt::Result {
        let Some(phase) = self.phase() else { return Ok(()) };
        let (prefilling, decoding) = (phase.prefilling, phase.decoding);
        let tokens = quantity(phase.width, "token");
        match (phase.phase, phase.is_mixed()) {
            (of, false) => writeln!(
                f,
                "phase: {of}; all ranks with tokens run the same, so one width serves"
            ),
            (of @ Phase::Draft, true) => writeln!(
                f,
                "phase: {of}; ranks that decode: {decoding}, with {tokens} per request; that prefill: {prefilling}, with none in it"
            ),
            (of, true) => writeln!(
                f,
                "phase: {of}; ranks that decode: {decoding}, with {tokens} per request; that prefill: {prefilling}; nobody waits \
                 for the others"
            ),
        }
    }

    fn write_experts(&self, f: &mut String) -> fmt::Result {
        for (index, plan) in self.all_to_all().iter().enumerate() {
            match self.all_to_all().len() {
                1 => write!(f, "experts: ")?,
                parts => write!(f, "experts of part {} of {parts}: ", index + 1)?,
            }
            match plan {
                AllToAllPlan::Gather { sizes } => writeln!(
                    f,
                    "the step prefills, so no all-to-all; {} are gathered in bf16, with a size for each of {}",
                    quantity(sizes.rows(), "row"),
                    quantity(sizes.sizes().len() as u64, "GPU")
                )?,
                AllToAllPlan::Dispatch { rows, capacity } => {
                    write!(f, "an all-to-all of up to {} a GPU", quantity(*rows, "row"))?;
                    match capacity {
                        Some(capacity) => writeln!(f, ", which fit the {capacity} that it was started for")?,
                        None => writeln!(f)?,
                    }
                }
            }
        }
        match self.expert_combine() {
            None => Ok(()),
            Some(ExpertCombine::ReduceScatter) => f.write_str(
                "combine: a reduce-scatter with every rank's rows as sizes, since each rank has a group of experts\n",
            ),
            Some(ExpertCombine::AllReduce) => {
                f.write_str("combine: an all-reduce, of which every rank keeps its rows\n")
            }
        }
    }

    fn write_bound(&self, f: &mut String) -> fmt::Result {
        let Some(plan) = self.bound() else { return Ok(()) };
        let own = plan
            .own
            .map_or(String::new(), |own| format!("its own {}, ", quantity(own.get(), "row")));
        writeln!(
            f,
            "bound: ranks exchange nothing; each knows {own}and of all no more than {}, so the bound is the size of every \
             part, and what really came is read on the device",
            quantity(plan.received.capacity(), "row")
        )?;
        match plan.experts {
            None => Ok(()),
            Some(rows) => writeln!(
                f,
                "bound of the experts: at most {} to multiply, in a buffer of {}; masked, {} an expert",
                quantity(rows.gemm.capacity(), "row"),
                quantity(rows.worst.capacity(), "row"),
                quantity(rows.masked.capacity(), "row")
            ),
        }
    }

    fn write_symmetric(&self, f: &mut String) -> fmt::Result {
        let Some(symmetric) = self.symmetric() else {
            return Ok(());
        };
        let may = |may| if may { "may" } else { "may not" };
        writeln!(
            f,
            "symmetric memory: the step's buffers {} come from it, what a gather of sizes fills {}, gathered logits {}; only \
             what all ranks allocate in one size may",
            may(symmetric.step),
            may(symmetric.gather),
            may(symmetric.logits)
        )
    }

    fn write_micro(&self, f: &mut String) -> fmt::Result {
        match self.micro() {
            None => Ok(()),
            Some(MicroPlan::Whole(why)) => writeln!(f, "micro-batches: none, because {why}"),
            Some(MicroPlan::Split(parts)) => {
                let count = parts.len() as u64;
                write!(
                    f,
                    "micro-batches: {count}, each with a buffer that stays and only grows:"
                )?;
                for (index, part) in parts.iter().enumerate() {
                    let (layout, comma) = (part.layout(), if index > 0 { "," } else { "" });
                    let tokens = quantity(layout.real_rows(), "token");
                    write!(
                        f,
                        "{comma} {tokens} in {}, {}",
                        quantity(layout.rows(), "row"),
                        bytes(layout.bytes())
                    )?;
                }
                writeln!(f)
            }
        }
    }

    fn write_shards(&self, f: &mut String) -> fmt::Result {
        let Some(shards) = self.shards() else { return Ok(()) };
        let written = shards.rows().flatten().map(|rows| rows.end - rows.start).sum();
        writeln!(
            f,
            "shards: {} of every rank write {}, one after the other in its slot; {} stay zero",
            quantity(shards.parts() as u64, "context-parallel part"),
            quantity(written, "row"),
            quantity(self.layout.rows() - written, "row"),
        )
    }

    fn write_wire(&self, f: &mut String) -> fmt::Result {
        let Some(wire) = self.wire() else { return Ok(()) };
        let row = wire.row;
        writeln!(
            f,
            "wire: {}, {} B a row ({} of payload, {} of scales, {} of expert weights and numbers), so {} are gathered; {} \
             come back in bf16",
            wire.format,
            row.bytes(),
            row.payload,
            row.scales,
            row.weights + row.ids,
            bytes(wire.gathered_bytes()),
            bytes(wire.combined_bytes()),
        )
    }

    fn write_logits(&self, f: &mut String) -> fmt::Result {
        let logits = &self.logits;
        let rows = quantity(logits.counts().iter().sum(), "row");
        if !logits.is_gathered() {
            return writeln!(f, "logits: {rows}, which are not gathered");
        }
        let packed = match &self.execution {
            Execution::Graph(_) if self.profile >= Profile::Pr8280 => "in equal slots",
            _ => "packed",
        };
        writeln!(
            f,
            "logits: {rows}, {packed}, in {} of {}, {}",
            quantity(logits.buffers(), "buffer"),
            quantity(logits.buffer_rows(), "row"),
            bytes(logits.bytes()),
        )
    }
}

/// A line that says what the plan is, and a table of the ranks.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = &self.layout;
        writeln!(f, "{}, {}, {}", self.profile, self.execution, summary(layout))?;
        let mut aligned = layout.aligned();
        let row = |rank: usize| {
            let [logprob, tokens, rows, start] =
                [self.logits.counts(), layout.counts(), layout.padded(), layout.starts()]
                    .map(|numbers| numbers.get(rank).copied().unwrap_or(0));
            let numbers = [tokens, aligned.next().unwrap_or(0), rows, start, logprob];
            let [tokens, aligned, rows, start, logprob] = numbers.map(grouped);
            [rank.to_string(), tokens, aligned, rows, start, logprob]
        };
        let rows: Vec<_> = (0..layout.ranks()).map(row).collect();
        table::write(f, ["rank", "tokens", "aligned", "rows", "start", "logprob rows"], &rows)?;
        writeln!(f, "allocated for this step: {} bytes", grouped(self.allocated_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Request, capture_sizes};
    use super::*;

    fn decode(profile: Profile) -> Plan {
        Plan::new(&Request {
            profile,
            graph_ok: true,
            graph_buckets: Some(capture_sizes(false, 160)),
            ..Request::new(vec![20, 3, 0, 18], 4)
        })
        .unwrap()
    }

    #[test]
    fn a_plan_prints_as_a_table() {
        let expected = "\
main-2026-09, graph 24, MAX: 96 rows (55 padding) × 14336 B = 1.31 MiB, 4 ranks
rank  tokens  aligned  rows  start  logprob rows
0         20       20    24      0            20
1          3        3    24     24             3
2          0        0    24     48             0
3         18       18    24     72            18
allocated for this step: 0 bytes
";
        assert_eq!(decode(Profile::Main202609).to_string(), expected);
    }

    #[test]
    fn a_graph_says_how_it_was_found_and_what_is_wasted() {
        let expected = "\
rules: base-8277
counts: 4 ranks with 41 tokens
exchange: 6 numbers from each GPU, 192 B of all GPUs before the step
run: the graph of 48 requests, the smallest that holds the 41 of all ranks together; every rank's attention computes 48 rows
mode: SUM, because this version has no other mode
buffer: 48 rows of 14336 B, 672 KiB, the graph's own; 41 rows more, 574 KiB, are allocated for this step and never read
logits: 41 rows, packed, in 1 buffer of 48 rows, 672 KiB
";
        assert_eq!(decode(Profile::Base8277).explain(), expected);
        let alone = Plan::new(&crate::plan::Request::new(vec![3], 1)).unwrap().explain();
        assert!(
            alone.contains("exchange: none, because a rank alone has nobody"),
            "{alone}"
        );
        let newest = decode(Profile::Main202609).explain();
        assert!(newest.contains("the 20 of the longest rank"), "{newest}");
        assert!(
            newest.contains("mode: MAX, because the graph was captured with equal ranks"),
            "{newest}"
        );
        assert!(newest.contains("nothing is allocated for this step"), "{newest}");
    }

    #[test]
    fn special_steps_are_told() {
        let explain = |request: Request| Plan::new(&request).unwrap().explain();
        assert!(explain(Request::new(vec![0, 0], 2)).contains("all are idle, so no forward runs"));
        assert!(explain(Request::new(vec![13], 2)).contains("the local rank alone of 2"));
        let verify = Request {
            coef: 4,
            ..Request::new(vec![4, 3], 2)
        };
        assert!(explain(verify).contains("28 tokens, 4 per request"));
        let tie = explain(Request::new(vec![10, 3, 0, 7], 4));
        assert!(
            tie.contains("would move 40 rows, as many as the 40 of an all-reduce"),
            "{tie}"
        );
    }
}
