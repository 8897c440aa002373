//! Asking whether all ranks ask for the same, once for each shape.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{CollectiveError, Exchange, RequestedCollective};

/// Remembers what all ranks of a group have agreed on. A collective between GPUs whose sizes differ hangs or corrupts
/// memory; so before the first collective of a shape the ranks compare it on the host. Shapes that were agreed on cost one
/// look-up, and can be captured in graphs.
///
/// A rank that asks for a shape that is new to all is found out at once. One that asks for a shape agreed on before, while
/// the others ask for another, is found out when the group's time is over.
pub struct Agreement {
    exchange: Arc<dyn Exchange>,
    agreed: Mutex<HashSet<RequestedCollective>>,
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
        if agreed.contains(request) {
            return Ok(());
        }
        let all = self.exchange.all_gather(&request.words())?;
        let all = all.iter().map(|words| RequestedCollective::from_words(words));
        request.compare(self.exchange.rank(), all)?;
        agreed.insert(request.clone());
        Ok(())
    }
}
