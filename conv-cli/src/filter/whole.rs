//! Windows of whole numbers, on a picture's own numbers.
//!
//! ```text
//! u8 --grey--> i32 --window x i8--> i32 --without sign, or as a length; divided--> u8
//! u8 --window x i8--> i32 --times 1 / divisor, rounded, kept within 0 to 255--> u8
//! ```
//!
//! Everything in a line of the second kind is one program of integers, as descriptions have it:
//! each array in the type that it fits, sums in i32, a scale with ONNX's rounding, which is to
//! nearest, ties to even. What sums can be follows from the taps. Where they may pass 32 bits, or
//! the rounding may miss a tie, the window is computed in f32 as others are.
//!
//! What a window reads outside is copied around the picture first. So no convolution has an edge,
//! and all of it is computed along whole rows of bytes, whatever lies outside.
//!
//! Sums of integers are exact in any order, so a window that is a column times a row is both, one
//! after the other, without being asked for.

use std::time::Instant;

use conv_ir::requantise::Rounding;
use conv_ir::{Conv, ConvSpec, DType, Layout, PaddingMode, Program, Stored, Types};

use super::Args;
use super::border::{Outside, Pixel};
use super::passes::{Filtered, Report, around};
use super::picture::{Depth, Picture, Pixels};
use super::window::{Finish, Pass};
use crate::failure::Failure;
use crate::route::{self, How};

/// Red, green and blue in BT.601 luma, in thousandths.
const LUMA: [i32; 3] = [299, 587, 114];
const THOUSAND: u32 = 1000;

/// The numbers of an array are within these.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    least: i128,
    most: i128,
}

/// What a picture goes through.
pub struct Steps {
    program: Program,
    /// Pixels that are copied around the picture: before and behind it, rows first.
    around: [(usize, usize); 2],
    outside: Outside,
    kernels: Vec<String>,
    /// Sums are this many times what they stand for, or one.
    divisor: i64,
    /// The program gives pixels; otherwise sums.
    gives_pixels: bool,
    finish: Finish,
}

/// A convolution of whole numbers.
#[derive(Clone)]
struct Step {
    pass: Pass<i32>,
    channels: [usize; 2],
    groups: usize,
}

impl Steps {
    /// The steps of a window of whole numbers, where sums fit.
    pub fn of(args: &Args, mode: PaddingMode, picture: &Picture) -> Option<Steps> {
        let whole = args.window.whole()?;
        let input = match picture.depth {
            Depth::Eight => DType::U8,
            Depth::Sixteen => DType::U16,
        };
        let (mut planes, mut divisor, mut steps) = (picture.planes, whole.divisor, Vec::new());
        if args.window.wants_grey() && planes == 3 {
            let pass = Pass { kernel: [1, 1], windows: vec![LUMA.to_vec()] };
            steps.push(Step { pass, channels: [3, 1], groups: 1 });
            (planes, divisor) = (1, divisor.checked_mul(THOUSAND)?);
        }
        let split = |pass: Pass<i32>| match pass.split() {
            Some(two) => two.to_vec(),
            None => vec![pass],
        };
        let passes: Vec<Pass<i32>> = whole.passes.into_iter().flat_map(split).collect();
        let around = [0, 1].map(|axis| {
            let sides = passes.iter().map(|pass| around(pass.kernel[axis], args.flip));
            sides.fold((0, 0), |(lo, hi), (before, behind)| (lo + before, hi + behind))
        });
        let kernels = passes.iter().map(|pass| format!("{} x {}", pass.kernel[0], pass.kernel[1]));
        let kernels = kernels.collect();
        for pass in passes {
            let channels = [planes, planes * pass.windows.len()];
            steps.push(Step { pass, channels, groups: planes });
            planes = channels[1];
        }
        let finish = args.window.finish();
        let gives_pixels = finish == Finish::Plain && args.npy.is_none();
        let pixels = gives_pixels.then_some((input, divisor));
        let outside = Outside::of(mode, picture.depth)?;
        let [(top, bottom), (left, right)] = around;
        let size = [picture.height + top + bottom, picture.width + left + right];
        // Where no reciprocal is right, sums come back and are divided as integers.
        let (program, gives_pixels) = match program(steps.clone(), (size, input), pixels, args.flip)
        {
            Some(program) => (program, gives_pixels),
            None => (program(steps, (size, input), None, args.flip)?, false),
        };
        let divisor = divisor.into();
        Some(Steps { program, around, outside, kernels, divisor, gives_pixels, finish })
    }

    /// The picture behind them.
    pub fn apply(&self, args: &Args, picture: Picture) -> Result<Filtered, Failure> {
        let how = How { route: args.route, threads: args.threads, ..How::default() };
        let shape = [picture.height, picture.width, picture.planes];
        let pixels = match &picture.pixels {
            Pixels::Bytes(samples) => self.pixels(&how, samples, shape, Pixels::Bytes)?,
            Pixels::Words(samples) => self.pixels(&how, samples, shape, Pixels::Words)?,
            Pixels::Planes(_) => return Err(Failure::usage("the picture is in f32")),
        };
        let (pixels, sums, mut report) = pixels;
        (report.kernels, report.is_whole) = (self.kernels.clone(), true);
        let steps = picture.depth.steps();
        let per = (self.divisor * i64::from(steps)) as f64;
        let numbers = args.npy.is_some().then(|| {
            let number = |sums: &[i32]| match self.finish {
                Finish::Magnitude => length(sums) / per,
                Finish::Plain | Finish::Absolute => f64::from(sums[0]) / per,
            };
            sums.chunks_exact(self.sums_per_pixel()).map(|sums| number(sums) as f32).collect()
        });
        let planes = match self.finish {
            Finish::Plain => picture.planes,
            Finish::Absolute | Finish::Magnitude => 1,
        };
        Ok(Filtered { picture: Picture { pixels, planes, ..picture }, numbers, report })
    }

    fn sums_per_pixel(&self) -> usize {
        if self.finish == Finish::Magnitude { 2 } else { 1 }
    }

    /// The pixels, and the sums where those are what the program gives.
    fn pixels<T: Stored + Pixel>(
        &self,
        how: &How,
        samples: &[T],
        shape: [usize; 3],
        wrap: fn(Vec<T>) -> Pixels,
    ) -> Result<(Pixels, Vec<i32>, Report), Failure> {
        let start = Instant::now();
        let samples = self.outside.copied(samples, shape, self.around)?;
        let copied = start.elapsed();
        if self.gives_pixels {
            let (output, mut report) = run::<T, T>(&self.program, how, &samples)?;
            report.run += copied;
            return Ok((wrap(output), Vec::new(), report));
        }
        let (sums, mut report) = run::<T, i32>(&self.program, how, &samples)?;
        report.run += copied;
        let start = Instant::now();
        let pixel = |sums: &[i32]| {
            T::kept_within(match self.finish {
                Finish::Plain if sums[0] < 0 => 0,
                Finish::Plain | Finish::Absolute => nearest(i64::from(sums[0]).abs(), self.divisor),
                Finish::Magnitude => (length(sums) / self.divisor as f64).round_ties_even() as i64,
            })
        };
        let pixels = sums.chunks_exact(self.sums_per_pixel()).map(pixel).collect();
        report.run += start.elapsed();
        Ok((wrap(pixels), sums, report))
    }
}

/// `n / d` of what is not below 0, to the nearest, ties to even.
fn nearest(n: i64, d: i64) -> i64 {
    let (floor, rest) = (n / d, n % d);
    floor + i64::from(2 * rest > d || 2 * rest == d && floor % 2 == 1)
}

/// Of a vector of two.
fn length(sums: &[i32]) -> f64 {
    let [x, y] = [sums[0], sums[1]].map(f64::from);
    (x * x + y * y).sqrt()
}

fn run<I: Stored, O: Stored>(
    program: &Program,
    how: &How,
    input: &[I],
) -> Result<(Vec<O>, Report), Failure> {
    let (output, cost) = route::of_integers::<I, O>(program, how, input)?;
    let (compile, run) = (cost.compile, cost.run);
    Ok((output, Report { route: cost.route, compile, run, ..Report::default() }))
}

/// The steps as a program. Behind the last one sums are pixels of that type, after a division, or
/// stay sums.
fn program(
    mut steps: Vec<Step>,
    (mut size, input): ([usize; 2], DType),
    pixels: Option<(DType, u32)>,
    flip: bool,
) -> Option<Program> {
    let (_, most) = input.range()?;
    let (mut range, mut stored) = (Range { least: 0, most: most.into() }, input);
    let ranges = |steps: &[Step], mut range: Range| -> Vec<Range> {
        let each = steps.iter().map(|step| {
            range = range.behind(&step.pass);
            range
        });
        each.collect()
    };
    let found = ranges(&steps, range);
    let mut scale = None;
    if let Some((output, divisor)) = pixels.filter(|(_, divisor)| *divisor > 1) {
        let last = steps.last_mut()?;
        let (_, most) = output.range()?;
        let by = multiple(divisor, most, *found.last()?)?;
        for tap in last.pass.windows.iter_mut().flatten() {
            *tap = tap.checked_mul(by)?;
        }
        scale = Some(1.0 / (f64::from(divisor) * f64::from(by)));
    }
    let count = steps.len();
    let mut convs = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        range = range.behind(&step.pass);
        if !range.fits(DType::I32) {
            return None;
        }
        let output = match pixels {
            Some((output, _)) if at + 1 == count => output,
            None if at + 1 == count => DType::I32,
            _ => range.narrowest(),
        };
        let taps = step.pass.windows.iter().flatten();
        let weight = Range::of(taps.clone().map(|tap| i128::from(*tap)));
        let weight = [DType::I8, DType::I16].into_iter().find(|dtype| weight.fits(*dtype));
        let types = Types::of(stored, weight.unwrap_or(DType::I32)).giving(output);
        let conv = step.conv(size, types, flip).ok()?;
        convs.push(match scale.filter(|_| at + 1 == count) {
            Some(scale) => conv.requantised(Rounding::Onnx, &[scale], 0).ok()?,
            None => conv,
        });
        let [height, width] = step.pass.kernel;
        size = [size[0] + 1 - height, size[1] + 1 - width];
        stored = output;
    }
    Program::new(convs.into_iter().map(Into::into).collect()).ok()
}

impl Step {
    fn conv(&self, size: [usize; 2], types: Types, flip: bool) -> Result<Conv, conv_ir::Error> {
        let Step { pass, channels: [in_channels, out_channels], groups } = self;
        let spec = ConvSpec {
            types,
            layout: Layout::ChannelsLast,
            in_channels: *in_channels,
            out_channels: *out_channels,
            groups: *groups,
            flip,
            ..ConvSpec::new(size, pass.kernel)
        };
        Conv::new(spec)?.with_weights(&pass.windows.concat().repeat(*groups), None)
    }
}

impl Range {
    fn of(numbers: impl Iterator<Item = i128> + Clone) -> Range {
        let (least, most) = (numbers.clone().min().unwrap_or(0), numbers.max().unwrap_or(0));
        Range { least, most }
    }

    /// Of the sums of a pass over numbers in this range.
    fn behind(self, pass: &Pass<i32>) -> Range {
        let ends = pass.windows.iter().flat_map(|taps| {
            let ends = taps.iter().map(|tap| {
                let (a, b) = (self.least * i128::from(*tap), self.most * i128::from(*tap));
                (a.min(b), a.max(b))
            });
            let (least, most) = ends.fold((0, 0), |(a, b), (least, most)| (a + least, b + most));
            [least, most]
        });
        Range::of(ends)
    }

    fn fits(self, dtype: DType) -> bool {
        dtype.range().is_some_and(|(least, most)| {
            self.least >= i128::from(least) && self.most <= i128::from(most)
        })
    }

    /// The smallest type that holds all.
    fn narrowest(self) -> DType {
        let all = [DType::U8, DType::I8, DType::I16, DType::U16];
        all.into_iter().find(|dtype| self.fits(*dtype)).unwrap_or(DType::I32)
    }
}

/// What taps and divisor are multiplied by, so that the reciprocal in f32 rounds every quotient up
/// to `most` right; none where no small number does, or sums pass 32 bits.
///
/// The product with a reciprocal is near a quotient, not it. So that it is rounded as the quotient
/// is, the sums on both sides of each place where rounding changes are tried, and those that are
/// halfway. Rounding is monotonic, so this is all. Sums below 0 become 0 as they do exactly.
fn multiple(divisor: u32, most: impl Into<i64>, sums: Range) -> Option<i32> {
    let (d, most) = (i64::from(divisor), most.into());
    (1..16).find(|&by| {
        let (least, greatest) = (sums.least * i128::from(by), sums.most * i128::from(by));
        if !(Range { least, most: greatest }).fits(DType::I32) {
            return false;
        }
        let scale = 1.0 / (f64::from(divisor) * f64::from(by));
        let Ok(rescale) = Rounding::Onnx.rescale(scale) else { return false };
        let is_right = |sum: i64| {
            i128::from(sum) > sums.most
                || rescale.apply((sum * i64::from(by)) as i32) == nearest(sum, d)
        };
        // Twice a sum that is halfway between two numbers.
        (0..most).map(|number| (2 * number + 1) * d).all(|twice| {
            let below = (twice - 1).div_euclid(2);
            (below.max(0)..=twice / 2 + 1).all(is_right)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_rounded_to_nearest_ties_to_even() {
        let quotients = [0, 1, 2, 3, 4, 6, 7, 8, 10].map(|n| nearest(n, 4));
        assert_eq!(quotients, [0, 0, 0, 1, 1, 2, 2, 2, 2]);
        assert_eq!([2, 3, 4, 7, 8].map(|n| nearest(n, 5)), [0, 1, 1, 1, 2]);
    }

    #[test]
    fn a_multiple_rounds_every_sum_of_bytes_right() {
        let mut needed_more = 0;
        for divisor in 2..=700 {
            let most = i64::from(divisor) * 260;
            let sums = Range { least: -most as i128, most: most.into() };
            let Some(by) = multiple(divisor, 255, sums) else { panic!("1 / {divisor}") };
            needed_more += i32::from(by > 1);
            let scale = 1.0 / (f64::from(divisor) * f64::from(by));
            let rescale = Rounding::Onnx.rescale(scale).expect("a scale");
            for sum in -10..=most as i32 {
                let expected = nearest(i64::from(sum.max(0)), divisor.into()).min(255) as i32;
                assert_eq!(rescale.output(sum * by, 0, (0, 255)), expected, "{sum} / {divisor}");
            }
        }
        assert!(needed_more > 0, "the first multiple is never enough for all");
    }

    #[test]
    fn ranges_are_what_sums_can_be() {
        let pass = Pass { kernel: [1, 3], windows: vec![vec![-2, 3, 1], vec![0, 5, 0]] };
        let range = Range { least: 0, most: 255 }.behind(&pass);
        assert_eq!((range.least, range.most), (-510, 1275));
        assert_eq!(range.narrowest(), DType::I16);
        assert_eq!(Range { least: 0, most: 65535 }.narrowest(), DType::U16);
        assert_eq!(Range { least: -1, most: 65535 }.narrowest(), DType::I32);
    }
}
