//! What random kernels are made of, so that the generator cannot become trivial unnoticed.

use std::collections::BTreeMap;

use tilewright::dsl::analysis::effects::Effects;
use tilewright::dsl::ir::{Access, Bounds, Combine, Expression, Reduction, Statement};

use crate::case::{Argument, Case, Count};

/// In how many cases each thing occurs.
#[derive(Debug, Default)]
pub struct Statistics {
    pub cases: usize,
    counts: BTreeMap<String, usize>,
}

/// What must occur in at least this share of the cases, in percent. Types, operations and the rest occur at least once.
const SHARES: [(&str, usize); 27] = [
    ("if", 30),
    ("for", 20),
    ("while", 8),
    ("break", 4),
    ("continue", 3),
    ("return", 3),
    ("scalar variable", 20),
    ("tile variable", 25),
    ("variable assigned in a loop", 10),
    ("masked load", 15),
    ("masked store", 25),
    ("load zero", 50),
    ("load clamp", 25),
    ("load trap", 5),
    ("load unchecked", 10),
    ("store trap", 5),
    ("indirect index", 25),
    ("read of a destination", 10),
    ("rank 3", 15),
    ("view with gaps", 25),
    ("misaligned", 40),
    ("exact count", 10),
    ("run-time count", 10),
    ("count in device memory", 10),
    ("list", 20),
    ("store to one of a list", 8),
    ("extent of one of a list", 5),
];

impl Statistics {
    fn add(&mut self, seen: &mut Vec<String>, what: impl Into<String>) {
        let what = what.into();
        if !seen.contains(&what) {
            *self.counts.entry(what.clone()).or_default() += 1;
            seen.push(what);
        }
    }

    pub fn note(&mut self, case: &Case) {
        self.cases += 1;
        let kernel = &case.kernel;
        let mut seen = Vec::new();
        for argument in &case.arguments {
            match argument {
                Argument::Tensor(tensor) => {
                    self.add(&mut seen, format!("tensor of {}", tensor.element));
                    if tensor.members.is_some() {
                        self.add(&mut seen, "list");
                    }
                    let inner = tensor.extents.iter().zip(&tensor.strides).skip(1);
                    let dense = tensor.extents.windows(2).zip(tensor.strides.windows(2));
                    if inner.len() > 0 && dense.into_iter().any(|(e, s)| s[0] != s[1] * e[1] as i64) {
                        self.add(&mut seen, "view with gaps");
                    }
                    if tensor.offset % 16 != 0 {
                        self.add(&mut seen, "misaligned");
                    }
                    if tensor.extents.contains(&0) {
                        self.add(&mut seen, "empty tensor");
                    }
                }
                Argument::Count(Count::Exact(_)) => self.add(&mut seen, "exact count"),
                Argument::Count(Count::Runtime(_)) => self.add(&mut seen, "run-time count"),
                Argument::Count(Count::Device { .. }) => self.add(&mut seen, "count in device memory"),
                Argument::Scalar(_) => self.add(&mut seen, "scalar argument"),
            }
        }
        if !Effects::of(kernel).threads_are_independent() {
            self.add(&mut seen, "dependent threads");
        }
        if case.checked {
            self.add(&mut seen, "checked");
        }
        if kernel.reports {
            self.add(&mut seen, "reports");
        }
        let mut loops = Vec::new();
        kernel.body.walk(&mut |statement, _| {
            let name = match statement {
                Statement::Let(value) => {
                    self.expression(&mut seen, case, &kernel.expressions[*value]);
                    let ty = kernel.ty(*value);
                    self.add(&mut seen, format!("value of {}", ty.element));
                    self.add(&mut seen, format!("rank {}", ty.shape.rank()));
                    ty.shape
                        .extents()
                        .iter()
                        .for_each(|e| self.add(&mut seen, format!("extent {e}")));
                    return;
                }
                Statement::Store { access, conflict, .. } => {
                    if let Some(conflict) = conflict {
                        self.add(&mut seen, conflict.name());
                    }
                    return self.access(&mut seen, case, "store", access);
                }
                Statement::Assign { local, .. } => match kernel.locals[*local].ty.is_scalar() {
                    true => "scalar variable",
                    false => "tile variable",
                },
                Statement::Check { kind, .. } => kind.name(),
                Statement::Prefetch(_) => "prefetch",
                Statement::GridDependency(_) => "grid dependency",
                Statement::Print { .. } => "print",
                Statement::If { .. } => "if",
                Statement::While { body, .. } => {
                    loops.push(body.clone());
                    "while"
                }
                Statement::For { body, .. } => {
                    loops.push(body.clone());
                    "for"
                }
                Statement::Break => "break",
                Statement::Continue => "continue",
                Statement::Return => "return",
            };
            self.add(&mut seen, name);
        });
        for body in loops {
            body.walk(&mut |statement, _| match statement {
                Statement::Assign { .. } => self.add(&mut seen, "variable assigned in a loop"),
                Statement::Let(value) if kernel.expressions[*value].is_collective() => {
                    self.add(&mut seen, "collective in a loop");
                }
                _ => {}
            });
        }
    }

    fn expression(&mut self, seen: &mut Vec<String>, case: &Case, expression: &Expression) {
        let kernel = &case.kernel;
        if let Expression::Reduce { value, .. }
        | Expression::Scan { value, .. }
        | Expression::ArgSort { value, .. }
        | Expression::Histogram { value, .. } = expression
        {
            match &kernel.expressions[*value] {
                Expression::Local(_) => self.add(seen, "collective of a variable"),
                Expression::Load(access) if kernel.tensor(access.tensor).is_some_and(|tensor| tensor.mutable) => {
                    self.add(seen, "collective of a destination");
                }
                _ => {}
            }
        }
        match expression {
            Expression::Unary { op, .. } => self.add(seen, op.name()),
            Expression::Binary { op, .. } => self.add(seen, op.name()),
            Expression::Compare { op, .. } => self.add(seen, op.name()),
            Expression::MulAdd { .. } => self.add(seen, "fma"),
            Expression::Permute { .. } => self.add(seen, "permute"),
            Expression::Slice { .. } => self.add(seen, "slice"),
            Expression::Concatenate { .. } => self.add(seen, "concatenate"),
            Expression::Take { .. } => self.add(seen, "take"),
            Expression::Reduce { axis, reduction, .. } => {
                match reduction {
                    Reduction::Combine(combine) => {
                        self.add(seen, "reduce");
                        self.combine(seen, combine);
                    }
                    other => self.add(seen, format!("reduce {other}")),
                }
                self.add(seen, format!("reduce axis {axis}"));
            }
            Expression::Scan { axis, combine, .. } => {
                self.add(seen, "scan");
                self.add(seen, format!("scan axis {axis}"));
                self.combine(seen, combine);
            }
            Expression::ArgSort { axis, descending, .. } => {
                self.add(seen, "argsort");
                self.add(seen, format!("argsort axis {axis}"));
                self.add(seen, if *descending { "descending" } else { "ascending" });
            }
            Expression::Histogram { mask, .. } => {
                self.add(seen, "histogram");
                if mask.is_some() {
                    self.add(seen, "masked histogram");
                }
            }
            Expression::Bitcast { .. } => self.add(seen, "bitcast"),
            Expression::MultipleOf { .. } => self.add(seen, "multiple of"),
            Expression::Ptx(_) => self.add(seen, "ptx"),
            Expression::Atomic(atomic) => {
                self.add(seen, format!("atomic {}", atomic.update.name()));
                self.add(seen, format!("atomic of {}", atomic.order.name()));
                self.add(seen, format!("atomic in {}", atomic.scope.name()));
                self.access(seen, case, "atomic", &atomic.access);
            }
            Expression::Select { .. } => self.add(seen, "select"),
            Expression::Cast { to, .. } => self.add(seen, format!("cast to {to}")),
            Expression::Broadcast { .. } => self.add(seen, "broadcast"),
            Expression::Reshape { .. } => self.add(seen, "reshape"),
            Expression::Load(access) => self.access(seen, case, "load", access),
            Expression::Member { .. } => self.add(seen, "extent of one of a list"),
            _ => {}
        }
    }

    fn combine(&mut self, seen: &mut Vec<String>, combine: &Combine) {
        match combine {
            Combine::Operator(op) => self.add(seen, format!("combine {}", op.name())),
            Combine::Function(_) => self.add(seen, "combine by a function"),
        }
    }

    fn access(&mut self, seen: &mut Vec<String>, case: &Case, kind: &str, access: &Access) {
        let kernel = &case.kernel;
        let policy = match access.bounds {
            Bounds::ReadZeroSkipWrite => "zero",
            Bounds::Clamp => "clamp",
            Bounds::Trap => "trap",
            Bounds::Unchecked => "unchecked",
        };
        self.add(seen, format!("{kind} {policy}"));
        if let Some(hint) = access.cache {
            self.add(seen, format!("{kind} {}", hint.qualifier()));
        }
        if access.mask.is_some() {
            self.add(seen, format!("masked {kind}"));
        }
        if access
            .indices
            .iter()
            .any(|&index| matches!(kernel.expressions[index], Expression::Load(_)))
        {
            self.add(seen, "indirect index");
        }
        if kernel.tensor(access.tensor).is_some_and(|tensor| tensor.list.is_some()) {
            self.add(
                seen,
                format!("{kind} {} one of a list", if kind == "store" { "to" } else { "of" }),
            );
        }
        if kind == "load" && kernel.tensor(access.tensor).is_some_and(|tensor| tensor.mutable) {
            self.add(seen, "read of a destination");
        }
    }

    /// Panics if the cases are not as varied as they should be.
    pub fn check(&self, everything: &[String]) {
        let found = |what: &str| self.counts.get(what).copied().unwrap_or(0);
        let rare = SHARES
            .iter()
            .filter(|(what, share)| found(what) * 100 < share * self.cases);
        let rare: Vec<_> = rare
            .map(|(what, share)| format!("{what}: {} of {}, not {share} %", found(what), self.cases))
            .collect();
        let missing: Vec<_> = everything.iter().filter(|what| found(what) == 0).collect();
        assert!(
            rare.is_empty() && missing.is_empty(),
            "{rare:?}, none of {missing:?} in {:#?}",
            self.counts
        );
    }
}
