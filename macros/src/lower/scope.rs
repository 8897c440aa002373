//! Which names are mutable variables of the kernel, at a point of its body.

use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{Ident, Pat, PatIdent};

use super::literal::Number;

/// The names in scope, innermost scope last.
#[derive(Default)]
pub struct Scopes {
    names: Vec<(Ident, Name)>,
}

/// What is known of a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    /// A mutable variable of the kernel.
    Variable,
    /// A literal, whose type the name's uses decide.
    Number(Number),
    /// Anything else.
    Other,
}

impl Scopes {
    /// Where a scope begins.
    pub fn enter(&self) -> usize {
        self.names.len()
    }

    /// Ends the scope that began at `mark`.
    pub fn leave(&mut self, mark: usize) {
        self.names.truncate(mark);
    }

    /// Brings the names that a pattern binds into scope. None of them is a mutable variable yet.
    pub fn bind(&mut self, pattern: &Pat) {
        struct Names<'a>(&'a mut Vec<(Ident, Name)>);
        impl Visit<'_> for Names<'_> {
            fn visit_pat_ident(&mut self, pattern: &PatIdent) {
                self.0.push((pattern.ident.clone(), Name::Other));
                visit::visit_pat_ident(self, pattern);
            }
            fn visit_expr(&mut self, _: &syn::Expr) {}
        }
        Names(&mut self.names).visit_pat(pattern);
    }

    /// Brings a mutable variable into scope.
    pub fn declare(&mut self, name: &Ident) {
        self.names.push((name.clone(), Name::Variable));
    }

    /// Brings a name for a literal into scope.
    pub fn bind_number(&mut self, name: &Ident, number: Number) {
        self.names.push((name.clone(), Name::Number(number)));
    }

    /// Whether `name` is a mutable variable here.
    pub fn is_variable(&self, name: &Ident) -> bool {
        self.find(name) == Name::Variable
    }

    /// What literal `name` stands for here.
    pub fn number(&self, name: &Ident) -> Option<Number> {
        match self.find(name) {
            Name::Number(number) => Some(number),
            Name::Variable | Name::Other => None,
        }
    }

    fn find(&self, name: &Ident) -> Name {
        self.names
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map_or(Name::Other, |(_, name)| *name)
    }
}

/// Removes every `mut` from a pattern and returns the names it stood before.
pub fn take_mutable(pattern: &mut Pat) -> Vec<Ident> {
    struct Taken(Vec<Ident>);
    impl VisitMut for Taken {
        fn visit_pat_ident_mut(&mut self, pattern: &mut PatIdent) {
            if pattern.by_ref.is_none() && pattern.mutability.take().is_some() {
                self.0.push(pattern.ident.clone());
            }
            visit_mut::visit_pat_ident_mut(self, pattern);
        }
        fn visit_expr_mut(&mut self, _: &mut syn::Expr) {}
    }
    let mut taken = Taken(Vec::new());
    taken.visit_pat_mut(pattern);
    taken.0
}
