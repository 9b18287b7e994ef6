//! The convolutions that a window is, one after the other.
//!
//! In: a picture. Out: the picture with the numbers of the last pass, and what it cost. Colour
//! counts as far as it is seen. A mean is of premultiplied colours, divided by the mean of their
//! opacity:
//!
//! ```text
//! sum(taps) * conv(opacity * colour) / conv(opacity)
//! ```
//!
//! Where taps are negative that divides by next to nothing. There a neighbour that is not seen has
//! the middle pixel's own colour, so that it makes no edge:
//!
//! ```text
//! conv(opacity * colour) + (sum(taps) - conv(opacity)) * own colour
//! ```
//!
//! Without transparency both are `conv(colour)`, and that is what is computed.

use std::time::{Duration, Instant};

use conv_ir::{Conv, ConvSpec, PaddingMode};
use indicatif::{ProgressBar, ProgressStyle};

use super::Args;
use super::picture::{self, Picture, Pixels};
use super::window::{Finish, Pass};
use crate::failure::Failure;
use crate::route::{self, How, Ready, Weights};
use crate::values::Exactness;

/// Red, green and blue in BT.601 luma.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// What the passes cost.
#[derive(Default)]
pub struct Report {
    /// Rows and columns of each.
    pub kernels: Vec<String>,
    /// Windows that ran as columns and rows.
    pub split: Vec<String>,
    /// Sums were of integers, which are exact.
    pub is_whole: bool,
    pub route: &'static str,
    pub compile: Duration,
    pub run: Duration,
}

/// A picture on its way through the passes.
struct Work<'a> {
    args: &'a Args,
    size: [usize; 2],
    planes: usize,
    values: Vec<f32>,
    report: Report,
    /// Shows itself on a terminal only.
    bar: ProgressBar,
}

/// A picture that has gone through the window.
pub struct Filtered {
    pub picture: Picture,
    /// Pixel by pixel, before they were rounded, on the scale 0 to 255, where they are asked for.
    pub numbers: Option<Vec<f32>>,
    pub report: Report,
}

/// Every pass of the window, one after the other.
pub fn apply(args: &Args, mode: PaddingMode, mut picture: Picture) -> Result<Filtered, Failure> {
    let opacity = picture.opacity();
    let mut work = Work {
        args,
        size: [picture.height, picture.width],
        planes: picture.planes,
        values: picture.take_planes(),
        report: Report::default(),
        bar: bar(),
    };
    if args.window.wants_grey() && work.planes == 3 {
        work.grey()?;
    }
    let passes = args.window.passes();
    work.report.kernels =
        passes.iter().map(|pass| format!("{} x {}", pass.kernel[0], pass.kernel[1])).collect();
    let are_means = passes.iter().flat_map(|pass| pass.windows.concat()).all(|tap| tap >= 0.0);
    match opacity {
        None => work.all(&passes, mode)?,
        Some(opacity) if are_means => work.means(&passes, mode, &opacity)?,
        Some(opacity) => {
            for pass in &passes {
                work.differences(pass, mode, &opacity)?;
            }
        }
    }
    work.bar.finish_and_clear();
    let mut values = work.values;
    picture.planes = work.planes;
    if args.window.finish() == Finish::Magnitude {
        let (x, y) = values.split_at(picture.height * picture.width);
        values = x.iter().zip(y).map(|(x, y)| x.hypot(*y)).collect();
        picture.planes = 1;
    }
    let numbers = args.npy.is_some().then(|| picture::interleaved(&values, picture.planes));
    // As pixels show it: derivatives have a sign, pixels have none.
    if args.window.finish() == Finish::Absolute {
        values.iter_mut().for_each(|value| *value = value.abs());
    }
    picture.pixels = Pixels::Planes(values);
    Ok(Filtered { picture, numbers, report: work.report })
}

/// Turns while there is something to wait for.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

impl Work<'_> {
    fn grey(&mut self) -> Result<(), Failure> {
        let spec = ConvSpec { in_channels: 3, out_channels: 1, ..ConvSpec::new(self.size, [1, 1]) };
        self.convolve(spec, LUMA.to_vec())
    }

    fn all(&mut self, passes: &[Pass], mode: PaddingMode) -> Result<(), Failure> {
        passes.iter().try_for_each(|pass| self.pass(pass, mode))
    }

    fn means(
        &mut self,
        passes: &[Pass],
        mode: PaddingMode,
        opacity: &[f32],
    ) -> Result<(), Failure> {
        let own = self.values.clone();
        self.premultiply(opacity);
        self.all(passes, mode)?;
        let weight = self.weighed(passes, mode, opacity)?;
        let sum: f64 =
            passes.iter().map(|pass| pass.windows.concat().iter().sum::<f64>()).product();
        for (at, (value, own)) in self.values.iter_mut().zip(own).enumerate() {
            let seen = weight[at % weight.len()] / sum as f32;
            // Nothing is seen around here; nor is this.
            *value = if seen > 0.0 { *value / seen } else { own * sum as f32 };
        }
        Ok(())
    }

    fn differences(
        &mut self,
        pass: &Pass,
        mode: PaddingMode,
        opacity: &[f32],
    ) -> Result<(), Failure> {
        let own = self.values.clone();
        self.premultiply(opacity);
        self.pass(pass, mode)?;
        let weight = self.weighed(std::slice::from_ref(pass), mode, opacity)?;
        let area = opacity.len();
        let sums: Vec<f32> =
            pass.windows.iter().map(|taps| taps.iter().sum::<f64>() as f32).collect();
        for (at, value) in self.values.iter_mut().enumerate() {
            let (plane, window) = (at / area / sums.len(), at / area % sums.len());
            let unseen = sums[window] - weight[window * area + at % area];
            *value += unseen * own[plane * area + at % area];
        }
        Ok(())
    }

    fn premultiply(&mut self, opacity: &[f32]) {
        for plane in self.values.chunks_mut(opacity.len()) {
            plane.iter_mut().zip(opacity).for_each(|(value, seen)| *value *= seen);
        }
    }

    /// The same passes over the opacity, which is whole where padding has a colour of its own.
    fn weighed(
        &mut self,
        passes: &[Pass],
        mode: PaddingMode,
        opacity: &[f32],
    ) -> Result<Vec<f32>, Failure> {
        let mode = match mode {
            PaddingMode::Zeros | PaddingMode::Constant(_) => PaddingMode::Constant(1.0),
            folded => folded,
        };
        let colours = (self.planes, std::mem::replace(&mut self.values, opacity.to_vec()));
        self.planes = 1;
        self.all(passes, mode)?;
        let weight;
        ((self.planes, self.values), weight) = (colours, std::mem::take(&mut self.values));
        Ok(weight)
    }

    fn pass(&mut self, pass: &Pass, mode: PaddingMode) -> Result<(), Failure> {
        let planes = self.planes;
        let padding = pass.kernel.map(|taps| around(taps, self.args.flip));
        let spec = ConvSpec {
            in_channels: planes,
            out_channels: planes * pass.windows.len(),
            groups: planes,
            padding: padding.into(),
            padding_mode: mode,
            flip: self.args.flip,
            ..ConvSpec::new(self.size, pass.kernel)
        };
        let weight: Vec<f32> = pass.windows.concat().iter().map(|&tap| tap as f32).collect();
        self.bar.set_message(format!("{} x {} window", pass.kernel[0], pass.kernel[1]));
        self.convolve(spec, weight.repeat(planes))
    }

    fn convolve(&mut self, spec: ConvSpec, weight: Vec<f32>) -> Result<(), Failure> {
        let conv = Conv::new(spec)?;
        let planes = conv.out_channels();
        let weights = vec![Weights { weight, bias: None }];
        let &Args { route, threads, exactness: Exactness { accuracy }, .. } = self.args;
        let how = How { route, threads, accuracy, ..How::default() };
        let ready = Ready::new(&route::compiled_in(&conv.into(), &weights)?, &how, weights)?;
        self.report.split.extend(ready.about.chosen.split.clone());
        let mut values = route::zeros(planes * self.size[0] * self.size[1])?;
        let start = Instant::now();
        ready.run(&self.values, None, &mut values)?;
        self.report.run += start.elapsed();
        self.report.compile += ready.about.compile;
        self.report.route = ready.about.route;
        (self.planes, self.values) = (planes, values);
        Ok(())
    }
}

/// Padding that keeps the size. The middle of an even window is the tap after the half, and
/// reversing the window moves it.
pub fn around(taps: usize, flip: bool) -> (usize, usize) {
    let (half, rest) = (taps / 2, taps - 1 - taps / 2);
    if flip { (rest, half) } else { (half, rest) }
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
