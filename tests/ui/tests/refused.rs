//! One file a mistake, each error on the token that is wrong; and what is accepted compiles without
//! a warning, and runs.
//!
//! After a change that is meant: `TRYBUILD=overwrite cargo test -p conv-ui`, then read the diff.

#[test]
fn refused_and_accepted() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("refused/*.rs");
    cases.pass("accepted/*.rs");
}
