//! Texts of kernels made by hand. That they compile, tests of the runtime say, which knows the compiler.

use super::print;
use crate::thread::testing::{every, random};
use crate::thread::verify::{tests::everything, verify};

#[test]
fn a_kernel_with_everything_prints_as_it_always_has() {
    let text = print(&everything());
    assert_eq!(text, include_str!("tests.cu"), "{text}");
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
