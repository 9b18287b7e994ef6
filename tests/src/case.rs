//! Case files: a convolution, a target, a schedule and what to show of it.
//!
//! ```text
//! A panel makes every tile an inner one.               the first line says what the case proves
//! conv: conv2d f32 n1 g1 ic2 oc3 in 8x9 kernel 3x3 pad 1
//! weight: 1 2 1 0 0 0 -1 -2 -1                         known weights, compiled in; left out: none
//! target: cranelift128
//! schedule: lanes ow:4 tile ow:8 borders panel:4       left out: the model's choice
//! show: borders outline rust clif machine              names of passes, or of ways out
//! ```
//!
//! `machine` shows bytes and spills. The text that is shown depends on the file alone: targets are
//! named, and machine code is made for a fixed triple.

use conv_ir::nest::bill::Bill;
use conv_ir::{Conv, Nest, Schedule, Target, passes};
use std::fmt::Write;

/// What machine code is shown for. On a host of another architecture this backend is not compiled
/// in, and such cases show nothing.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// One case file.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it proves.
    pub proves: String,
    /// The convolution.
    pub conv: Conv,
    /// The machine it is lowered for.
    pub target: Target,
    /// How.
    pub schedule: Schedule,
    /// Why, where the model chose.
    pub reasons: Vec<String>,
    /// The stages to show.
    pub show: Vec<String>,
}

impl Case {
    /// Reads a case file.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn parse(text: &str) -> Result<Case, String> {
        let mut lines = text.lines();
        let proves = lines.next().unwrap_or_default().to_owned();
        let (mut conv, mut target, mut schedule, mut show) =
            (None, Target::CRANELIFT, None, Vec::new());
        let mut weight: Option<Vec<f64>> = None;
        for line in lines.filter(|l| !l.trim().is_empty()) {
            let (key, value) = line.split_once(": ").ok_or_else(|| format!("no key: {line}"))?;
            match key {
                "conv" => conv = Some(value.parse::<Conv>().map_err(|e| e.to_string())?),
                "weight" => weight = Some(taps(value)?),
                "target" => {
                    target =
                        Target::by_name(value.trim()).ok_or_else(|| format!("no target {value}"))?
                }
                "schedule" => {
                    schedule = Some(value.parse::<Schedule>().map_err(|e| e.to_string())?)
                }
                "show" => show = value.split_whitespace().map(str::to_owned).collect(),
                _ => return Err(format!("unknown key {key}")),
            }
        }
        let conv = conv.ok_or("the conv is missing")?;
        let conv = match weight {
            Some(weight) => conv.with_weights(&weight, None).map_err(|e| e.to_string())?,
            None => conv,
        };
        let chosen = Schedule::choose(&conv, &target);
        let reasons = if schedule.is_none() { chosen.reasons } else { Vec::new() };
        Ok(Case {
            proves,
            conv,
            target,
            schedule: schedule.unwrap_or(chosen.schedule),
            reasons,
            show,
        })
    }

    /// What the case shows: the schedule, the bill, then each stage.
    ///
    /// # Errors
    /// Why it cannot be compiled or printed.
    pub fn shown(&self) -> Result<String, String> {
        let mut stages = Vec::new();
        let nest = passes::compile(&self.conv, &self.schedule, &self.target, &mut |pass, nest| {
            if self.show.iter().any(|s| s == pass) {
                stages.push((pass.to_owned(), nest.to_string()));
            }
        });
        let nest = nest.map_err(|e| e.to_string())?;
        let is_pass = |name: &str| name == "lower" || passes::PASSES.iter().any(|p| p.name == name);
        for other in self.show.iter().filter(|s| !is_pass(s)) {
            stages.push((other.clone(), self.emitted(other, &nest)?));
        }
        let mut text = format!("; {}\n; {}\n; {}\n", self.proves, self.conv, self.schedule);
        for reason in &self.reasons {
            let _ = writeln!(text, ";   {reason}");
        }
        text += &bill(&nest);
        for (pass, stage) in stages {
            let _ = write!(text, "\n== {pass}\n{stage}");
        }
        Ok(text)
    }

    /// Whether the machine code that it shows can be made here.
    pub fn is_for_this_machine(&self) -> bool {
        cfg!(target_arch = "x86_64") || !self.show.iter().any(|s| s == "clif" || s == "machine")
    }

    fn emitted(&self, way_out: &str, nest: &Nest) -> Result<String, String> {
        match way_out {
            "clif" => {
                let backend = conv_jit::Backend::by_triple(TRIPLE).map_err(|e| e.to_string())?;
                conv_jit::clif(nest, &backend).map_err(|e| e.to_string())
            }
            "rust" => {
                let options = conv_codegen::Options {
                    schedule: Some(self.schedule.clone()),
                    ..conv_codegen::Options::default()
                };
                conv_codegen::rust_source(&self.conv, "case", &options).map_err(|e| e.to_string())
            }
            "machine" => {
                let backend = conv_jit::Backend::by_triple(TRIPLE).map_err(|e| e.to_string())?;
                conv_jit::disassembly(nest, &backend)
                    .map(|text| machine_bill(&text))
                    .map_err(|e| e.to_string())
            }
            "assembled" => self.assembled(nest),
            _ => Err(format!("nothing called {way_out} to show")),
        }
    }
}

impl Case {
    /// The instructions of every leaf that the target's assembler makes, each behind its bill. The
    /// text is the same on every host.
    fn assembled(&self, nest: &Nest) -> Result<String, String> {
        let text = |leaf| match conv_jit::x86::assemble(nest, leaf, self.target.isa) {
            Ok(kernel) => kernel.text(),
            Err(refusal) => format!("; {}: {refusal}\n", leaf.name),
        };
        Ok(nest.leaves.iter().map(text).collect())
    }
}

/// Numbers between spaces.
fn taps(text: &str) -> Result<Vec<f64>, String> {
    let number = |word: &str| word.parse().map_err(|_| format!("no number: {word}"));
    text.split_whitespace().map(number).collect()
}

/// Bytes of each function, and its vector instructions that touch the stack: spilled accumulators
/// would be among them.
fn machine_bill(disassembly: &str) -> String {
    let mut bill: Vec<(&str, usize)> = Vec::new();
    for line in disassembly.lines() {
        if let Some(name) = line.strip_prefix("; ") {
            bill.push((name, 0));
        } else if line.contains("%xmm") && line.contains("%rsp") {
            bill.last_mut().into_iter().for_each(|function| function.1 += 1);
        }
    }
    bill.iter()
        .map(|(name, spills)| format!("{name}: {spills} vector spills or reloads\n"))
        .collect()
}

/// One line for each leaf of the finished nest.
fn bill(nest: &Nest) -> String {
    let mut text = String::new();
    for leaf in nest.all_leaves() {
        let _ = writeln!(text, "bill {}: {}", leaf.name, Bill::of(leaf));
    }
    text
}
