//! An item with steps: a chain, or every mistake on the token that makes it.
//!
//! ```text
//! pub struct Block(input: [f32; 1, 24, 56, 56]) -> [f32; 1, 24, 56, 56];
//! expand:    { weight: [f32; 144, 24, 1, 1], bias: [f32; 144], activation: relu6 },
//! depthwise: { weight: [f32; 144, 1, 3, 3], groups: 144, padding: 1, activation: relu6 },
//! project:   { weight: [f32; 24, 144, 1, 1], residual: input },
//! beside:    { weight: [f32; 24, 24, 1, 1], from: input },
//! both:      { weight: [f32; 24, 48, 1, 1], from: [project, beside] }
//!
//! pub struct Two(input: [..], mask: [f32; 1, 1, 56, 56]) -> (project: [..], both: [..]);
//! ```
//!
//! In: a parsed item with steps. Out: a checked [`Program`]. Each step is checked as a convolution
//! of its own ([`check`](super::check)) whose input is what the step before gives, or what `from`
//! names, joined along the channels; these sizes
//! stand on the step's name, so that what does not fit is reported there. Inputs behind `input` are
//! declared in front of the steps ([`inputs`](super::inputs)). The last step's output is compared
//! with the signature, or those of the steps that it names. Steps behind one that is wrong have
//! their keys read, no more: their sizes would be guesses.

use conv_ir::conv::Combine;
use conv_ir::program::Step as ChainStep;
use conv_ir::{Conv, Layout, Program, Size};
use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Expr, ExprLit, Lit, LitInt};

use super::Errors;
use super::check::{Checked, along as axis_of, check};
use super::inputs;
use super::parse::{Described, Dim, Entry, Item, ShapeSource, Step, Tensor, word};
use super::pools;
use super::values::{KEYS, Settings, unknown_word};

/// What is said once, for all steps.
const SHARED: [&str; 5] = ["layout", "std", "accuracy", "stream", "tuning"];

/// The words of a tensor that is combined with what a step gives.
const COMBINED: [(&str, Combine); 3] =
    [("residual", Combine::Add), ("multiply", Combine::Multiply), ("scale", Combine::Scale)];

/// `expand_weight`: what the caller passes for an array of a step.
pub(super) fn array_name(step: &Ident, array: &Ident) -> Ident {
    Ident::new(&format!("{}_{}", step.unraw(), array.unraw()), step.span())
}

/// What a chain asks for; `None` where `errors` says why.
pub(super) fn check_steps(item: &Item, errors: &mut Errors) -> Option<Checked> {
    let first = errors.count();
    let inputs = inputs::signature(item, errors);
    names(item, errors);
    let shared = shared(item, errors);
    let settings = Settings::read(&shared, errors);
    let mut along = Along {
        item,
        shared: &shared,
        layout: settings.layout.0,
        inputs: item.parameters.len().max(1),
        declared: 0,
        tensors: Vec::new(),
        steps: Vec::new(),
    };
    if errors.count() == first {
        along.begin(&inputs, errors);
    }
    for at in 0..item.steps.len() {
        along.step(at, errors);
    }
    if errors.count() > first {
        return None;
    }
    let outputs = along.outputs(errors)?;
    let names: Vec<String> = along.tensors.iter().map(|tensor| tensor.name.to_string()).collect();
    let chain = Program::giving_named(along.steps, outputs, &names);
    let chain = chain.map_err(|error| {
        let text = error.to_string();
        let is_named = |step: &&Step| text.contains(&format!("`{}`", step.name));
        let place = item.steps.iter().rev().find(is_named);
        errors.at(place.map_or(&item.name, |step| &step.name), text);
    });
    let chain = chain.ok()?;
    let stream = axis_of(&settings, chain.steps()[0].conv.rank(), errors);
    if errors.count() > first {
        return None;
    }
    Some(Checked {
        program: chain,
        stream,
        schedule: None,
        accuracy: settings.accuracy,
        runtime: settings.runtime,
        tuning: settings.tuning,
    })
}

/// Steps have names of their own.
fn names(item: &Item, errors: &mut Errors) {
    for (at, Step { name, .. }) in item.steps.iter().enumerate() {
        if name == "input" || name == "output" {
            errors.at(name, format!("a step cannot be called `{name}`, which is the chain's own"));
        } else if name == "from"
            || COMBINED.iter().any(|(word, _)| name == word)
            || KEYS.iter().any(|key| name == key)
        {
            errors.at(name, format!("a step cannot be called `{name}`, which is a key"));
        } else if item.steps[..at].iter().any(|step| step.name == *name) {
            errors.at(name, format!("there is a step `{name}` already"));
        } else if item.parameters.iter().any(|input| input.name == *name) {
            errors.at(name, format!("there is an input `{name}` already"));
        }
    }
}

/// The entries beside the steps.
fn shared(item: &Item, errors: &mut Errors) -> Vec<Entry> {
    for Entry { key, .. } in &item.entries {
        let word = key.to_string();
        if !SHARED.contains(&word.as_str()) {
            let message = match KEYS.contains(&word.as_str()) {
                true if word == "schedule" => {
                    "a schedule is for one convolution, but this is a chain".to_owned()
                }
                true => format!(
                    "`{key}` belongs into a step: beside the steps stand {}",
                    SHARED.join(", ")
                ),
                false => unknown_word("key", &word, &SHARED),
            };
            errors.at(key, message);
        }
    }
    let is_shared = |entry: &&Entry| SHARED.iter().any(|key| entry.key == key);
    item.entries.iter().filter(is_shared).cloned().collect()
}

/// The steps so far.
struct Along<'a> {
    item: &'a Item,
    shared: &'a [Entry],
    layout: Layout,
    /// How many the signature has.
    inputs: usize,
    /// How many of them are declared by steps: all where there are several, or none.
    declared: usize,
    /// The input, declared ones, and the outputs of the steps, up to the first that is wrong.
    tensors: Vec<Tensor>,
    steps: Vec<ChainStep>,
}

impl<'a> Along<'a> {
    /// The inputs, of which several are declared.
    fn begin(&mut self, inputs: &[&Tensor], errors: &mut Errors) {
        self.tensors.extend(inputs.first().copied().cloned());
        if inputs.len() < 2 {
            return;
        }
        for &input in inputs {
            match inputs::declared(input, self.layout) {
                Ok(step) => self.steps.push(step),
                Err(why) => errors.at(&input.shape, format!("`{}`: {why}", input.name)),
            }
            self.tensors.push(input.clone());
        }
        self.declared = inputs.len();
    }

    /// The tensors that are given.
    fn outputs(&self, errors: &mut Errors) -> Option<Vec<usize>> {
        let number = |output: &Tensor| {
            let at = self.item.steps.iter().position(|step| step.name == output.name);
            at.map(|at| self.declared + at + 1)
        };
        if let [one] = &self.item.outputs[..]
            && one.name == "output"
        {
            return Some(vec![self.steps.len()]);
        }
        let before = errors.count();
        for output in self.item.outputs.iter().filter(|output| number(output).is_none()) {
            let message = format!("no step is called `{}`: an output is a step's", output.name);
            errors.at(&output.name, message);
        }
        let outputs = self.item.outputs.iter().filter_map(number).collect();
        (errors.count() == before).then_some(outputs)
    }

    /// What the signature says of the output of the step at this position, under the name that
    /// messages have for it.
    fn said_of(&self, at: usize) -> Option<Tensor> {
        let name = &self.item.steps[at].name;
        let is_last = at + 1 == self.item.steps.len();
        let is_its =
            |output: &&Tensor| output.name == *name || (is_last && output.name == "output");
        let output = self.item.outputs.iter().find(is_its)?;
        Some(Tensor { name: Ident::new("output", output.name.span()), ..output.clone() })
    }

    /// Checks the step at position `at`, and goes on behind it if it is sound.
    fn step(&mut self, at: usize, errors: &mut Errors) {
        let before = errors.count();
        let step = &self.item.steps[at];
        let from = self.from(at, errors);
        let last = self.declared + at;
        // The first step reads the first input.
        let usual = if at == 0 { 0 } else { last };
        let read = from.as_ref().map_or(vec![usual], |(from, _)| from.clone());
        let is_known = self.tensors.len() > last;
        let Some(input) = self.read(&read, step).filter(|_| is_known) else {
            // Its input is not known.
            arrays(step, errors);
            self.residual(at, errors);
            Settings::read(&self.entries(step, errors), errors);
            return;
        };
        let input = Tensor { name: Ident::new("input", step.name.span()), ..input };
        let residual = self.residual(at, errors);
        let combine = residual.map_or(Combine::Add, |(.., combine)| combine);
        let added = residual.map(|(from, place, _)| self.added(from, place));
        let parameters: Vec<Tensor> =
            [input].into_iter().chain(arrays(step, errors)).chain(added).collect();
        let entries = self.entries(step, errors);
        let output = self.said_of(at);
        let described = Described {
            name: &step.name,
            parameters: &parameters,
            output: output.as_ref(),
            entries: &entries,
            combine,
            form: self.item.form,
        };
        // What is missing was reported.
        let checked = (errors.count() == before).then(|| check(&described, errors)).flatten();
        if let Some(conv) = checked.as_ref().and_then(|checked| checked.program.single()) {
            self.tensors.push(given(step, (conv, last + 1)));
            let residual = residual.map(|(from, ..)| from);
            self.steps.push(ChainStep { from: read, residual, ..conv.clone().into() });
        }
    }

    /// What a step says once with this word.
    fn said(&self, at: usize, word: &str, errors: &mut Errors) -> Option<&'a Entry> {
        let mut all = self.item.steps[at].entries.iter().filter(|entry| entry.key == word);
        let first = all.next();
        all.for_each(|twice| errors.at(&twice.key, format!("`{word}` is given twice")));
        first
    }

    /// The number of the tensor that a step adds, and where that is said.
    fn residual(&self, at: usize, errors: &mut Errors) -> Option<(usize, &'a Expr, Combine)> {
        let said = |(word, combine)| self.said(at, word, errors).map(|entry| (entry, combine));
        let all: Vec<(&Entry, Combine)> = COMBINED.into_iter().filter_map(said).collect();
        for (second, _) in all.iter().skip(1) {
            let message = "a step adds a tensor, or multiplies by one: the other is a step of its own, a pool of `kernel: 1`";
            errors.at(&second.key, message.to_owned());
        }
        let &(entry, combine) = all.first()?;
        let words = match combine {
            Combine::Add => ("a residual comes from before its step", "what is added"),
            _ => ("a factor comes from before its step", "what multiplies"),
        };
        Some((self.named(&entry.value, at, words, errors)?, &entry.value, combine))
    }

    /// The tensors that a step reads, where it names them, and where that is said.
    fn from(&self, at: usize, errors: &mut Errors) -> Option<(Vec<usize>, &'a Expr)> {
        let entry = self.said(at, "from", errors)?;
        let place = &entry.value;
        let values: Vec<&Expr> = match place {
            Expr::Array(list) => list.elems.iter().collect(),
            one => vec![one],
        };
        if values.is_empty() {
            errors.at(place, "`from` names what the step reads: `from: [a, b]`".to_owned());
            return None;
        }
        if at == 0 && self.declared == 0 {
            errors.at(place, "the first step reads `input`: leave `from` out".to_owned());
            return None;
        }
        let words = ("a step reads what is there before it", "what the step reads");
        let named = values.into_iter().map(|value| self.named(value, at, words, errors));
        let found: Vec<Option<usize>> = named.collect();
        Some((found.into_iter().collect::<Option<_>>()?, place))
    }

    /// The number of the tensor that a step names: its rule, and what it is called.
    fn named(
        &self,
        value: &Expr,
        at: usize,
        (rule, what): (&str, &str),
        errors: &mut Errors,
    ) -> Option<usize> {
        let inputs = self.item.parameters.iter().map(|input| &input.name);
        let names = inputs.chain(self.item.steps.iter().map(|step| &step.name));
        let names: Vec<String> = names.map(Ident::to_string).collect();
        let found = word(value).and_then(|word| names.iter().position(|name| word == name));
        let there = self.inputs + at;
        let known = match names.get(..there).unwrap_or(&names) {
            [first, .., a, b, c] if at > 12 => format!("{first}, .., {a}, {b}, {c}"),
            all => all.join(", "),
        };
        match found {
            // Declared inputs have numbers as steps have.
            Some(from) if from < there => return Some(from + usize::from(self.declared > 0)),
            Some(_) => errors.at(value, format!("{rule}: {known}")),
            None => errors.at(value, format!("expected the name of {what}: {known}")),
        }
        None
    }

    /// Tensors joined along the channels, as a step's input; none where one is not known, or not of
    /// the sizes of the first, which [`Program`] reports.
    fn read(&self, from: &[usize], step: &Step) -> Option<Tensor> {
        let mut all = from.iter().map(|&tensor| self.tensors.get(tensor));
        let first = all.next()??;
        if from.len() == 1 {
            return Some(first.clone());
        }
        let at = match self.layout {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => first.sizes.len() - 1,
        };
        let channels = |tensor: &Tensor| match tensor.sizes.get(at) {
            Some(Dim::Number(n, _)) => Some(*n),
            _ => None,
        };
        let mut sum = channels(first)?;
        for tensor in all {
            sum = sum.checked_add(channels(tensor?)?)?;
        }
        let mut joined = first.clone();
        joined.sizes[at] = number(sum, step.name.span());
        Some(joined)
    }

    /// A tensor as a residual, its sizes where it is named.
    fn added(&self, from: usize, place: &Expr) -> Tensor {
        let sizes = self.tensors[from].sizes.iter().map(|size| match size {
            Dim::Number(n, _) => Dim::Number(*n, place.clone()),
            // The one that streams.
            other => other.clone(),
        });
        Tensor {
            name: Ident::new("residual", Span::call_site()),
            sizes: sizes.collect(),
            source: if from <= self.declared { ShapeSource::Input } else { ShapeSource::Step },
            ..self.tensors[from].clone()
        }
    }

    /// What a step and the item say of it, without the residual.
    fn entries(&self, step: &Step, errors: &mut Errors) -> Vec<Entry> {
        const ELSEWHERE: [&str; 5] = ["residual", "multiply", "scale", "from", "schedule"];
        for Entry { key, .. } in &step.entries {
            if SHARED.iter().any(|shared| key == shared) {
                errors.at(key, format!("`{key}` is said once for all steps, beside them"));
            } else if key == "schedule" {
                errors.at(key, "a schedule is for one convolution, but this is a chain".to_owned());
            }
        }
        let is_own =
            |entry: &&Entry| SHARED.iter().chain(&ELSEWHERE).all(|other| entry.key != other);
        let layout = self.shared.iter().filter(|entry| entry.key == "layout");
        step.entries.iter().filter(is_own).chain(layout).cloned().collect()
    }
}

/// The shapes that a step gives, weight first.
fn arrays(step: &Step, errors: &mut Errors) -> Vec<Tensor> {
    let mut arrays: Vec<Tensor> = Vec::new();
    for name in ["weight", "bias"] {
        let mut all = step.arrays.iter().filter(|array| array.name == name);
        arrays.extend(all.next().cloned());
        all.for_each(|twice| errors.at(&twice.name, format!("`{name}` is given twice")));
    }
    for other in step.arrays.iter().filter(|array| array.name != "weight" && array.name != "bias") {
        errors.at(
            &other.name,
            format!("`{}` is no array: a step has `weight` and `bias`", other.name),
        );
    }
    let is_weight = |name: &Ident| name == "weight";
    let has_weight = pools::reduction(&step.entries).has_weight();
    if has_weight
        && !arrays.iter().any(|array| is_weight(&array.name))
        && !step.entries.iter().any(|entry| is_weight(&entry.key))
    {
        let message = "the step has no weight: write its shape, as in `weight: [f32; 8, 3, 3, 3]`, its numbers or its file";
        errors.at(&step.name, message.to_owned());
    }
    arrays
}

/// The output of a step, as the next one's input: its sizes stand on the step's name.
fn given(step: &Step, (conv, number_of): (&Conv, usize)) -> Tensor {
    let spec = conv.spec();
    let mut shape = vec![spec.batch.clone()];
    shape.extend(conv.sizes_behind(number_of));
    let channels = match spec.layout {
        Layout::ChannelsFirst => 1,
        Layout::ChannelsLast => shape.len(),
    };
    shape.insert(channels, Size::Known(spec.out_channels));
    let dim = |size: Size| match size {
        Size::Known(n) => number(n, step.name.span()),
        Size::Free(name) => Dim::Name(Ident::new(&name, step.name.span())),
    };
    Tensor {
        name: step.name.clone(),
        dtype: Ident::new(&conv.types().output.to_string(), step.name.span()),
        sizes: shape.into_iter().map(dim).collect(),
        shape: step.name.to_token_stream(),
        source: ShapeSource::StepBefore,
    }
}

/// A size that nobody wrote, at a place to report it.
fn number(n: usize, span: Span) -> Dim {
    let lit = Lit::Int(LitInt::new(&n.to_string(), span));
    Dim::Number(n, Expr::Lit(ExprLit { attrs: Vec::new(), lit }))
}
