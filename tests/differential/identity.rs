//! A kernel's identity: two that differ never have the same.

use tilewright::dsl::ir::{Kernel, Span, verify::verify};
use tilewright::dsl::transform::{bind, canonical};

use crate::cases::{in_parallel, variable};
use crate::generate::{self, Size};
use crate::mutate::Mutator;

/// What is left of a kernel without the order in which its values happen to be stored.
fn normal(kernel: &Kernel) -> Kernel {
    let mut normal = canonical(bind(kernel, &kernel.bindings));
    // The names of variables are only told apart.
    let locals: Vec<_> = normal.locals.iter().map(|(local, _)| local).collect();
    locals.into_iter().for_each(|local| normal.locals[local].name.clear());
    // Where literals, symbols and arguments were written decides nothing, so that one variant serves kernels that differ in
    // it alone: no statement defines them, and what a trap, a conflict or the CPU device names is the place of an access, a
    // check or a statement. What is said of them is said before: by the recorder, by the verifier and by the host's tests of
    // requirements, which have places of their own.
    for (value, expression) in normal.expressions.iter() {
        if expression.is_global() {
            normal.spans[value.index()] = Span::UNKNOWN;
        }
    }
    normal
}

/// `TILEWRIGHT_FUZZ_INPUTS` says how many damaged kernels are compared with the kernel that they were made of.
#[test]
fn kernels_that_differ_have_different_identities() {
    const EACH: u64 = 50;
    let inputs = variable("TILEWRIGHT_FUZZ_INPUTS").unwrap_or(20_000);
    let seeds: Vec<u64> = (0..inputs.div_ceil(EACH)).collect();
    let results = in_parallel(&seeds, |seed| {
        let whole = canonical(generate::case(seed, Size::Small).kernel);
        let (identity, form) = (whole.identity(), normal(&whole));
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x1de7);
        let (mut compared, mut same) = (0u64, 0u64);
        for _ in 0..EACH {
            let mut kernel = whole.clone();
            Mutator::new(&mut rng, &whole).mutate(&mut kernel);
            if verify(&kernel).is_err() {
                continue;
            }
            compared += 1;
            if kernel.identity() == identity {
                same += 1;
                assert_eq!(
                    normal(&kernel),
                    form,
                    "seed {seed}: two kernels of one identity\n{identity}"
                );
            }
        }
        (compared, same)
    });
    let (compared, same) = results.iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    println!("{compared} kernels compared, of which {same} were the same");
    // Damage that never shows, or always does, tests nothing.
    assert!(
        compared * 20 > inputs && same > 0 && same * 2 < compared,
        "{compared} and {same} of {inputs}"
    );
}
