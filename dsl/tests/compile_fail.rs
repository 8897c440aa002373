//! The errors that an author of kernels meets, with the whole text that the compiler shows.
//!
//! `TRYBUILD=overwrite cargo test -p tilewright-dsl --test compile_fail` writes the texts anew; read each of them as a
//! newcomer would.

#[test]
fn mistakes_are_reported_on_the_authors_tokens() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
