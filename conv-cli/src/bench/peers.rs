//! What other libraries took for the same layers: files of JSON lines, one result a line.
//!
//! In: files, and the run's thread count. Out: [`Peers`], for each layer what each library did with
//! that many threads. Fields of a line:
//!
//! | field | what | |
//! |---|---|---|
//! | `layer`, `peer`, `threads`, `status` | whose result, of which layer | always |
//! | `peer_version` | of the library | |
//! | `ms_median`, `ms_min` | milliseconds, middle and fastest run | median where status is `ok` |
//! | `call_overhead_ms` | what the library takes for next to no work | |
//! | `probe_before_after` | GFLOP/s of one core's multiply-adds just before and after | |
//! | `other_cpu` | cores that other processes kept busy meanwhile | |
//!
//! Other fields are ignored: rates and families follow from our own table. A field may be `null`
//! wherever it may be missing. Nothing of a file is trusted: numbers have bounds, and names have no
//! control characters, which a terminal would obey.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::input;

/// Longer than any run, and short enough that arithmetic on it stays finite: 11 days.
const MAX_MS: f64 = 1e9;
/// Longer names break every table.
const MAX_NAME: usize = 100;

/// How a library fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// The result is right.
    Ok,
    /// The result is less precise than f32 allows.
    Loose,
    /// The result is wrong.
    Wrong,
    /// The library has no such operation.
    Unsupported,
    /// It reported an error.
    Error,
    /// It took its process down.
    Crashed,
    /// It did not finish.
    Timeout,
    /// It did not run.
    Missing,
}

impl Status {
    const ALL: [Status; 8] = [
        Status::Ok,
        Status::Loose,
        Status::Wrong,
        Status::Unsupported,
        Status::Error,
        Status::Crashed,
        Status::Timeout,
        Status::Missing,
    ];

    /// As in the file.
    pub fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Loose => "loose",
            Status::Wrong => "wrong",
            Status::Unsupported => "unsupported",
            Status::Error => "error",
            Status::Crashed => "crashed",
            Status::Timeout => "timeout",
            Status::Missing => "missing",
        }
    }
}

/// What one library did with one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The library.
    pub peer: String,
    /// Its version.
    pub version: Option<String>,
    /// How it fared.
    pub status: Status,
    /// The middle run; always there where the status is ok.
    pub ms_median: Option<f64>,
    /// The fastest run.
    pub ms_min: Option<f64>,
    /// Largest error.
    pub error: Option<f64>,
    /// Milliseconds of a call that does next to nothing.
    pub overhead_ms: Option<f64>,
    /// GFLOP/s of one core, before and after.
    pub probes: Vec<f64>,
    /// Cores kept busy by others.
    pub other_cpu: Option<f64>,
}

/// The results that concern this run.
#[derive(Debug, Default)]
pub struct Peers {
    by_layer: BTreeMap<String, BTreeMap<String, Line>>,
    /// How many lines are of other thread counts.
    pub other_threads: usize,
}

impl Peers {
    /// Reads the files in order: the last line of a layer and peer counts.
    pub fn read(paths: &[PathBuf], threads: usize) -> Result<Peers, Failure> {
        let mut peers = Peers::default();
        for path in paths {
            let bytes = input::bytes(path)?;
            peers.add(path, bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes), threads)?;
        }
        Ok(peers)
    }

    fn add(&mut self, path: &Path, bytes: &[u8], threads: usize) -> Result<(), Failure> {
        let mut empty = true;
        for (at, text) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if text.trim_ascii().is_empty() {
                continue;
            }
            empty = false;
            let parsed = parse(text)
                .map_err(|message| Failure::file(path, format!("line {}: {message}", at + 1)))?;
            self.keep(parsed, threads);
        }
        if empty {
            return Err(Failure::file(path, "holds no results: it must have a JSON object a line"));
        }
        Ok(())
    }

    fn keep(&mut self, parsed: Parsed, threads: usize) {
        if parsed.threads == threads {
            let of_layer = self.by_layer.entry(parsed.layer).or_default();
            of_layer.insert(parsed.line.peer.clone(), parsed.line);
        } else {
            self.other_threads += 1;
        }
    }

    /// The results for a layer, in order of the libraries' names.
    pub fn of(&self, layer: &str) -> impl Iterator<Item = &Line> {
        self.by_layer.get(layer).into_iter().flat_map(BTreeMap::values)
    }

    /// The layers that are not among `known`.
    pub fn unknown<'a>(&'a self, known: &BTreeSet<String>) -> Vec<&'a str> {
        let names = self.by_layer.keys().filter(|name| !known.contains(*name));
        names.map(String::as_str).collect()
    }

    /// From lines of JSON, for tests.
    #[cfg(test)]
    pub fn from_lines(lines: &str, threads: usize) -> Peers {
        let mut peers = Peers::default();
        peers.add(Path::new("peers.jsonl"), lines.as_bytes(), threads).expect("well-formed lines");
        peers
    }
}

struct Parsed {
    layer: String,
    threads: usize,
    line: Line,
}

fn parse(text: &[u8]) -> Result<Parsed, String> {
    let value = serde_json::from_slice(text)
        .map_err(|error| format!("is not JSON: {}", without_line(&error)))?;
    let Value::Object(map) = value else {
        return Err(format!("must be a JSON object, but is {}", shown(&value)));
    };
    let fields = Fields(map);
    let line = Line {
        peer: fields.name("peer")?.ok_or_else(|| missing("peer"))?,
        version: fields.name("peer_version")?,
        status: fields.status()?,
        ms_median: fields.milliseconds("ms_median")?,
        ms_min: fields.milliseconds("ms_min")?,
        error: fields.not_negative("max_abs_err_vs_reference")?,
        overhead_ms: fields.not_negative("call_overhead_ms")?,
        probes: fields.probes()?,
        other_cpu: fields.not_negative("other_cpu")?,
    };
    if line.status == Status::Ok && line.ms_median.is_none() {
        return Err(format!("{}, but a line with status \"ok\" needs it", missing("ms_median")));
    }
    Ok(Parsed {
        layer: fields.name("layer")?.ok_or_else(|| missing("layer"))?,
        threads: fields.threads()?,
        line,
    })
}

/// The fields of a line, each with its rule.
struct Fields(Map<String, Value>);

impl Fields {
    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn name(&self, field: &str) -> Result<Option<String>, String> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match value.as_str() {
            Some(name) if is_name(name) => Ok(Some(name.to_owned())),
            _ => {
                let rule =
                    format!("a text of 1 to {MAX_NAME} characters without control characters");
                Err(broken(field, &rule, value))
            }
        }
    }

    fn status(&self) -> Result<Status, String> {
        let value = self.get("status").ok_or_else(|| missing("status"))?;
        let found = Status::ALL.into_iter().find(|status| value.as_str() == Some(status.word()));
        found.ok_or_else(|| {
            let words = Status::ALL.map(Status::word).join(", ");
            broken("status", &format!("one of {words}"), value)
        })
    }

    fn threads(&self) -> Result<usize, String> {
        let value = self.get("threads").ok_or_else(|| missing("threads"))?;
        match value.as_u64().map(usize::try_from) {
            Some(Ok(threads)) if threads > 0 => Ok(threads),
            _ => Err(broken("threads", "a whole number from 1", value)),
        }
    }

    fn milliseconds(&self, field: &str) -> Result<Option<f64>, String> {
        self.number(field, "a number above 0, at most 1e9", |ms| ms > 0.0 && ms <= MAX_MS)
    }

    fn not_negative(&self, field: &str) -> Result<Option<f64>, String> {
        self.number(field, "a number that is not negative", |x| x >= 0.0)
    }

    fn number(
        &self,
        field: &str,
        rule: &str,
        holds: fn(f64) -> bool,
    ) -> Result<Option<f64>, String> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match value.as_f64().filter(|&x| holds(x)) {
            Some(x) => Ok(Some(x)),
            None => Err(broken(field, rule, value)),
        }
    }

    fn probes(&self) -> Result<Vec<f64>, String> {
        let field = "probe_before_after";
        let Some(value) = self.get(field) else {
            return Ok(Vec::new());
        };
        let all =
            value.as_array().map(|all| all.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>());
        match all.flatten() {
            Some(all) if all.len() == 2 => Ok(all),
            _ => Err(broken(field, "two numbers", value)),
        }
    }
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn missing(field: &str) -> String {
    format!("{field} is missing")
}

fn broken(field: &str, rule: &str, value: &Value) -> String {
    format!("{field} must be {rule}, but is {}", shown(value))
}

/// The start of a value, on one line and safe to print.
fn shown(value: &Value) -> String {
    const ENOUGH: usize = 40;
    let text = value.to_string();
    let start = text.chars().take(ENOUGH).map(|c| if c.is_control() { '?' } else { c });
    let rest = if text.chars().count() > ENOUGH { ".." } else { "" };
    start.collect::<String>() + rest
}

/// The parser numbers lines too, and always says 1.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.find(" at line ").unwrap_or(text.len());
    format!("{} at column {}", &text[..end], error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        parse(text.as_bytes()).err().expect("must be refused")
    }

    #[test]
    fn the_last_line_of_a_layer_and_peer_counts() {
        let line = |ms: u32, threads: u32| {
            format!(
                r#"{{"layer":"a","peer":"p","threads":{threads},"status":"ok","ms_median":{ms}}}"#
            )
        };
        let peers =
            Peers::from_lines(&[line(3, 1), line(5, 1), String::new(), line(1, 2)].join("\n"), 1);
        let times: Vec<Option<f64>> = peers.of("a").map(|line| line.ms_median).collect();
        assert_eq!((times, peers.other_threads), (vec![Some(5.0)], 1));
        assert_eq!(peers.of("b").count(), 0);
        assert_eq!(peers.unknown(&BTreeSet::from(["b".to_owned()])), ["a"]);
    }

    #[test]
    fn every_field_has_its_rule() {
        let with = |field: &str, value: &str| {
            let mut line: Map<String, Value> = serde_json::from_str(
                r#"{"layer":"a","peer":"p","threads":1,"status":"ok","ms_median":1.5}"#,
            )
            .unwrap();
            line.insert(field.to_owned(), serde_json::from_str(value).unwrap());
            Value::Object(line).to_string()
        };
        assert!(parse(with("peer_version", "null").as_bytes()).is_ok());
        let rules = [
            ("layer", "null", "layer is missing"),
            (
                "peer",
                "\"\"",
                "peer must be a text of 1 to 100 characters without control characters, but is \"\"",
            ),
            ("peer", "\"\\u001b[2J\"", "but is \"\\u001b[2J\""),
            (
                "status",
                "\"fine\"",
                "status must be one of ok, loose, wrong, unsupported, error, crashed, timeout, missing, but is \"fine\"",
            ),
            ("threads", "0", "threads must be a whole number from 1, but is 0"),
            ("threads", "1.5", "threads must be a whole number from 1, but is 1.5"),
            ("ms_median", "null", "ms_median is missing, but a line with status \"ok\" needs it"),
            ("ms_median", "0", "ms_median must be a number above 0, at most 1e9, but is 0"),
            ("ms_min", "\"1\"", "ms_min must be a number above 0, at most 1e9, but is \"1\""),
            ("other_cpu", "-1", "other_cpu must be a number that is not negative, but is -1"),
            ("probe_before_after", "[1]", "probe_before_after must be two numbers, but is [1]"),
        ];
        for (field, value, part) in rules {
            let message = message(&with(field, value));
            assert!(message.contains(part), "{field} = {value}: {message}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert_eq!(message("[1]"), "must be a JSON object, but is [1]");
        assert_eq!(message("{\"layer\": }"), "is not JSON: expected value at column 11");
        assert!(parse(&[0xff, 0xfe]).is_err());
        assert!(message(&"[".repeat(10_000)).starts_with("is not JSON: recursion limit"));
    }
}
