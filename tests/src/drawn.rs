//! A random convolution and a random schedule, shown as text.

use crate::random::{convs, schedules};
use conv_ir::{Conv, Schedule};
use proptest::prelude::*;
use std::fmt;

/// Lanes of schedules that are good for every machine.
pub fn narrow() -> Vec<i64> {
    vec![1, 2, 4, 8]
}

/// A convolution and a way to compute it, whose `Debug` is text that can be pasted into a case
/// file.
#[derive(Clone, PartialEq)]
pub struct Drawn {
    /// What.
    pub conv: Conv,
    /// How.
    pub schedule: Schedule,
}

impl fmt::Debug for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conv: {}\nschedule: {}", self.conv, self.schedule)
    }
}

/// A random convolution and a random schedule.
pub fn drawn() -> impl Strategy<Value = Drawn> {
    convs().prop_flat_map(|conv| {
        let rank = conv.rank();
        (Just(conv), schedules(rank, narrow()))
            .prop_map(|(conv, schedule)| Drawn { conv, schedule })
    })
}
