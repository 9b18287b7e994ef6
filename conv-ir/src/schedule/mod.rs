//! stub
use crate::{Conv, Target};
/// How.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {}
/// A schedule with its reasons.
pub struct Choice {
    /// The schedule.
    pub schedule: Schedule,
    /// One sentence per decision.
    pub reasons: Vec<String>,
}
impl Schedule {
    /// The model's choice.
    pub fn choose(_conv: &Conv, _target: &Target) -> Choice { todo!() }
}
