//! What runs between guards, as text: fields with bars between them.
//!
//! ```text
//! conv1d ic2 oc3 in N kernel 3 | sizes N:17 | known | target avx2 | schedule lanes oc:8 tile oc:8
//! conv2d ..; conv2d .. | target avx512 | plan 0..2 rows 3 chunks 2 keep yn layouts fl, 2..3
//! ```
//!
//! Without `schedule` or `plan` it is the model's. `known`: weights are compiled in. Of layouts,
//! `f` has channels first and `l` last.

use std::fmt;
use std::str::FromStr;

use conv_ir::program::fuse::Strips;
use conv_ir::program::plan::{Group, Plan};
use conv_ir::{Accuracy, Conv, Layout, Program, Schedule, Target};

use crate::host::{TARGETS, as_here};

/// What most cases ask for.
pub(super) const EXACT: Accuracy = Accuracy::Exact;

/// What runs, and how.
pub(super) struct Case {
    pub program: Program,
    /// Values of free sizes.
    pub sizes: Vec<(String, usize)>,
    /// Whether weights are compiled in.
    pub known: bool,
    pub target: Target,
    /// Of one step.
    pub schedule: Option<Schedule>,
    pub plan: Option<Plan>,
    /// Other than the contract's bits may be admitted: those of a run without guards are wanted.
    pub accuracy: Accuracy,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program.to_string().replace('\n', "; "))?;
        if !self.sizes.is_empty() {
            let sizes: Vec<String> = self.sizes.iter().map(|(n, s)| format!("{n}:{s}")).collect();
            write!(f, " | sizes {}", sizes.join(","))?;
        }
        let known = if self.known { " | known" } else { "" };
        write!(f, "{known} | target {}", self.target.name)?;
        if let Some(schedule) = &self.schedule {
            write!(f, " | schedule {schedule}")?;
        }
        if let Some(plan) = &self.plan {
            let groups: Vec<String> = plan.groups.iter().map(group_text).collect();
            write!(f, " | plan {}", groups.join(", "))?;
        }
        match self.accuracy {
            Accuracy::Exact => Ok(()),
            accuracy => write!(f, " | accuracy {accuracy}"),
        }
    }
}

fn group_text(group: &Group) -> String {
    let mut text = format!("{}..{}", group.steps.start, group.steps.end);
    if let Some(Strips { rows, keep, layouts, chunks }) = &group.strips {
        let keep: String = keep.iter().map(|keep| if *keep { 'y' } else { 'n' }).collect();
        let letter = |l: &Layout| if *l == Layout::ChannelsFirst { 'f' } else { 'l' };
        let layouts: String = layouts.iter().map(letter).collect();
        text += &format!(" rows {rows} chunks {chunks} keep {keep} layouts {layouts}");
    }
    text
}

fn read_group(text: &str) -> Result<Group, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |word: &str| word.parse::<usize>().map_err(|e| format!("{text}: {e}"));
    let (start, end) = words[0].split_once("..").ok_or(text)?;
    let strips = match words[1..] {
        [] => None,
        ["rows", rows, "chunks", chunks, "keep", keep, "layouts", layouts] => Some(Strips {
            rows: number(rows)?,
            chunks: number(chunks)?,
            keep: keep.chars().map(|letter| letter == 'y').collect(),
            layouts: layouts
                .chars()
                .map(|l| if l == 'f' { Layout::ChannelsFirst } else { Layout::ChannelsLast })
                .collect(),
        }),
        _ => return Err(format!("{text} is no group")),
    };
    Ok(Group { steps: number(start)?..number(end)?, strips })
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Case, String> {
        let (what, fields) = text.split_once(" | ").ok_or("no target")?;
        let (mut known, mut accuracy) = (false, Accuracy::Exact);
        let (mut target, mut schedule, mut plan, mut sizes) = (None, None, None, Vec::new());
        for field in fields.split(" | ") {
            match field.split_once(' ').unwrap_or((field, "")) {
                ("known", "") => known = true,
                ("accuracy", text) => {
                    accuracy = text.parse().map_err(|e| format!("{text}: {e}"))?;
                }
                ("target", name) => target = TARGETS.into_iter().find(|t| t.name == name),
                ("schedule", text) => {
                    schedule = Some(text.parse().map_err(|e| format!("{text}: {e}"))?);
                }
                ("plan", text) => {
                    let groups = text.split(',').map(read_group).collect::<Result<_, _>>()?;
                    plan = Some(Plan { groups, reasons: Vec::new() });
                }
                ("sizes", text) => {
                    for size in text.split(',') {
                        let (name, size) = size.split_once(':').ok_or(size)?;
                        sizes.push((name.to_owned(), size.parse().map_err(|_| size)?));
                    }
                }
                _ => return Err(format!("the field {field}")),
            }
        }
        let target = as_here(target.ok_or("no target")?);
        let message = |e: conv_ir::Error| format!("{what}: {e}");
        let program = match what.contains(';') {
            true => what.parse().map_err(message)?,
            // One step may add a residual of the caller's.
            false => what.parse::<Conv>().map_err(message)?.into(),
        };
        Ok(Case { program, sizes, known, target, schedule, plan, accuracy })
    }
}

#[test]
fn cases_are_read_as_they_print() {
    for text in [
        "conv1d f32 n1 g1 ic2 oc3 in N kernel 3 | sizes N:17 | known | target avx2 | schedule lanes oc:8 tile oc:8 pack",
        "conv1d f32 n1 g1 ic16 oc16 in 99 kernel 3 | target avx2 | accuracy fast",
        "conv1d f32 n1 g1 ic1 oc2 in 9 kernel 1; conv1d f32 n1 g1 ic2 oc1 in 9 kernel 3 | target avx512 | plan 0..2 rows 3 chunks 2 keep yn layouts fl",
    ] {
        let case: Case = text.parse().unwrap();
        let again: Case = case.to_string().parse().unwrap();
        assert_eq!(case.to_string(), again.to_string());
        let said = text.split(" | ").filter(|field| !field.starts_with("schedule"));
        said.for_each(|field| assert!(case.to_string().contains(field), "{field}: {case}"));
    }
}
