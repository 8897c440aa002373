//! Texts of kernels made by hand. That they compile, tests of the runtime say, which knows the compiler.

use super::print;
use crate::backend::ptx;
use crate::element::ElementType;
use crate::ir::{BinaryOp, Literal};
use crate::thread::testing::{every, random};
use crate::thread::verify::tests::{Example, everything, example};
use crate::thread::verify::verify;
use crate::thread::{Load, Store, Type, Use};

#[test]
fn a_kernel_with_everything_prints_as_it_always_has() {
    let text = print(&everything());
    assert_eq!(text, include_str!("tests.cu"), "{text}");
}

#[test]
fn both_languages_say_that_a_thread_may_have_many_registers() {
    let says = |many_registers| {
        let mut kernel = example().b.finish();
        kernel.many_registers = many_registers;
        let ptx = ptx::print(&kernel, ptx::Target::new(90).expect("a target")).expect("it prints");
        (
            print(&kernel).contains("__launch_bounds__(128, 1)"),
            ptx.text.contains(".minnctapersm 1"),
        )
    };
    assert_eq!(says(true), (true, true));
    assert_eq!(says(false), (false, false));
}

#[test]
fn nobody_asks_whether_a_fraction_is_large() {
    let asks = |is_fraction| {
        let mut e = example();
        let packet = Type::packet(ElementType::F32, 4);
        let [whole, one] = [packet, Type::scalar(ElementType::F32)].map(|ty| {
            let load = e.load(ty);
            e.b.load(load)
        });
        if let Use::Value(value) = whole {
            e.b.kernel_mut().values[value].is_fraction = is_fraction;
        }
        let quotients = e.b.binary(BinaryOp::Divide, whole, one);
        let store = e.store(quotients);
        e.b.store(store);
        let kernel = e.b.finish();
        assert_eq!(verify(&kernel), Ok(()), "{kernel}");
        let text = print(&kernel);
        [false, true].map(|fractions| text.contains(&format!("tw_is_near<true, {fractions}>(")))
    };
    assert_eq!(asks(false), [true, false]);
    assert_eq!(asks(true), [false, true]);
}

#[test]
fn every_operation_is_one_that_the_verifier_accepts() {
    for kernel in every() {
        assert_eq!(verify(&kernel), Ok(()), "{}", kernel.name);
        print(&kernel);
    }
}

#[test]
fn random_kernels_are_accepted_and_print_the_same_each_time() {
    let mut accepted = 0;
    for seed in 0..2_000 {
        let kernel = random(&mut fastrand::Rng::with_seed(seed), 60);
        match verify(&kernel) {
            Ok(()) => accepted += 1,
            Err(fault) => panic!("{seed}: {fault}\n{kernel}"),
        }
        assert_eq!(print(&kernel), print(&kernel), "{seed}");
    }
    assert!(accepted > 1_500, "{accepted}");
}

#[test]
fn threads_meet_behind_a_last_store_that_a_value_decides_and_behind_no_other() {
    let meets = |build: &dyn Fn(&mut Example, Store)| {
        let mut e = example();
        let load = e.load(Type::scalar(ElementType::F32));
        let value = e.b.load(load);
        let store = e.store(value);
        build(&mut e, store);
        let kernel = e.b.finish();
        assert_eq!(verify(&kernel), Ok(()), "{kernel}");
        let ptx = ptx::print(&kernel, ptx::Target::new(90).expect("a target")).expect("PTX says it");
        let found = [
            print(&kernel).contains("__syncwarp();"),
            ptx.text.contains("bar.warp.sync"),
        ];
        assert_eq!(found[0], found[1], "{kernel}");
        found[0]
    };
    let loaded = |e: &mut Example| {
        let load = e.load(Type::scalar(ElementType::I32));
        let index = e.b.load(load);
        let (index, limit) = (e.b.index(index), e.b.constant(9));
        Some(e.b.indices().less(index, limit))
    };
    let decided = |e: &mut Example, store: Store| {
        let predicate = loaded(e);
        e.b.store(Store { predicate, ..store });
    };
    assert!(meets(&decided));
    assert!(!meets(&|e, store| e.b.store(store)));
    assert!(!meets(&|e, store| {
        let predicate = Some(e.first_warp());
        e.b.store(Store { predicate, ..store });
    }));
    assert!(!meets(&|e, store| {
        decided(e, store);
        e.b.store(store);
    }));
    // Also where only some threads come to it.
    assert!(meets(&|e, store| {
        let (condition, predicate) = (e.first_warp(), loaded(e));
        e.b.when(condition, |b| b.store(Store { predicate, ..store }));
    }));
    assert!(!meets(&|e, store| {
        let condition = e.first_warp();
        e.b.when(condition, |b| b.store(store));
    }));
}

#[test]
fn packets_that_are_divided_one_after_the_other_are_asked_about_at_once() {
    let questions = |chained: bool| {
        let mut e = example();
        let ty = Type::packet(ElementType::F32, 4);
        let load = e.load(ty);
        let packet = e.b.load(Load { ty, ..load });
        let first = e.b.binary(BinaryOp::Divide, packet, Literal::new(3f32).into());
        let dividend = if chained { first } else { packet };
        let second = e.b.binary(BinaryOp::Divide, dividend, Literal::new(7f32).into());
        let sum = e.b.binary(BinaryOp::Add, first, second);
        let store = e.store(sum);
        e.b.store(store);
        let kernel = e.b.finish();
        assert_eq!(verify(&kernel), Ok(()), "{kernel}");
        print(&kernel).matches("if (__builtin_expect(").count()
    };
    assert_eq!(questions(false), 1);
    assert_eq!(questions(true), 2);
}
