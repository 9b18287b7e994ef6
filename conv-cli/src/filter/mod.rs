//! `convc filter`: a picture in, a picture out.
//!
//! A picture's planes are the channels of one depthwise convolution per pass, padded so that the
//! size stays. Numbers are f32 on the scale 0 to 255 until the last pass is done; then they are
//! rounded and kept within 0 to 255. Opacity is copied. Edge windows first make the picture grey,
//! by a 1x1 convolution with the luma weights of ITU-R BT.601.

mod picture;
mod window;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use conv_ir::separate::Accuracy;
use conv_ir::{Conv, ConvSpec, PaddingMode};

use crate::failure::Failure;
use crate::output;
use crate::route::{self, Ready, Route, Weights};
use crate::table::{self, milliseconds};
use crate::values::Outside;
use picture::Picture;
use window::{Finish, Pass, Window};

/// Red, green and blue in BT.601 luma.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

const NOTES: &str = "\
Windows:
  sobel           edges: the length of the gradient; grey
  sobel-x         the derivative along x (vertical edges), without its sign; grey
  sobel-y         the derivative along y, without its sign; grey
  laplacian       the second derivative, without its sign; grey
  gaussian:SIGMA  a blur; taps reach 4 sigma, a column pass and a row pass
  box:N           the mean of N x N pixels, a column pass and a row pass
  sharpen         the picture minus its second derivative
  emboss          light from the upper left
  [[..],[..]]     any numbers, row by row; the middle is height/2 down and width/2 across

Definitions are those of scipy.ndimage, also at the border: its mode 'reflect' is our default, symmetric (its 'mirror' is our \
reflect, 'nearest' replicate, 'wrap' circular). A window is applied as it is written (correlation); --flip reverses it first. \
Grey is 0.299 red + 0.587 green + 0.114 blue. Results are rounded to the nearest whole number (halves upwards) and kept \
within 0 to 255.

Examples:
  convc filter photo.png --window sobel -o edges.png
  convc filter photo.jpg --window gaussian:2.5 --padding-mode replicate -o soft.jpg
  convc filter photo.png --window '[[0,-1,0],[-1,5,-1],[0,-1,0]]' -o sharp.png";

/// Filter a picture (PNG or JPEG)
///
/// Colour is kept, except by the windows that look for edges; transparency stays as it is (JPEG has
/// none). Prints sizes, route and times.
#[derive(clap::Args)]
#[command(after_help = NOTES)]
pub struct Args {
    /// The picture, PNG or JPEG
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write; its ending (.png, .jpg, .jpeg) gives the format
    #[arg(long, short, value_name = "OUT")]
    output: PathBuf,
    /// sobel, sobel-x, sobel-y, gaussian:SIGMA, sharpen, emboss, laplacian, box:N, or [[..],[..]]
    #[arg(long, short, value_name = "WINDOW")]
    window: Window,
    /// What lies outside the picture
    #[arg(long, value_name = "MODE", value_enum, default_value_t = Outside::Symmetric)]
    padding_mode: Outside,
    /// The value for --padding-mode constant, on the scale 0 to 255
    #[arg(long, value_name = "V", allow_negative_numbers = true)]
    padding_value: Option<f64>,
    /// True convolution: the window is reversed
    #[arg(long)]
    flip: bool,
    /// Also save the numbers as they were before rounding: [height, width] or [height, width, 3]
    #[arg(long, value_name = "OUT.npy")]
    npy: Option<PathBuf>,
    /// Who computes it
    #[arg(long, value_enum, default_value_t = Route::Auto)]
    route: Route,
    /// exact: the bits of every other route; fast: a window that is a column times a row runs as
    /// those two, within a bound that is printed
    #[arg(long, value_name = "exact|fast", default_value_t = Accuracy::Exact, value_parser = |text: &str| text.parse::<Accuracy>())]
    accuracy: Accuracy,
}

/// The command.
pub fn filter(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let format = picture::format_of(&args.output)?;
    output::check(&args.output)?;
    args.npy.as_deref().map_or(Ok(()), output::check)?;
    let before = Picture::read(&args.input)?;
    let (after, report) = apply(args, &before)?;
    let (shape, numbers) = after.interleaved();
    let encoded = after.shown(args.window.finish()).encode(format);
    let encoded = encoded
        .map_err(|error| Failure::file(&args.output, format!("cannot be encoded: {error}")))?;
    let saved = conv_files::encode(&shape, &numbers).map_err(Failure::Usage)?;
    let also = args.npy.iter().map(|path| (path.as_path(), &saved[..]));
    output::write(&also.chain([(args.output.as_path(), &encoded[..])]).collect::<Vec<_>>())?;
    print(args, &before, &report, out)
}

/// What the passes cost.
#[derive(Default)]
struct Report {
    kernels: Vec<String>,
    /// In the numbers of each pass.
    found: Vec<String>,
    route: &'static str,
    compile: Duration,
    run: Duration,
}

/// A picture on its way through the passes.
struct Work<'a> {
    args: &'a Args,
    mode: PaddingMode,
    picture: Picture,
    report: Report,
}

/// Every pass of the window, one after the other.
fn apply(args: &Args, before: &Picture) -> Result<(Picture, Report), Failure> {
    let mode = args.padding_mode.with_value(args.padding_value).map_err(Failure::Usage)?;
    let mut work = Work { args, mode, picture: before.clone(), report: Report::default() };
    if args.window.wants_grey() && work.picture.planes == 3 {
        work.grey()?;
    }
    for pass in args.window.passes() {
        work.pass(&pass)?;
    }
    if args.window.finish() == Finish::Magnitude {
        work.picture.take_magnitude();
    }
    Ok((work.picture, work.report))
}

impl Work<'_> {
    fn grey(&mut self) -> Result<(), Failure> {
        let spec =
            ConvSpec { in_channels: 3, out_channels: 1, ..ConvSpec::new(self.size(), [1, 1]) };
        self.convolve(spec, LUMA.to_vec())
    }

    fn pass(&mut self, pass: &Pass) -> Result<(), Failure> {
        let planes = self.picture.planes;
        let padding = pass.kernel.map(|taps| around(taps, self.args.flip));
        let spec = ConvSpec {
            in_channels: planes,
            out_channels: planes * pass.windows.len(),
            groups: planes,
            padding: padding.into(),
            padding_mode: self.mode,
            flip: self.args.flip,
            ..ConvSpec::new(self.size(), pass.kernel)
        };
        let weight: Vec<f32> = pass.windows.concat().iter().map(|&tap| tap as f32).collect();
        self.report.kernels.push(format!("{} x {}", pass.kernel[0], pass.kernel[1]));
        self.convolve(spec, weight.repeat(planes))
    }

    fn convolve(&mut self, spec: ConvSpec, weight: Vec<f32>) -> Result<(), Failure> {
        let conv = Conv::new(spec)?;
        let weights = Weights { weight, bias: None };
        let ready = Ready::compiled_in(&conv, self.args.route, self.args.accuracy, &weights)?;
        self.report.found.extend(ready.found.clone());
        let planes = conv.spec().out_channels;
        let mut values = route::zeros(planes * self.picture.height * self.picture.width)?;
        let start = Instant::now();
        ready.run(&self.picture.values, None, &mut values)?;
        self.report.run += start.elapsed();
        self.report.compile += ready.compile;
        self.report.route = ready.route;
        (self.picture.planes, self.picture.values) = (planes, values);
        Ok(())
    }

    fn size(&self) -> [usize; 2] {
        [self.picture.height, self.picture.width]
    }
}

/// Padding that keeps the size. The middle of an even window is the tap after the half, and
/// reversing the window moves it.
fn around(taps: usize, flip: bool) -> (usize, usize) {
    let (half, rest) = (taps / 2, taps - 1 - taps / 2);
    if flip { (rest, half) } else { (half, rest) }
}

fn print(
    args: &Args,
    picture: &Picture,
    report: &Report,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Picture { width, height, .. } = picture;
    let mut lines = vec![
        ("picture", format!("{width} x {height}, {}", picture.colours())),
        ("window", report.kernels.join(", then ")),
        ("route", report.route.to_owned()),
        ("compile", milliseconds(report.compile)),
        ("run", milliseconds(report.run)),
        ("written", args.output.display().to_string()),
    ];
    if !report.found.is_empty() {
        lines.insert(2, ("found", report.found.join("; ")));
    }
    Ok(out.write_all(table::pairs(&lines).as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_window_moves_with_flip() {
        assert_eq!((around(3, false), around(3, true)), ((1, 1), (1, 1)));
        assert_eq!((around(4, false), around(4, true)), ((2, 1), (1, 2)));
    }
}
