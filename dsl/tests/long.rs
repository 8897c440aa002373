//! Bodies that macros of an author's may write: expressions of many terms, and constructs in each other. They compile,
//! as the same Rust does; what is too deep for a kernel is an error when it is recorded.

#![recursion_limit = "512"]

use tilewright_dsl::call::{Definition, ParameterFacts, TensorFacts, TraceRequest, Traced};
use tilewright_dsl::lang::*;
use tilewright_dsl::{device, kernel};

fn traced(definition: &Definition) -> Result<Traced, TraceError> {
    let tensor = ParameterFacts::Tensor(TensorFacts::contiguous(&[64]));
    definition.trace(&TraceRequest {
        parameters: vec![tensor.clone(), tensor],
    })
}

/// A kernel that does something with a value: `$start`, and what stands in the brackets doubled for every `+` behind
/// them.
macro_rules! doubled {
    ($name:ident($out:ident, $x:ident, $v:ident): $value:ident = $start:tt [$($term:tt)*] => $end:tt + $($more:tt)*) => {
        doubled!($name($out, $x, $v): $value = $start [$($term)* $($term)*] => $end $($more)*);
    };
    ($name:ident($out:ident, $x:ident, $v:ident): $value:ident = [$($start:tt)*] [$($term:tt)*] => { $($end:tt)* }) => {
        #[kernel(grid = [1])]
        fn $name($out: &mut Tensor<f32, 1>, $x: &Tensor<f32, 1>) {
            let $v = $x.load([0]);
            let $value = $($start)* $($term)*;
            $($end)*
        }
    };
}

doubled!(of_values(out, x, v): sum = [v] [+ v - v * v + v / v + v - v]
    => { out.store([0], sum); } +++++++);
doubled!(of_literals(out, x, v): sum = [v] [* 2.0 + 1.0 - v]
    => { out.store([0], sum); } +++++++);
doubled!(of_integers(out, x, v): sum = [program_id(0)] [+ 1 - 2 + 3]
    => { out.store([sum], v); } +++++++);
doubled!(of_conditions(out, x, v): holds = [v > 0.0] [&& v + 1.0 < 2.0 || v > 1.0]
    => { if holds { out.store([0], 1.0); } } ++++++++);
doubled!(of_methods(out, x, v): value = [v] [.abs().max(1.0).sqrt()]
    => { out.store([0], value); } +++++++);
doubled!(far_too_many(out, x, v): sum = [v] [+ v]
    => { out.store([0], sum); } +++++++++++);

#[test]
fn hundreds_of_terms_in_one_expression_compile_and_are_recorded() {
    for definition in [
        of_values::definition(),
        of_literals::definition(),
        of_integers::definition(),
        of_conditions::definition(),
        of_methods::definition(),
    ] {
        traced(&definition).expect("it is no deeper than a kernel may be");
    }
}

#[test]
fn thousands_of_terms_are_refused_when_they_are_recorded() {
    let error = traced(&far_too_many::definition()).unwrap_err();
    assert!(
        error
            .message
            .contains("the last of more than 1000 that are made of each other"),
        "{error}"
    );
    assert!(error.message.contains("a variable breaks the chain"), "{error}");
}

/// A kernel of one store, whose value is in so many constructs in each other.
macro_rules! nested {
    ($name:ident($out:ident, $x:ident): $inner:tt, $build:ident + $($more:tt)*) => {
        $build!($inner => nested, $name($out, $x), $build $($more)*);
    };
    ($name:ident($out:ident, $x:ident): [$($value:tt)*], $build:ident) => {
        #[kernel(grid = [1])]
        #[allow(unused_parens)]
        fn $name($out: &mut Tensor<f32, 1>, $x: &Tensor<f32, 1>) {
            $out.store([0], $($value)*);
        }
    };
}

/// Twice the parentheses around a value for each `+`.
macro_rules! parentheses {
    ([$($value:tt)*] => $next:ident, $name:ident($out:ident, $x:ident), $build:ident $($more:tt)*) => {
        $next!($name($out, $x): [((((((((1.0 + ($($value)* + $x.load([1]))))))))))], $build $($more)*);
    };
}

/// Blocks around a value.
macro_rules! blocks {
    ([$($value:tt)*] => $next:ident, $name:ident($out:ident, $x:ident), $build:ident $($more:tt)*) => {
        $next!($name($out, $x): [{ let y = { { $($value)* } }; { y + $x.load([1]) } }], $build $($more)*);
    };
}

/// One more `else if` before the others.
macro_rules! branches {
    ([$($value:tt)*] => $next:ident, $name:ident($out:ident, $x:ident), $build:ident $($more:tt)*) => {
        $next!($name($out, $x): [if $x.load([1]) > 1.0 { $x.load([2]) } else $($value)*], $build $($more)*);
    };
}

nested!(in_parentheses(out, x): [x.load([0])], parentheses ++++++++++++++++++++++++++++++++++++++++);
nested!(in_blocks(out, x): [x.load([0])], blocks ++++++++++++++++++++++++++++++++++++++++);
nested!(in_branches(out, x): [{ x.load([0]) }], branches ++++++++++++++++++++++++++++++++++++++++);
nested!(in_too_many_branches(out, x): [{ x.load([0]) }], branches ++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++);

#[test]
fn constructs_in_each_other_compile_and_are_recorded() {
    for definition in [
        in_parentheses::definition(),
        in_blocks::definition(),
        in_branches::definition(),
    ] {
        traced(&definition).expect("it is no deeper than a kernel may be");
    }
}

#[test]
fn more_branches_in_each_other_than_a_kernel_may_have_are_refused_when_they_are_recorded() {
    let error = traced(&in_too_many_branches::definition()).unwrap_err();
    assert!(
        error.message.contains("blocks are nested more than 128 deep"),
        "{error}"
    );
}

#[device]
fn deeper(levels: usize, value: Scalar<f32>, out: &mut Tensor<f32, 1>) {
    if levels > 0 {
        if value > levels as f32 {
            deeper(levels - 1, value, out);
        }
    } else {
        out.store([0], value);
    }
}

#[kernel(grid = [1])]
fn in_each_other<const LEVELS: usize>(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    deeper(LEVELS, x.load([0]), out);
}

#[test]
fn blocks_that_a_helper_nests_without_end_in_sight_are_refused() {
    assert!(traced(&in_each_other::<128>::definition()).is_ok());
    for definition in [in_each_other::<129>::definition(), in_each_other::<1500>::definition()] {
        let error = traced(&definition).unwrap_err();
        assert_eq!(error.message, "blocks are nested more than 128 deep");
        assert!(error.span.file.ends_with("long.rs"));
    }
}
