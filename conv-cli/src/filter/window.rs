//! The windows that `filter` knows by name, as convolutions of a picture's planes.
//!
//! In: the text after `--window`. Out: [`Pass`]es to run one after the other, and how the numbers
//! become pixels. Definitions are those of `scipy.ndimage` (`sobel`, `gaussian_filter` with its
//! truncation at four sigma, `uniform_filter`, `laplace`, `correlate`), so that results can be
//! compared number by number. Windows of low rank run as a column pass and a row pass, as there.

use std::str::FromStr;

use conv_ir::cut;

/// Longest row or column of taps: far beyond use, and small enough to compute with.
const MAX_TAPS: usize = 65_535;

/// A window, by name.
#[derive(Clone, Debug, PartialEq)]
pub enum Window {
    /// Magnitude of the gradient.
    Sobel,
    /// Derivative along x, smoothed along y.
    SobelX,
    /// Derivative along y, smoothed along x.
    SobelY,
    /// Gaussian of that standard deviation.
    Gaussian(f64),
    /// The picture minus its Laplacian.
    Sharpen,
    /// Light from the upper left.
    Emboss,
    /// Second derivative.
    Laplacian,
    /// Mean of a square.
    Box(usize),
    /// Any numbers, row by row.
    Literal(Vec<Vec<f64>>),
}

/// One convolution of every plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    /// Rows and columns.
    pub kernel: [usize; 2],
    /// One window after the other; each makes a plane of its own.
    pub windows: Vec<Vec<f64>>,
}

impl Pass {
    fn new<const W: usize, const H: usize>(rows: [[f64; W]; H]) -> Pass {
        Pass { kernel: [H, W], windows: vec![rows.concat()] }
    }

    fn column(taps: &[f64]) -> Pass {
        Pass { kernel: [taps.len(), 1], windows: vec![taps.to_vec()] }
    }

    fn row(taps: &[f64]) -> Pass {
        Pass { kernel: [1, taps.len()], windows: vec![taps.to_vec()] }
    }
}

/// How the last pass's numbers become pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Finish {
    /// As they are.
    Plain,
    /// Without their sign.
    Absolute,
    /// Two planes become the length of the vector that they hold.
    Magnitude,
}

const SOBEL_X: [[f64; 3]; 3] = [[-1., 0., 1.], [-2., 0., 2.], [-1., 0., 1.]];
const SOBEL_Y: [[f64; 3]; 3] = [[-1., -2., -1.], [0., 0., 0.], [1., 2., 1.]];

impl Window {
    /// The convolutions to run, first one first.
    pub fn passes(&self) -> Vec<Pass> {
        match self {
            Window::Sobel => {
                vec![Pass { kernel: [3, 3], windows: vec![SOBEL_X.concat(), SOBEL_Y.concat()] }]
            }
            Window::SobelX => vec![Pass::new(SOBEL_X)],
            Window::SobelY => vec![Pass::new(SOBEL_Y)],
            Window::Sharpen => vec![Pass::new([[0., -1., 0.], [-1., 5., -1.], [0., -1., 0.]])],
            Window::Emboss => vec![Pass::new([[-2., -1., 0.], [-1., 1., 1.], [0., 1., 2.]])],
            Window::Laplacian => vec![Pass::new([[0., 1., 0.], [1., -4., 1.], [0., 1., 0.]])],
            Window::Gaussian(sigma) => column_and_row(&gaussian(*sigma)),
            Window::Box(size) => column_and_row(&vec![1.0 / *size as f64; *size]),
            Window::Literal(rows) => {
                vec![Pass { kernel: [rows.len(), rows[0].len()], windows: vec![rows.concat()] }]
            }
        }
    }

    /// Edges have no colour: the picture is made grey first.
    pub fn wants_grey(&self) -> bool {
        self.finish() != Finish::Plain
    }

    /// How numbers become pixels.
    pub fn finish(&self) -> Finish {
        match self {
            Window::Sobel => Finish::Magnitude,
            Window::SobelX | Window::SobelY | Window::Laplacian => Finish::Absolute,
            Window::Gaussian(_)
            | Window::Sharpen
            | Window::Emboss
            | Window::Box(_)
            | Window::Literal(_) => Finish::Plain,
        }
    }
}

fn column_and_row(taps: &[f64]) -> Vec<Pass> {
    vec![Pass::column(taps), Pass::row(taps)]
}

/// How far the Gaussian reaches: four sigma, rounded, as in `scipy.ndimage`.
fn radius(sigma: f64) -> f64 {
    (4.0 * sigma + 0.5).floor()
}

fn gaussian(sigma: f64) -> Vec<f64> {
    let radius = radius(sigma) as i64;
    let taps: Vec<f64> =
        (-radius..=radius).map(|x| (-0.5 * (x as f64 / sigma).powi(2)).exp()).collect();
    let sum: f64 = taps.iter().sum();
    taps.iter().map(|tap| tap / sum).collect()
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Window, String> {
        if text.starts_with('[') {
            return literal(text);
        }
        let (name, argument) =
            text.split_once(':').map_or((text, None), |(name, argument)| (name, Some(argument)));
        let window = match (name, argument) {
            ("gaussian", Some(sigma)) => return parse_gaussian(sigma),
            ("box", Some(size)) => return parse_box(size),
            ("gaussian", None) => {
                return Err("needs its standard deviation in pixels, as in gaussian:1.5".to_owned());
            }
            ("box", None) => return Err("needs its size in pixels, as in box:5".to_owned()),
            ("sobel", _) => Window::Sobel,
            ("sobel-x", _) => Window::SobelX,
            ("sobel-y", _) => Window::SobelY,
            ("sharpen", _) => Window::Sharpen,
            ("emboss", _) => Window::Emboss,
            ("laplacian", _) => Window::Laplacian,
            _ => return Err(format!("there is no window of that name; {KNOWN}")),
        };
        match argument {
            Some(argument) => Err(format!("{name} takes no number, but got '{}'", cut(argument))),
            None => Ok(window),
        }
    }
}

/// For help and errors.
pub const KNOWN: &str = "known are sobel, sobel-x, sobel-y, gaussian:SIGMA, sharpen, emboss, laplacian, box:N, \
                         and a literal window such as [[0,1,0],[1,-4,1],[0,1,0]]";

fn parse_gaussian(text: &str) -> Result<Window, String> {
    let sigma: f64 = text.parse().map_err(|_| {
        format!("'{}' is not a number; give the standard deviation in pixels", cut(text))
    })?;
    if !(sigma > 0.0 && 2.0 * radius(sigma) < MAX_TAPS as f64) {
        return Err(format!(
            "the standard deviation must be above 0 and below {} pixels",
            MAX_TAPS / 8
        ));
    }
    Ok(Window::Gaussian(sigma))
}

fn parse_box(text: &str) -> Result<Window, String> {
    match text.parse() {
        Ok(size) if (1..=MAX_TAPS).contains(&size) => Ok(Window::Box(size)),
        _ => Err(format!("the size must be a whole number from 1 to {MAX_TAPS}")),
    }
}

fn literal(text: &str) -> Result<Window, String> {
    let rows: Vec<Vec<f64>> = serde_json::from_str(text).map_err(|error| {
        format!("a literal window is rows of numbers, as in [[0,1,0],[1,-4,1],[0,1,0]]: {error}")
    })?;
    let width = rows.first().map_or(0, Vec::len);
    if width == 0 {
        return Err("a literal window needs at least one number".to_owned());
    }
    if let Some((at, row)) = rows.iter().enumerate().find(|(_, row)| row.len() != width) {
        return Err(format!(
            "row {at} of the window has {} numbers, but row 0 has {width}",
            row.len()
        ));
    }
    match rows.iter().flatten().find(|tap| !(**tap as f32).is_finite()) {
        Some(tap) => Err(format!("{tap} is beyond the numbers of 32 bits that pictures are")),
        None => Ok(Window::Literal(rows)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaussian_reaches_four_sigma_and_sums_to_one() {
        let taps = gaussian(1.5);
        assert_eq!(taps.len(), 13);
        assert!((taps.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        assert!(taps.iter().zip(taps.iter().rev()).all(|(a, b)| a == b));
    }

    #[test]
    fn a_narrow_gaussian_is_one_tap() {
        assert_eq!(gaussian(0.1), [1.0]);
    }

    #[test]
    fn bad_windows_say_what_is_wrong() {
        let message = |text: &str| text.parse::<Window>().expect_err(text);
        assert!(message("sobl").contains("no window of that name"));
        assert!(message("gaussian").contains("standard deviation"));
        for sigma in ["gaussian:0", "gaussian:-1", "gaussian:nan", "gaussian:inf", "gaussian:1e9"] {
            assert!(message(sigma).contains("above 0"), "{sigma}");
        }
        assert!(message("gaussian:x").contains("not a number"));
        for long in ["gaussian:", "sobel:", "box:", "[["] {
            assert!(message(&format!("{long}{}", "7,".repeat(50_000))).len() < 300, "{long}");
        }
        assert!(message("box:0").contains("from 1 to"));
        assert!(message("sobel:3").contains("takes no number"));
        assert!(message("[]").contains("at least one number"));
        assert!(message("[[1,2],[3]]").contains("row 1 of the window has 1 numbers"));
        assert!(message("[[1,a]]").contains("rows of numbers"));
        assert!(message("[[1e40,0]]").contains("beyond the numbers of 32 bits"));
    }
}
