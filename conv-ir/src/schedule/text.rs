//! The schedule's text form: words in a fixed order, defaults left out, read back exactly.

use super::{Borders, Pack, Schedule};
use crate::nest::Role;
use crate::{Error, cut};
use std::fmt;
use std::str::FromStr;

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lanes {
            Some((role, width)) => write!(f, "lanes {role}:{width}")?,
            None => write!(f, "lanes none")?,
        }
        let pairs: Vec<String> =
            self.tile.iter().map(|(role, extent)| format!("{role}:{extent}")).collect();
        let names =
            |roles: &[Role]| roles.iter().map(Role::to_string).collect::<Vec<_>>().join(",");
        for (word, list) in [("tile", pairs.join(",")), ("order", names(&self.order))] {
            if !list.is_empty() {
                write!(f, " {word} {list}")?;
            }
        }
        let cached = [(Role::OutChannel, self.cache), (Role::InChannel, self.cache_in)];
        let cached = cached.iter().filter(|c| c.1 > 0).map(|(role, n)| format!("{role}:{n}"));
        let cached = cached.collect::<Vec<_>>().join(",");
        if !cached.is_empty() {
            write!(f, " cache {cached}")?;
        }
        match self.borders {
            Borders::Exact => write!(f, " borders exact")?,
            Borders::Mask => write!(f, " borders mask")?,
            Borders::Panel { rows, columns: None } => write!(f, " borders panel:{rows}")?,
            Borders::Panel { rows, columns: Some(columns) } => {
                write!(f, " borders panel:{rows}x{columns}")?;
            }
        }
        if !self.unroll.is_empty() {
            write!(f, " unroll {}", names(&self.unroll))?;
        }
        if let Some((role, step)) = self.step.filter(|s| s.1 > 1) {
            write!(f, " step {role}:{step}")?;
        }
        match self.pack {
            Pack::No => {}
            Pack::Tiles => write!(f, " pack")?,
            Pack::Blocks { channels } => write!(f, " pack ic:{channels}")?,
            Pack::Panels { role, width } => write!(f, " pack {role}:{width}")?,
        }
        if let Some(role) = self.parallel {
            write!(f, " parallel {role}")?;
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut words = Words { text, at: 0 };
        let mut schedule = Schedule::default();
        let mut seen = Vec::new();
        while let Some((column, word)) = words.next() {
            if seen.contains(&word) {
                return Err(parse_error(column, format!("{:?} is given twice", cut(word))));
            }
            seen.push(word);
            match word {
                "lanes" => schedule.lanes = lanes(words.argument("lanes")?)?,
                "tile" => schedule.tile = list(words.argument("tile")?, pair)?,
                "order" => schedule.order = list(words.argument("order")?, role)?,
                "cache" => {
                    let argument = words.argument("cache")?;
                    for (role, channels) in list(argument, cached)? {
                        let said = match role {
                            Role::OutChannel => &mut schedule.cache,
                            _ => &mut schedule.cache_in,
                        };
                        if std::mem::replace(said, channels) != 0 {
                            let message = format!("{role} is given twice: say one number for it");
                            return Err(parse_error(argument.0, message));
                        }
                    }
                }
                "borders" => schedule.borders = borders(words.argument("borders")?)?,
                "unroll" => schedule.unroll = list(words.argument("unroll")?, role)?,
                "step" => schedule.step = reduction(words.argument("step")?)?,
                "pack" => schedule.pack = words.panels()?,
                "parallel" => schedule.parallel = Some(role(words.argument("parallel")?)?),
                _ => {
                    let expected =
                        "lanes, tile, order, cache, borders, unroll, step, pack or parallel";
                    return Err(parse_error(
                        column,
                        format!("found {:?}, expected {expected}", cut(word)),
                    ));
                }
            }
        }
        Ok(schedule)
    }
}

/// A word and the column it starts in.
type Word<'a> = (usize, &'a str);

struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<Word<'a>> {
        let rest = &self.text[self.at..];
        let start = self.at + (rest.len() - rest.trim_start().len());
        let word = self.text[start..].split_whitespace().next()?;
        self.at = start + word.len();
        Some((start + 1, word))
    }

    /// What may follow `pack`: the one optional argument, which alone has a colon.
    fn panels(&mut self) -> Result<Pack, Error> {
        let before = self.at;
        match self.next() {
            Some((column, word)) if word.contains(':') => match pair((column, word))? {
                (role @ (Role::OutChannel | Role::Group), width) if width > 0 => {
                    Ok(Pack::Panels { role, width })
                }
                (Role::InChannel, channels) => Ok(Pack::Blocks { channels }),
                _ => Err(parse_error(
                    column,
                    format!(
                        "{:?}: panels are of oc or g, at least 1 wide, and blocks of ic",
                        cut(word)
                    ),
                )),
            },
            _ => {
                self.at = before;
                Ok(Pack::Tiles)
            }
        }
    }

    fn argument(&mut self, of: &str) -> Result<Word<'a>, Error> {
        let end = self.text.len() + 1;
        self.next().ok_or_else(|| parse_error(end, format!("{of:?} needs an argument")))
    }
}

fn parse_error(column: usize, message: String) -> Error {
    Error::Parse { what: "a schedule", column, message }
}

fn list<'a, T>(
    (column, text): Word<'a>,
    item: fn(Word<'a>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let offset = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
    text.split(',').map(|part| item((column + offset(part), part))).collect()
}

fn role((column, text): Word<'_>) -> Result<Role, Error> {
    let fixed = [Role::Batch, Role::Group, Role::OutChannel, Role::InChannel];
    let spatial = (0..8).flat_map(|at| [Role::Out(at), Role::Kernel(at)]);
    fixed.into_iter().chain(spatial).find(|role| role.to_string() == text).ok_or_else(|| {
        parse_error(
            column,
            format!("{:?} is no axis: n, g, oc, ic, od, oh, ow, kd, kh, kw", cut(text)),
        )
    })
}

fn pair((column, text): Word<'_>) -> Result<(Role, i64), Error> {
    let Some((name, extent)) = text.split_once(':') else {
        return Err(parse_error(
            column,
            format!("found {:?}, expected AXIS:EXTENT, such as oc:8", cut(text)),
        ));
    };
    Ok((role((column, name))?, number((column + name.len() + 1, extent))?))
}

fn number((column, text): Word<'_>) -> Result<i64, Error> {
    match text.parse::<u16>() {
        Ok(n) if n > 0 => Ok(n.into()),
        _ => Err(parse_error(
            column,
            format!("found {:?}, expected a number from 1 to 65535", cut(text)),
        )),
    }
}

fn lanes(word: Word<'_>) -> Result<Option<(Role, i64)>, Error> {
    if word.1 == "none" { Ok(None) } else { pair(word).map(Some) }
}

/// `AXIS:EXTENT` of an axis that is summed over; one at a time is no step.
fn reduction((column, text): Word<'_>) -> Result<Option<(Role, i64)>, Error> {
    match pair((column, text))? {
        found @ (Role::InChannel | Role::Kernel(_), most) => Ok(Some(found).filter(|_| most > 1)),
        (other, _) => Err(parse_error(
            column,
            format!("found axis {other}, expected one that is summed over: ic, kd, kh, kw"),
        )),
    }
}

/// `AXIS:EXTENT` of an axis whose weights stay in cache.
fn cached((column, text): Word<'_>) -> Result<(Role, i64), Error> {
    match pair((column, text))? {
        found @ (Role::OutChannel | Role::InChannel, _) => Ok(found),
        (other, _) => Err(parse_error(column, format!("found axis {other}, expected oc or ic"))),
    }
}

fn borders((column, text): Word<'_>) -> Result<Borders, Error> {
    match text.split_once(':') {
        Some(("panel", size)) => {
            let column = column + 6;
            let (rows, columns) = match size.split_once('x') {
                Some((rows, columns)) => (rows, Some((column + rows.len() + 1, columns))),
                None => (size, None),
            };
            let columns = columns.map(number).transpose()?;
            Ok(Borders::Panel { rows: number((column, rows))?, columns })
        }
        _ if text == "exact" => Ok(Borders::Exact),
        _ if text == "mask" => Ok(Borders::Mask),
        _ => Err(parse_error(
            column,
            format!(
                "found {:?}, expected exact, mask, panel:ROWS or panel:ROWSxCOLUMNS",
                cut(text)
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for text in [
            "lanes oc:4 tile oc:8,ow:5 order n,g,oc,oh,ow cache oc:64 borders exact unroll kh,kw step ic:4 pack parallel oc",
            "lanes oc:16 tile oc:32,ow:14 cache oc:64,ic:256 borders exact pack",
            "lanes oc:16 tile oc:32,ow:14 cache ic:256 borders exact pack",
            "lanes none borders exact",
            "lanes ow:4 tile ow:8 borders panel:8 parallel od",
            "lanes ow:16 tile oh:4,ow:32 borders mask step kh:5",
            "lanes oc:16 tile oc:32,ow:14 borders panel:1x256 pack",
            "lanes ow:16 tile oc:32,ow:32 borders panel:28 pack ic:64",
        ] {
            assert_eq!(text.parse::<Schedule>().map(|s| s.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_step_of_one_is_none() {
        let schedule: Schedule = "lanes none borders exact step ic:1".parse().unwrap();
        assert_eq!(schedule, Schedule::default());
    }

    #[test]
    fn says_where_it_went_wrong() {
        for (text, message) in [
            ("lanes oc", "column 7: found \"oc\", expected AXIS:EXTENT, such as oc:8"),
            ("tile oc:8,ox:2", "column 11: \"ox\" is no axis"),
            ("lanes oc:0", "column 10: found \"0\", expected a number from 1"),
            (
                "borders soft",
                "column 9: found \"soft\", expected exact, mask, panel:ROWS or panel:ROWSxCOLUMNS",
            ),
            ("borders panel:2x0", "column 17: found \"0\", expected a number from 1"),
            ("step oc:4", "column 6: found axis oc, expected one that is summed over"),
            ("fast", "column 1: found \"fast\""),
            ("cache ow:4", "column 7: found axis ow, expected oc or ic"),
            ("order", "column 6: \"order\" needs an argument"),
            ("cache oc:4,ic:8,oc:8", "column 7: oc is given twice: say one number for it"),
            ("cache oc:4 borders exact cache oc:8", "column 26: \"cache\" is given twice"),
        ] {
            let error = text.parse::<Schedule>().unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
