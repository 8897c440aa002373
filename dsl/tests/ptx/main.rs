//! PTX of the thread IR: what the printer prints, and that the assembler takes it for every target.

mod goldens;
mod kinds;
mod random;

use tilewright_dsl::backend::ptx::{Target, Text, prepare, print};
use tilewright_dsl::thread::verify::verify;
use tilewright_dsl::thread::{Features, Kernel};
use tilewright_testing::{Part, Ptxas};

/// Every target that is told apart.
fn targets() -> [Target; 4] {
    let of = |capability| Target::new(capability).expect("a target");
    [of(80), of(90), of(90).specific(), of(100)]
}

/// The text of a kernel that is verified, also after it is made legal.
fn printed(kernel: &Kernel, target: Target) -> Text {
    assert_eq!(verify(kernel), Ok(()), "{kernel}");
    let legal = prepare(kernel.clone(), target.features());
    assert_eq!(verify(&legal), Ok(()), "{legal}");
    print(&legal, target).unwrap_or_else(|error| panic!("{error}\n{legal}"))
}

/// The assembler takes a kernel for every target.
fn assembles(kernel: &Kernel, options: &[&str]) {
    let Some(ptxas) = Part::Ptxas.or_skip(Ptxas::find()) else {
        return;
    };
    for target in targets() {
        let module = printed(kernel, target);
        if let Err(error) = ptxas.assemble(&module.text, &target.to_string(), options) {
            let lines: String = (1..)
                .zip(module.text.lines())
                .map(|(n, line)| format!("{n:4} {line}\n"))
                .collect();
            panic!("{}: {error}\n{lines}", kernel.name);
        }
    }
}

#[test]
fn what_the_verifier_accepts_is_printed_and_assembled() {
    // More of them when asked for.
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let first: u64 = number("TILEWRIGHT_PTX_FIRST").unwrap_or(0);
    for seed in first..first + number("TILEWRIGHT_PTX_SEEDS").unwrap_or(40) {
        let extent = random::Extent {
            special: true,
            statements: 60,
        };
        assembles(&random::kernel(seed, extent), &[]);
    }
}

#[test]
fn what_is_made_legal_computes_the_same() {
    let none = Features {
        f8_casts: false,
        bf16_sums: false,
    };
    for seed in 0..300 {
        let extent = random::Extent {
            special: false,
            statements: 50,
        };
        let kernel = random::kernel(seed, extent);
        let (arguments, memory) = random::launch(seed, &kernel);
        let legal = prepare(kernel.clone(), none);
        assert_eq!(verify(&legal), Ok(()), "{legal}");
        let expected = random::interpreted(&kernel, &arguments, &memory);
        assert_ne!(expected, memory, "{kernel}");
        assert!(
            random::interpreted(&legal, &arguments, &memory) == expected,
            "seed {seed}\n{kernel}\n{legal}"
        );
    }
}
