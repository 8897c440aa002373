//! Loads and stores.

use super::*;
use crate::ir::{Access, Bounds, CacheHint, Expression, Guard, Statement, Type};

fn fault_of_load(change: impl FnOnce(&mut Builder, &mut Access)) -> Fault {
    let (mut b, out, _) = builder();
    let (row, cols) = (b.index(0), b.arange(4));
    let mut access = b.access(out, &[row, cols]);
    change(&mut b, &mut access);
    b.append(Expression::Load(access));
    fault(b)
}

#[test]
fn an_access_names_a_tensor() {
    let fault = fault_of_load(|_, access| access.tensor = 5);
    assert_eq!(
        fault,
        Fault::ParameterKind {
            position: 5,
            expected: "tensor"
        }
    );
}

#[test]
fn an_access_has_one_index_and_one_guard_per_axis() {
    let fault = fault_of_load(|_, access| {
        access.indices.pop();
    });
    assert_eq!(
        fault,
        Fault::IndexCount {
            tensor: "out".into(),
            rank: 2,
            found: 1
        }
    );
    let fault = fault_of_load(|_, access| access.guards.push(Guard::FULL));
    assert_eq!(
        fault,
        Fault::GuardCount {
            tensor: "out".into(),
            rank: 2,
            found: 3
        }
    );
}

#[test]
fn indices_are_integers() {
    let fault = fault_of_load(|b, access| access.indices[0] = b.literal(1f32));
    assert_eq!(
        fault,
        Fault::IndexElement {
            tensor: "out".into(),
            axis: 0,
            element: ElementType::F32
        }
    );
}

#[test]
fn indices_broadcast() {
    let fault = fault_of_load(|b, access| access.indices[0] = b.arange(3));
    assert_eq!(
        fault,
        Fault::IndexShapes {
            tensor: "out".into(),
            left: shape(&[3]),
            right: shape(&[4])
        }
    );
    let fault = fault_of_load(|b, access| {
        let rows = b.arange(1 << 23);
        access.indices[0] = b.reshape(rows, &[1 << 23, 1]);
    });
    assert_eq!(fault, too_many(shape(&[1 << 23, 4])));
}

#[test]
fn a_mask_is_a_bool_of_the_shape_of_the_access() {
    let fault = fault_of_load(|b, access| access.mask = Some(b.literal(true)));
    assert_eq!(
        fault,
        Fault::MaskType {
            tensor: "out".into(),
            mask: Type::CONDITION,
            shape: shape(&[4])
        }
    );
}

#[test]
fn unchecked_accesses_have_no_guards() {
    let fault = fault_of_load(|_, access| access.bounds = Bounds::Unchecked);
    assert_eq!(fault, Fault::UncheckedGuards("out".into()));
}

#[test]
fn stores_go_to_mutable_tensors() {
    let (mut b, out, _) = builder();
    b.tensor_mut(out).mutable = false;
    let (zero, value) = (b.index(0), b.literal(0f32));
    b.store(out, &[zero, zero], value);
    assert_eq!(fault(b), Fault::ImmutableStore("out".into()));
}

#[test]
fn stored_values_have_the_type_of_the_access() {
    let (mut b, out, _) = builder();
    let (zero, cols, value) = (b.index(0), b.arange(4), b.literal(0f32));
    let access = b.access(out, &[zero, cols]);
    b.push(Statement::Store {
        access,
        value,
        conflict: None,
    });
    let expected = Type {
        element: ElementType::F32,
        shape: shape(&[4]),
    };
    let tensor = "out".to_string();
    assert_eq!(
        fault(b),
        Fault::StoreType {
            tensor,
            value: Type::scalar(ElementType::F32),
            expected
        }
    );
}

#[test]
fn an_access_has_only_cache_hints_of_its_kind() {
    let fault = fault_of_load(|_, access| access.cache = Some(CacheHint::WriteBack));
    assert_eq!(fault, Fault::CacheHint("load", "out".into(), CacheHint::WriteBack));
    assert_eq!(
        fault.to_string(),
        "the load at `out` asks for the cache hint WriteBack, which no load has"
    );
    for statement in [true, false] {
        let (mut b, out, _) = builder();
        let (zero, value) = (b.index(0), b.literal(1f32));
        let mut access = b.access(out, &[zero, zero]);
        access.cache = Some(CacheHint::Volatile);
        b.push(match statement {
            true => Statement::Store {
                access,
                value,
                conflict: None,
            },
            false => Statement::Prefetch(access),
        });
        let what = if statement { "store" } else { "prefetch" };
        assert_eq!(
            super::fault(b),
            Fault::CacheHint(what, "out".into(), CacheHint::Volatile)
        );
    }
}
