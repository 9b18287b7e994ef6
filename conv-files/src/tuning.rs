//! What `convc tune` measured, in a file that people read: a JSON object with one entry for each
//! machine, and in it a line for each layer and accuracy.
//!
//! ```text
//! { "machines": [ { "version": "0.1.0", "cpu": "GenuineIntel 6/173", "target": "avx512",
//!     "layers": [ { "layer": "conv2d f32 n1 ..", "accuracy": "exact", "algorithm": "direct",
//!                   "schedule": "lanes oc:16 ..", "ms": 1.02, "model_ms": 1.2 } ] } ] }
//! ```
//!
//! Numbers hold on the CPU and for the version that they were measured with. What was measured
//! elsewhere stays in the file and is passed over, with a note; so is a line that says what is not
//! there any more.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use conv_ir::program::{Algorithm, Tuned, Tuning};
use conv_ir::{Accuracy, Conv, Error as IrError, Schedule, cut};
use serde::{Deserialize, Serialize};

/// The version of these crates, which an entry must have been measured with.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The largest file that is read.
const MOST_BYTES: u64 = 64 << 20;

/// Notes about single lines; what is beyond is counted.
const MOST_NOTES: usize = 5;

/// Who measured, on what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Of these crates.
    pub version: String,
    /// As `conv_jit::cpu` names it.
    pub cpu: String,
    /// What code was made for, by name.
    pub target: String,
}

impl Machine {
    /// With these crates, on this CPU, for this target.
    pub fn new(cpu: impl Into<String>, target: impl Into<String>) -> Machine {
        Machine { version: VERSION.to_owned(), cpu: cpu.into(), target: target.into() }
    }
}

/// A layer's winner, and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The winner.
    pub tuned: Tuned,
    /// Milliseconds that it takes.
    pub ms: f64,
    /// And the model's choice, measured in turns with it.
    pub model_ms: f64,
}

/// A line of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    layer: String,
    accuracy: String,
    algorithm: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    ms: f64,
    model_ms: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    machine: Machine,
    layers: Vec<Line>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Contents {
    machines: Vec<Entry>,
}

/// Reads what was measured on a machine like this, and says in words what is passed over.
///
/// # Errors
/// Where the file, which is named, cannot be read or is no such file.
pub fn read(path: &Path, here: &Machine) -> Result<(Tuning, Vec<String>), String> {
    let found = text(path).and_then(|text| parse(&text, here));
    found.map_err(|message| format!("{}: {message}", path.display()))
}

/// What was measured with this version for each of some targets, on whatever CPU, and in words what
/// is passed over: for code that is to run on several machines. Of two CPUs the last in the file
/// counts.
///
/// # Errors
/// As [`read`].
pub fn read_for(path: &Path, targets: &[&str]) -> Result<(Vec<Tuning>, Vec<String>), String> {
    let here = format!("version {VERSION} for {}", targets.join(", "));
    let place = |machine: &Machine| {
        let at = targets.iter().position(|target| machine.target == *target);
        at.filter(|_| machine.version == VERSION)
    };
    let found = text(path).and_then(|text| sorted(&text, &here, targets.len(), place));
    found.map_err(|message| format!("{}: {message}", path.display()))
}

/// What [`read`] finds in a text.
///
/// ```
/// use conv_files::tuning::{Machine, parse};
/// let machine = r#"{ "version": "0.0.1", "cpu": "old", "target": "avx2", "layers": [] }"#;
/// let text = format!("{{ \"machines\": [ {machine} ] }}");
/// let (tuning, notes) = parse(&text, &Machine::new("new", "avx2"))?;
/// assert!(tuning.layers().is_empty());
/// assert!(notes[0].starts_with("passed over: 0 layers measured with version 0.0.1 on old"));
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str, here: &Machine) -> Result<(Tuning, Vec<String>), String> {
    let words = format!("version {} on {} for {}", here.version, here.cpu, here.target);
    let (found, notes) = sorted(text, &words, 1, |machine| (machine == here).then_some(0))?;
    Ok((found.into_iter().next().unwrap_or_default(), notes))
}

/// What a text says of some machines, each at its place. `here` is what they are, in words.
fn sorted(
    text: &str,
    here: &str,
    machines: usize,
    place: impl Fn(&Machine) -> Option<usize>,
) -> Result<(Vec<Tuning>, Vec<String>), String> {
    let (mut notes, mut wrong) = (Vec::new(), Vec::new());
    let mut found: Vec<Vec<Tuned>> = vec![Vec::new(); machines];
    for Entry { machine, layers } in contents(text)?.machines {
        let Some(at) = place(&machine) else {
            notes.push(format!(
                "passed over: {} layers measured with version {} on {} for {}; this is {here} \
                 (`convc tune` measures them here)",
                layers.len(),
                cut(&machine.version),
                cut(&machine.cpu),
                cut(&machine.target),
            ));
            continue;
        };
        for line in &layers {
            match line.tuned() {
                Ok(tuned) => found[at].push(tuned),
                Err(why) => wrong.push(format!("passed over: {}: {why}", cut(&line.layer))),
            }
        }
    }
    let more = wrong.len().saturating_sub(MOST_NOTES);
    notes.extend(wrong.into_iter().take(MOST_NOTES));
    if more > 0 {
        notes.push(format!("passed over: {more} more layers"));
    }
    Ok((found.into_iter().map(Tuning::from_iter).collect(), notes))
}

/// The text of a file with what was measured here, in the place of what it had of these layers;
/// everything else in `before`, a file's text, stays.
///
/// # Errors
/// What is wrong with the text.
pub fn merged(before: Option<&str>, here: &Machine, new: &[Measured]) -> Result<String, String> {
    let mut all = before.map_or_else(|| Ok(Contents::default()), contents)?;
    let at = match all.machines.iter().position(|entry| entry.machine == *here) {
        Some(at) => at,
        None => {
            all.machines.push(Entry { machine: here.clone(), layers: Vec::new() });
            all.machines.len() - 1
        }
    };
    let layers = &mut all.machines[at].layers;
    for line in new.iter().map(Line::of) {
        let is_same = |old: &&mut Line| old.layer == line.layer && old.accuracy == line.accuracy;
        match layers.iter_mut().find(is_same) {
            Some(old) => *old = line,
            None => layers.push(line),
        }
    }
    let mut text = serde_json::to_string_pretty(&all).map_err(|error| error.to_string())?;
    text.push('\n');
    Ok(text)
}

impl Line {
    fn of(Measured { tuned, ms, model_ms }: &Measured) -> Line {
        let rounded = |ms: f64| (ms * 1e6).round() / 1e6;
        Line {
            layer: tuned.conv().to_string(),
            accuracy: tuned.accuracy().to_string(),
            algorithm: tuned.algorithm().to_string(),
            schedule: tuned.schedule().map(ToString::to_string),
            ms: rounded(*ms),
            model_ms: rounded(*model_ms),
        }
    }

    fn tuned(&self) -> Result<Tuned, IrError> {
        let conv: Conv = self.layer.parse()?;
        let accuracy: Accuracy = self.accuracy.parse()?;
        let schedule = self.schedule.as_deref().map(str::parse::<Schedule>).transpose()?;
        let named = |algorithm: &Algorithm| algorithm.to_string() == self.algorithm;
        let algorithm = Algorithm::of(&conv, accuracy).into_iter().find(named);
        let algorithm = algorithm.ok_or_else(|| {
            let name = cut(&self.algorithm);
            IrError::Argument(format!("accuracy {accuracy} has no algorithm {name:?} of it"))
        })?;
        Tuned::new(&conv, accuracy, (algorithm, schedule))
    }
}

fn contents(text: &str) -> Result<Contents, String> {
    serde_json::from_str(text).map_err(|error| format!("is no file of `convc tune`: {error}"))
}

fn text(path: &Path) -> Result<String, String> {
    let failed = |why: &dyn std::fmt::Display| format!("cannot be read: {why}");
    let file = File::open(path).map_err(|why| failed(&why))?;
    let mut text = String::new();
    let read = file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|why| failed(&why))?;
    if read as u64 > MOST_BYTES {
        return Err(failed(&format!("it has more than {MOST_BYTES} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(text: &str, schedule: &str, ms: f64) -> Measured {
        let conv: Conv = text.parse().expect("a convolution");
        let way = (Algorithm::Direct, Some(schedule.parse().expect("a schedule")));
        let tuned = Tuned::new(&conv, Accuracy::Exact, way).expect("a legal choice");
        Measured { tuned, ms, model_ms: 2.0 }
    }

    const LAYER: &str = "conv2d ic8 oc16 in 9 kernel 3";

    #[test]
    fn what_is_written_is_read_and_replaced() {
        let (here, other) = (Machine::new("a", "avx2"), Machine::new("b", "avx2"));
        let first = measured(LAYER, "lanes oc:8 borders exact pack", 1.0);
        let second = measured(LAYER, "lanes oc:4 borders exact pack", 0.5);
        let text = merged(None, &here, std::slice::from_ref(&first)).expect("new");
        let text = merged(Some(&text), &other, &[first]).expect("another machine's");
        let text = merged(Some(&text), &here, std::slice::from_ref(&second)).expect("replaced");
        let (tuning, notes) = parse(&text, &here).expect("its own");
        assert_eq!(tuning.layers(), [second.tuned]);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains("1 layers measured with version 0.1.0 on b"), "{notes:?}");
        // A file of another version is nobody's.
        let (tuning, notes) = parse(&text.replace(VERSION, "0.0.9"), &here).expect("a file");
        assert!(tuning.layers().is_empty() && notes.len() == 2, "{notes:?}");
    }

    #[test]
    fn a_wrong_line_is_passed_over_and_a_wrong_file_refused() {
        let here = Machine::new("a", "avx2");
        let good = measured(LAYER, "lanes oc:8 borders exact pack", 1.0);
        let text = merged(None, &here, &[good]).expect("new");
        for (from, to, why) in [
            ("kernel 3x3", "kernel 30x30", "kernel"),
            ("\"direct\"", "\"F(9x9)\"", "accuracy exact has no algorithm \"F(9x9)\" of it"),
            ("lanes oc:8", "lanes ox:8", "is no axis"),
            ("\"exact\"", "\"rough\"", "expected `exact`"),
        ] {
            let (tuning, notes) = parse(&text.replace(from, to), &here).expect("a file");
            assert!(tuning.layers().is_empty(), "{from}");
            assert!(notes.len() == 1 && notes[0].contains(why), "{from}: {notes:?}");
        }
        let wrong = parse("[1, 2]", &here).expect_err("no such file");
        assert!(wrong.starts_with("is no file of `convc tune`: "), "{wrong}");
    }
}
