//! Launches that rustc refuses; the whole texts are beside the programs, in `compile_fail/*.stderr`.

#[test]
fn rustc_refuses_arguments_that_do_not_fit() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
