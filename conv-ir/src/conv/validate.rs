//! The one door: from what a user says to a checked convolution.
//!
//! In: a [`ConvSpec`]. Out: a [`Conv`] with canonical parameters and inferred sizes, or every
//! broken rule at once as an [`Issue`] with field, axis, value and arithmetic. Rules on single
//! numbers come first; the arithmetic of an axis ([`axis_rules`](super::axis_rules)) is only tried
//! where its numbers are sound, and the sizes of tensors only where everything else is.
//!
//! No arithmetic here can overflow: single numbers are held below [`LIMIT`] before they meet,
//! products of two of those fit an `i128`, and longer products are cut off at the first step past
//! the limit. Behind this door every element index, byte offset and padded extent fits an `i64`
//! with room to spare.
//!
//! Canonical: a per-axis list of equal entries becomes [`PerAxis::All`], and explicit padding of
//! nothing becomes [`Padding::Valid`], so that equal convolutions compare equal however they were
//! written. An array that is not there has the type that follows from the others.

mod activation;

use super::reduction::counts_by_position;
use super::shape::padding_sum;
use super::{Conv, ConvAxis, ConvSpec, Known, Padding, PaddingMode, PerAxis, Reduction, Size};
use crate::error::{Error, Issue, cut};
use crate::types::Types;

/// Characters of the longest name of a free size.
const LONGEST_NAME: usize = 40;

/// No tensor has more bytes, and no number may be larger: what today's machines can address.
pub(super) const LIMIT: u128 =
    if (isize::MAX as u128) < (1 << 47) { isize::MAX as u128 } else { 1 << 47 };

/// Positions along an axis whose divisors are listed: a table of a few MiB.
const MOST_DIVISORS: usize = 1 << 20;

/// Largest number of spatial axes.
const MAX_RANK: usize = 8;

pub(super) fn validate(spec: ConvSpec) -> Result<Conv, Error> {
    let mut check = Check { rank: spec.input.len(), issues: Vec::new(), spec: &spec };
    check.channels();
    check.types();
    check.names();
    check.reduction();
    check.padding_mode();
    check.activation();
    let axes = if check.counts() { check.axes() } else { Vec::new() };
    check.divisors(&axes);
    if check.issues.is_empty() {
        check.tensors(&axes);
    }
    let issues = check.issues;
    if issues.is_empty() {
        // Where there is no weight, all of it is known.
        let known = (!spec.reduction.has_weight()).then(Known::nothing);
        Ok(Conv { spec: canonical(spec), axes, known, requantised: None })
    } else {
        Err(Error::Invalid(issues))
    }
}

pub(super) struct Check<'a> {
    pub(super) spec: &'a ConvSpec,
    pub(super) rank: usize,
    issues: Vec<Issue>,
}

impl Check<'_> {
    pub(super) fn broken(&mut self, field: &'static str, message: String) {
        self.issues.push(Issue { field, axis: None, rank: self.rank, message });
    }

    pub(super) fn broken_axis(&mut self, field: &'static str, axis: usize, message: String) {
        self.issues.push(Issue { field, axis: Some(axis), rank: self.rank, message });
    }

    /// One number of one axis (or of none): at least `least`, at most [`LIMIT`].
    pub(super) fn number(
        &mut self,
        field: &'static str,
        axis: Option<usize>,
        value: usize,
        least: usize,
    ) -> bool {
        let message = match value {
            _ if value < least => format!("{value}, but must be at least {least}"),
            _ if value as u128 > LIMIT => format!("{value} is too large: the limit is {LIMIT}"),
            _ => return true,
        };
        self.issues.push(Issue { field, axis, rank: self.rank, message });
        false
    }

    fn channels(&mut self) {
        let ConvSpec { in_channels, out_channels, groups, .. } = *self.spec;
        let channels = [("in_channels", in_channels), ("out_channels", out_channels)];
        let groups_sound = self.number("groups", None, groups, 1);
        for (field, count) in channels {
            if self.number(field, None, count, 1) && groups_sound && count % groups != 0 {
                self.broken("groups", format!("{groups} does not divide {field} {count}"));
            }
        }
        if let Size::Known(batch) = self.spec.batch {
            self.number("batch", None, batch, 0);
        }
    }

    /// Types that do not go together.
    fn types(&mut self) {
        if let Some(fault) = self.spec.types.fault() {
            self.broken("types", fault);
        }
    }

    /// What a pool, a dilation or an erosion cannot be.
    fn reduction(&mut self) {
        let ConvSpec { reduction, in_channels, out_channels, groups, .. } = *self.spec;
        let name = reduction.name();
        let dtype = self.spec.types.accumulator;
        let why = match reduction {
            Reduction::Average { .. } => Some("divides"),
            // A number that never wins would wrap where one is added to it.
            Reduction::Dilation | Reduction::Erosion => Some("adds before it compares"),
            Reduction::Sum | Reduction::Max | Reduction::Min => None,
        };
        if let Some(why) = why.filter(|_| dtype.is_integer()) {
            self.broken("types", format!("{name} {why}, which {dtype} cannot do here: use f32"));
        }
        self.spec.not_combined().into_iter().for_each(|why| self.broken("combine", why));
        if reduction == Reduction::Sum {
            if self.spec.ceil_mode {
                let why = "a convolution rounds down: give the padding behind the input instead";
                self.broken("ceil_mode", why.to_owned());
            }
            return;
        }
        if self.spec.bias {
            let message =
                format!("{name} adds none: a residual or an activation can follow, or a 1x1 step");
            self.broken("bias", message);
        }
        if self.spec.transposed {
            let message = format!("{name} cannot be transposed: only a convolution can");
            self.broken("transposed", message);
        }
        let symbolic = !matches!(self.spec.padding, Padding::Valid | Padding::Explicit(_));
        if self.spec.ceil_mode && symbolic {
            let message =
                "padding by a word fixes the output already: give numbers, or leave it out";
            self.broken("ceil_mode", message.to_owned());
        }
        if self.spec.ceil_mode && self.spec.padding_mode != PaddingMode::Zeros {
            let message = format!(
                "what hangs over is never read, but mode {} reads behind the input: use zeros, or \
                 give padding as numbers",
                self.spec.padding_mode
            );
            self.broken("ceil_mode", message);
        }
        if reduction.has_weight() {
            return;
        }
        if self.spec.flip {
            self.broken("flip", format!("{name} has no weight to turn round"));
        }
        if groups != in_channels || groups != out_channels {
            let message = format!(
                "{name} takes each channel by itself: in_channels, out_channels and groups must be \
                 the same, not {in_channels}, {out_channels} and {groups}"
            );
            self.broken("groups", message);
        }
        if let Reduction::Average { count_include_pad: true } = reduction
            && self.spec.padding_mode != PaddingMode::Zeros
        {
            let message = format!(
                "in mode {} every element of a window counts anyway: leave it out",
                self.spec.padding_mode
            );
            self.broken("count_include_pad", message);
        }
    }

    /// Where an average is divided by a number that depends on the position, there is a table of
    /// them for each such axis.
    fn divisors(&mut self, axes: &[ConvAxis]) {
        let spec = self.spec;
        let Reduction::Average { count_include_pad } = spec.reduction else { return };
        let mut tables = 0;
        for (at, axis) in axes.iter().enumerate() {
            if !counts_by_position(axis, count_include_pad, spec.padding_mode) {
                continue;
            }
            tables += 1;
            if let Some(output) = axis.output.known().filter(|output| *output > MOST_DIVISORS) {
                let message = format!(
                    "the divisors of {output} positions are listed, but the limit is \
                     {MOST_DIVISORS}: give count_include_pad and no ceil_mode, or no padding"
                );
                self.broken_axis("input", at, message);
            }
        }
        // Their product is exact where it rounds once.
        let volume = spec.kernel.iter().try_fold(1u64, |n, &k| n.checked_mul(k as u64));
        let exact = 1u64 << (spec.types.accumulator.format().mantissa + 1);
        if tables > 2 && volume.is_none_or(|volume| volume > exact) {
            let message = format!(
                "a window of more than {exact} elements whose divisor depends on the position"
            );
            self.broken("kernel", message);
        }
    }

    fn names(&mut self) {
        let spec = self.spec;
        let mut seen: Vec<&str> = Vec::new();
        let places = std::iter::once(("batch", None, &spec.batch))
            .chain(spec.input.iter().enumerate().map(|(axis, size)| ("input", Some(axis), size)));
        for (field, axis, size) in places {
            let Size::Free(name) = size else { continue };
            let message = if !is_name(name) {
                format!(
                    "`{}` is no name of a size: upper-case letters, digits and _ only, a letter first",
                    cut(name)
                )
            } else if name.len() > LONGEST_NAME {
                format!("the name {} is longer than {LONGEST_NAME} letters", cut(name))
            } else if seen.contains(&name.as_str()) {
                format!("the name {name} is used twice: each free size needs its own, as in HxW")
            } else {
                seen.push(name);
                continue;
            };
            self.issues.push(Issue { field, axis, rank: self.rank, message });
        }
    }

    fn padding_mode(&mut self) {
        let mode = self.spec.padding_mode;
        if self.spec.transposed && mode != PaddingMode::Zeros {
            let message = format!(
                "{mode} has no meaning for a transposed convolution, whose padding crops the output: use zeros"
            );
            self.broken("padding_mode", message);
        }
        if let PaddingMode::Constant(value) = mode {
            self.finite("padding_mode", "the padding value", value);
            let input = self.spec.types.input;
            if let Some((least, greatest)) = input.range()
                && input.round(value) != value
            {
                let message = format!(
                    "the padding value is {value}, but the input is {input}, whole numbers from \
                     {least} to {greatest}"
                );
                self.broken("padding_mode", message);
            }
        }
    }

    /// Whether every list has an entry for every axis.
    fn counts(&mut self) -> bool {
        let before = self.issues.len();
        let (spec, rank) = (self.spec, self.rank);
        if rank == 0 || rank > MAX_RANK {
            self.broken("input", format!("{rank} spatial axes, but there must be 1 to {MAX_RANK}"));
        }
        if spec.kernel.len() != rank {
            let message =
                format!("{}, but the input has {}", entries(spec.kernel.len()), spatial_axes(rank));
            self.broken("kernel", message);
        }
        self.count("stride", &spec.stride);
        self.count("dilation", &spec.dilation);
        self.count("output_padding", &spec.output_padding);
        if let Padding::Explicit(padding) = &spec.padding {
            match padding {
                // All that come before, then all that come after.
                PerAxis::Each(list) if rank > 1 && list.len() == 2 * rank => {
                    let pair = |axis: usize| format!("{}:{}", list[axis].0, list[rank + axis].0);
                    let pairs: Vec<String> = (0..rank).map(pair).collect();
                    let message = format!(
                        "{}, but the input has {}: ONNX's pads are BEFORE:AFTER of each axis here, {}",
                        entries(list.len()),
                        spatial_axes(rank),
                        pairs.join(",")
                    );
                    self.broken("padding", message);
                }
                padding => self.count("padding", padding),
            }
        }
        self.issues.len() == before
    }

    fn count<T>(&mut self, field: &'static str, list: &PerAxis<T>) {
        if let PerAxis::Each(list) = list
            && list.len() != self.rank
            && list.len() != 1
        {
            let message = format!(
                "{}, but the input has {}: give one for each, or one for all",
                entries(list.len()),
                spatial_axes(self.rank)
            );
            self.broken(field, message);
        }
    }

    /// Every tensor, and every padded one, stays within [`LIMIT`] bytes. An empty batch and free
    /// sizes count as one.
    fn tensors(&mut self, axes: &[ConvAxis]) {
        type Length = fn(&ConvAxis) -> u64;
        let spec = self.spec;
        let tensor = |outer: u64, channels: usize, length: Length| {
            [outer, channels as u64].into_iter().chain(axes.iter().map(length))
        };
        let batch = spec.batch.known().unwrap_or(1).max(1) as u64;
        let input: Length = |a| a.input.known().unwrap_or(1) as u64;
        let output: Length = |a| a.output.known().unwrap_or(1) as u64;
        let padded: Length = |a| a.input.known().unwrap_or(1) as u64 + padding_sum(a) as u64;
        let uncropped: Length = |a| a.output.known().unwrap_or(1) as u64 + padding_sum(a) as u64;
        let kernel: Length = |a| a.kernel as u64;
        let weight = tensor(spec.out_channels as u64, spec.in_channels / spec.groups, kernel);
        self.tensor("input", "the input", tensor(batch, spec.in_channels, input));
        self.tensor("kernel", "the weight", weight);
        self.tensor("output", "the output", tensor(batch, spec.out_channels, output));
        let (what, padded) = match spec.transposed {
            true => ("the output before cropping", tensor(batch, spec.out_channels, uncropped)),
            false => ("the padded input", tensor(batch, spec.in_channels, padded)),
        };
        self.tensor("padding", what, padded);
    }

    fn tensor(
        &mut self,
        field: &'static str,
        what: &str,
        shape: impl Iterator<Item = u64> + Clone,
    ) {
        let bytes = self.spec.types.accumulator.bytes() as u64;
        let total = shape.clone().try_fold(bytes, |product, n| {
            product.checked_mul(n).filter(|&p| u128::from(p) <= LIMIT)
        });
        if total.is_none()
            && !self.issues.iter().any(|issue| issue.field == "input" && field == "padding")
        {
            let factors: Vec<String> = shape.map(|n| n.to_string()).collect();
            let message = format!(
                "{what} has {} elements of {bytes} bytes: the limit is {LIMIT} bytes",
                factors.join(" * ")
            );
            self.broken(field, message);
        }
    }
}

fn entries(count: usize) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

fn spatial_axes(count: usize) -> String {
    if count == 1 { "1 spatial axis".to_owned() } else { format!("{count} spatial axes") }
}

pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

fn canonical(spec: ConvSpec) -> ConvSpec {
    let padding = match spec.padding {
        Padding::Explicit(list) => match collapse(list) {
            PerAxis::All((0, 0)) => Padding::Valid,
            list => Padding::Explicit(list),
        },
        symbolic => symbolic,
    };
    let mut types = spec.types;
    if !spec.reduction.has_weight() {
        types.weight = types.input;
    }
    if !spec.bias {
        types.bias = Types::of(types.input, types.weight).bias;
    }
    ConvSpec {
        types,
        activation: spec.activation.map(activation::canonical),
        stride: collapse(spec.stride),
        dilation: collapse(spec.dilation),
        output_padding: collapse(spec.output_padding),
        padding,
        ..spec
    }
}

fn collapse<T: PartialEq + Copy>(list: PerAxis<T>) -> PerAxis<T> {
    match list {
        PerAxis::Each(values) if values.iter().all(|v| *v == values[0]) => PerAxis::All(values[0]),
        list => list,
    }
}

#[cfg(test)]
mod tests;
