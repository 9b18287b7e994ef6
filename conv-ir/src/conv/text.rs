//! The one-line text form of a convolution: its grammar, and how it is read. [`super::print`]
//! writes it.
//!
//! ```text
//! conv2d f32 n1 g1 ic64 oc64 in 56x56 kernel 3x3 pad 1:1,1:1 mode reflect + bias + residual, relu
//! conv2d u8 x i8 -> u8 oc2 in 9 kernel 3 + bias, requantise onnx scale 0.02,0.5 zero_point 3
//!
//! convolution = (kind RANK "d" ["-transposed"] | "linear") clause*
//!               ["+" ("bias" [TYPE] | "residual") | "*" ("residual" | "scale")]* ["," activation]
//!               ["," "requantise" [rounding] "scale" FLOAT ("," FLOAT)* ["zero_point" INTEGER]]
//! kind        = "conv" | "maxpool" | "minpool" | "avgpool" | "dilation" | "erosion"
//!             | "global_maxpool" | "global_minpool" | "global_avgpool" | "upsample_nearest"
//! clause      = TYPE ["x" TYPE ["->" TYPE]] | layout | "flip"
//!             | "n" size | "g" NUMBER | "ic" NUMBER | "oc" NUMBER
//!             | "in" size ("x" size)* | "kernel" list | "stride" list | "dilation" list
//!             | "scale" list | "out_pad" list | "output_size" list | "pad" padding | "mode" mode
//!             | "ceil_mode" | "count_include_pad" | "from" NUMBER ("," NUMBER)*   of a step
//! size        = NUMBER | NAME            NAME: an upper-case identifier, given at run time
//! TYPE        = "f32" | "f64" | "f16" | "bf16"                   of input, weight and output
//!             | "i32" | "i8" | "u8" | "i16" | "u16"
//! ```
//!
//! Clauses come in any order and at most once; `in` and `kernel` must be there, the rest has the
//! defaults of [`ConvSpec::new`]. Of pooling, dilation and erosion `g` and `oc` are what `ic` is,
//! unless said, and the window of global pooling and of `linear` is the input. The small words
//! (layout, list, padding, mode, activation, rounding) are those of the flags. One number in a list
//! means all axes, one scale all output channels. `output_size` is written as the `out_pad` that it
//! means. Writing leaves out what is default from the layout on, and reading gives the same
//! [`Conv`] back.
//!
//! [`Conv`]'s `FromStr` also takes benchdnn problem strings, which are one word that is no kind.

mod epilogue;
#[cfg(test)]
mod requantise_tests;
mod step;

use std::str::FromStr;

use super::clauses::{CLAUSES, our_word};
use super::head::{Head, begins, head};
use super::scan::Scanner;
use super::sizes::size_item;
use super::words::{layout_named, per_axis, scan_mode, scan_padding, scan_types};
use super::{Conv, ConvSpec, Reduction, Size};
use crate::dtype::DType;
use crate::error::{Error, cut};
pub use step::Given;
use step::Tensors;
pub(crate) use step::{StepText, parse_step};

const WHAT: &str = "the convolution";

/// What `in` is.
const IN: &str = "the extents of the input, such as `in 56x56`";

impl FromStr for Conv {
    type Err = Error;

    /// Reads the text form, or a benchdnn problem string.
    fn from_str(text: &str) -> Result<Conv, Error> {
        let trimmed = text.trim();
        if trimmed.is_empty() || begins(trimmed) || trimmed.contains(char::is_whitespace) {
            let mut reader = Reader::new(text, ConvSpec::new([], []))?;
            reader.clauses()?;
            reader.epilogue()?;
            if !reader.any_rank {
                reader.missing("in", IN)?;
            }
            reader.conv()
        } else {
            super::parse_benchdnn(text)
        }
    }
}

struct Reader<'a> {
    scan: Scanner<'a>,
    rank: usize,
    /// As many axes as the input has.
    any_rank: bool,
    /// The window is the whole image.
    global: bool,
    /// The window is of ones.
    repeats: bool,
    /// It is an input of a program, and computes nothing.
    declares: bool,
    seen: Vec<&'static str>,
    /// The type of the output is said.
    gives: bool,
    spec: ConvSpec,
    /// The extents of the output, where they are said.
    output_size: Option<Vec<usize>>,
    /// The tensor that is the residual, in the texts that may say so.
    residual: Option<Option<usize>>,
    /// Those that it reads, where that is said.
    from: Vec<usize>,
    /// The tensors of the program that it is a step of.
    tensors: Option<&'a Tensors<'a>>,
    /// What sums are multiplied by, where they are.
    requantised: Option<epilogue::Requantise>,
}

impl<'a> Reader<'a> {
    /// Behind the first word; `spec` is what holds where the text says nothing.
    fn new(text: &'a str, spec: ConvSpec) -> Result<Reader<'a>, Error> {
        let mut scan = Scanner::new(WHAT, text);
        let Head { rank, transposed, reduction, global, repeats, declares } = head(&mut scan)?;
        Ok(Reader {
            gives: false,
            scan,
            rank: rank.unwrap_or(spec.input.len().max(1)),
            any_rank: rank.is_none(),
            global,
            repeats,
            declares,
            seen: Vec::new(),
            output_size: None,
            spec: ConvSpec { transposed, reduction, ..spec },
            residual: None,
            from: Vec::new(),
            tensors: None,
            requantised: None,
        })
    }

    /// Without `in` a step has as many axes as the one before.
    fn same_rank(&self, before: usize) -> Result<(), Error> {
        if self.rank == before {
            return Ok(());
        }
        let axes = |rank| if rank == 1 { "1 axis".to_owned() } else { format!("{rank} axes") };
        let message =
            format!("it has {}, but the step before has {}", axes(self.rank), axes(before));
        Err(self.scan.error(0, message))
    }

    /// What was said, with what follows from it.
    fn conv(&mut self) -> Result<Conv, Error> {
        if self.any_rank && self.spec.input.is_empty() {
            self.spec.input = vec![Size::Known(1)];
        }
        if self.repeats {
            self.missing("scale", "how often each element is repeated, such as `scale 2`")?;
        } else if self.declares {
            self.declared()?;
        } else if self.global {
            if self.seen.contains(&"pad") {
                let message = "the window is the whole input: leave `pad` out".to_owned();
                return Err(self.scan.error(self.scan.position(), message));
            }
            let known: Option<Vec<usize>> = self.spec.input.iter().map(Size::known).collect();
            self.spec.kernel = known.ok_or_else(|| {
                let message =
                    "the window is the whole input, of which a size is free: give numbers";
                self.scan.error(self.scan.position(), message.to_owned())
            })?;
        } else {
            self.missing("kernel", "the size of the window, such as `kernel 3x3`")?;
        }
        // Each channel by itself is the rule of pools and their like; in groups, as many channels
        // come out as go in.
        let apart = self.spec.reduction != Reduction::Sum || self.repeats;
        if apart && !self.seen.contains(&"g") {
            self.spec.groups = self.spec.in_channels;
        }
        if (apart || self.spec.groups > 1) && !self.seen.contains(&"oc") {
            self.spec.out_channels = self.spec.in_channels;
        }
        // The greatest of bytes is a byte.
        if matches!(self.spec.reduction, Reduction::Max | Reduction::Min) && !self.gives {
            self.spec.types = self.spec.types.giving(self.spec.types.input);
        }
        let conv = Conv::new(self.spec.clone())?;
        let conv = match &self.output_size {
            Some(output) => conv.with_output_size(output)?,
            None if self.repeats => conv.with_ones()?,
            None => conv,
        };
        match &self.requantised {
            Some(said) => conv.requantised(said.rounding, &said.scales, said.zero_point),
            None => Ok(conv),
        }
    }

    fn clauses(&mut self) -> Result<(), Error> {
        loop {
            self.scan.skip_spaces();
            match self.scan.peek() {
                None | Some('+' | '*' | ',') => return Ok(()),
                Some(_) => self.clause()?,
            }
        }
    }

    fn clause(&mut self) -> Result<(), Error> {
        let at = self.scan.position();
        let word = self.scan.word();
        if let Some(dtype) = DType::named(word) {
            (self.spec.types, self.gives) = scan_types(&mut self.scan, dtype)?;
            return self.once(at, "the element type");
        }
        if let Some((layout, rank)) = layout_named(word) {
            self.spec.layout = layout;
            self.layout_rank(at, word, rank)?;
            return self.once(at, "the layout");
        }
        match our_word(word) {
            "in" => self.input(at),
            "kernel" => self.kernel(at),
            "scale" => self.scale(at),
            "stride" if self.repeats => {
                Err(self.scan.error(at, "the stride of upsampling is its scale".to_owned()))
            }
            "stride" => self
                .once(at, "stride")
                .and_then(|()| self.list())
                .map(|list| self.spec.stride = list),
            "dilation" => self
                .once(at, "dilation")
                .and_then(|()| self.list())
                .map(|list| self.spec.dilation = list),
            "out_pad" if self.output_size.is_some() => {
                Err(self.scan.error(at, "`output_size` says the same: give one of them".to_owned()))
            }
            "out_pad" => self
                .once(at, "out_pad")
                .and_then(|()| self.list())
                .map(|list| self.spec.output_padding = list),
            "output_size" => self.output_size(at),
            "from" if self.tensors.is_some() => self.sources(at),
            "pad" => self
                .once(at, "pad")
                .and_then(|()| scan_padding(&mut self.scan))
                .map(|p| self.spec.padding = p),
            "mode" => self
                .once(at, "mode")
                .and_then(|()| scan_mode(&mut self.scan))
                .map(|m| self.spec.padding_mode = m),
            "flip" => {
                self.spec.flip = true;
                self.once(at, "flip")
            }
            "ceil_mode" => {
                self.spec.ceil_mode = true;
                self.once(at, "ceil_mode")
            }
            "count_include_pad" => {
                let Reduction::Average { count_include_pad } = &mut self.spec.reduction else {
                    let message = "`count_include_pad` is about the divisor of average pooling";
                    return Err(self.scan.error(at, message.to_owned()));
                };
                *count_include_pad = true;
                self.once(at, "count_include_pad")
            }
            key @ ("n" | "g" | "ic" | "oc") if key != word => {
                let at = self.value_position();
                let value = self.scan.word();
                self.value_of(at, key, value)
            }
            _ => self.sized(at, word),
        }
    }

    /// `n1`, `nN`, `g1`, `ic64`, `oc64`: a key with its value attached.
    fn sized(&mut self, at: usize, word: &str) -> Result<(), Error> {
        let value = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
        let key = &word[..word.len() - value.len()];
        match key {
            "n" | "g" | "ic" | "oc" if value.is_empty() => {
                let at = self.value_position();
                let value = self.scan.word();
                self.value_of(at, key, value)
            }
            "n" | "g" | "ic" | "oc" => self.value_of(at + key.len(), key, value),
            "bias" | "residual" if value.is_empty() => {
                Err(self.scan.error(at, format!("`{word}` is added with a plus sign: `+ {word}`")))
            }
            _ if word.parse::<crate::Activation>().is_ok() || word == "clamp" => Err(self
                .scan
                .error(at, format!("an activation comes last, after a comma: `, {word}`"))),
            _ if word.is_empty() => Err(match self.scan.peek() {
                Some('.') => self.scan.expected("a space: sizes are whole numbers"),
                Some(':') => self.scan.expected("a space: a padding is `1`, or `before:after`"),
                _ => self.scan.expected("a clause such as `stride 2`"),
            }),
            "transposed" => Err(self.scan.error(
                at,
                format!("it is part of the first word: `conv{}d-transposed`", self.rank),
            )),
            _ => Err(self.scan.unknown(at, word, &CLAUSES)),
        }
    }

    /// The value of a key that is a number or a name, which stands at `at`.
    fn value_of(&mut self, at: usize, key: &str, value: &str) -> Result<(), Error> {
        match key {
            "n" => {
                self.spec.batch = self.scan.size(at, value)?;
                self.once(at, "n")
            }
            "g" => {
                self.spec.groups = self.scan.count(at, value)?;
                self.once(at, "g")
            }
            "ic" => {
                self.spec.in_channels = self.scan.count(at, value)?;
                self.once(at, "ic")
            }
            _ => {
                self.spec.out_channels = self.scan.count(at, value)?;
                self.once(at, "oc")
            }
        }
    }

    fn layout_rank(&self, at: usize, word: &str, rank: Option<usize>) -> Result<(), Error> {
        match rank {
            Some(rank) if rank != self.rank => {
                let message =
                    format!("{word} is a layout of conv{rank}d, not of conv{}d", self.rank);
                Err(self.scan.error(at, message))
            }
            _ => Ok(()),
        }
    }

    fn input(&mut self, at: usize) -> Result<(), Error> {
        self.once(at, "in")?;
        let at = self.value_position();
        let sizes = self.scan.list(size_item)?;
        if self.any_rank {
            self.rank = sizes.len();
        }
        if let ([Size::Free(name)], 2..) = (&sizes[..], self.rank) {
            let message = format!(
                "`{}` is one name for {} axes, but each free size has its own, as in `in HxW`",
                cut(name),
                self.rank
            );
            return Err(self.scan.error(at, message));
        }
        self.spec.input = self.for_all_axes(at, "in", sizes)?;
        Ok(())
    }

    fn kernel(&mut self, at: usize) -> Result<(), Error> {
        self.once(at, "kernel")?;
        if self.global || self.repeats {
            let window = if self.global { "whole input" } else { "scale" };
            let message = format!("the window is the {window}: leave `kernel` out");
            return Err(self.scan.error(at, message));
        }
        let at = self.value_position();
        let sizes = self.scan.list(Scanner::number)?;
        self.spec.kernel = self.for_all_axes(at, "kernel", sizes)?;
        Ok(())
    }

    fn scale(&mut self, at: usize) -> Result<(), Error> {
        if !self.repeats {
            let message = "`scale` is about upsampling, such as `upsample_nearest2d`";
            return Err(self.scan.error(at, message.to_owned()));
        }
        self.once(at, "scale")?;
        let at = self.value_position();
        let sizes = self.scan.list(Scanner::number)?;
        self.spec.kernel = self.for_all_axes(at, "scale", sizes)?;
        if self.spec.kernel.contains(&0) {
            return Err(self.scan.error(at, "a scale must be at least 1".to_owned()));
        }
        self.spec.stride = per_axis(self.spec.kernel.clone());
        Ok(())
    }

    fn output_size(&mut self, at: usize) -> Result<(), Error> {
        self.once(at, "output_size")?;
        if self.seen.contains(&"out_pad") {
            let message = "`out_pad` says the same: give one of them".to_owned();
            return Err(self.scan.error(at, message));
        }
        let at = self.value_position();
        let sizes = self.scan.list(Scanner::number)?;
        self.output_size = Some(self.for_all_axes(at, "output_size", sizes)?);
        Ok(())
    }

    fn value_position(&mut self) -> usize {
        self.scan.skip_spaces();
        self.scan.position()
    }

    fn for_all_axes<T: Clone>(&self, at: usize, key: &str, items: Vec<T>) -> Result<Vec<T>, Error> {
        match &items[..] {
            [one] => Ok(vec![one.clone(); self.rank]),
            _ if items.len() == self.rank => Ok(items),
            _ => {
                let message = format!(
                    "`{key}` has {} sizes, but conv{}d has {} axes",
                    items.len(),
                    self.rank,
                    self.rank
                );
                Err(self.scan.error(at, message))
            }
        }
    }

    fn list(&mut self) -> Result<super::PerAxis<usize>, Error> {
        self.scan.list(Scanner::number).map(per_axis)
    }

    fn once(&mut self, at: usize, key: &'static str) -> Result<(), Error> {
        if self.seen.contains(&key) {
            return Err(self.scan.error(at, format!("{key} is given twice")));
        }
        self.seen.push(key);
        Ok(())
    }

    fn missing(&self, key: &str, meaning: &str) -> Result<(), Error> {
        if self.seen.contains(&key) {
            return Ok(());
        }
        Err(self.scan.error(self.scan.position(), format!("`{key}` is missing: {meaning}")))
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
