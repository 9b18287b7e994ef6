//! The micro-kernels of a program, those with most work first, equal ones on one line.

use conv_ir::Target;
use conv_ir::nest::bill::Bill;
use conv_ir::nest::work::work;
use conv_jit::x86::{self, Refusal};
use conv_jit::{Lowered, LoweredGroup};

use crate::table::{Side, lined_up};

/// Leaves that cost the same.
struct Alike {
    names: Vec<String>,
    bill: String,
    /// How its code is made; of machine code, what an inner loop has.
    made: String,
    bytes: usize,
    is_refused: bool,
    work: i64,
}

/// One line about all of them.
pub fn line(lowered: &Lowered, target: &Target) -> (&'static str, String) {
    let all = alike(lowered, target);
    let count: usize = all.iter().map(|one| one.names.len()).sum();
    let Some(hot) = all.first() else { return ("kernels", "none".to_owned()) };
    // What is assembled says itself what it loads, which neighbours share.
    let (shape, _) = hot.bill.split_once(": ").unwrap_or((&hot.bill, ""));
    let does = match (hot.bytes > 0, hot.is_refused) {
        (true, _) => format!("{shape}; {}", hot.made),
        (false, true) => format!("{}; {}", hot.bill, hot.made),
        (false, false) => hot.bill.clone(),
    };
    ("kernels", format!("{count}; most work is in {}: {does} (--leaves shows all)", hot.names[0]))
}

/// All of them.
pub fn table(lowered: &Lowered, target: &Target) -> String {
    let all = alike(lowered, target);
    let sum: i64 = all.iter().fold(0, |sum: i64, one| sum.saturating_add(one.work));
    let mut rows = Vec::new();
    for Alike { names, bill, made, bytes, work, .. } in all {
        let share = match sum {
            0 => "-".to_owned(),
            sum => format!("{:.0} %", 100.0 * work as f64 / sum as f64),
        };
        let more = match names.len() {
            1 => String::new(),
            count => format!(" and {} like it", count - 1),
        };
        rows.push(vec![share, format!("{}{more}: {bill}", names[0])]);
        let bytes = if bytes > 0 { format!("; {bytes} bytes") } else { String::new() };
        rows.push(vec![String::new(), format!("  {made}{bytes}")]);
    }
    lined_up(&[Side::Right, Side::Left], &rows)
}

fn alike(lowered: &Lowered, target: &Target) -> Vec<Alike> {
    let mut all: Vec<Alike> = Vec::new();
    for LoweredGroup { nest, .. } in &lowered.groups {
        for (leaf, work) in nest.leaves.iter().zip(work(nest)) {
            let (made, bytes) = match x86::assemble(nest, leaf, target.isa) {
                Ok(kernel) => (format!("assembled: {}", kernel.bill()), kernel.code.len()),
                Err(Refusal::Machine) => ("by cranelift".to_owned(), 0),
                Err(why) => (format!("by cranelift: {why}"), 0),
            };
            let is_refused = bytes == 0 && made.contains(": ");
            // Bytes differ by the lengths of addresses alone.
            let made = made.rsplit_once("; ").filter(|_| bytes > 0).map_or(&made[..], |(m, _)| m);
            let (bill, made) = (Bill::of(leaf).to_string(), made.to_owned());
            match all.iter_mut().find(|one| (&one.bill, &one.made) == (&bill, &made)) {
                Some(same) => {
                    same.names.push(leaf.name.clone());
                    same.bytes += bytes;
                    same.work = same.work.saturating_add(work);
                }
                None => {
                    let names = vec![leaf.name.clone()];
                    all.push(Alike { names, bill, made, bytes, is_refused, work });
                }
            }
        }
    }
    all.sort_by_key(|one| std::cmp::Reverse(one.work));
    all
}
