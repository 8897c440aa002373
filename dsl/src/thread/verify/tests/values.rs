//! Values, registers, operations and indices.

use super::*;

#[test]
fn values_are_known_from_their_definition_to_the_end_of_the_block() {
    let escaped = broken(|e| {
        let (load, first) = (e.load(F32), e.first_warp());
        let mut inside = None;
        e.b.when(first, |b| inside = Some(b.load(load)));
        let store = e.store(inside.unwrap());
        e.b.store(store);
    });
    assert_eq!(escaped, Some(Rule::Scope));
    let counted = broken(|e| {
        let (zero, ten) = (e.b.constant(0), e.b.constant(10));
        let mut inside = zero;
        e.b.count(zero, ten, 1, Unroll::Free, |_, i, _| inside = i);
        let outside = e.b.indices().offset(inside, 1);
        e.b.name(outside);
    });
    assert_eq!(counted, Some(Rule::Scope));
    let twice = broken(|e| {
        let load = e.load(F32);
        if let Use::Value(value) = e.b.load(load) {
            let operation = Operation::Load(load);
            e.b.push(Statement::Let { value, operation });
        }
    });
    assert_eq!(twice, Some(Rule::Once));
}

#[test]
fn registers_are_set_before_they_are_read_whichever_way_control_came() {
    let read_after = |fill: fn(&mut Example, Handle<crate::thread::Register>)| {
        broken(|e| {
            let register = e.b.register("x", U32);
            fill(e, register);
            e.b.read(register);
        })
    };
    let one = || Literal::new(1u32).into();
    assert_eq!(read_after(|_, _| {}), Some(Rule::Assigned));
    assert_eq!(
        read_after(|e, register| {
            let first = e.first_warp();
            e.b.when(first, |b| b.assign(register, Literal::new(1u32).into()));
        }),
        Some(Rule::Assigned)
    );
    assert_eq!(
        read_after(|e, register| {
            let first = e.first_warp();
            e.b.choose(
                first,
                |b| b.assign(register, Literal::new(1u32).into()),
                |b| b.push(Statement::Exit),
            );
        }),
        None
    );
    assert_eq!(
        read_after(|e, register| {
            let (zero, ten) = (e.b.constant(0), e.b.constant(10));
            e.b.count(zero, ten, 1, Unroll::Free, |b, _, _| {
                b.assign(register, Literal::new(1u32).into())
            });
        }),
        Some(Rule::Assigned)
    );
    assert_eq!(
        read_after(|e, register| {
            e.b.repeat(Unroll::Free, |b, label| {
                b.assign(register, Literal::new(1u32).into());
                b.push(Statement::Leave(label));
            });
        }),
        None
    );
    let early = broken(|e| {
        let (register, first) = (e.b.register("x", U32), e.first_warp());
        e.b.scope(|b, label| {
            b.when(first, |b| b.push(Statement::Leave(label)));
            b.assign(register, one());
        });
        e.b.read(register);
    });
    assert_eq!(early, Some(Rule::Assigned));
}

#[test]
fn operations_have_the_types_that_are_said() {
    let of = |operation: fn(&mut Example) -> Operation| {
        broken(|e| {
            let operation = operation(e);
            e.b.emit(operation);
        })
    };
    let pairs: [fn(&mut Example) -> Operation; 16] = [
        // Only approximated.
        |e| Operation::Unary {
            op: UnaryOp::Exp,
            value: value(e, F32),
        },
        |_| Operation::Unary {
            op: UnaryOp::Floor,
            value: zero(ElementType::I32),
        },
        // No arithmetic.
        |_| Operation::Binary {
            op: BinaryOp::Add,
            left: zero(ElementType::F16),
            right: zero(ElementType::F16),
        },
        |_| Operation::Binary {
            op: BinaryOp::Add,
            left: zero(ElementType::U32),
            right: zero(ElementType::I32),
        },
        |e| Operation::Binary {
            op: BinaryOp::Add,
            left: value(e, F32.with_lanes(2)),
            right: value(e, F32.with_lanes(4)),
        },
        |_| Operation::Compare {
            op: CompareOp::Less,
            left: zero(ElementType::Bool),
            right: zero(ElementType::Bool),
        },
        |_| Operation::Select {
            condition: zero(ElementType::U8),
            accept: zero(ElementType::U8),
            reject: zero(ElementType::U8),
        },
        |_| Operation::Cast {
            value: zero(ElementType::F64),
            to: ElementType::BF16,
            rounding: Rounding::NearestEven,
        },
        |_| Operation::Cast {
            value: zero(ElementType::F32),
            to: ElementType::F16,
            rounding: Rounding::Zero,
        },
        |e| Operation::Bitcast {
            value: value(e, F32),
            to: Type::scalar(ElementType::U64),
        },
        |_| Operation::Bitcast {
            value: zero(ElementType::Bool),
            to: Type::scalar(ElementType::U8),
        },
        |e| Operation::Part {
            value: value(e, F32.with_lanes(4)),
            first: 3,
            lanes: 2,
        },
        |e| Operation::Join(vec![value(e, F32), zero(ElementType::U32)]),
        |e| Operation::Shuffle {
            kind: Shuffle::Up,
            value: value(e, F32),
            by: zero(ElementType::I32),
            group: 32,
        },
        |e| Operation::WarpReduce {
            op: BinaryOp::Max,
            value: value(e, F32),
        },
        |_| Operation::WarpReduce {
            op: BinaryOp::Multiply,
            value: zero(ElementType::U32),
        },
    ];
    for (number, operation) in pairs.into_iter().enumerate() {
        assert_eq!(of(operation), Some(Rule::Type), "operation {number}");
    }
    fn value(e: &mut Example, ty: Type) -> Use {
        let load = e.load(ty);
        e.b.load(load)
    }
    // And statements.
    let assigned = broken(|e| {
        let register = e.b.register("x", F32);
        e.b.assign(register, zero(ElementType::U32));
    });
    assert_eq!(assigned, Some(Rule::Type));
    let printed = broken(|e| {
        let values = vec![zero(ElementType::F16)];
        e.b.push(Statement::Print {
            format: "{}".to_owned(),
            values,
        });
    });
    assert_eq!(printed, Some(Rule::Type));
}

#[test]
fn indices_are_made_of_what_is_what_it_seems() {
    let lane = broken(|e| {
        let lane = e.b.lane(8);
        let named = e.b.indices().offset(lane, 1);
        e.b.name(named);
    });
    assert_eq!(lane, Some(Rule::Atom));
    let float = broken(|e| {
        let load = e.load(F32);
        if let Use::Value(value) = e.b.load(load) {
            let index = e.b.indices().atom(Atom::Value(value), Facts::NONE);
            let named = e.b.indices().offset(index, 1);
            e.b.name(named);
        }
    });
    assert_eq!(float, Some(Rule::Atom));
    let fewer = broken(|e| {
        let thread = e.b.indices().atom(Atom::Thread, Facts::between(0, 31));
        let named = e.b.indices().offset(thread, 1);
        e.b.name(named);
    });
    assert_eq!(fewer, Some(Rule::Atom));
}

#[test]
fn only_floats_of_32_bits_are_known_as_fractions() {
    let marked = |ty: Type| {
        broken(|e| {
            let load = e.load(ty);
            if let Use::Value(value) = e.b.load(load) {
                e.b.kernel_mut().values[value].is_fraction = true;
            }
        })
    };
    assert_eq!(marked(F32), None);
    assert_eq!(marked(U32), Some(Rule::Type));
    assert_eq!(marked(Type::scalar(ElementType::F16)), Some(Rule::Type));
}

#[test]
fn texts_fit_what_they_are_about() {
    let printed = broken(|e| {
        let values = vec![zero(ElementType::U32)];
        e.b.push(Statement::Print {
            format: "{} {}".to_owned(),
            values,
        });
    });
    assert_eq!(printed, Some(Rule::Text));
    let instructions = |text: &str| {
        broken(|e| {
            let value = crate::thread::Value::of(U32);
            let outputs = vec![e.b.kernel_mut().values.append(value)];
            let inputs = vec![zero(ElementType::U32)];
            let (text, meaning) = (text.to_owned(), None);
            e.b.push(Statement::Ptx(Ptx {
                text,
                outputs,
                inputs,
                meaning,
            }));
        })
    };
    assert_eq!(instructions("mov.u32 %0, %1;"), None);
    assert_eq!(instructions("mov.u32 %0, %%laneid;"), None);
    assert_eq!(instructions("mov.u32 %0, %2;"), Some(Rule::Text));
    let site = broken(|e| {
        let thread = e.b.thread();
        let report = Report {
            site: 0,
            program: thread,
            value: thread.into(),
            met: zero(ElementType::U64),
            predicate: None,
        };
        e.b.push(Statement::Report(report));
    });
    assert_eq!(site, Some(Rule::Record));
}

#[test]
fn an_index_may_be_selected_by_a_bool_and_is_none() {
    let selected = broken(|e| {
        let (one, two) = (e.b.constant(1), e.b.constant(2));
        let flag =
            e.b.compare(CompareOp::Equal, zero(ElementType::U32), zero(ElementType::U32));
        let flag = e.b.condition(flag);
        let index = e.b.indices().select(flag, one, two);
        e.b.name(index);
    });
    assert_eq!(selected, None);
    let is_one = broken(|e| {
        let flag =
            e.b.compare(CompareOp::Equal, zero(ElementType::U32), zero(ElementType::U32));
        let index = e.b.index(flag);
        let twice = e.b.indices().scale(index, 2);
        e.b.name(twice);
    });
    assert_eq!(is_one, Some(Rule::Atom));
}
