//! Problem strings of benchdnn, oneDNN's benchmark driver, which the field shares:
//! `g32ic64ih56oc64oh56kh3ph1`.
//!
//! Keys stand in any order with their numbers attached; `_` is ignored; `n` and a name may end the
//! string (the name is dropped).
//!
//! ```text
//! mb ic oc g            batch, channels over all groups, groups
//! id ih iw  od oh ow    extents of input and output
//! kd kh kw  sd sh sw    window and stride (default 1)
//! pd ph pw  dd dh dw    padding before the input; dilation, which counts from 0 here
//! ```
//!
//! As in benchdnn: the batch is 2 where `mb` is missing. An axis of which nothing is said is like
//! the one before it (`ih56kh3` is a square, `id8kd3` a cube), and the rank is given by the
//! outermost axis named. Without an output extent the padding is the same on both sides (default
//! 0). With one, `ph` is the padding before, by default half of what is needed, and the padding
//! after is what the output needs. It must not be negative, nor make outputs that see no input:
//! then the output contradicts the rest.
//!
//! A string says nothing of types, bias or direction: the result is a forward f32 convolution
//! without bias, NC*.

use super::axis_name;
use super::scan::Scanner;
use super::validate::LIMIT;
use super::{Conv, ConvSpec, Padding, PerAxis, Size};
use crate::error::Error;

const WHAT: &str = "the benchdnn problem";
const KEYS: [&str; 22] = [
    "g", "mb", "ic", "id", "ih", "iw", "oc", "od", "oh", "ow", "kd", "kh", "kw", "sd", "sh", "sw",
    "pd", "ph", "pw", "dd", "dh", "dw",
];
/// benchdnn's own.
const DEFAULT_BATCH: usize = 2;

/// A number, and where its key stands.
#[derive(Clone, Copy)]
struct Given {
    value: usize,
    at: usize,
}

/// What is said of one axis.
#[derive(Clone, Copy)]
struct Line {
    input: usize,
    output: Option<Given>,
    kernel: usize,
    stride: usize,
    before: Option<usize>,
    /// Counted from 1.
    dilation: usize,
}

/// Reads a benchdnn problem string.
///
/// # Errors
/// [`Error::Parse`] where the string cannot be read or contradicts itself, [`Error::Invalid`] where
/// it breaks a rule.
pub fn parse_benchdnn(text: &str) -> Result<Conv, Error> {
    let mut problem = Problem { scan: Scanner::new(WHAT, text), keys: Vec::new() };
    problem.read()?;
    let lines = problem.lines()?;
    let rank = lines.len();
    let padding =
        lines.iter().enumerate().map(|(i, line)| problem.padding(line, &axis_name(rank, i)));
    let padding = padding.collect::<Result<Vec<_>, _>>()?;
    Conv::new(ConvSpec {
        batch: Size::Known(problem.value("mb").unwrap_or(DEFAULT_BATCH)),
        in_channels: problem.needed("ic")?,
        out_channels: problem.needed("oc")?,
        groups: problem.value("g").unwrap_or(1),
        stride: PerAxis::Each(lines.iter().map(|line| line.stride).collect()),
        dilation: PerAxis::Each(lines.iter().map(|line| line.dilation).collect()),
        padding: Padding::from(padding),
        ..ConvSpec::new(lines.iter().map(|line| line.input), lines.iter().map(|line| line.kernel))
    })
}

struct Problem<'a> {
    scan: Scanner<'a>,
    keys: Vec<(&'static str, Given)>,
}

impl Problem<'_> {
    fn read(&mut self) -> Result<(), Error> {
        self.scan.skip_spaces();
        while self.scan.peek().is_some_and(|c| c != 'n' && !c.is_whitespace()) {
            if !self.scan.eat('_') {
                self.pair()?;
            }
        }
        if self.scan.eat('n') {
            self.scan.run(|c| !c.is_whitespace());
        }
        self.scan.end()
    }

    fn pair(&mut self) -> Result<(), Error> {
        let at = self.scan.position();
        let Some(&key) = KEYS.iter().find(|key| self.scan.eat_word(key)) else {
            let word = self.scan.run(char::is_alphabetic);
            return Err(self.scan.unknown(at, word, &KEYS));
        };
        if self.given(key).is_some() {
            return Err(self.scan.error(at, format!("{key} is given twice")));
        }
        let value = self.scan.number()?;
        if value as u128 > LIMIT {
            return Err(self
                .scan
                .error(at, format!("{key} {value} is too large: the limit is {LIMIT}")));
        }
        self.keys.push((key, Given { value, at }));
        Ok(())
    }

    fn given(&self, key: &str) -> Option<Given> {
        self.keys.iter().find(|(known, _)| *known == key).map(|&(_, given)| given)
    }

    fn value(&self, key: &str) -> Option<usize> {
        self.given(key).map(|given| given.value)
    }

    fn needed(&self, key: &str) -> Result<usize, Error> {
        self.value(key)
            .ok_or_else(|| self.scan.error(self.scan.position(), format!("{key} is missing")))
    }

    /// The axes, outermost first.
    fn lines(&self) -> Result<Vec<Line>, Error> {
        let mut lines: Vec<Line> = Vec::new();
        for axis in ['d', 'h', 'w'] {
            if self.keys.iter().any(|(key, _)| key.len() == 2 && key.ends_with(axis)) {
                lines.push(self.line(axis)?);
            } else if let Some(&before) = lines.last() {
                lines.push(before);
            }
        }
        if lines.is_empty() {
            return Err(self
                .scan
                .error(self.scan.position(), "ih, iw or id is missing".to_owned()));
        }
        Ok(lines)
    }

    fn line(&self, axis: char) -> Result<Line, Error> {
        let value = |what: char| self.value(&format!("{what}{axis}"));
        Ok(Line {
            input: self.needed(&format!("i{axis}"))?,
            output: self.given(&format!("o{axis}")),
            kernel: self.needed(&format!("k{axis}"))?,
            stride: value('s').unwrap_or(1),
            before: value('p'),
            dilation: value('d').unwrap_or(0) + 1,
        })
    }

    fn padding(&self, line: &Line, name: &str) -> Result<(usize, usize), Error> {
        let both = (line.before.unwrap_or(0), line.before.unwrap_or(0));
        let Some(output) = line.output else { return Ok(both) };
        if line.stride == 0 || line.kernel == 0 || line.input == 0 || line.fits(both, output.value)
        {
            return Ok(both); // zeros are for the constructor to refuse
        }
        let missing = line.missing_padding(output.value);
        let before = line.before.map_or((missing / 2).max(0), |before| before as i128);
        let after = missing - before;
        if after < 0 || after > before.max(line.window() - 1) || before + after > LIMIT as i128 {
            return Err(self.contradiction(line, output, name));
        }
        Ok((before as usize, after as usize)) // neither is negative, and both are below the limit
    }

    fn contradiction(&self, line: &Line, output: Given, name: &str) -> Error {
        let Line { input, kernel, stride, dilation, .. } = *line;
        let padding = line.before.unwrap_or(0);
        let window = if dilation == 1 {
            format!("{kernel}")
        } else {
            format!("{dilation} * ({kernel} - 1) - 1")
        };
        let extent = line.extent((padding, padding));
        let hint = match line.is_transposed(output.value) {
            true => {
                "; problem strings do not say so, but this looks like a deconvolution: write it as conv2d-transposed ic.. oc.. in .. kernel .."
            }
            false => "",
        };
        let message = format!(
            "output {name} is ({input} + {padding} + {padding} - {window}) / {stride} + 1 = {extent}, but the problem says {}{hint}",
            output.value
        );
        self.scan.error(output.at, message)
    }
}

impl Line {
    /// Whether it would fit a transposed convolution, but for an output padding.
    fn is_transposed(&self, output: usize) -> bool {
        let padding = 2 * self.before.unwrap_or(0) as i128;
        let least = (self.input as i128 - 1) * self.stride as i128 + self.window() - padding;
        (least..least + self.stride.max(1) as i128).contains(&(output as i128))
    }

    fn window(&self) -> i128 {
        self.dilation as i128 * (self.kernel as i128 - 1) + 1
    }

    fn extent(&self, (before, after): (usize, usize)) -> i128 {
        let padded = self.input as i128 + before as i128 + after as i128;
        (padded - self.window()).div_euclid(self.stride as i128) + 1
    }

    fn fits(&self, padding: (usize, usize), output: usize) -> bool {
        self.extent(padding) == output as i128
    }

    /// Padding on both sides together that the output needs to be just reached; negative where
    /// input is left over.
    fn missing_padding(&self, output: usize) -> i128 {
        (output as i128 - 1) * self.stride as i128 + self.window() - self.input as i128
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(problem: &str, text: &str) {
        let conv = parse_benchdnn(problem).unwrap_or_else(|e| panic!("{problem}: {e}"));
        assert_eq!(conv.to_string(), text, "{problem}");
        assert_eq!(problem.parse(), Ok(conv));
    }

    fn refused(problem: &str) -> String {
        problem.parse::<Conv>().unwrap_err().to_string()
    }

    #[test]
    fn problems_as_they_are_shared() {
        check(
            "g32ic64ih56oc64oh56kh3ph1",
            "conv2d f32 n2 g32 ic64 oc64 in 56x56 kernel 3x3 pad 1:1,1:1",
        );
        check(
            "mb1_ic3ih227_oc96oh55_kh11_sh4ph0_nalexnet:conv1",
            "conv2d f32 n1 g1 ic3 oc96 in 227x227 kernel 11x11 stride 4x4",
        );
        check(
            "ic3ih224oc64oh112kh7sh2ph3n\"resnet_50:conv1\"",
            "conv2d f32 n2 g1 ic3 oc64 in 224x224 kernel 7x7 stride 2x2 pad 3:3,3:3",
        );
        check("mb1ic4iw9oc8ow7kw3pw0", "conv1d f32 n1 g1 ic4 oc8 in 9 kernel 3");
        check(
            "mb1ic4id8oc8kd3pd1",
            "conv3d f32 n1 g1 ic4 oc8 in 8x8x8 kernel 3x3x3 pad 1:1,1:1,1:1",
        );
        check(
            "mb1ic16ih33iw20oc16kh3kw5ph2pw4dh1dw1",
            "conv2d f32 n1 g1 ic16 oc16 in 33x20 kernel 3x5 dilation 2x2 pad 2:2,4:4",
        );
    }

    #[test]
    fn output_decides_the_padding() {
        check("mb1ic1ih5oc1oh5kh3", "conv2d f32 n1 g1 ic1 oc1 in 5x5 kernel 3x3 pad 1:1,1:1");
        check(
            "mb1ic1iw300oc1ow150kw3sw2pw0",
            "conv1d f32 n1 g1 ic1 oc1 in 300 kernel 3 stride 2 pad 0:1",
        );
        check("mb1ic1iw6oc1ow6kw2", "conv1d f32 n1 g1 ic1 oc1 in 6 kernel 2 pad 0:1");
        check("mb1ic1iw224oc1ow112kw1sw2", "conv1d f32 n1 g1 ic1 oc1 in 224 kernel 1 stride 2");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let cases = [
            (
                "ic16ih8oc8oh15kh3sh2ph1",
                "11: output height is (8 + 1 + 1 - 3) / 2 + 1 = 4, but the problem says 15; problem strings do not say so, \
                 but this looks like a deconvolution: write it as conv2d-transposed ic.. oc.. in .. kernel ..",
            ),
            (
                "ic3ih224oc64oh90kh7sh2ph3",
                "13: output height is (224 + 3 + 3 - 7) / 2 + 1 = 112, but the problem says 90",
            ),
            (
                "ic3ih9oc64oh500kh3dh1",
                "11: output height is (9 + 0 + 0 - 2 * (3 - 1) - 1) / 1 + 1 = 5, but the problem says 500",
            ),
            (
                "mb1ic1ih1oc1kh1sh140737488355328oh70368744177665",
                "33: output height is (1 + 0 + 0 - 1) / 140737488355328 + 1 = 1, but the problem says 70368744177665",
            ),
            ("ic3ih9kh3", "10: oc is missing"),
            ("ic3oc3kh3", "10: ih is missing"),
            ("ic3oc3ih5", "10: kh is missing"),
            ("ic3oc3", "7: ih, iw or id is missing"),
            ("ic3oc3ih5kh3kw5", "16: iw is missing"),
            ("icoc3ih5kh3", "3: found `oc3ih5kh3`, expected a number"),
            ("ic3oc3ih5kh", "12: found nothing, expected a number"),
            ("ic3zz4", "4: found `zz`, expected"),
            ("ic3ic4", "4: ic is given twice"),
            ("ic3ih5-4", "7: found `-4`, expected"),
            ("ic999999999999999", "1: ic 999999999999999 is too large"),
        ];
        for (problem, expected) in cases {
            let found = refused(problem);
            let expected = format!("cannot read the benchdnn problem at column {expected}");
            assert!(found.starts_with(&expected), "{problem}\n{found}\n{expected}");
        }
        assert!(
            refused("ic3oc3ih5kh3sh0oh4")
                .starts_with("stride (height, width): 0, but must be at least 1")
        );
        assert!(refused("g0ic3oc3ih5kh3").starts_with("groups: 0, but must be at least 1"));
        assert!(
            refused("ic3oc3ih5kh7")
                .starts_with("kernel (height): output height is (5 + 0 + 0 - 7) / 1 + 1 = -1")
        );
    }
}
