//! One file a mistake, each error on the token that is wrong.
//!
//! After a change that is meant: `TRYBUILD=overwrite cargo test -p conv-ui`, then read the diff.

#[test]
fn refused() {
    trybuild::TestCases::new().compile_fail("refused/*.rs");
}
