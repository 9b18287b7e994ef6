//! The one door: from what a user says to a checked convolution.
//!
//! In: a [`ConvSpec`]. Out: a [`Conv`] with canonical parameters and inferred sizes, or every broken rule at once as an [`Issue`] with
//! field, axis, value and arithmetic. Rules on single numbers come first; the arithmetic of an axis is only tried where its numbers
//! are sound, and the sizes of tensors only where everything else is.
//!
//! No arithmetic here can overflow: single numbers are held below [`LIMIT`] before they meet, products of two of those fit an `i128`, and
//! longer products are cut off at the first step past the limit. Behind this door every element index, byte offset and padded extent
//! fits an `i64` with room to spare.
//!
//! Canonical: a per-axis list of equal entries becomes [`PerAxis::All`], and explicit padding of nothing becomes [`Padding::Valid`], so
//! that equal convolutions compare equal however they were written.

use super::shape::{arithmetic, axis_name, output_extent, span};
use super::{Conv, ConvAxis, ConvSpec, Extent, Padding, PaddingMode, PerAxis, Size};
use crate::activation::Activation;
use crate::element::DType;
use crate::error::{Error, Issue};

/// No tensor has more bytes, and no number may be larger: what today's machines can address.
const LIMIT: u128 = if (isize::MAX as u128) < (1 << 47) {
    isize::MAX as u128
} else {
    1 << 47
};

/// Largest number of spatial axes.
const MAX_RANK: usize = 8;

pub(super) fn validate(spec: ConvSpec) -> Result<Conv, Error> {
    let mut check = Check {
        rank: spec.input.len(),
        issues: Vec::new(),
        spec: &spec,
    };
    check.channels();
    check.names();
    check.padding_mode();
    check.activation();
    let axes = if check.counts() { check.axes() } else { Vec::new() };
    if check.issues.is_empty() {
        check.tensors(&axes);
    }
    let issues = check.issues;
    if issues.is_empty() {
        Ok(Conv {
            spec: canonical(spec),
            axes,
        })
    } else {
        Err(Error::Invalid(issues))
    }
}

struct Check<'a> {
    spec: &'a ConvSpec,
    rank: usize,
    issues: Vec<Issue>,
}

impl Check<'_> {
    fn broken(&mut self, field: &'static str, message: String) {
        self.issues.push(Issue {
            field,
            axis: None,
            rank: self.rank,
            message,
        });
    }

    fn broken_axis(&mut self, field: &'static str, axis: usize, message: String) {
        self.issues.push(Issue {
            field,
            axis: Some(axis),
            rank: self.rank,
            message,
        });
    }

    /// One number of one axis (or of none): at least `least`, at most [`LIMIT`].
    fn number(&mut self, field: &'static str, axis: Option<usize>, value: usize, least: usize) -> bool {
        let message = match value {
            _ if value < least => format!("{value}, but must be at least {least}"),
            _ if value as u128 > LIMIT => format!("{value} is too large: the limit is {LIMIT}"),
            _ => return true,
        };
        self.issues.push(Issue {
            field,
            axis,
            rank: self.rank,
            message,
        });
        false
    }

    fn channels(&mut self) {
        let ConvSpec {
            in_channels,
            out_channels,
            groups,
            ..
        } = *self.spec;
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

    fn names(&mut self) {
        let spec = self.spec;
        let mut seen: Vec<&str> = Vec::new();
        let places = std::iter::once(("batch", None, &spec.batch)).chain(
            spec.input
                .iter()
                .enumerate()
                .map(|(axis, size)| ("input", Some(axis), size)),
        );
        for (field, axis, size) in places {
            let Size::Free(name) = size else { continue };
            let message = if !is_name(name) {
                format!("`{name}` is no name of a size: upper-case letters, digits and _ only, a letter first")
            } else if seen.contains(&name.as_str()) {
                format!("the name {name} is used twice: each free size needs its own")
            } else {
                seen.push(name);
                continue;
            };
            self.issues.push(Issue {
                field,
                axis,
                rank: self.rank,
                message,
            });
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
        }
    }

    fn activation(&mut self) {
        match self.spec.activation {
            Some(Activation::LeakyRelu(slope)) => {
                self.finite("activation", "the slope of leaky_relu", slope);
            }
            Some(Activation::Clamp(lo, hi)) => {
                let low = self.finite("activation", "the lower bound of clamp", lo);
                let high = self.finite("activation", "the upper bound of clamp", hi);
                if low && high && lo > hi {
                    self.broken(
                        "activation",
                        format!("clamp from {lo} to {hi}: the lower bound is above the upper one"),
                    );
                }
            }
            _ => {}
        }
    }

    fn finite(&mut self, field: &'static str, what: &str, value: f64) -> bool {
        let dtype = self.spec.dtype;
        let fits = match dtype {
            DType::F32 => (value as f32).is_finite(),
            DType::F64 => value.is_finite(),
        };
        if !value.is_finite() {
            self.broken(field, format!("{what} is {value}, but must be finite"));
        } else if !fits {
            self.broken(field, format!("{what} is {value:e}, too large for {dtype}"));
        }
        fits
    }

    /// Whether every list has an entry for every axis.
    fn counts(&mut self) -> bool {
        let before = self.issues.len();
        let (spec, rank) = (self.spec, self.rank);
        if rank == 0 || rank > MAX_RANK {
            self.broken(
                "input",
                format!("{rank} spatial axes, but there must be 1 to {MAX_RANK}"),
            );
        }
        if spec.kernel.len() != rank {
            let message = format!(
                "{}, but the input has {}",
                entries(spec.kernel.len()),
                spatial_axes(rank)
            );
            self.broken("kernel", message);
        }
        self.count("stride", &spec.stride);
        self.count("dilation", &spec.dilation);
        self.count("output_padding", &spec.output_padding);
        if let Padding::Explicit(padding) = &spec.padding {
            self.count("padding", padding);
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

    fn axes(&mut self) -> Vec<ConvAxis> {
        (0..self.rank).filter_map(|axis| self.axis(axis)).collect()
    }

    fn axis(&mut self, at: usize) -> Option<ConvAxis> {
        let mut axis = self.axis_numbers(at)?;
        axis.padding = self.resolve_padding(at, &axis)?;
        self.fold_range(at, &axis);
        axis.output = self.output(at, &axis)?;
        Some(axis)
    }

    /// The axis with each number checked by itself; padding and output still to come.
    fn axis_numbers(&mut self, at: usize) -> Option<ConvAxis> {
        let spec = self.spec;
        let (stride, dilation) = (*entry(&spec.stride, at), *entry(&spec.dilation, at));
        let output_padding = *entry(&spec.output_padding, at);
        let mut sound = true;
        if let Size::Known(input) = spec.input[at] {
            sound &= self.number("input", Some(at), input, 1);
        }
        sound &= self.number("kernel", Some(at), spec.kernel[at], 1);
        sound &= self.number("stride", Some(at), stride, 1);
        sound &= self.number("dilation", Some(at), dilation, 1);
        sound &= self.output_padding(at, output_padding, stride.max(dilation));
        sound.then(|| ConvAxis {
            input: spec.input[at].clone(),
            output: Extent::Known(0),
            kernel: spec.kernel[at],
            stride,
            dilation,
            padding: (0, 0),
            output_padding,
        })
    }

    fn output_padding(&mut self, at: usize, value: usize, bound: usize) -> bool {
        let message = match value {
            0 => return true,
            _ if !self.spec.transposed => format!("{value}, but only a transposed convolution has output padding"),
            _ if value >= bound => format!("{value}, but must be less than the larger of stride and dilation, {bound}"),
            _ => return true,
        };
        self.broken_axis("output_padding", at, message);
        false
    }

    fn resolve_padding(&mut self, at: usize, axis: &ConvAxis) -> Option<(usize, usize)> {
        let spec = self.spec;
        match &spec.padding {
            Padding::Valid => Some((0, 0)),
            Padding::Explicit(list) => {
                let (lo, hi) = *entry(list, at);
                let sound = self.number("padding", Some(at), lo, 0) && self.number("padding", Some(at), hi, 0);
                sound.then_some((lo, hi))
            }
            Padding::Causal if spec.transposed => Some((0, self.crop(at, axis, "causal")?)),
            Padding::Causal => Some((self.in_range(at, span(axis) - 1)?, 0)),
            Padding::SameUpper => self
                .same(at, axis, "same-upper")
                .map(|total| (total / 2, total - total / 2)),
            Padding::SameLower => self
                .same(at, axis, "same-lower")
                .map(|total| (total - total / 2, total / 2)),
        }
    }

    /// What `same` adds to both sides together (transposed: crops).
    fn same(&mut self, at: usize, axis: &ConvAxis, padding: &str) -> Option<usize> {
        if self.spec.transposed {
            return self.crop(at, axis, padding);
        }
        let (stride, window) = (axis.stride as i128, span(axis));
        match &axis.input {
            Size::Known(input) => {
                let input = *input as i128;
                let output = (input + stride - 1) / stride;
                self.in_range(at, ((output - 1) * stride + window - input).max(0))
            }
            Size::Free(_) if stride == 1 => self.in_range(at, window - 1),
            Size::Free(name) => {
                let message = format!(
                    "{padding} with stride {stride} depends on the input {name}, which is free: give the padding as numbers"
                );
                self.broken_axis("padding", at, message);
                None
            }
        }
    }

    /// What a transposed convolution crops so that `output = input * stride` (ONNX's rule for `auto_pad`).
    fn crop(&mut self, at: usize, axis: &ConvAxis, padding: &str) -> Option<usize> {
        let (stride, window, extra) = (axis.stride as i128, span(axis), axis.output_padding as i128);
        let total = window + extra - stride;
        if total < 0 {
            let message = format!(
                "{padding} makes the output input * {stride}, but the padding would be {window} + {extra} - {stride} = {total}: \
                 the window is shorter than the stride"
            );
            self.broken_axis("padding", at, message);
            return None;
        }
        self.in_range(at, total)
    }

    fn in_range(&mut self, at: usize, value: i128) -> Option<usize> {
        let fits = usize::try_from(value).ok().filter(|&v| v as u128 <= LIMIT);
        if fits.is_none() {
            self.broken_axis(
                "padding",
                at,
                format!("works out as {value}, which is too large: the limit is {LIMIT}"),
            );
        }
        fits
    }

    /// Padding modes that fold back into the input only reach so far. A free input is checked when its size is known.
    fn fold_range(&mut self, at: usize, axis: &ConvAxis) {
        let mode = self.spec.padding_mode;
        let Size::Known(input) = axis.input else { return };
        let (reach, rule) = match mode {
            PaddingMode::Reflect => (input - 1, "the input less one"),
            PaddingMode::Symmetric | PaddingMode::Circular => (input, "the input"),
            PaddingMode::Zeros | PaddingMode::Constant(_) | PaddingMode::Replicate => return,
        };
        for (side, value) in [("before", axis.padding.0), ("after", axis.padding.1)] {
            if value > reach {
                let message = format!("{value} {side} the input, but mode {mode} reaches at most {reach} ({rule})");
                self.broken_axis("padding", at, message);
            }
        }
    }

    fn output(&mut self, at: usize, axis: &ConvAxis) -> Option<Extent> {
        let transposed = self.spec.transposed;
        match &axis.input {
            Size::Known(input) => self.known_output(at, axis, *input),
            Size::Free(name) if transposed => {
                let add = span(axis) + axis.output_padding as i128 - padding_sum(axis) - axis.stride as i128;
                self.derived(at, name, axis.stride as i128, add, 1)
            }
            Size::Free(name) => {
                let add = padding_sum(axis) - span(axis) + axis.stride as i128;
                self.derived(at, name, 1, add, axis.stride as i128)
            }
        }
    }

    fn known_output(&mut self, at: usize, axis: &ConvAxis, input: usize) -> Option<Extent> {
        let transposed = self.spec.transposed;
        let (extent, name) = (output_extent(axis, input, transposed), axis_name(self.rank, at));
        let padded = input as i128 + padding_sum(axis);
        let reason = match transposed {
            false if span(axis) > padded => format!("window {} is wider than the padded input {padded}", span(axis)),
            true if extent < 1 => format!("padding {}:{} crops everything away", axis.padding.0, axis.padding.1),
            true if (extent + padding_sum(axis)) as u128 > LIMIT => format!("too large: the limit is {LIMIT}"),
            _ if extent as u128 > LIMIT => format!("too large: the limit is {LIMIT}"),
            _ => return usize::try_from(extent).ok().map(Extent::Known),
        };
        let message = format!("output {name} is {} = {extent}: {reason}", arithmetic(axis, transposed));
        self.broken_axis(if transposed { "padding" } else { "kernel" }, at, message);
        None
    }

    fn derived(&mut self, at: usize, of: &str, scale: i128, add: i128, div: i128) -> Option<Extent> {
        if add.unsigned_abs() > LIMIT {
            self.broken_axis(
                "kernel",
                at,
                format!("the output is {scale} * {of} + {add}, which is too large: the limit is {LIMIT}"),
            );
            return None;
        }
        Some(Extent::Derived {
            of: of.to_owned(),
            scale: scale as i64,
            add: add as i64,
            div: div as i64,
        })
    }

    /// Every tensor, and every padded one, stays within [`LIMIT`] bytes. An empty batch and free sizes count as one.
    fn tensors(&mut self, axes: &[ConvAxis]) {
        let spec = self.spec;
        let at_least_one = |size: Option<usize>| size.unwrap_or(1).max(1) as u128;
        let batch = at_least_one(spec.batch.known());
        let tensor = |channels: usize, extents: &dyn Fn(&ConvAxis) -> u128| -> Vec<u128> {
            [batch, channels as u128]
                .into_iter()
                .chain(axes.iter().map(extents))
                .collect()
        };
        let input = |a: &ConvAxis| at_least_one(a.input.known());
        let output = |a: &ConvAxis| at_least_one(a.output.known());
        let padding = |a: &ConvAxis| padding_sum(a) as u128;
        let mut weight = vec![spec.out_channels as u128, (spec.in_channels / spec.groups) as u128];
        weight.extend(axes.iter().map(|a| a.kernel as u128));
        self.tensor("input", "the input", &tensor(spec.in_channels, &input));
        self.tensor("kernel", "the weight", &weight);
        self.tensor("output", "the output", &tensor(spec.out_channels, &output));
        if spec.transposed {
            let uncropped = tensor(spec.out_channels, &|a| output(a) + padding(a));
            self.tensor("padding", "the output before cropping", &uncropped);
        } else {
            self.tensor(
                "padding",
                "the padded input",
                &tensor(spec.in_channels, &|a| input(a) + padding(a)),
            );
        }
    }

    fn tensor(&mut self, field: &'static str, what: &str, shape: &[u128]) {
        let bytes = self.spec.dtype.bytes() as u128;
        let total = shape
            .iter()
            .try_fold(bytes, |product, &n| product.checked_mul(n).filter(|&p| p <= LIMIT));
        if total.is_none()
            && !self
                .issues
                .iter()
                .any(|issue| issue.field == "input" && field == "padding")
        {
            let factors: Vec<String> = shape.iter().map(u128::to_string).collect();
            let message = format!(
                "{what} has {} elements of {bytes} bytes: the limit is {LIMIT} bytes",
                factors.join(" * ")
            );
            self.broken(field, message);
        }
    }
}

fn padding_sum(axis: &ConvAxis) -> i128 {
    axis.padding.0 as i128 + axis.padding.1 as i128
}

fn entries(count: usize) -> String {
    if count == 1 {
        "1 entry".to_owned()
    } else {
        format!("{count} entries")
    }
}

fn spatial_axes(count: usize) -> String {
    if count == 1 {
        "1 spatial axis".to_owned()
    } else {
        format!("{count} spatial axes")
    }
}

/// The entry for an axis; the number of entries was checked.
fn entry<T>(list: &PerAxis<T>, axis: usize) -> &T {
    match list {
        PerAxis::All(value) => value,
        PerAxis::Each(list) if list.len() == 1 => &list[0],
        PerAxis::Each(list) => &list[axis],
    }
}

pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

fn canonical(spec: ConvSpec) -> ConvSpec {
    let padding = match spec.padding {
        Padding::Explicit(list) => match collapse(list) {
            PerAxis::All((0, 0)) => Padding::Valid,
            list => Padding::Explicit(list),
        },
        symbolic => symbolic,
    };
    ConvSpec {
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

impl Conv {
    /// The same convolution with values for its free sizes.
    ///
    /// # Errors
    /// [`Error::Argument`] where a name is missing, unknown or given twice; [`Error::Invalid`] where a value breaks a rule.
    pub fn with_sizes(&self, free: &[(&str, usize)]) -> Result<Conv, Error> {
        let names = self.free_sizes();
        for (i, (name, _)) in free.iter().enumerate() {
            if !names.contains(name) {
                return Err(Error::Argument(format!(
                    "there is no free size {name}: {}",
                    known_names(&names)
                )));
            }
            if free[..i].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::Argument(format!("the size {name} is given twice")));
            }
        }
        let value = |size: &Size| match size {
            Size::Known(n) => Ok(Size::Known(*n)),
            Size::Free(name) => match free.iter().find(|(given, _)| given == name) {
                Some((_, n)) => Ok(Size::Known(*n)),
                None => Err(Error::Argument(format!(
                    "the size {name} is missing: {}",
                    known_names(&names)
                ))),
            },
        };
        let batch = value(&self.spec.batch)?;
        let input = self.spec.input.iter().map(value).collect::<Result<_, _>>()?;
        Conv::new(ConvSpec {
            batch,
            input,
            ..self.spec.clone()
        })
    }
}

fn known_names(names: &[&str]) -> String {
    match names {
        [] => "every size of this convolution is known".to_owned(),
        names => format!("the free sizes are {}", names.join(", ")),
    }
}
