//! What only an author can promise.

use super::*;
use crate::ir::verify::without_promises;
use crate::ir::{Access, Bounds, CheckKind, Expression, Guard, Meaning, Ptx, Statement, Symbol};

fn promised(change: impl FnOnce(&mut Builder)) -> Result<(), String> {
    let (mut b, ..) = builder();
    change(&mut b);
    let grid = b.index(1);
    let kernel = b.verified(&[grid]).expect("it is well-formed all the same");
    without_promises(&kernel).map_err(|error| error.to_string())
}

#[test]
fn a_kernel_that_promises_nothing_passes() {
    assert_eq!(
        promised(|b| {
            let (at, value) = (b.index(0), b.literal(1i32));
            b.store(1, &[at], value);
        }),
        Ok(())
    );
}

#[test]
fn every_kind_of_promise_is_found() {
    let store = |change: fn(&mut Access)| {
        promised(|b| {
            let (at, value) = (b.index(0), b.literal(1i32));
            let mut access = b.access(1, &[at]);
            change(&mut access);
            b.push(Statement::Store {
                access,
                value,
                conflict: None,
            });
        })
    };
    let removed = "axis 0 of an access to `index` is not checked on both sides";
    for (found, expected) in [
        (store(|access| access.guards[0].upper = false), removed),
        (store(|access| access.guards[0].lower = false), removed),
        (store(|access| access.guards[0] = Guard::NONE), removed),
        (
            store(|access| {
                access.guards[0] = Guard::NONE;
                access.bounds = Bounds::Unchecked;
            }),
            "an unchecked access",
        ),
        (
            promised(|b| {
                let at = b.index(0);
                let mut access = b.access(1, &[at]);
                access.guards[0] = Guard::NONE;
                b.emit(Expression::Load(access));
            }),
            removed,
        ),
        (
            promised(|b| {
                let at = b.index(0);
                let mut access = b.access(1, &[at]);
                access.guards[0] = Guard::NONE;
                b.push(Statement::Prefetch(access));
            }),
            removed,
        ),
        (
            promised(|b| {
                let (condition, message) = (b.literal(true), String::new());
                let kind = CheckKind::Assume;
                let check = Statement::Check {
                    condition,
                    kind,
                    message,
                };
                // However deep it is.
                b.if_else(condition, |b| b.push(check), |_| {});
            }),
            "an assumption",
        ),
        (
            promised(|b| {
                let value = b.index(8);
                b.emit(Expression::MultipleOf { value, by: 4 });
            }),
            "a claimed multiple",
        ),
        (
            promised(|b| {
                let code = Ptx {
                    text: "mov.u32 %0, 1;".into(),
                    outputs: vec![ElementType::U32],
                    inputs: Vec::new(),
                    output: 0,
                    meaning: Some(Meaning::new(|_, outputs| outputs[0] = 1)),
                };
                b.emit(Expression::Ptx(Box::new(code)));
            }),
            "instructions of PTX",
        ),
        (
            promised(|b| {
                b.kernel
                    .bindings
                    .exact
                    .push((Symbol::Extent { tensor: 1, axis: 0 }, 1 << 30))
            }),
            "symbols of the kernel are bound",
        ),
    ] {
        let found = found.expect_err(expected);
        assert!(found.starts_with(expected), "{found}");
    }
}
