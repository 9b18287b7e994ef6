//! Which schedules are legal.
//!
//! The words of a schedule have rules of their own, which hold before any pass runs. Whether they
//! fit a convolution and a target, each pass says about its own word; [`Schedule::check`] (beside
//! the table of passes) asks them all, so that no rule is written twice.

use super::{Borders, Pack, Schedule};
use crate::Error;
use crate::nest::Role;

/// No number of a schedule is larger. Tiles are far smaller; this keeps what is multiplied by them
/// in range, and texts short.
pub(crate) const MOST: i64 = u16::MAX as i64;

impl Schedule {
    /// The rules that need neither a convolution nor a target.
    pub(crate) fn check_words(&self) -> Result<(), Error> {
        self.check_numbers()?;
        let tile: Vec<Role> = self.tile.iter().map(|t| t.0).collect();
        for (word, roles) in [("tile", &tile), ("order", &self.order), ("unroll", &self.unroll)] {
            let twice = roles.iter().enumerate().find(|(at, role)| roles[..*at].contains(role));
            if let Some((_, role)) = twice {
                return illegal(format!("{word}: axis {role} is named twice"));
            }
        }
        match self.pack {
            Pack::Panels { role, .. } if !matches!(role, Role::OutChannel | Role::Group) => {
                illegal(format!("pack {role}: panels are of oc or g"))
            }
            _ => Ok(()),
        }
    }

    fn check_numbers(&self) -> Result<(), Error> {
        let axes = |word: &'static str, of: Option<(Role, i64)>| {
            of.map(|(role, number)| (format!("{word} {role}:{number}"), number))
        };
        let tile = self.tile.iter().map(|&t| axes("tile", Some(t)));
        let cache = |role, channels| (channels != 0).then_some((role, channels));
        let panel = match self.borders {
            Borders::Panel { rows, columns } => {
                let columns = columns.map(|n| (format!("borders panel:{rows}x{n}"), n));
                [Some((format!("borders panel:{rows}"), rows)), columns]
            }
            Borders::Exact | Borders::Mask => [None, None],
        };
        let width = match self.pack {
            Pack::Panels { role, width } => Some((role, width)),
            Pack::Blocks { channels } => Some((Role::InChannel, channels)),
            Pack::No | Pack::Tiles => None,
        };
        let others = [
            axes("lanes", self.lanes),
            axes("cache", cache(Role::OutChannel, self.cache)),
            axes("cache", cache(Role::InChannel, self.cache_in)),
            axes("step", self.step),
            axes("pack", width),
        ];
        let mut all = tile.chain(panel).chain(others).flatten();
        match all.find(|(_, number)| !(1..=MOST).contains(number)) {
            Some((word, _)) => illegal(format!("{word}: numbers are from 1 to {MOST}")),
            None => Ok(()),
        }
    }
}

fn illegal(message: String) -> Result<(), Error> {
    Err(Error::IllegalSchedule(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conv, Target};

    fn refused(schedule: Schedule) -> String {
        let conv: Conv = "conv2d g2 ic2 oc8 in 8x8 kernel 3x3".parse().unwrap();
        schedule.check(&conv, &Target::CRANELIFT).unwrap_err().to_string()
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_their_word() {
        let none = Schedule::default;
        for number in [i64::MIN, -1, 0, 65536, i64::MAX] {
            let pair = Some((Role::OutChannel, number));
            for (schedule, word) in [
                (Schedule { lanes: pair, ..none() }, "lanes oc"),
                (Schedule { tile: pair.into_iter().collect(), ..none() }, "tile oc"),
                (Schedule { step: Some((Role::InChannel, number)), ..none() }, "step ic"),
                (
                    Schedule { borders: Borders::Panel { rows: number, columns: None }, ..none() },
                    "borders panel",
                ),
                (
                    Schedule { pack: Pack::Panels { role: Role::Group, width: number }, ..none() },
                    "pack g",
                ),
            ] {
                let wanted = format!("schedule: {word}:{number}: numbers are from 1 to 65535");
                assert_eq!(refused(schedule), wanted);
            }
        }
        assert!(refused(Schedule { cache_in: -1, ..none() }).contains("cache ic:-1: numbers are"));
        assert!(refused(Schedule { cache: -1, ..none() }).contains("cache oc:-1: numbers are"));
    }

    #[test]
    fn axes_are_named_once() {
        for (text, message) in [
            ("lanes none tile oc:4,ow:2,oc:2", "tile: axis oc is named twice"),
            ("lanes none order n,oh,n", "order: axis n is named twice"),
            ("lanes none unroll kw,kw", "unroll: axis kw is named twice"),
        ] {
            assert_eq!(refused(text.parse().unwrap()), format!("schedule: {message}"));
        }
    }
}
