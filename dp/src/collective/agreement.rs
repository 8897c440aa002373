//! Asking whether all ranks ask for the same, once for each shape.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{CollectiveError, Exchange, RequestedCollective};

/// Remembers what all ranks of a group have agreed on. A collective between GPUs whose sizes differ hangs or corrupts
/// memory; so before the first collective of a shape the ranks compare it on the host. Shapes that were agreed on cost one
/// look-up, and can be captured in graphs.
///
/// A rank that asks for a shape that is new to all is found out at once. One that asks for a shape agreed on before, while
/// the others ask for another, is found out when the group's time is over.
///
/// Ranks that exchange what they plan a step from need not compare the shapes that follow from it: they
/// [adopt](Self::adopt) them, and the next step's exchange tells whether all adopted the same.
pub struct Agreement {
    exchange: Arc<dyn Exchange>,
    agreed: Mutex<Agreed>,
}

#[derive(Default)]
struct Agreed {
    shapes: HashSet<RequestedCollective>,
    /// Of all shapes that were adopted, in order.
    fingerprint: u64,
}

impl Agreement {
    /// Nothing is agreed on yet.
    pub fn new(exchange: Arc<dyn Exchange>) -> Self {
        Self {
            exchange,
            agreed: Mutex::default(),
        }
    }

    /// The exchange that ranks compare through.
    pub fn exchange(&self) -> &dyn Exchange {
        &*self.exchange
    }

    /// Makes sure that all ranks ask for the same.
    ///
    /// ```
    /// use std::{sync::Arc, thread, time::Duration};
    /// use tilewright_dp::collective::{Agreement, CollectiveError, Operation, RequestedCollective, ThreadExchange};
    /// use tilewright_dsl::element::ElementType;
    ///
    /// let ask = |exchange, rows| {
    ///     Agreement::new(Arc::new(exchange)).on(&RequestedCollective {
    ///         operation: Operation::AllGather,
    ///         element: ElementType::BF16,
    ///         rows,
    ///         columns: 7168,
    ///         parts: vec![8, 8],
    ///     })
    /// };
    /// let mut ranks = ThreadExchange::ranks(2, Duration::from_secs(10)).unwrap().into_iter();
    /// let (one, other) = (ranks.next().unwrap(), ranks.next().unwrap());
    /// let asked = thread::spawn(move || ask(other, 20));
    /// for error in [ask(one, 16).unwrap_err(), asked.join().unwrap().unwrap_err()] {
    ///     assert!(matches!(error, CollectiveError::Disagreement { .. }), "{error}");
    /// }
    /// ```
    ///
    /// # Errors
    /// A rank asks for something else, is gone or late.
    pub fn on(&self, request: &RequestedCollective) -> Result<(), CollectiveError> {
        let mut agreed = self.agreed.lock();
        if agreed.shapes.contains(request) {
            return Ok(());
        }
        let all = self.exchange.all_gather(&request.words())?;
        let all = all.iter().map(|words| RequestedCollective::from_words(words));
        request.compare(self.exchange.rank(), all)?;
        agreed.shapes.insert(request.clone());
        Ok(())
    }

    /// Shows all ranks what this one plans the step from, and returns what each shows: the one exchange of a step. What the
    /// exchange delivers for `dead` ranks is returned without a look; one that waits for them fails.
    ///
    /// # Errors
    /// A rank is gone or late, or adopted other shapes than this one since they began.
    pub fn exchange_step(&self, words: &[u64], dead: &[usize]) -> Result<Vec<Vec<u64>>, CollectiveError> {
        let fingerprint = self.agreed.lock().fingerprint;
        let sent: Vec<_> = [fingerprint].into_iter().chain(words.iter().copied()).collect();
        let all = self.exchange.all_gather(&sent)?;
        let rank = self.exchange.rank();
        let shown = |(other, words): (usize, Vec<u64>)| match words.split_first() {
            Some((&theirs, words)) if theirs == fingerprint => Ok(words.to_vec()),
            _ if dead.contains(&other) => Ok(words),
            _ => Err(CollectiveError::AdoptedOthers { rank, other }),
        };
        all.into_iter().enumerate().map(shown).collect()
    }

    /// Takes shapes as agreed on without an exchange of their own. They have to follow from what
    /// [`exchange_step`](Self::exchange_step) returned and from the configuration alone, so that every rank adopts the same.
    pub fn adopt(&self, shapes: impl IntoIterator<Item = RequestedCollective>) {
        let mut agreed = self.agreed.lock();
        for shape in shapes {
            let mut hasher = DefaultHasher::new();
            (agreed.fingerprint, &shape).hash(&mut hasher);
            agreed.fingerprint = hasher.finish();
            agreed.shapes.insert(shape);
        }
    }
}
