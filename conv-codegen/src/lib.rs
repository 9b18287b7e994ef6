//! The Rust way out: loop nests as readable Rust source, and the grammar of `conv!`.
//!
//! ```text
//! conv! { .. } --grammar--> Conv --conv_ir::passes--> Nest --emit--> tokens
//!                           Conv, name -----------------------------> text      (rust_source, for build scripts and `convc emit`)
//!                           Chain, name --plan--> one nest ---------> text      (chain_source)
//! ```
//!
//! An ordinary library, so that all of it is tested with plain strings; the crate `conv-macros`
//! only hands tokens over. The emitted code is safe, depends on the standard library alone and
//! computes the contract's bits: one chain of fused multiply-adds per output. It is portable:
//! vectors are arrays, and how fast they run is up to rustc (compile for a CPU with FMA; elsewhere
//! `mul_add` is a slow, exact library call).

#![forbid(unsafe_code)]

mod budget;
mod chain;
mod emit;
mod facts;
mod grammar;

use conv_ir::chain::plan::Plan;
use conv_ir::schedule::Pack;
use conv_ir::{Conv, Error, Schedule, Target, passes};
use quote::quote;

pub use chain::{chain_source, lowered_chain};
use emit::Constant;
pub use emit::{Head, Isa, STACK_LIMIT, Version, emit, emit_type};
pub use grammar::expand;

/// What is made of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Form {
    /// A function of input, weight, bias and output.
    #[default]
    Function,
    /// A type that packs weight and bias once.
    Type,
}

/// What the source may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Library {
    /// `std`: the version is chosen by what the CPU has.
    #[default]
    Std,
    /// `core` alone: the version is chosen by the features that the crate is compiled for.
    Core,
}

/// How it is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Function or type.
    pub form: Form,
    /// With `std` or without.
    pub runtime: Library,
    /// Versions beside the portable one.
    pub isas: Vec<Isa>,
    /// The schedule of all versions whose vectors are wide enough, instead of the model's choice
    /// for each.
    pub schedule: Option<Schedule>,
    /// Of a chain, which steps are fused, instead of the model's choice.
    pub plan: Option<Plan>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            form: Form::default(),
            runtime: Library::default(),
            isas: vec![Isa::Avx512, Isa::Avx2],
            schedule: None,
            plan: None,
        }
    }
}

/// The versions of an item, the widest first, and the widest one's schedule.
///
/// # Errors
/// [`Error::IllegalSchedule`] where the schedule does not fit the convolution; [`Error::Invalid`]
/// where a size makes too much code.
pub fn lowered(conv: &Conv, options: &Options) -> Result<(Vec<Version>, Schedule), Error> {
    budget::check([conv].into_iter(), budget::copies(options))?;
    let targets = Isa::ALL.map(|isa| any_machine(target(isa, options.form)));
    let schedules = match options.schedule.clone() {
        Some(mut schedule) => {
            // A type holds packed weights, whatever else the schedule says.
            if options.form == Form::Type && schedule.pack == Pack::No {
                schedule.pack = schedule.panels();
            }
            [schedule.clone(), schedule.clone(), schedule]
        }
        None => Schedule::choose_together(conv, [&targets[0], &targets[1], &targets[2]])
            .map(|choice| choice.schedule),
    };
    let mut versions = Vec::new();
    for ((isa, target), schedule) in Isa::ALL.into_iter().zip(&targets).zip(&schedules) {
        let lanes =
            schedule.lanes.map_or(16, |(_, lanes)| lanes as usize * conv.spec().dtype.bytes());
        let has_vectors = options.isas.contains(&isa)
            && (16..=target.vector_bytes).contains(&lanes)
            && lanes.is_power_of_two();
        if has_vectors || isa == Isa::Portable {
            let nest = passes::compile(conv, schedule, target, &mut |_, _| {})?;
            budget::check_nest(conv, &nest)?;
            versions.push(Version { isa, runtime: options.runtime, nest });
        }
    }
    let [widest, ..] = schedules;
    Ok((versions, widest))
}

/// The caches of no one machine, for code that runs on several: between a Zen 4 (1 MiB, a KiB from
/// it in 10 cycles and from beyond in 24) and a Sapphire Rapids (2 MiB, 20 and 130), nearer
/// to the one that has more to lose.
fn any_machine(target: Target) -> Target {
    Target { l2_bytes: target.l2_bytes / 2 * 3, l2_cycles: 15, far_cycles: 110, ..target }
}

/// The machine behind a version.
fn target(isa: Isa, form: Form) -> Target {
    let target = match isa {
        // rustc keeps a splat that several multiply-adds share in a register.
        Isa::Avx512 => Target { step_registers: 1, ..Target::AVX512 },
        Isa::Avx2 => Target::AVX2,
        Isa::Portable => Target::RUST,
    };
    Target { packs: form == Form::Type, masks_free: true, ..target }
}

/// A convolution as the source of one public function or type, formatted; a file of its own.
///
/// # Errors
/// [`Error::Argument`] where `name` is no name; [`Error::IllegalSchedule`]; [`Error::Unsupported`]
/// as for [`emit`].
pub fn rust_source(conv: &Conv, name: &str, options: &Options) -> Result<String, Error> {
    let name = named(name)?;
    let (versions, schedule) = lowered(conv, options)?;
    let head = Head {
        docs: quote!(),
        notes: described(conv, &schedule, &versions),
        attributes: quote!(),
        visibility: quote!(pub),
        name,
    };
    Ok(format_source(item(options.form, &versions, &head, &facts::constants(conv))?))
}

fn named(name: &str) -> Result<syn::Ident, Error> {
    syn::parse_str(name)
        .map_err(|_| Error::Argument(format!("`{name}` cannot be the name of a Rust item")))
}

/// The tokens of an item.
fn item(
    form: Form,
    versions: &[Version],
    head: &Head,
    constants: &[Constant],
) -> Result<proc_macro2::TokenStream, Error> {
    match form {
        Form::Function => emit(versions, head),
        Form::Type => emit_type(versions, head, constants),
    }
}

/// What an item says of itself, and what its versions cost.
fn described(conv: &Conv, schedule: &Schedule, versions: &[Version]) -> Vec<String> {
    let mut notes = notes(conv, Some(schedule));
    notes.extend(chain::bills(versions));
    notes
}

/// What an emitted function says of itself.
fn notes(conv: &Conv, schedule: Option<&Schedule>) -> Vec<String> {
    let mut notes = vec![format!("`{conv}`"), String::new()];
    if let Some(known) = conv.known() {
        notes
            .push(format!("The weights are compiled in: {}.", known.found(conv.weight_shape()[0])));
        notes.push(String::new());
    }
    notes.extend(sizes(conv));
    notes.extend(schedule.map(|schedule| format!("Schedule: `{schedule}`.")));
    notes
}

/// What sizes that come at run time must be.
fn sizes(conv: &Conv) -> Vec<String> {
    let batch = conv.spec().batch.known().is_none().then_some(0);
    let inputs = conv.axes().iter().enumerate().filter(|(_, axis)| axis.input.known().is_none());
    let least = batch.into_iter().chain(inputs.map(|(at, _)| conv.least_input(at)));
    let sizes = conv.free_sizes().into_iter().zip(least);
    let sizes: Vec<String> = sizes.map(|(name, least)| format!("`{name}` >= {least}")).collect();
    match sizes.is_empty() {
        true => Vec::new(),
        false => vec![
            format!("Panics unless {}, and arrays are as long as the sizes say.", sizes.join(", ")),
            String::new(),
        ],
    }
}

/// Tokens as formatted text.
pub fn format_source(tokens: proc_macro2::TokenStream) -> String {
    match syn::parse2(tokens.clone()) {
        Ok(file) => prettyplease::unparse(&file),
        Err(error) => panic!("emitted text is no Rust ({error}): {tokens}"),
    }
}
