//! A plan in words.

use std::fmt::{self, Write};

use super::micro::MicroPlan;
use super::{Execution, Plan, Profile};
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
        write!(
            f,
            "counts: {} with {}",
            quantity(layout.ranks() as u64, "rank"),
            quantity(tokens, "token")
        )?;
        if self.width > 1 {
            write!(f, ", {} per request", self.width)?;
        }
        if layout.ranks() == 1 && self.dp > 1 {
            write!(f, "; the local rank alone of {}", self.dp)?;
        }
        writeln!(
            f,
            "{}",
            if tokens == 0 {
                "; all are idle, so no forward runs"
            } else {
                ""
            }
        )?;

        match self.exchanged_bytes() {
            0 => writeln!(f, "exchange: none, because a rank alone has nobody to agree with")?,
            exchanged => writeln!(
                f,
                "exchange: {} from each GPU, {} of all GPUs before the step",
                quantity(self.profile.exchanged_numbers(), "number"),
                bytes(exchanged)
            )?,
        }
        match &self.execution {
            Execution::Eager(why) => writeln!(f, "run: eager, because {why}")?,
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
        self.write_wire(f)
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
        let written = shards.rows().iter().flatten().map(|rows| rows.end - rows.start).sum();
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
