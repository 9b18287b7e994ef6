//! The lines of `explain` that follow from the description and a machine's numbers, without a
//! schedule.

use conv_ir::analysis::{self, Facts, Roofline};
use conv_ir::{Conv, Reduction, Target};

use crate::table::{seen, thousands, three_digits};

/// What it costs, how far it sees, and what a machine makes of it.
pub fn lines(
    conv: &Conv,
    target: &Target,
    roofline: Option<Roofline>,
) -> Vec<(&'static str, String)> {
    let Some(facts) = analysis::facts(conv) else {
        return of_free_sizes(conv);
    };
    let mut lines = vec![
        ("parameters", format!("{}{}", thousands(facts.parameters.into()), against_dense(conv))),
        (counted(conv.spec().reduction), thousands(taps(&facts, conv))),
        ("memory", memory(&facts)),
        ("intensity", format!("{:.1} operations a byte", facts.arithmetic_intensity)),
    ];
    if facts.operations > 0 {
        lines.push(("roofline", busy(&facts, target, conv)));
    }
    lines.extend(
        roofline.filter(|_| facts.operations > 0).map(|roofline| ("", allowed(&facts, roofline))),
    );
    lines.extend(field(conv));
    lines
}

/// What does not follow from the sizes that come at run time.
fn of_free_sizes(conv: &Conv) -> Vec<(&'static str, String)> {
    let bias = if conv.spec().bias { conv.bias_len() } else { 0 };
    let parameters = thousands((conv.weight_len() + bias) as u128);
    let (channels, side) = match conv.spec().transposed {
        true => (conv.out_channels_per_group(), "input"),
        false => (conv.in_channels_per_group(), "output"),
    };
    let taps = thousands((channels * conv.kernel_volume()) as u128);
    let mut lines = vec![
        ("parameters", format!("{parameters}{}", against_dense(conv))),
        (counted(conv.spec().reduction), format!("{taps} for each element of the {side}")),
    ];
    lines.extend(field(conv));
    lines
}

/// How far an output sees.
fn field(conv: &Conv) -> Option<(&'static str, String)> {
    let fields = analysis::receptive_field(std::slice::from_ref(conv)).ok()?;
    let sizes: Vec<String> = fields.iter().map(seen).collect();
    Some(("sees", format!("{} of the input", sizes.join(" x "))))
}

fn taps(facts: &Facts, conv: &Conv) -> u128 {
    facts.operations / if conv.has_weight() { 2 } else { 1 }
}

/// What is counted for each element under a window.
fn counted(reduction: Reduction) -> &'static str {
    match reduction {
        Reduction::Sum => "multiply-adds",
        Reduction::Average { .. } => "additions",
        Reduction::Max | Reduction::Min => "comparisons",
        Reduction::Dilation | Reduction::Erosion => "comparisons of sums",
    }
}

/// What the memory must give so that the arithmetic never waits: no clock is needed for that.
fn busy(facts: &Facts, target: &Target, conv: &Conv) -> String {
    let operations = analysis::operations_a_cycle(target, conv.types());
    let bytes = operations / facts.arithmetic_intensity;
    format!(
        "{operations:.0} operations a cycle on {target} use {} bytes of memory traffic a cycle",
        three_digits(bytes)
    )
}

fn allowed(facts: &Facts, roofline: Roofline) -> String {
    let bound = if facts.arithmetic_intensity < roofline.ridge() { "memory" } else { "arithmetic" };
    format!(
        "{} GFLOP/s and {} GB/s meet at {} operations a byte: bound by {bound}, {} GFLOP/s, {:.0} % of the peak",
        three_digits(roofline.peak),
        three_digits(roofline.bandwidth),
        three_digits(roofline.ridge()),
        three_digits(roofline.attainable(facts.arithmetic_intensity)),
        100.0 * roofline.share(facts.arithmetic_intensity),
    )
}

/// What groups save.
fn against_dense(conv: &Conv) -> String {
    match &analysis::savings(std::slice::from_ref(conv))[..] {
        [saving] => {
            let bias = if conv.spec().bias { conv.bias_len() as u64 } else { 0 };
            format!("; without groups {}", thousands((saving.dense_weights + bias).into()))
        }
        _ => String::new(),
    }
}

fn memory(facts: &Facts) -> String {
    let named = [
        ("input", facts.input_bytes),
        ("weight", facts.weight_bytes),
        ("bias", facts.bias_bytes),
        ("residual", facts.residual_bytes),
        ("output", facts.output_bytes),
    ];
    let parts = named
        .iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(name, bytes)| format!("{name} {}", size(*bytes)));
    format!("{}: {}", size(facts.total_bytes()), parts.collect::<Vec<_>>().join(", "))
}

/// Bytes in the unit that reads best.
pub fn size(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes as f64, 0);
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1024.0, unit + 1);
    }
    let decimals = usize::from(unit > 0 && size < 100.0);
    format!("{size:.decimals$} {}", UNITS[unit])
}
