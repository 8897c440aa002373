//! When what an index is made of is there: sums begin with what is there first, so that little of an address has to wait for a
//! load or is computed in each trip of a loop. The assembler moves whole instructions, and does not put sums into another order.

use crate::ir::Handle;
use crate::thread::{Atom, IndexArena, Kernel, Term, Value, Variable};

/// Which value and name was there when.
#[derive(Debug)]
pub(super) struct Order {
    values: Vec<u32>,
    variables: Vec<u32>,
    now: u32,
    /// When the loops began that are being printed, the innermost last.
    loops: Vec<u32>,
}

impl Order {
    pub(super) fn new(kernel: &Kernel) -> Self {
        Self {
            values: vec![0; kernel.values.len()],
            variables: vec![0; kernel.variables.len()],
            now: 0,
            loops: Vec::new(),
        }
    }

    pub(super) fn value(&mut self, value: Handle<Value>) {
        self.now += 1;
        self.values[value.index()] = self.now;
    }

    pub(super) fn variable(&mut self, variable: Handle<Variable>) {
        self.now += 1;
        self.variables[variable.index()] = self.now;
    }

    pub(super) fn enter_loop(&mut self) {
        self.now += 1;
        self.loops.push(self.now);
    }

    pub(super) fn leave_loop(&mut self) {
        self.loops.pop();
    }

    /// How many of some sorted terms are added ahead of an argument: those that are there from the start, since an argument is fetched
    /// where it is added first, and waited for. In a loop they would be kept for all of its trips.
    pub(super) fn ahead_of_argument(&self, indices: &IndexArena, sorted: &[&Term]) -> usize {
        match self.loops.is_empty() {
            true => sorted.iter().take_while(|term| self.of(indices, term) == 0).count(),
            false => 0,
        }
    }

    /// When a term is there; 0 from the beginning.
    fn of(&self, indices: &IndexArena, term: &Term) -> u32 {
        let of_atom = |atom: &Atom| match atom {
            Atom::Value(value) => self.values[value.index()],
            Atom::Variable(variable) => self.variables[variable.index()],
            Atom::Thread | Atom::Block | Atom::Argument(_) | Atom::Address(_) | Atom::Lane(_) => 0,
        };
        let atoms = term.factors.iter().flat_map(|factor| indices.atoms(*factor));
        atoms.map(of_atom).max().unwrap_or(0)
    }

    /// The terms as they come to be there, and of those that come together the ones that are added before those that are taken
    /// away, which then need no sign of their own.
    pub(super) fn sorted<'t>(&self, indices: &IndexArena, terms: &'t [Term]) -> Vec<&'t Term> {
        let mut sorted: Vec<_> = terms.iter().collect();
        sorted.sort_by_cached_key(|term| (self.of(indices, term), term.coefficient < 0));
        sorted
    }

    /// Whether some terms are there before others.
    pub(super) fn is_staggered(&self, indices: &IndexArena, terms: &[Term]) -> bool {
        let mut times = terms.iter().map(|term| self.of(indices, term));
        let first = times.next();
        times.any(|time| Some(time) != first)
    }

    /// Whether some terms change in the innermost loop, and others do not.
    pub(super) fn is_partly_of_loop(&self, indices: &IndexArena, terms: &[Term]) -> bool {
        let Some(&began) = self.loops.last() else { return false };
        let is_of_loop = |term: &Term| self.of(indices, term) > began;
        terms.iter().any(is_of_loop) && !terms.iter().all(is_of_loop)
    }
}
