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

/// Taps of a window that stays one, though it is a column times a row.
const MOST_AT_ONCE: usize = 16;

/// Largest number that a literal window is divided by: f32 holds whole numbers up to it.
const MAX_DIVISOR: u32 = 1 << 24;

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
    /// Any numbers, row by row, and what their sum is divided by.
    Literal(Vec<Vec<f64>>, u32),
}

/// Windows of whole numbers, one pass after the other, and what the last one's sums are divided by.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    pub passes: Vec<Pass<i32>>,
    /// At least 1.
    pub divisor: u32,
}

/// One convolution of every plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass<T = f64> {
    /// Rows and columns.
    pub kernel: [usize; 2],
    /// One window after the other; each makes a plane of its own.
    pub windows: Vec<Vec<T>>,
}

impl<T: Clone> Pass<T> {
    fn column(taps: &[T]) -> Pass<T> {
        Pass { kernel: [taps.len(), 1], windows: vec![taps.to_vec()] }
    }

    fn row(taps: &[T]) -> Pass<T> {
        Pass { kernel: [1, taps.len()], windows: vec![taps.to_vec()] }
    }
}

impl Pass<i32> {
    /// A window as a column and a row whose products it is, where it is so and so large that two
    /// passes are less work.
    pub fn split(&self) -> Option<[Pass<i32>; 2]> {
        let [taps] = &self.windows[..] else { return None };
        let [height, width] = self.kernel;
        let count = taps.iter().filter(|tap| **tap != 0).count();
        if height == 1 || width == 1 || count <= MOST_AT_ONCE {
            return None;
        }
        let rows = || taps.chunks_exact(width);
        let first = rows().find(|row| row.iter().any(|tap| *tap != 0))?;
        let factor =
            first.iter().fold(0, |factor, tap| greatest_divisor(factor, tap.unsigned_abs()));
        let row: Vec<i32> =
            first.iter().map(|tap| (i64::from(*tap) / i64::from(factor)) as i32).collect();
        let at = row.iter().position(|tap| *tap != 0)?;
        let column: Vec<i32> =
            rows().map(|taps| taps[at].checked_div(row[at]).unwrap_or(0)).collect();
        let is_product = |(taps, factor): (&[i32], &i32)| {
            taps.iter()
                .zip(&row)
                .all(|(tap, by)| i64::from(*tap) == i64::from(*factor) * i64::from(*by))
        };
        let is_one = rows().zip(&column).all(is_product);
        is_one.then(|| [Pass::column(&column), Pass::row(&row)])
    }
}

fn greatest_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

impl Pass {
    fn new<const W: usize, const H: usize>(rows: [[f64; W]; H]) -> Pass {
        Pass { kernel: [H, W], windows: vec![rows.concat()] }
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
            Window::Literal(rows, divisor) => {
                let taps = rows.concat().iter().map(|tap| tap / f64::from(*divisor)).collect();
                vec![Pass { kernel: [rows.len(), rows[0].len()], windows: vec![taps] }]
            }
        }
    }

    /// The same as whole numbers over one divisor, where it is that.
    pub fn whole(&self) -> Option<Whole> {
        let (passes, divisor) = match self {
            Window::Gaussian(_) => return None,
            Window::Box(size) => {
                // Longer ones have sums beyond 32 bits.
                let size = u32::try_from(*size).ok().filter(|size| *size < 4096)?;
                let ones = vec![1.0; size as usize];
                (column_and_row(&ones), size * size)
            }
            Window::Literal(rows, divisor) => {
                let kernel = [rows.len(), rows[0].len()];
                (vec![Pass { kernel, windows: vec![rows.concat()] }], *divisor)
            }
            Window::Sobel
            | Window::SobelX
            | Window::SobelY
            | Window::Sharpen
            | Window::Emboss
            | Window::Laplacian => (self.passes(), 1),
        };
        let whole = |tap: &f64| (f64::from(*tap as i32) == *tap).then_some(*tap as i32);
        let window = |taps: &Vec<f64>| taps.iter().map(whole).collect::<Option<Vec<i32>>>();
        let pass = |Pass { kernel, windows }| -> Option<Pass<i32>> {
            let windows: &Vec<Vec<f64>> = &windows;
            Some(Pass { kernel, windows: windows.iter().map(window).collect::<Option<_>>()? })
        };
        Some(Whole { passes: passes.into_iter().map(pass).collect::<Option<_>>()?, divisor })
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
            | Window::Literal(..) => Finish::Plain,
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
                         and a literal window such as [[0,1,0],[1,-4,1],[0,1,0]] or [[1,2,1],[2,4,2],[1,2,1]]/16";

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
    let (rows, divisor) = match text.rsplit_once('/') {
        Some((rows, divisor)) => (rows.trim_end(), Some(divisor.trim())),
        None => (text, None),
    };
    let divisor = match divisor.map(str::parse) {
        None => 1,
        Some(Ok(divisor)) if (1..=MAX_DIVISOR).contains(&divisor) => divisor,
        Some(_) => {
            return Err(format!(
                "what a window is divided by must be a whole number from 1 to {MAX_DIVISOR}, as in \
                 [[1,2,1],[2,4,2],[1,2,1]]/16"
            ));
        }
    };
    let rows: Vec<Vec<f64>> = serde_json::from_str(rows).map_err(|error| {
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
        None => Ok(Window::Literal(rows, divisor)),
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
    fn whole_numbers_over_one_divisor_are_found() {
        let whole = |text: &str| text.parse::<Window>().expect(text).whole();
        let found = whole("[[1,2,1],[2,4,2]] / 16").expect("whole");
        assert_eq!((found.passes[0].kernel, found.divisor), ([2, 3], 16));
        assert_eq!(found.passes[0].windows, [[1, 2, 1, 2, 4, 2]]);
        assert_eq!(whole("box:5").map(|w| (w.divisor, w.passes.len())), Some((25, 2)));
        assert_eq!(whole("sobel").map(|w| (w.divisor, w.passes[0].windows.len())), Some((1, 2)));
        for text in ["gaussian:1", "[[0.5]]", "[[1,3e9]]", "box:65535"] {
            assert_eq!(whole(text), None, "{text}");
        }
        let passes = "[[1,2]]/4".parse::<Window>().expect("a window").passes();
        assert_eq!(passes[0].windows, [[0.25, 0.5]]);
    }

    #[test]
    fn large_products_are_a_column_and_a_row() {
        let split = |kernel, taps: &[i32]| Pass { kernel, windows: vec![taps.to_vec()] }.split();
        let (column, row) = ([0, -3, 6, 9, 1], [4, -6, 0, 2]);
        let taps: Vec<i32> = column.iter().flat_map(|c| row.map(|r| c * r)).collect();
        assert_eq!(split([5, 4], &taps), None, "there are twelve");
        let taps: Vec<i32> = [-3, 6, 9, 1, 5, 7].iter().flat_map(|c| row.map(|r| c * r)).collect();
        let [found, other] = split([6, 4], &taps).expect("a product");
        assert_eq!((found.kernel, other.kernel), ([6, 1], [1, 4]));
        let again =
            found.windows[0].iter().flat_map(|c| other.windows[0].iter().map(move |r| c * r));
        assert_eq!(again.collect::<Vec<_>>(), taps);
        let mut near = taps.clone();
        near[13] += 1;
        assert_eq!(split([6, 4], &near), None);
        assert_eq!(split([1, 24], &taps), None);
        assert_eq!(split([6, 4], &[0; 24]), None);
        assert_eq!(split([6, 4], &[i32::MIN; 24]), None, "-1 has no such multiple");
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
        for divisor in ["0", "-1", "1.5", "", "4 4", "16777217", "1e3"] {
            assert!(message(&format!("[[1,2]]/{divisor}")).contains("divided by"), "{divisor}");
        }
        assert!(message("[[1e40,0]]").contains("beyond the numbers of 32 bits"));
    }
}
