//! What all ranks conclude from everybody's words.

use super::{ExchangeError, Table, form::IDLE};

/// What all ranks agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Agreement {
    /// Rows that every rank runs.
    pub counts: Vec<u64>,
    /// The graph mode (vLLM: 0 none, 1 piecewise, 2 full); for SGLang whether a decode graph runs.
    pub graph: u64,
    /// Whether the step is split into micro-batches.
    pub split: bool,
    /// Whether any rank prefills; vLLM's ranks do not tell.
    pub extend: bool,
    /// Whether a prefill graph runs; vLLM's ranks do not tell.
    pub prefill_graph: bool,
}

/// Whether the last of `micro_batches` would have no token on the rank with the fewest.
fn micro_batch_is_empty(fewest: u64, most_padded: u64, micro_batches: u64) -> bool {
    most_padded / micro_batches * (micro_batches - 1) >= fewest
}

impl Table {
    /// vLLM's first runner: equal counts only where a graph or a split was agreed on.
    ///
    /// # Errors
    /// The table is of another form, or a split has fewer than two parts.
    pub fn agree_vllm4(&self, micro_batches: u64) -> Result<Agreement, ExchangeError> {
        let n = Self::micro_batches(micro_batches)?;
        let padded = self.list("padded")?;
        let (graph, most) = (self.smallest("mode")?, self.largest("padded")?);
        // One rank asks nobody, and does not split.
        let alone = self.ranks() == 1;
        let split = !alone && self.smallest("vote")? == 1 && !micro_batch_is_empty(self.smallest("tokens")?, most, n);
        let equal = !alone && (graph != 0 || split);
        let counts = if equal {
            vec![most; self.ranks()]
        } else {
            padded.to_vec()
        };
        Ok(Agreement {
            counts,
            graph,
            split,
            extend: false,
            prefill_graph: false,
        })
    }

    /// SGLang: counts as they are, and votes. A prefill graph is refused where a rank has no tokens.
    ///
    /// # Errors
    /// The table is of another form.
    pub fn agree_sglang8(&self) -> Result<Agreement, ExchangeError> {
        let counts = self.list("num_tokens")?.to_vec();
        let idle = counts.contains(&0);
        let mut modes = self.list("local_forward_mode")?.iter().filter(|&&mode| mode != IDLE);
        let first = modes.next();
        let one_mode = first.is_some() && modes.all(|mode| Some(mode) == first);
        Ok(Agreement {
            graph: self.smallest("can_run_decode_cuda_graph")?,
            split: self.smallest("local_can_run_tbo")? == 1 && one_mode,
            extend: self.largest("is_extend_in_batch")? == 1,
            prefill_graph: self.smallest("can_run_prefill_cuda_graph")? == 1 && !idle,
            counts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Form;
    use super::*;

    fn vllm4(columns: [&[u64]; 4], dead: &[usize]) -> Agreement {
        let rank = |rank| columns.map(|column| column[rank]).to_vec();
        let vectors: Vec<_> = (0..columns[0].len()).map(rank).collect();
        Table::decode(Form::Vllm4, &vectors, dead)
            .unwrap()
            .agree_vllm4(2)
            .unwrap()
    }

    fn concluded(agreement: &Agreement) -> (u64, bool, &[u64]) {
        (agreement.graph, agreement.split, &agreement.counts)
    }

    #[test]
    fn x1_to_x6_of_section_1_hold() {
        let (tokens, padded): (&[u64], &[u64]) = (&[5, 3, 9, 1], &[8, 4, 16, 1]);
        let x1 = vllm4([tokens, padded, &[0; 4], &[2, 2, 1, 2]], &[]);
        assert_eq!(concluded(&x1), (1, false, &[16; 4][..]));
        let x2 = vllm4([tokens, padded, &[0; 4], &[2, 0, 2, 2]], &[]);
        assert_eq!(concluded(&x2), (0, false, padded));
        let x3 = vllm4([&[600, 700], &[600, 704], &[1, 1], &[0, 0]], &[]);
        assert_eq!(concluded(&x3), (0, true, &[704, 704][..]));
        let x4 = vllm4([&[40, 100], &[40, 104], &[1, 1], &[0, 0]], &[]);
        assert_eq!(concluded(&x4), (0, false, &[40, 104][..]));
        let x5 = vllm4([&[600, 520], &[600, 520], &[1, 0], &[2, 2]], &[]);
        assert_eq!(concluded(&x5), (2, false, &[600, 600][..]));
        let x6 = vllm4([&[5, 3, 0], &[8, 4, 0], &[1, 1, 0], &[2, 1, 0]], &[2]);
        assert_eq!(concluded(&x6), (1, false, &[8, 8, 8][..]));
    }

    #[test]
    fn x13_to_x16_of_section_1_hold() {
        let agree = |vectors: &[Vec<u64>], dead: &[usize]| {
            let table = Table::decode(Form::Sglang8, vectors, dead).unwrap();
            table.agree_sglang8().unwrap()
        };
        let (extend, decode) = (vec![100, 2, 0, 1, 0, 1, 1, 0], vec![3, 3, 1, 0, 0, 2, 1, 0]);
        let x13 = agree(&[extend.clone(), decode.clone()], &[]);
        assert_eq!(
            (&x13.counts[..], x13.graph, x13.extend, x13.prefill_graph),
            (&[100, 3][..], 0, true, true)
        );
        let x14 = agree(&[extend.clone(), decode.clone(), vec![0, 0, 1, 0, 0, IDLE, 1, 0]], &[]);
        assert!(!x14.prefill_graph);
        let x15 = agree(&[extend, decode, vec![]], &[2]);
        assert!(!x15.prefill_graph && x15.counts == [100, 3, 0]);
        let nothing = vec![0, 0, 1, 0, 1, IDLE, 1, 0];
        let x16 = agree(&[nothing.clone(), nothing], &[]);
        assert!(x16.counts == [0, 0] && !x16.split && !x16.extend);
    }

    #[test]
    fn contradictions_are_refused_in_words() {
        let decode =
            |vectors: &[Vec<u64>], dead: &[usize]| Table::decode(Form::Vllm4, vectors, dead).unwrap_err().to_string();
        assert!(decode(&[vec![1, 1, 0]], &[]).contains("3 words"));
        assert!(decode(&[vec![2, 1, 0, 0]], &[]).contains("padding only adds"));
        assert!(decode(&[vec![1, 1, 2, 0]], &[]).contains("`vote` of rank 0 is 2"));
        assert!(decode(&[vec![1, 1, 0, 0]], &[0]).contains("dead"));
        assert!(decode(&[vec![1, 1, 0, 0]], &[1]).contains("rank 1"));
        assert!(decode(&[], &[]).contains("0 ranks"));
    }

    #[test]
    fn counts_up_to_the_largest_do_not_wrap() {
        let most = u64::from(u32::MAX);
        let agreed = vllm4([&[most, 1], &[most, most], &[1, 1], &[0, 0]], &[]);
        assert_eq!(concluded(&agreed), (0, false, &[most, most][..]));
    }
}
