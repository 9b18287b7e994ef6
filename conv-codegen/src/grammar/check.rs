//! The signature against the keys: one description, or every mistake on the token that makes it.
//!
//! In: a parsed item. Out: the checked [`Conv`] and the schedule asked for. Sizes say channels,
//! groups' shares and windows; keys say the rest; `Conv::new` checks single numbers and infers the
//! output, and its issues are put on the tokens they are about. Then what the signature says of
//! output, bias and residual is compared with what follows, with the arithmetic. While a key cannot
//! be read nothing is inferred from keys: one mistake, one message.

use conv_ir::separate::Accuracy;
use conv_ir::{Conv, ConvSpec, Error, Issue, Layout, Program, Reduction, Schedule, Size, Types};
use proc_macro2::TokenStream;
use quote::ToTokens;

use super::Errors;
use super::parse::{Described, Dim, ShapeSource, Tensor};
use super::pools;
use super::types;
use super::values::{Measured, Settings, unknown_word, words};
use super::weights::{self, Known};
use crate::{Along, Form, Library};

/// The parameters a signature may have, in order.
const PARAMETERS: [&str; 4] = ["input", "weight", "bias", "residual"];

/// What an item asks for.
pub(super) struct Checked {
    pub program: Program,
    pub schedule: Option<Schedule>,
    pub accuracy: Accuracy,
    pub runtime: Library,
    pub stream: Option<Along>,
    pub tuning: Measured,
}

/// The axis that streams, of so many.
pub(super) fn along(settings: &Settings<'_>, rank: usize, errors: &mut Errors) -> Option<Along> {
    const AXES: [char; 3] = ['w', 'h', 'd'];
    let (letter, pieces) = settings.stream.clone()?;
    let from_inside = AXES.iter().position(|axis| *axis == letter).filter(|at| *at < rank);
    let Some(from_inside) = from_inside else {
        let axes: Vec<String> =
            AXES[..rank.min(3)].iter().map(|axis| format!("`{axis}`")).collect();
        let place = settings.place("stream", None).unwrap_or_default();
        errors.at(&place, format!("no axis `{letter}`: the axes are {}", axes.join(", ")));
        return None;
    };
    Some(Along { axis: rank - 1 - from_inside, pieces })
}

/// What a convolution asks for; `None` where `errors` says why.
pub(super) fn check(item: &Described<'_>, errors: &mut Errors) -> Option<Checked> {
    let first = errors.count();
    let known = weights::read(item, errors);
    let types = types::types(item, known.weight.as_ref().map(|weight| &weight.tensor), errors);
    let window = pools::window(item, errors);
    let signature = signature(item, &known, window.as_ref(), errors);
    let before = errors.count();
    let settings = Settings::read(item.entries, errors);
    let (accuracy, runtime) = (settings.accuracy, settings.runtime);
    let tuning = settings.tuning.clone();
    let keys_are_sound = errors.count() == before;
    if let (Some(_), None, Form::Function, Some(place)) =
        (accuracy.admits(), &known.weight, item.form, settings.place("accuracy", None))
    {
        let message = format!(
            "`{accuracy}` is for weights that are known, whose window is split into two passes, or that a `struct` transforms once, but here the weight is a parameter of each call: give its numbers, write `struct` instead of `fn`, or leave `accuracy` out"
        );
        errors.at(&place, message);
    }
    let checker = Checker { item, settings, signature: signature?, rank: 0 }.with_rank(errors)?;
    let stream = along(&checker.settings, checker.rank, errors);
    let (conv, schedule) = checker.conv(types, keys_are_sound, errors)?;
    if errors.count() > first {
        return None;
    }
    let checked =
        |conv: Conv| Checked { program: conv.into(), schedule, accuracy, runtime, stream, tuning };
    let Some(weight) = &known.weight else {
        return Some(checked(conv));
    };
    let with_weights =
        conv.with_weights(&weight.values, known.bias.as_ref().map(|bias| &bias.values[..]));
    let conv =
        with_weights.map_err(|error| errors.at(&weight.tensor.shape, error.to_string())).ok()?;
    Some(checked(conv))
}

/// The tensors by name.
pub(super) struct Signature<'a> {
    input: &'a Tensor,
    pub weight: &'a Tensor,
    bias: Option<&'a Tensor>,
    pub residual: Option<&'a Tensor>,
}

fn signature<'a>(
    item: &Described<'a>,
    known: &'a Known,
    window: Option<&'a Tensor>,
    errors: &mut Errors,
) -> Option<Signature<'a>> {
    let mut latest = 0;
    for (at, tensor) in item.parameters.iter().enumerate() {
        let name = tensor.name.to_string();
        match PARAMETERS.iter().position(|known| *known == name) {
            None => errors.at(&tensor.name, unknown_word("parameter", &name, &PARAMETERS)),
            Some(_) if item.parameters[..at].iter().any(|other| other.name == tensor.name) => {
                errors.at(&tensor.name, format!("`{name}` is given twice"));
            }
            Some(position) if position < latest => {
                errors.at(
                    &tensor.name,
                    "parameters come in the order input, weight, bias, residual".to_owned(),
                );
            }
            Some(position) => latest = position,
        }
    }
    let parameter = |name: &str| item.parameters.iter().find(|tensor| tensor.name == name);
    let find = |name: &str| {
        let known = match name {
            "weight" if window.is_some() => return window,
            "weight" => known.weight.as_ref(),
            "bias" => known.bias.as_ref(),
            _ => None,
        };
        parameter(name).or(known.map(|given| &given.tensor))
    };
    for name in ["input", "weight"] {
        let has_weight = pools::reduction(item.entries).has_weight();
        let given = item.entries.iter().any(|entry| entry.key == "weight");
        let elsewhere = name == "weight" && (given || !has_weight);
        if find(name).is_none() && !elsewhere {
            errors.at(
                item.name,
                format!("parameter `{name}` is missing: input and weight must be there"),
            );
        }
    }
    if known.failed {
        return None;
    }
    Some(Signature {
        input: find("input")?,
        weight: find("weight")?,
        bias: find("bias"),
        residual: find("residual"),
    })
}

pub(super) struct Checker<'a> {
    pub item: &'a Described<'a>,
    settings: Settings<'a>,
    pub signature: Signature<'a>,
    /// Spatial axes.
    pub rank: usize,
}

impl<'a> Checker<'a> {
    /// The same with the rank, if all tensors agree on it.
    fn with_rank(mut self, errors: &mut Errors) -> Option<Self> {
        let input = self.signature.input;
        if input.sizes.len() < 3 {
            let found = input.sizes.len();
            errors.at(
                &input.shape,
                format!("input has {found} sizes, but needs at least 3: batch, channels and one spatial axis"),
            );
            return None;
        }
        self.rank = input.sizes.len() - 2;
        let before = errors.count();
        for tensor in [Some(self.signature.weight), self.item.output, self.signature.residual]
            .into_iter()
            .flatten()
        {
            if tensor.sizes.len() != self.rank + 2 {
                let message = format!(
                    "{} has {} sizes, but input has {}",
                    tensor.name,
                    tensor.sizes.len(),
                    self.rank + 2
                );
                errors.at(&tensor.shape, message);
            }
        }
        if let (_, Some(rank)) = self.settings.layout
            && rank != self.rank
        {
            let place = self.settings.place("layout", None).unwrap_or_default();
            errors.at(
                &place,
                format!("a layout of {rank} spatial axes, but input has {}", self.rank),
            );
        }
        (errors.count() == before).then_some(self)
    }

    /// Position of the channels in input, output and residual.
    pub fn channels_at(&self) -> usize {
        match self.settings.layout.0 {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => self.rank + 1,
        }
    }

    pub fn spatial_at(&self, axis: usize) -> usize {
        match self.settings.layout.0 {
            Layout::ChannelsFirst => 2 + axis,
            Layout::ChannelsLast => 1 + axis,
        }
    }

    fn conv(
        &self,
        types: Types,
        keys_are_sound: bool,
        errors: &mut Errors,
    ) -> Option<(Conv, Option<Schedule>)> {
        self.names(errors);
        let spec = self.spec(types)?;
        if !keys_are_sound {
            return None;
        }
        self.weight(&spec, errors);
        self.bias(&spec, errors);
        match Conv::new(spec) {
            Ok(conv) => {
                self.images(&conv, errors);
                Some((self.requantised(conv, errors)?, self.settings.schedule.clone()))
            }
            Err(Error::Invalid(issues)) => {
                self.issues(&issues, errors);
                None
            }
            Err(other) => {
                errors.at(self.item.name, other.to_string());
                None
            }
        }
    }

    fn requantised(&self, conv: Conv, errors: &mut Errors) -> Option<Conv> {
        let Some(said) = &self.settings.requantise else { return Some(conv) };
        let made = conv.requantised(said.rounding, &said.scales, said.zero_point);
        let place = self.settings.place("requantise", None).unwrap_or_default();
        // The one route of an item is no word of whoever wrote it.
        let said = |error| match error {
            Error::Unsupported { message, .. } | Error::Argument(message) => message,
            error => error.to_string(),
        };
        made.map_err(|error| errors.at(&place, said(error))).ok()
    }

    /// The issues on their tokens; one value given for all axes is reported for the first axis
    /// only.
    fn issues(&self, issues: &[Issue], errors: &mut Errors) {
        for (at, issue) in issues.iter().enumerate() {
            let place = self.place(issue);
            let same = |other: &Issue| {
                other.field == issue.field
                    && other.message == issue.message
                    && self
                        .settings
                        .place(other.field, other.axis)
                        .is_some_and(|p| p.to_string() == place.to_string())
            };
            if !issues[..at].iter().any(same) {
                errors.at(&place, words(&issue.to_string()));
            }
        }
    }

    /// Only the batch and the spatial sizes may be names.
    fn names(&self, errors: &mut Errors) {
        let mut number = |tensor: &Tensor, at: usize, what: &str| {
            if let Some(Dim::Name(name)) = tensor.sizes.get(at) {
                errors.at(
                    name,
                    format!(
                        "{what} must be a number: only the batch and the spatial sizes can be names"
                    ),
                );
            }
        };
        let Signature { input, weight, bias, residual } = &self.signature;
        (0..weight.sizes.len()).for_each(|at| number(weight, at, "a size of the weight"));
        for image in [Some(*input), self.item.output, *residual].into_iter().flatten() {
            number(image, self.channels_at(), "the channels");
        }
        bias.iter().for_each(|bias| number(bias, 0, "the length of the bias"));
    }

    /// `None` where a size that must be a number is none; that was reported.
    fn spec(&self, types: Types) -> Option<ConvSpec> {
        let (settings, Signature { input, weight, bias, residual }) =
            (&self.settings, &self.signature);
        let size = |dim: &Dim| match dim {
            Dim::Number(n, _) => Some(Size::Known(*n)),
            Dim::Name(name) => Some(Size::Free(name.to_string())),
            Dim::Wrong(_) => None,
        };
        let kernel: Option<Vec<usize>> = weight.sizes[2..].iter().map(Dim::number).collect();
        let spatial: Option<Vec<Size>> =
            (0..self.rank).map(|axis| size(&input.sizes[self.spatial_at(axis)])).collect();
        let out_channels = match settings.transposed {
            true => weight.sizes[1].number()?.saturating_mul(settings.groups),
            false => weight.sizes[0].number()?,
        };
        let in_channels = input.sizes[self.channels_at()].number()?;
        // Of pools and their like, each channel by itself is the rule.
        let groups = match settings.reduction {
            Reduction::Sum => settings.groups,
            _ if settings.place("groups", None).is_some() => settings.groups,
            _ => in_channels,
        };
        Some(ConvSpec {
            types,
            layout: settings.layout.0,
            batch: size(&input.sizes[0])?,
            in_channels,
            out_channels,
            groups,
            input: spatial?,
            kernel: kernel?,
            stride: settings.stride.clone(),
            dilation: settings.dilation.clone(),
            padding: settings.padding.clone(),
            padding_mode: settings.padding_mode,
            output_padding: settings.output_padding.clone(),
            transposed: settings.transposed,
            flip: settings.flip,
            bias: bias.is_some(),
            residual: residual.is_some(),
            combine: self.item.combine,
            activation: settings.activation.clone(),
            reduction: settings.reduction,
            ceil_mode: settings.ceil_mode,
        })
    }

    /// The weight's input channels against the input's.
    fn weight(&self, spec: &ConvSpec, errors: &mut Errors) {
        let weight = self.signature.weight;
        let (channels, groups) = (spec.in_channels, spec.groups);
        let (place, found) = match spec.transposed {
            true => (&weight.sizes[0], weight.sizes[0].number()),
            false => (&weight.sizes[1], weight.sizes[1].number()),
        };
        let Some(found) = found else { return };
        if spec.transposed && found != channels {
            let source = match weight.source {
                ShapeSource::Signature => "the weight says".to_owned(),
                source => source.to_string(),
            };
            errors.at(
                place,
                format!("a transposed weight has all input channels first: input has {channels}, but {source} {found}"),
            );
        } else if !spec.transposed
            && groups > 0
            && channels % groups == 0
            && found != channels / groups
        {
            let hint = match weight.source == ShapeSource::LoneWindow {
                true => format!("; `groups: {channels}` puts it on every channel by itself"),
                false => String::new(),
            };
            let rule =
                format!("weight input channels are {channels} / {groups} = {}", channels / groups);
            errors.at(
                place,
                format!("{rule} (input channels over groups), but {} {found}{hint}", weight.source),
            );
        }
    }

    fn bias(&self, spec: &ConvSpec, errors: &mut Errors) {
        let Some(bias) = self.signature.bias else { return };
        match bias.sizes.as_slice() {
            [length] => {
                if let Some(found) = length.number().filter(|length| *length != spec.out_channels) {
                    let (expected, source) = (spec.out_channels, bias.source);
                    errors.at(
                        length,
                        format!("bias length is {expected}, one for each output channel, but {source} {found}"),
                    );
                }
            }
            sizes => errors.at(
                &bias.shape,
                format!("bias has {} sizes, but needs 1: the output channels", sizes.len()),
            ),
        }
    }

    /// The tokens that an issue of `Conv::new` is about.
    fn place(&self, issue: &Issue) -> TokenStream {
        let Signature { input, weight, .. } = &self.signature;
        let dim = |tensor: &Tensor, at: Option<usize>| match at.and_then(|at| tensor.sizes.get(at))
        {
            Some(dim) => dim.to_token_stream(),
            None => tensor.shape.clone(),
        };
        match issue.field {
            "input" => dim(input, issue.axis.map(|axis| self.spatial_at(axis))),
            "batch" => dim(input, Some(0)),
            "in_channels" => dim(input, Some(self.channels_at())),
            "out_channels" => dim(weight, Some(usize::from(self.settings.transposed))),
            "output" => self
                .item
                .output
                .map_or_else(|| self.item.name.to_token_stream(), |output| output.shape.clone()),
            "types" => input.dtype.to_token_stream(),
            "kernel" => dim(weight, issue.axis.map(|axis| 2 + axis)),
            key => self
                .settings
                .place(key, issue.axis)
                .unwrap_or_else(|| self.item.name.to_token_stream()),
        }
    }
}
