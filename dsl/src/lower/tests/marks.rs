//! Accesses that do not go together, which checked builds report.

use super::run::{Argument, bind, launched, lowered, run_as_tiles, schedule};
use crate::analysis::races::Touch;
use crate::element::ElementType;
use crate::interpret::InterpretError;
use crate::ir::verify::build::{Builder, Value};
use crate::ir::{BinaryOp, CompareOp, Conflict, Expression, Kernel, MemoryScope};
use crate::lower::{KernelArgument, Lowered, MarkedBy, TrapFault};
use crate::schedule::Schedule;
use crate::transform::checked;

const I64: ElementType = ElementType::I64;

/// An access that was reported: its program, its line, and what it did.
type Reported = (Option<u64>, Option<(u32, Touch)>);

fn zeros(element: ElementType, extents: &[u64]) -> Argument {
    Argument::tensor(element, extents, 0, |_| 0)
}

/// The checked build of a kernel of so many programs.
fn build(programs: i64, arguments: &[Argument], fill: impl FnOnce(&mut Builder)) -> Kernel {
    let mut b = Builder::new("marked");
    fill(&mut b);
    let mut kernel = checked(b.launch(programs));
    bind(&mut kernel, arguments, false);
    kernel
}

/// What a kernel reports of accesses, as threads: the first one of each element, with the element, and what was met.
fn conflicts(
    kernel: &Kernel,
    by: &Schedule,
    arguments: &[Argument],
    programs: u64,
) -> (Lowered, Vec<(i64, [Reported; 2])>) {
    let lowered = lowered(kernel, by);
    let (outcome, bytes) = launched(&lowered, arguments, [programs, 1, 1]);
    // What is reported has no one result, and ends there.
    let reports = match outcome {
        Ok(outcome) => outcome.reports,
        Err(fault) if !fault.reports.is_empty() => fault.reports,
        Err(fault) => panic!("{fault}\n{}", lowered.kernel),
    };
    let reports = reports.iter().map(|report| {
        let place = |site: usize| match lowered.sites[site] {
            crate::lower::TrapSite {
                span,
                fault: TrapFault::Conflict { touch, .. },
            } => (span.line, touch),
            ref other => panic!("{other:?}"),
        };
        let MarkedBy { program, site } = MarkedBy::of(report.met);
        let own = (Some(report.program as u64), Some(place(report.site as usize)));
        (report.value, [own, (program, site.map(place))])
    });
    let reports: Vec<_> = reports.collect();
    if reports.is_empty() {
        // Marks change nothing that the kernel computes.
        assert_eq!(bytes, run_as_tiles(kernel, arguments).1, "{}", lowered.kernel);
    }
    (lowered, reports)
}

/// Whether both interpreters find a conflict, and name the same accesses.
fn agree(kernel: &Kernel, arguments: &[Argument], programs: u64) {
    let (found, _) = run_as_tiles(kernel, arguments);
    for by in [schedule(32, 1), schedule(64, 3)] {
        let (lowered, reports) = conflicts(kernel, &by, arguments, programs);
        let found = match &found {
            Ok(_) => {
                assert_eq!(reports, [], "{kernel}\n{}", lowered.kernel);
                continue;
            }
            Err(InterpretError::Conflict(found)) => found,
            Err(error) => panic!("{error}"),
        };
        let at = found.element.iter().fold(0, |at, &index| at * 1000 + index as i64);
        let mut wanted = found
            .accesses
            .map(|access| (Some(access.program[0]), Some(access.span.line)));
        wanted.sort_unstable();
        let same = |(element, accesses): &(i64, [Reported; 2])| {
            let mut named = accesses.map(|(program, place)| (program, place.map(|(line, _)| line)));
            // Of several programs that nobody knows apart, whoever it was.
            for other in &mut named {
                let fits = |wanted: &&(Option<u64>, Option<u32>)| {
                    other.0.is_none_or(|program| wanted.0 == Some(program))
                        && other.1.is_none_or(|line| wanted.1 == Some(line))
                };
                *other = wanted.iter().find(fits).copied().unwrap_or(*other);
            }
            named.sort_unstable();
            *element == at && named == wanted
        };
        assert!(
            reports.iter().any(same),
            "{found:?}\n{reports:?}\n{kernel}\n{}",
            lowered.kernel
        );
    }
}

/// `value % by`.
fn folded(b: &mut Builder, value: Value, by: i64) -> Value {
    let by = b.index(by);
    b.binary(BinaryOp::Remainder, value, by)
}

/// `tensor[at] += 1`.
fn count(b: &mut Builder, tensor: u32, at: Value, scope: MemoryScope) -> Value {
    let one = b.index(1);
    let shape = b.shape(at);
    let value = b.stretch(one, shape);
    b.atomic_add(tensor, &[at], value, scope)
}

#[test]
fn two_programs_that_store_to_one_place_are_reported() {
    let arguments = [zeros(I64, &[200])];
    // Program 1 begins where program 0 ends.
    let kernel = build(2, &arguments, |b| {
        let out = b.tensor("out", I64, 1);
        let (cols, far) = (b.arange(64), b.index(63));
        let program = b.program(0);
        let first = b.mul(program, far);
        let at = b.add(cols, first);
        b.store(out, &[at], cols);
    });
    agree(&kernel, &arguments, 2);
    let (_, reports) = conflicts(&kernel, &schedule(64, 1), &arguments, 2);
    let [
        (
            63,
            [
                (Some(1), Some((line, Touch::Write))),
                (Some(0), Some((same, Touch::Write))),
            ],
        ),
    ] = reports[..]
    else {
        panic!("{reports:?}")
    };
    assert_eq!(line, same);
}

#[test]
fn elements_of_one_store_that_meet_are_reported() {
    let arguments = [zeros(I64, &[200])];
    for disjoint in [false, true] {
        let kernel = build(1, &arguments, |b| {
            let out = b.tensor("out", I64, 1);
            b.conflict = disjoint.then_some(Conflict::Disjoint);
            let cols = b.arange(64);
            let at = folded(b, cols, 63);
            b.store(out, &[at], cols);
        });
        agree(&kernel, &arguments, 1);
    }
}

#[test]
fn what_one_program_stores_again_is_no_conflict_unless_it_promised() {
    let arguments = [zeros(I64, &[64])];
    for promises in [[false, false], [true, false], [false, true], [true, true]] {
        let kernel = build(1, &arguments, |b| {
            let out = b.tensor("out", I64, 1);
            let (cols, two) = (b.arange(32), b.index(2));
            let at = b.mul(cols, two);
            for promise in promises {
                b.conflict = promise.then_some(Conflict::Disjoint);
                b.store(out, &[at], cols);
            }
        });
        agree(&kernel, &arguments, 1);
        let (_, reports) = conflicts(&kernel, &schedule(32, 1), &arguments, 1);
        assert_eq!(reports.is_empty(), promises != [true, true], "{promises:?} {reports:?}");
    }
}

#[test]
fn trips_of_a_loop_are_stores_of_their_own() {
    let arguments = [zeros(I64, &[64]), Argument::Count(5)];
    for disjoint in [false, true] {
        let kernel = build(1, &arguments, |b| {
            let out = b.tensor("out", I64, 1);
            let (n, zero, cols) = (b.count("n"), b.index(0), b.arange(64));
            b.conflict = disjoint.then_some(Conflict::Disjoint);
            b.for_loop(zero, n, 1, |b, i| b.store(out, &[cols], i));
        });
        agree(&kernel, &arguments, 1);
        let (_, reports) = conflicts(&kernel, &schedule(32, 1), &arguments, 1);
        assert_eq!(reports.is_empty(), !disjoint, "{reports:?}");
    }
}

#[test]
fn a_program_that_reads_what_another_one_writes_is_reported() {
    let arguments = [zeros(I64, &[8]), zeros(I64, &[8])];
    for reader_first in [false, true] {
        let kernel = build(4, &arguments, |b| {
            let (out, other) = (b.tensor("out", I64, 1), b.tensor("other", I64, 1));
            let (program, one, two) = (b.program(0), b.index(1), b.index(2));
            let reader = if reader_first { one } else { two };
            let reads = b.compare(CompareOp::Equal, program, reader);
            let at = if reader_first { two } else { one };
            b.if_else(
                reads,
                |b| {
                    let found = b.load(out, &[at]);
                    b.store(other, &[program], found);
                },
                |b| b.store(out, &[program], program),
            );
        });
        agree(&kernel, &arguments, 4);
        let (lowered, reports) = conflicts(&kernel, &schedule(32, 1), &arguments, 4);
        assert_eq!(reports.len(), 1, "{reports:?}");
        let marks: Vec<_> = lowered
            .arguments
            .iter()
            .filter(|argument| matches!(argument, KernelArgument::Marks { .. }))
            .collect();
        let words = |tensor, words| KernelArgument::Marks { tensor, words };
        assert!(
            marks.contains(&&words(0, 2)) && marks.contains(&&words(1, 1)),
            "{marks:?}"
        );
    }
}

#[test]
fn of_several_readers_one_is_named() {
    let arguments = [zeros(I64, &[8]), zeros(I64, &[8])];
    let kernel = build(4, &arguments, |b| {
        let (out, other) = (b.tensor("out", I64, 1), b.tensor("other", I64, 1));
        let (program, three, zero) = (b.program(0), b.index(3), b.index(0));
        let writes = b.compare(CompareOp::Equal, program, three);
        let found = b.load(out, &[zero]);
        b.store(other, &[program], found);
        b.if_else(writes, |b| b.store(out, &[zero], program), |_| {});
    });
    agree(&kernel, &arguments, 4);
    let (_, reports) = conflicts(&kernel, &schedule(32, 1), &arguments, 4);
    let [(0, [(Some(3), Some((_, Touch::Write))), (Some(0), Some((_, Touch::Read)))])] = reports[..] else {
        panic!("{reports:?}")
    };
}

#[test]
fn atomic_operations_go_together_and_with_nothing_else() {
    use MemoryScope::{Block, Device};
    let arguments = [zeros(I64, &[40])];
    for (scopes, stores, fine) in [
        (&[Device, Device][..], false, true),
        (&[Device], true, false),
        (&[Device, Block], false, false),
        (&[Block], false, false),
    ] {
        let kernel = build(3, &arguments, |b| {
            let out = b.tensor("out", I64, 1);
            let (program, cols, one) = (b.program(0), b.arange(40), b.index(1));
            for &scope in scopes {
                count(b, out, cols, scope);
            }
            let is_one = b.compare(CompareOp::Equal, program, one);
            if stores {
                b.if_else(is_one, |b| b.store(out, &[one], program), |_| {});
            }
        });
        // Of more than one race one is named.
        if scopes.len() == 1 || fine {
            agree(&kernel, &arguments, 3);
        }
        let (_, reports) = conflicts(&kernel, &schedule(32, 1), &arguments, 3);
        assert_eq!(reports.is_empty(), fine, "{scopes:?} {stores} {reports:?}");
    }
}

#[test]
fn elements_are_named_by_their_position_also_in_a_list() {
    let tensors = [72u64, 8, 100].map(|extent| zeros(I64, &[extent]));
    let arguments = [Argument::List(tensors.to_vec())];
    let kernel = build(2, &arguments, |b| {
        let list = b.list("list", I64, 1);
        let (member, cols, five, two) = (b.index(2), b.arange(40), b.index(35), b.index(2));
        let program = b.program(0);
        let first = b.mul(program, five);
        let at = b.mul(cols, two);
        let at = b.add(at, first);
        // Even places and odd ones, and the last program's are odd.
        b.store(list, &[member, at], cols);
        let zero = b.index(0);
        let again = b.compare(CompareOp::Greater, program, zero);
        let seventy = b.index(70);
        b.if_else(again, |b| b.store(list, &[member, seventy], program), |_| {});
    });
    let (_, reports) = conflicts(&kernel, &schedule(32, 1), &arguments, 2);
    let elements: Vec<i64> = reports.iter().map(|(element, _)| *element).collect();
    assert_eq!(elements, [72 + 8 + 70], "{reports:?}");
    // Of rows, by rows.
    let arguments = [zeros(I64, &[9, 50])];
    let kernel = build(2, &arguments, |b| {
        let out = b.tensor("out", I64, 2);
        let (three, cols) = (b.index(3), b.arange(33));
        b.store(out, &[three, cols], cols);
    });
    let (_, reports) = conflicts(&kernel, &schedule(32, 1), &arguments, 2);
    let elements: Vec<i64> = reports.iter().map(|(element, _)| *element).collect();
    assert_eq!(elements, (150..183).collect::<Vec<_>>());
}

#[test]
fn what_is_masked_or_out_of_bounds_is_not_marked() {
    let arguments = [zeros(I64, &[50])];
    let kernel = build(2, &arguments, |b| {
        let out = b.tensor("out", I64, 1);
        let (cols, program, half) = (b.arange(64), b.program(0), b.index(25));
        let shape = b.shape(cols);
        let (own, zero) = (b.mul(program, half), b.index(0));
        let own = b.stretch(own, shape);
        let limit = b.add(own, half);
        let (below, from) = (
            b.compare(CompareOp::Less, cols, limit),
            b.compare(CompareOp::LessEqual, own, cols),
        );
        let mask = b.binary(BinaryOp::And, below, from);
        b.store_where(out, &[cols], cols, mask);
        // Far outside, where both would meet.
        let far = b.index(50);
        let at = b.add(program, far);
        let at = b.add(at, zero);
        b.store(out, &[at], program);
    });
    agree(&kernel, &arguments, 2);
}

#[test]
fn promises_are_kept_also_where_programs_run_in_order() {
    for shifted in [0i64, 64] {
        let arguments = [zeros(I64, &[200]), zeros(I64, &[1])];
        let kernel = build(2, &arguments, |b| {
            let (out, last) = (b.tensor("out", I64, 1), b.tensor("last", I64, 1));
            let (cols, program, zero) = (b.arange(64), b.program(0), b.index(0));
            let by = b.index(shifted);
            let first = b.mul(program, by);
            let at = b.add(cols, first);
            b.conflict = Some(Conflict::Disjoint);
            b.store(out, &[at], cols);
            b.conflict = Some(Conflict::LastWins);
            b.store(last, &[zero], program);
            // A plain store is in order.
            b.conflict = None;
            b.store(last, &[zero], program);
        });
        agree(&kernel, &arguments, 2);
    }
}

#[test]
fn indices_that_threads_hold_are_marked_where_they_are() {
    let arguments = [
        zeros(I64, &[64]),
        Argument::tensor(I64, &[64], 0, |at| if at == 60 { 3 } else { at }),
    ];
    let kernel = build(1, &arguments, |b| {
        let (out, src) = (b.tensor("out", I64, 1), b.tensor("src", I64, 1));
        b.tensor_mut(src).mutable = false;
        let (cols, row) = (b.arange(64), b.index(1));
        let found = b.load(src, &[cols]);
        let kept = b.variable("kept", found);
        let kept = b.read(kept);
        let turned = b.reshape(kept, &[8, 8]);
        let turned = b.emit(Expression::Permute {
            value: turned,
            axes: [1u8, 0].into_iter().collect(),
        });
        let at = b.reshape(turned, &[64]);
        let value = b.mul(at, row);
        b.store(out, &[at], value);
    });
    agree(&kernel, &arguments, 1);
}
