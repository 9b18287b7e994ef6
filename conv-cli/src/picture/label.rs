//! What stands beside a layer.

use conv_ir::analysis::{self, ReceptiveField};
use conv_ir::conv::ConvAxis;
use conv_ir::{Conv, Padding, PaddingMode};

use crate::table::seen;
use crate::table::thousands;

/// `3 × 3 transposed, stride 2, padding 1, 4 groups`: what is not usual is said.
pub fn window(conv: &Conv) -> String {
    let spec = conv.spec();
    let taps = match conv.rank() {
        1 if conv.kernel_volume() != 1 => " taps",
        1 => " tap",
        _ => "",
    };
    let transposed = if spec.transposed { " transposed" } else { "" };
    let mut parts = vec![format!("{}{taps}{transposed}", each(conv, |axis| axis.kernel))];
    let mut say = |word: &str, of: fn(&ConvAxis) -> usize, usual: usize| {
        if conv.axes().iter().any(|axis| of(axis) != usual) {
            parts.push(format!("{word} {}", same_or_each(conv, of)));
        }
    };
    say("stride", |axis| axis.stride, 1);
    say("dilation", |axis| axis.dilation, 1);
    if spec.padding == Padding::Causal {
        parts.push("causal".to_owned());
    } else if conv.axes().iter().all(|axis| axis.padding.0 == axis.padding.1) {
        say("padding", |axis| axis.padding.0, 0);
    } else {
        say("padding before", |axis| axis.padding.0, 0);
        say("after", |axis| axis.padding.1, 0);
    }
    if spec.padding_mode != PaddingMode::Zeros {
        parts.push(spec.padding_mode.to_string());
    }
    if spec.groups > 1 {
        parts.push(if spec.groups == spec.in_channels {
            "depthwise".to_owned()
        } else {
            format!("{} groups", spec.groups)
        });
    }
    parts.join(", ")
}

/// `576 weights · 28 224 multiply-adds`
pub fn costs(conv: &Conv) -> String {
    let weights = format!(
        "{} weight{}",
        thousands(conv.weight_len() as u128),
        if conv.weight_len() == 1 { "" } else { "s" }
    );
    match analysis::facts(conv) {
        Some(facts) => format!("{weights} · {} multiply-adds", thousands(facts.multiply_adds)),
        None => weights,
    }
}

/// `64 × 56 × 56`: channels, then space.
pub fn shape(channels: usize, extents: &[i64]) -> String {
    let all = [channels as i64].into_iter().chain(extents.iter().copied());
    let numbers: Vec<String> = all.map(|n| thousands(n.unsigned_abs().into())).collect();
    numbers.join(" × ")
}

/// `sees 7 × 7`
pub fn sees(fields: &[ReceptiveField]) -> String {
    let sizes: Vec<String> = fields.iter().map(|field| seen(field).replace(" to ", "–")).collect();
    let mut steps: Vec<String> = fields.iter().map(|field| field.stride.to_string()).collect();
    if steps.iter().all(|step| *step == steps[0]) {
        steps.truncate(1);
    }
    let apart = match &steps[..] {
        [one] if one == "1" => String::new(),
        _ => format!(", {} apart", steps.join(" × ")),
    };
    format!("sees {} of the input{apart}", sizes.join(" × "))
}

fn each(conv: &Conv, of: fn(&ConvAxis) -> usize) -> String {
    conv.axes().iter().map(|axis| of(axis).to_string()).collect::<Vec<_>>().join(" × ")
}

fn same_or_each(conv: &Conv, of: fn(&ConvAxis) -> usize) -> String {
    let first = of(&conv.axes()[0]);
    if conv.axes().iter().all(|axis| of(axis) == first) {
        return first.to_string();
    }
    each(conv, of)
}
