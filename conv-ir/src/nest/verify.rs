//! stub
use super::Nest;
/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number.
    pub rule: u32,
    /// What.
    pub message: String,
}
/// Checks.
pub fn verify(_nest: &Nest) -> Vec<Violation> { todo!() }
