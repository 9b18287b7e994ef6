//! What was compiled, as text for a person to read.

use std::fmt::Write as _;

use conv_ir::nest::bill::Bill;
use conv_ir::program::plan::Group;
use conv_ir::separate::Accuracy;
use conv_ir::{Nest, passes};

use crate::by_size::MOST_SIZES;
use crate::code::Maker;
use crate::compiled::{Compiled, route_name};
use crate::lowered::LoweredGroup;
use crate::shared::GroupCode;
use crate::x86;
use crate::{Error, listing};

impl Compiled {
    /// The description, the route, the plan or schedule with its reasons, sizes, compile time, and
    /// what each leaf costs.
    pub fn explain(&self) -> String {
        let mut text = format!("{}\n", self.program());
        let several = self.rewritten().program.steps().len() > 1;
        let (target, backend) = (self.target(), &self.shared.backend);
        pair(
            &mut text,
            "route",
            format!("{}, {}, target {target}", route_name(target), backend.name()),
        );
        if self.shared.lens.is_none() {
            pair(&mut text, "sizes", self.explain_sizes());
        }
        let done = self.rewritten().reasons();
        done.into_iter().for_each(|reason| pair(&mut text, "rewritten", reason));
        if several {
            let groups: Vec<String> = self.plan().groups.iter().map(words).collect();
            pair(&mut text, "plan", groups.join("; "));
            self.plan().reasons.iter().for_each(|why| pair(&mut text, "", format!("- {why}")));
        }
        if !backend.has_fma() {
            let rounding = match self.shared.options.accuracy {
                Accuracy::Unfused => "twice a multiply-add, as asked",
                _ => {
                    "no fused multiply-add here: two roundings, so the last bits differ from other routes"
                }
            };
            pair(&mut text, "rounding", rounding.to_owned());
        }
        let (bytes, functions) = (self.code_bytes(), self.functions().count());
        pair(&mut text, "code", format!("{bytes} bytes in {functions} functions"));
        pair(&mut text, "compiled", format!("in {}", self.compile_time()));
        for (group, compiled) in self.groups().iter().zip(&self.shared.codes) {
            if several {
                let _ = writeln!(text, "\n{}", words(&group.group));
            }
            self.explain_group(&mut text, group, compiled);
        }
        text
    }

    fn explain_sizes(&self) -> String {
        match self.shared.is_models_choice() {
            true => format!(
                "free: a run compiles the sizes that it meets and keeps {MOST_SIZES}; what follows serves any size, for small runs of new ones"
            ),
            false => {
                "free: this code serves them all, as the schedule or plan was given".to_owned()
            }
        }
    }

    fn explain_group(&self, text: &mut String, group: &LoweredGroup, compiled: &GroupCode) {
        if let Some(choice) = &group.choice {
            pair(text, "schedule", choice.schedule.to_string());
            choice.reasons.iter().for_each(|reason| pair(text, "", format!("- {reason}")));
        }
        for conv in self.rewritten().program.steps()[group.group.steps.clone()]
            .iter()
            .map(|step| &step.conv)
        {
            if let Some(found) = conv.found_in_weights() {
                pair(text, "weights", format!("compiled in: {found}"));
            }
        }
        for (leaf, size) in group.nest.leaves.iter().zip(&compiled.code.sizes) {
            let bill = Bill::of(leaf);
            pair(text, "leaf", format!("{}: {bill}; {} bytes", leaf.name, size.bytes));
            match &size.by {
                Maker::Assembler => {
                    let again = x86::assemble(&group.nest, leaf, self.target().isa);
                    if let Ok(kernel) = again {
                        pair(text, "", format!("assembled: {}", kernel.bill()));
                    }
                }
                Maker::Cranelift { refused: Some(why) } => {
                    pair(text, "", format!("by cranelift: {why}"));
                }
                Maker::Cranelift { refused: None } => {}
            }
        }
    }

    /// The nests after the pass of that name (or `lower`), as text. Fused steps have their finished
    /// nest alone, after the last pass.
    ///
    /// # Errors
    /// [`Error::Argument`] with the names there are.
    pub fn ir_after(&self, pass: &str) -> Result<String, Error> {
        let mut all = self.ir_after_all()?;
        all.retain(|(name, _)| name == pass);
        if all.is_empty() && passes::PASSES.iter().all(|known| known.name != pass) {
            let names: Vec<&str> = passes::PASSES.iter().map(|p| p.name).collect();
            let names = names.join(", ");
            let message = format!("there is no pass {pass}: they are lower, {names}");
            return Err(Error::Argument(message));
        }
        Ok(all.into_iter().map(|(_, text)| text).collect())
    }

    /// Every pass's name with the nest after it, as text, group after group.
    ///
    /// # Errors
    /// None in practice: the passes have run before.
    pub fn ir_after_all(&self) -> Result<Vec<(String, String)>, Error> {
        let mut all = Vec::new();
        let mut note = |name: &str, nest: &Nest| all.push((name.to_owned(), nest.to_string()));
        for LoweredGroup { group, choice, nest, .. } in self.groups() {
            match choice {
                Some(choice) => {
                    let conv = &self.rewritten().program.steps()[group.steps.start].conv;
                    passes::compile(conv, &choice.schedule, self.target(), &mut note)?;
                }
                None => note(passes::PASSES.last().map_or("", |pass| pass.name), nest),
            }
        }
        Ok(all)
    }

    /// Cranelift's IR of what Cranelift compiled, and the machine code of the leaves that we
    /// assembled.
    ///
    /// # Errors
    /// None in practice: it has been emitted before.
    pub fn clif(&self) -> Result<String, Error> {
        self.nests().map(|nest| listing::clif_for(nest, &self.shared.options)).collect()
    }

    /// The machine code of every function as text.
    ///
    /// # Errors
    /// None in practice: it has been compiled before.
    pub fn disassembly(&self) -> Result<String, Error> {
        self.nests().map(|nest| listing::disassembly_for(nest, &self.shared.options)).collect()
    }
}

/// `steps 1 to 3 fused, 4 rows a strip`
fn words(group: &Group) -> String {
    let (first, last) = (group.steps.start + 1, group.steps.end);
    match &group.strips {
        None => format!("step {first} alone"),
        Some(strips) => format!("steps {first} to {last} fused, {} rows a strip", strips.rows),
    }
}

fn pair(text: &mut String, name: &str, what: String) {
    let _ = writeln!(text, "{name:<10}{what}"); // writing to a string cannot fail
}
