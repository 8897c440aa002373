//! Classes of the catalogue's kernels: which checks go for typical launches, and what a launch costs.
//!
//! `cargo test --release -p tilewright-dp --test classes -- --ignored --nocapture` prints the times.

use std::hint::black_box;
use std::time::Instant;

use half::bf16;
use tilewright_dp::kernels::{
    copy_from_slot, copy_from_slot_padded, copy_to_slot, fill_and_place, gather_rows, gather_rows_of, pack_segments,
    pad_ids, pad_rows, pad_rows_with, pad_segments, place_rows, scatter_rows, scatter_rows_except,
};
use tilewright_dsl::analysis::condition::ConditionBits;
use tilewright_dsl::call::{Definition, ParameterFacts, TensorFacts, TraceRequest, Traced};
use tilewright_dsl::class::Class;
use tilewright_dsl::interpret::Known;
use tilewright_dsl::ir::{Bindings, Kernel, Literal, Symbol};
use tilewright_dsl::lower::lower;
use tilewright_dsl::schedule::{Machine, choose};
use tilewright_dsl::transform::{ProvedBy, bind};

/// The argument of a parameter.
#[derive(Debug, Clone, Copy)]
enum Of {
    Tensor(&'static [u64]),
    Count(i64),
    Scalar(i64),
}

use Of::{Count, Scalar, Tensor};

/// A kernel and a launch of it.
struct Case {
    definition: Definition,
    arguments: Vec<Of>,
}

impl Known for Case {
    fn symbol(&self, symbol: Symbol) -> Option<i64> {
        match symbol {
            Symbol::Extent { tensor, axis } => match self.arguments.get(tensor as usize)? {
                Tensor(extents) => extents.get(usize::from(axis)).map(|&extent| extent as i64),
                _ => None,
            },
            Symbol::Count(position) => match self.arguments.get(position as usize)? {
                Count(value) => Some(*value),
                _ => None,
            },
            _ => None,
        }
    }

    fn scalar(&self, position: u32) -> Option<Literal> {
        match self.arguments.get(position as usize)? {
            Scalar(value) => Some(Literal::new(*value)),
            _ => None,
        }
    }
}

impl Case {
    fn request(&self) -> TraceRequest {
        let facts = |argument: &Of| match argument {
            Tensor(extents) => ParameterFacts::Tensor(TensorFacts::contiguous(extents)),
            Count(_) | Scalar(_) => ParameterFacts::Value,
        };
        TraceRequest {
            parameters: self.arguments.iter().map(facts).collect(),
        }
    }

    fn traced(&self) -> Traced {
        self.definition.trace(&self.request()).expect("it is recorded")
    }

    /// With the extents that were pinned as literals, and `more`.
    fn bound(&self, traced: &Traced, more: &[(Symbol, i64)]) -> Kernel {
        let mut exact = traced.literal_extents(&self.request());
        exact.extend(more);
        let device = Vec::new();
        bind(&traced.kernel, &Bindings { exact, device })
    }
}

const ROWS: Of = Tensor(&[40, 7168]);
const MORE: Of = Tensor(&[96, 7168]);
const PADDED: Of = Tensor(&[3, 32, 7168]);
const INDEX: Of = Tensor(&[40]);

fn catalogue() -> Vec<Case> {
    let case = |definition, arguments: &[Of]| Case {
        definition,
        arguments: arguments.to_vec(),
    };
    let starts = Tensor(&[4]);
    vec![
        case(gather_rows::<bf16, i32>::definition(), &[ROWS, MORE, INDEX]),
        case(
            gather_rows_of::<bf16, i32, 2>::definition(),
            &[ROWS, ROWS, MORE, MORE, INDEX],
        ),
        case(scatter_rows::<bf16, i32>::definition(), &[MORE, ROWS, INDEX]),
        case(
            scatter_rows_except::<bf16, i32>::definition(),
            &[MORE, ROWS, INDEX, Scalar(0)],
        ),
        case(pad_rows::<bf16>::definition(), &[MORE, ROWS, Count(33)]),
        case(pad_rows::<bf16>::definition(), &[ROWS, ROWS, Count(40)]),
        case(pad_rows_with::<bf16>::definition(), &[MORE, ROWS, Count(33), Scalar(0)]),
        case(
            pad_ids::<i64>::definition(),
            &[Tensor(&[4096]), Tensor(&[3000]), Count(2999), Scalar(0)],
        ),
        case(copy_to_slot::<bf16>::definition(), &[MORE, ROWS, Count(17), Count(40)]),
        case(
            copy_from_slot::<bf16>::definition(),
            &[ROWS, MORE, Count(17), Count(33)],
        ),
        case(
            copy_from_slot_padded::<bf16>::definition(),
            &[ROWS, MORE, Count(17), Count(33)],
        ),
        case(
            place_rows::<bf16>::definition(),
            &[MORE, ROWS, Count(17), Count(3), Count(33)],
        ),
        case(
            fill_and_place::<bf16, 2>::definition(),
            &[MORE, ROWS, ROWS, Count(0), Count(40), Count(40), Count(33)],
        ),
        case(pack_segments::<bf16, i64>::definition(), &[MORE, PADDED, starts]),
        case(pad_segments::<bf16, i64>::definition(), &[PADDED, MORE, starts]),
    ]
}

/// Accesses that are checked on some axis.
fn guarded(proofs: &[tilewright_dsl::transform::Proof]) -> Vec<String> {
    let guarded = proofs.iter().filter(|proof| proof.axes.contains(&ProvedBy::Guard));
    guarded
        .map(ToString::to_string)
        .map(|proof| proof.replace("host-checked", "proved"))
        .collect()
}

#[test]
fn the_conditions_of_typical_launches_remove_the_checks_that_literals_remove() {
    for case in catalogue() {
        let traced = case.traced();
        let class = Class::new(case.bound(&traced, &[]));
        class.check_requirements(&case).expect("the launch is as it has to be");
        let grid = class.grid(&case).expect("the launch is known");
        let (_, proofs) = class.proved(class.conditions(&case, grid));

        let parameters = 0..case.arguments.len() as u32;
        let symbols = parameters.flat_map(|position| {
            let extents = (0..4).map(move |axis| Symbol::Extent { tensor: position, axis });
            extents.chain([Symbol::Count(position)])
        });
        let mut literals: Vec<_> = symbols
            .filter_map(|symbol| Some((symbol, case.symbol(symbol)?)))
            .collect();
        let axes = (0u8..).zip(grid).take(traced.kernel.grid.len());
        literals.extend(axes.map(|(axis, extent)| (Symbol::NumPrograms(axis), extent as i64)));
        let exact = Class::new(case.bound(&traced, &literals));
        let (_, exact) = exact.proved(ConditionBits::NONE);
        let name = &traced.kernel.name;
        let (left, exact) = (guarded(&proofs), guarded(&exact));
        let lost: Vec<_> = left.iter().filter(|proof| !exact.contains(proof)).collect();
        assert!(
            lost.is_empty(),
            "{name}: {lost:?} are checked, and with literals {exact:?}"
        );
        let program = class.program();
        assert!(
            program.conditions() <= 24 && program.operations() <= 96,
            "{name}: {program:?}"
        );
    }
}

#[test]
fn counts_that_fill_a_bucket_share_the_code_of_a_copy() {
    let kernel = |rows: i64| {
        let arguments = vec![ROWS, ROWS, Count(rows)];
        let case = Case {
            definition: pad_rows::<bf16>::definition(),
            arguments,
        };
        let class = Class::new(case.bound(&case.traced(), &[]));
        let grid = class.grid(&case).expect("the launch is known");
        class.kernel(class.conditions(&case, grid)).0.to_string()
    };
    assert!(!kernel(40).contains("if ") && kernel(39).contains("if "));
    assert_eq!(kernel(39), kernel(1));
    assert!(!kernel(0).contains("load"));
}

/// The median time of `run` in nanoseconds.
fn median(times: usize, mut run: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..101)
        .map(|_| {
            let started = Instant::now();
            (0..times).for_each(|_| run());
            started.elapsed().as_nanos() as f64 / times as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

#[test]
#[ignore = "a measurement, for the release profile"]
fn a_launch_and_a_class_take_little_time() {
    for case in catalogue() {
        let traced = case.traced();
        let class = Class::new(case.bound(&traced, &[]));
        let launch = median(1000, || {
            let case = black_box(&case);
            class.check_requirements(case).expect("the launch is as it has to be");
            let grid = class.grid(case).expect("the launch is known");
            black_box(class.conditions(case, grid));
        });
        let grid = class.grid(&case).expect("the launch is known");
        let conditions = median(1000, || {
            black_box(class.conditions(black_box(&case), grid));
        });
        let holding = class.conditions(&case, grid);
        let (kernel, _) = class.kernel(holding);
        let schedule = choose(&kernel, &Machine::H200, 1024);
        let stages = [
            median(10, || drop(black_box(case.traced()))),
            median(10, || drop(black_box(case.bound(&traced, &[])))),
            median(10, || drop(black_box(Class::new(class.source().clone())))),
            median(10, || drop(black_box(class.kernel(holding)))),
            median(10, || drop(black_box(lower(&kernel, &schedule)))),
        ];
        let [trace, bind, class_of, prove, lower] = stages.map(|nanoseconds| nanoseconds / 1e3);
        println!(
            "{:22} {} conditions, {} operations: {conditions:.0} ns, with grid and requirements {launch:.0} ns; trace \
             {trace:.1}, bind {bind:.1}, class {class_of:.1}, prove {prove:.1}, lower {lower:.1} us",
            traced.kernel.name,
            class.program().conditions(),
            class.program().operations(),
        );
    }
}
