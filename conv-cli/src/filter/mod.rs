//! `convc filter`: a picture in, a picture out.
//!
//! A picture's planes are the channels of one depthwise convolution per pass, padded so that the
//! size stays. A window of whole numbers, or of whole numbers over one divisor, is a program of
//! integers on the pixels as they lie in the file ([`whole`]). In others numbers are f32 on the
//! scale 0 to 255 until the last pass is done; then they are rounded and kept within 0 to 255 (in
//! 16 bits with their fractions). Opacity is copied, and is the weight of a pixel's colour. Edge
//! windows first make the picture grey, by a 1x1 convolution with the luma weights of ITU-R BT.601.

mod around;
mod border;
mod passes;
mod picture;
mod whole;
mod window;

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::route::Route;
use crate::table::{self, milliseconds};
use crate::values::{Exactness, Outside};
use crate::{output, values};
use passes::{Filtered, Report};
use picture::Picture;
use window::Window;

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
  [[..],[..]]/N   the same, divided by N

Definitions are those of scipy.ndimage, also at the border: its mode 'reflect' is our default, symmetric (its 'mirror' is our \
reflect, 'nearest' replicate, 'wrap' circular). A window is applied as it is written (correlation); --flip reverses it first. \
Grey is 0.299 red + 0.587 green + 0.114 blue. Results are rounded to the nearest whole number (halves to even, as OpenCV \
does) and kept within 0 to 255. 16 bits in give 16 bits out (JPEG has 8). Windows of whole numbers, with a divisor or \
without, are exact: sums are of integers, and each is rounded once, by every route alike. Sums beyond 32 bits and pictures \
that are transparent in part are computed in f32.

Transparency stays as it is, and what nobody sees does not bleed: a mean of colours weighs each by its opacity, and in windows with \
negative numbers a transparent neighbour counts as the middle pixel's own colour.

Colour profile and resolution are kept; a profile that is not of such colours is not (edges are grey), nor are Exif and texts.

Examples:
  convc filter photo.png --window sobel -o edges.png
  convc filter photo.jpg --window gaussian:2.5 --padding-mode replicate -o soft.jpg
  curl https://example.org/photo.png | convc filter - --window sharpen -o - > sharp.png
  convc filter photo.png --window '[[0,-1,0],[-1,5,-1],[0,-1,0]]' -o sharp.png";

/// Filter a picture (PNG or JPEG)
///
/// Colour is kept, except by the windows that look for edges; transparency stays as it is (JPEG has
/// none). Prints sizes, route and times.
#[derive(clap::Args)]
#[command(after_help = NOTES)]
pub struct Args {
    /// The picture, PNG or JPEG; - is standard input
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write; its ending (.png, .jpg, .jpeg) gives the format. - is standard output, as
    /// PNG
    #[arg(long, short, value_name = "OUT")]
    output: PathBuf,
    /// sobel, sobel-x, sobel-y, gaussian:SIGMA, sharpen, emboss, laplacian, box:N, [[..],[..]] or
    /// [[..],[..]]/N
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
    /// Also save the numbers as they were before rounding: [height, width] or [height, width, 3],
    /// on the scale 0 to 255, of pictures of 16 bits too
    #[arg(long, value_name = "OUT.npy")]
    npy: Option<PathBuf>,
    /// Who computes it
    #[arg(long, value_enum, default_value_t = Route::Auto)]
    route: Route,
    /// Threads to share the work
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::threads, allow_negative_numbers = true)]
    threads: usize,
    /// Refuse a picture of more pixels; one in colour takes about 45 bytes of memory a pixel
    #[arg(long, value_name = "N", default_value_t = picture::MOST_PIXELS, value_parser = clap::value_parser!(u64).range(1..))]
    max_pixels: u64,
    #[command(flatten)]
    exactness: Exactness,
}

/// The command.
pub fn filter(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let format = picture::format_of(&args.output)?;
    let outputs: Vec<&Path> = args.npy.iter().chain([&args.output]).map(PathBuf::as_path).collect();
    output::check(&outputs, &[&args.input])?;
    let mode = args.padding_mode.with_value(args.padding_value).map_err(Failure::Usage)?;
    let before = Picture::read(&args.input, args.max_pixels)?;
    let words = before.words();
    let steps = match before.opacity() {
        None => whole::Steps::of(args, mode, &before),
        Some(_) => None,
    };
    let Filtered { picture, numbers, report } = match steps {
        Some(steps) => steps.apply(args, before)?,
        None => passes::apply(args, mode, before)?,
    };
    let encode =
        |numbers: Vec<f32>| conv_files::encode(&picture.shape(), &numbers).map_err(Failure::Usage);
    let saved = numbers.map(encode).transpose()?;
    let encoded = picture
        .encode(format)
        .map_err(|error| Failure::file(&args.output, format!("cannot be encoded: {error}")))?;
    let contents = saved.iter().chain([&encoded]).map(Vec::as_slice);
    output::write(&outputs.iter().copied().zip(contents).collect::<Vec<_>>())?;
    print(args, &words, &report, &mut *output::remarks(out, &outputs))
}

fn print(args: &Args, picture: &str, report: &Report, out: &mut dyn Write) -> Result<(), Failure> {
    let mut lines = vec![
        ("picture", picture.to_owned()),
        ("window", report.kernels.join(", then ")),
        ("route", report.route.to_owned()),
        ("compile", milliseconds(report.compile)),
        ("run", milliseconds(report.run)),
        ("written", args.output.display().to_string()),
    ];
    if args.exactness.accuracy.admits().is_some() {
        let split = match &report.split[..] {
            [] if report.is_whole => "exact: sums are of integers".to_owned(),
            [] => "exact: columns and rows would not be faster".to_owned(),
            split => split.join("; "),
        };
        lines.insert(2, ("accuracy", split));
    }
    Ok(out.write_all(table::pairs(&lines).as_bytes())?)
}
