//! The judge: a nest is verified and interpreted after every pass, and must give the reference's
//! bits each time.

use crate::data::{Data, Fill, compare};
use conv_ir::{Conv, Element, Error, Nest, Schedule, Target, nest, passes};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// The seed of every case; the description and the fill do the rest.
pub const SEED: u64 = 7;

/// Compiles under `schedule`, and after each pass checks the invariants and runs the interpreter
/// against the reference.
///
/// # Errors
/// The name of the first pass after which something is wrong, what, and the nest.
pub fn judge<T: Element>(
    conv: &Conv,
    schedule: &Schedule,
    target: &Target,
    fill: Fill,
) -> Result<Nest, String> {
    let data = Data::<T>::new(conv, fill, SEED);
    let wanted = data.reference(conv).map_err(|e| format!("reference: {e}"))?;
    let mut verdict = Ok(());
    let nest = quietly(|| {
        passes::compile(conv, schedule, target, &mut |pass, nest| {
            if verdict.is_ok() {
                verdict = after(pass, nest, &data, &wanted);
            }
        })
    });
    let context = |what: String| format!("{conv}\n{schedule}\n{what}");
    verdict.map_err(context)?;
    nest.map_err(context)?.map_err(|e| context(e.to_string()))
}

fn after<T: Element>(pass: &str, nest: &Nest, data: &Data<T>, wanted: &[T]) -> Result<(), String> {
    let said = |what: String| format!("after {pass}: {what}\n{nest}");
    let broken = nest::verify(nest);
    if !broken.is_empty() {
        return Err(said(format!("{broken:?}")));
    }
    let output = quietly(|| data.interpret(nest, wanted.len(), &[], 1)).map_err(said)?;
    compare(&output.map_err(|e| said(e.to_string()))?, wanted).map_err(said)
}

/// Whether threads that share the body write each output once, and the reference's bits.
///
/// # Errors
/// How many threads, and what went wrong.
pub fn judge_threads<T: Element>(
    conv: &Conv,
    nest: &Nest,
    fill: Fill,
    parts: usize,
) -> Result<(), String> {
    let data = Data::<T>::new(conv, fill, SEED);
    let wanted = data.reference(conv).map_err(|e| format!("reference: {e}"))?;
    let said = |what: String| format!("{conv}\nby {parts} threads: {what}\n{nest}");
    let output = quietly(|| data.interpret(nest, wanted.len(), &[], parts)).map_err(said)?;
    compare(&output.map_err(|e| said(e.to_string()))?, &wanted).map_err(said)
}

/// Whether a nest with free sizes gives the bits of the convolution that has them filled in.
///
/// # Errors
/// The sizes, and what went wrong.
pub fn judge_free<T: Element>(
    conv: &Conv,
    nest: &Nest,
    free: &[(&str, usize)],
    fill: Fill,
) -> Result<(), String> {
    let said = |what: String| format!("{conv}\nfor {free:?}: {what}\n{nest}");
    let known = conv.with_sizes(free).map_err(|e| said(e.to_string()))?;
    let data = Data::<T>::new(&known, fill, SEED);
    let wanted = data.reference(&known).map_err(|e| said(format!("reference: {e}")))?;
    let output = quietly(|| data.interpret(nest, wanted.len(), free, 1)).map_err(said)?;
    compare(&output.map_err(|e| said(e.to_string()))?, &wanted).map_err(said)
}

/// Whether this is a schedule that the passes take.
pub fn is_legal(conv: &Conv, schedule: &Schedule, target: &Target) -> bool {
    let compiled = quietly(|| passes::compile(conv, schedule, target, &mut |_, _| {}));
    !matches!(compiled, Ok(Err(Error::IllegalSchedule(_))))
}

thread_local! {
    /// Whether a panic on this thread is a result and not news.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Panics of judged code are caught and told once, with their case; while proptest shrinks there
/// are hundreds.
fn silence_expected_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
}

/// Runs `f`; a panic becomes its message.
///
/// # Errors
/// The message of the panic.
pub fn quietly<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    silence_expected_panics();
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(f));
    QUIET.set(before);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        format!("panic: {}", text.unwrap_or_default())
    })
}
