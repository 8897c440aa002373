//! What constructs become, as text.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Block, parse_quote};

use super::{Lowering, Place};
use crate::span::{Errors, Root};

/// Lowers a block, and compares it with the expected tokens; `tw` stands for the root of the expansion.
#[track_caller]
fn check(block: Block, expected: TokenStream) {
    let (lowered, errors) = lower(block, Place::Statement);
    assert_eq!(errors, "");
    // How tokens are spaced differs with where they come from.
    let [lowered, expected] = [lowered, expected.to_string()].map(|text| text.replace(' ', "").replace("},", "}"));
    assert_eq!(lowered, expected);
}

fn lower(mut block: Block, place: Place) -> (String, String) {
    let mut errors = Errors::default();
    let root = Root::new(Some(&parse_quote!(t)));
    Lowering::new(&root, &mut errors, vec!["T".to_owned()]).block(&mut block, place);
    let text = block.to_token_stream().to_string().replace("t :: __private", "tw");
    (
        text,
        errors
            .into_compile_errors()
            .map(|errors| errors.to_string())
            .unwrap_or_default(),
    )
}

#[test]
fn a_mutable_variable_is_declared_read_and_assigned() {
    check(
        parse_quote!({
            let mut x = 0;
            x = f(x);
            x += y * x;
            x *= a + b;
        }),
        quote!({
            let mut x = tw::Var::new("x", tw::literal(0));
            x.assign(f(x.read()));
            x.assign(x.read() + (y * x.read()));
            x.assign(x.read() * (a + b));
        }),
    );
}

#[test]
fn an_annotation_decides_the_type_of_a_variable() {
    check(
        parse_quote!({
            let mut a: f32 = 0.0;
            let mut b: T = zero();
            let mut n: usize = 1;
            let mut c: Tile<f32, 1> = d;
        }),
        quote!({
            let mut a =
                tw::Var::<tw::Scalar<f32>>::new("a", tw::value::<tw::Scalar<f32>>(tw::FloatLiteral::new(0.0f64)));
            let mut b = tw::Var::<tw::Scalar<T>>::new("b", tw::value::<tw::Scalar<T>>(zero()));
            let mut n = tw::Var::<usize>::new("n", 1);
            let mut c = tw::Var::<Tile<f32, 1>>::new("c", tw::value::<Tile<f32, 1>>(d));
        }),
    );
}

#[test]
fn a_later_binding_of_the_same_name_is_not_the_variable() {
    check(
        parse_quote!({
            let mut x = a;
            {
                let x = x;
                f(x);
            }
            g(|x| x, x);
            let x = x;
            f(x);
        }),
        quote!({
            let mut x = tw::Var::new("x", a);
            {
                let x = x.read();
                f(x);
            }
            g(|x| x, x.read());
            let x = x.read();
            f(x);
        }),
    );
}

#[test]
fn tuple_patterns_become_variables_one_by_one() {
    check(
        parse_quote!({
            let (mut a, b) = (0, 1);
            a = b;
        }),
        quote!({
            let (a, b) = (tw::literal(0), 1);
            let mut a = tw::Var::new("a", a);
            a.assign(b);
        }),
    );
}

#[test]
fn comparisons_logic_and_casts_are_calls() {
    check(
        parse_quote!({
            let p = a < b && !(c == d);
            f(e as i64);
        }),
        quote!({
            let p = tw::Logic::and(tw::less(a, b), || !(tw::equal(c, d)));
            f(tw::CastTo::<i64>::cast_to(e));
        }),
    );
}

#[test]
fn a_literal_takes_its_type_from_what_stands_beside_it() {
    check(
        parse_quote!({
            f(row + 1);
            f(2 + 3);
        }),
        quote!({
            f({
                let left_0 = row;
                let right_0 = tw::integer_beside({ &left_0 }, tw::IntegerLiteral::new(1i128));
                left_0 + right_0
            });
            f(2 + 3);
        }),
    );
}

#[test]
fn a_conditional_runs_both_branches_when_recorded() {
    check(
        parse_quote!({
            if c {
                f();
            } else {
                g();
            }
        }),
        quote!({
            {
                let mut branch_0 = tw::Condition::branch(c);
                if branch_0.accept() {
                    f();
                }
                if branch_0.reject() {
                    g();
                }
                branch_0.end();
            }
        }),
    );
}

#[test]
fn a_conditional_with_a_value_joins_its_branches() {
    check(
        parse_quote!({
            let y = if c { a } else { b };
        }),
        quote!({
            let y = {
                let mut branch_0 = tw::Condition::branch(c);
                let mut merge_0 = tw::Branches::new({ &branch_0 });
                if branch_0.accept() {
                    tw::Branches::accept(&mut merge_0, { a })
                }
                if branch_0.reject() {
                    tw::Branches::reject(&mut merge_0, { b })
                }
                branch_0.end();
                tw::merged(merge_0.get())
            };
        }),
    );
}

#[test]
fn a_branch_that_leaves_gives_no_value() {
    check(
        parse_quote!({
            let y = if c {
                a
            } else {
                return;
            };
        }),
        quote!({
            let y = {
                let mut branch_0 = tw::Condition::branch(c);
                let mut merge_0 = tw::Merge::new();
                if branch_0.accept() {
                    tw::Merge::set(&mut merge_0, { a })
                }
                if branch_0.reject() {
                    {
                        if tw::leave_program() {
                            return;
                        }
                    };
                }
                branch_0.end();
                tw::merged(merge_0.get())
            };
        }),
    );
}

#[test]
fn loops_ask_before_every_trip() {
    check(
        parse_quote!({
            while c {
                break;
            }
            for i in 0..n {
                continue;
            }
        }),
        quote!({
            {
                let mut trip_0 = tw::While::new();
                loop {
                    trip_0.header();
                    if !tw::Condition::test(c, &mut trip_0) {
                        break;
                    }
                    {
                        {
                            if tw::While::leave(&trip_0) {
                                break;
                            }
                        };
                    }
                    if !trip_0.again() {
                        break;
                    }
                }
            }
            {
                let mut trips_0 = tw::trips(tw::loop_range(tw::IntegerLiteral::new(0i128), n));
                while let ::core::option::Option::Some(item_0) = tw::Trips::next(&mut trips_0) {
                    let i = item_0;
                    {
                        {
                            if tw::Trips::skip(&trips_0) {
                                continue;
                            }
                        };
                    }
                }
            }
        }),
    );
}

#[test]
fn a_loop_between_literals_unrolls() {
    let (lowered, _) = lower(parse_quote!({ for i in (0..4).rev() {} }), Place::Statement);
    assert!(
        lowered.contains("tw :: reversed (tw :: loop_range (0usize , 4usize))"),
        "{lowered}"
    );
}

#[test]
fn lists_of_indices_become_tuples_with_typed_literals() {
    check(
        parse_quote!({
            out.store([row], src.load([row, 0]));
            out.store([-1, 2u32, (0x1F)], x);
            let t = full([4], 0.0);
            let a = [1, 2];
        }),
        quote!({
            out.store(tw::One(row), src.load((row, 0i64)));
            out.store((-1i64, 2u32, (31i64)), x);
            let t = full(tw::One(4), tw::FloatLiteral::new(0.0f64));
            let a = [1, 2];
        }),
    );
}

#[test]
fn matches_and_conditional_lets_stay_with_lowered_arms() {
    check(
        parse_quote!({
            let y = match k {
                0 => return,
                n if n > m => a < b,
                _ => c,
            };
            if let Some(v) = k {
                f(v as f32);
            }
        }),
        quote!({
            let y = match tw::matched(k) {
                0 => {
                    if tw::leave_program() {
                        return;
                    }
                    tw::unreached()
                }
                n if tw::greater(n, m) => tw::less(a, b),
                _ => c,
            };
            if let Some(v) = k {
                f(tw::CastTo::<f32>::cast_to(v));
            }
        }),
    );
}

#[test]
fn a_macro_that_names_a_variable_is_an_error() {
    let (_, errors) = lower(
        parse_quote!({
            let mut x = 0;
            println!("{}", x);
        }),
        Place::Statement,
    );
    assert!(errors.contains("bind its value first: `let value = x;`"), "{errors}");
}
