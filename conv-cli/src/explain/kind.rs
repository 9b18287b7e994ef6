//! What a convolution is, in a sentence.

use conv_ir::{Conv, Reduction, Size};

/// `a dilated depthwise convolution: each of 32 channels has a window of its own; ..`
pub fn sentence(conv: &Conv) -> String {
    let (spec, axes) = (conv.spec(), conv.axes());
    let is_pointwise = conv.kernel_volume() == 1;
    let is_depthwise = conv.groups() > 1 && conv.in_channels_per_group() == 1;
    let is_strided = axes.iter().any(|axis| axis.stride > 1);
    let adjectives = [
        ("strided", is_strided && !spec.transposed),
        ("dilated", axes.iter().any(|axis| axis.dilation > 1 && axis.kernel > 1)),
        ("depthwise", is_depthwise),
        ("grouped", conv.groups() > 1 && !is_depthwise),
        ("pointwise", is_pointwise),
        ("transposed", spec.transposed),
    ];
    // Pools and their like are of each channel unless they say otherwise.
    let is_sum = spec.reduction == Reduction::Sum;
    let adjectives = adjectives.map(|(word, is)| match word {
        "depthwise" | "pointwise" => (word, is && is_sum),
        word => (word, is),
    });
    let words: Vec<&str> = adjectives.iter().filter(|(_, is)| *is).map(|(word, _)| *word).collect();
    let words = words.join(" ");
    let article = if words.is_empty() { "a" } else { "a " };
    let mut parts = vec![match spec.reduction {
        Reduction::Sum => channels(conv, is_depthwise),
        _ => reduced(conv, is_depthwise),
    }];
    let by = |of: &dyn Fn(usize) -> usize| {
        (0..conv.rank()).map(|axis| of(axis).to_string()).collect::<Vec<_>>().join(" x ")
    };
    if adjectives[1].1 {
        let spans = by(&|axis| (axes[axis].kernel - 1).saturating_mul(axes[axis].dilation) + 1);
        parts.push(format!("{} taps span {spans} elements", by(&|axis| axes[axis].kernel)));
    }
    if is_strided && spec.transposed {
        parts.push(format!("inputs stand {} apart in the output", by(&|axis| axes[axis].stride)));
    } else if is_strided {
        parts.push(format!("one output for {} inputs", by(&|axis| axes[axis].stride)));
    }
    if let Some(batch) = images(&spec.batch) {
        parts.push(batch);
    }
    let (rank, parts) = (conv.rank(), parts.join("; "));
    match spec.reduction {
        Reduction::Sum => format!("{article}{words} {rank}-D convolution: {parts}"),
        other if words.is_empty() => format!("{rank}-D {}: {parts}", other.name()),
        other => format!("{words} {rank}-D {}: {parts}", other.name()),
    }
}

/// What is taken of the elements under a window.
fn reduced(conv: &Conv, is_depthwise: bool) -> String {
    let what = match conv.spec().reduction {
        Reduction::Sum => "their weighted sum",
        Reduction::Max => "the greatest element",
        Reduction::Min => "the least element",
        Reduction::Average { count_include_pad: true } => "the mean, padding counted",
        Reduction::Average { count_include_pad: false } => "the mean, padding not counted",
        Reduction::Dilation => "the greatest sum of an element and its weight",
        Reduction::Erosion => "the least difference of an element and its weight",
    };
    let whose = match conv.in_channels() {
        1 if conv.out_channels() == 1 => "one channel".to_owned(),
        n if is_depthwise && n == conv.out_channels() => format!("each of {n} channels"),
        _ => channels(conv, is_depthwise),
    };
    format!("{what} under a window, of {whose}")
}

fn channels(conv: &Conv, is_depthwise: bool) -> String {
    let (input, output, groups) = (conv.in_channels(), conv.out_channels(), conv.groups());
    match (input, output) {
        (1, 1) => "one channel".to_owned(),
        _ if is_depthwise && input == output => {
            format!("each of {input} channels has a window of its own")
        }
        _ if is_depthwise => {
            format!("each of {input} channels has {} windows of its own", output / input)
        }
        _ if groups > 1 => {
            format!("{groups} groups, in each {} channels -> {}", input / groups, output / groups)
        }
        _ => format!("{input} channels -> {output}, each output sees all inputs"),
    }
}

fn images(batch: &Size) -> Option<String> {
    match batch {
        Size::Known(1) => None,
        Size::Known(n) => Some(format!("{n} images")),
        Size::Free(name) => Some(format!("{name} images")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_their_names() {
        let say = |text: &str| sentence(&text.parse().expect("legal"));
        for (text, sentence) in [
            ("conv2d in 8 kernel 3", "a 2-D convolution: one channel"),
            (
                "conv2d g8 ic8 oc8 in 8 kernel 3 dilation 2",
                "a dilated depthwise 2-D convolution: each of 8 channels has a window of its own; 3 x 3 taps span 5 x 5 elements",
            ),
            (
                "conv1d n2 ic4 oc2 in 8 kernel 1 stride 2",
                "a strided pointwise 1-D convolution: 4 channels -> 2, each output sees all inputs; one output for 2 inputs; 2 images",
            ),
            (
                "maxpool2d ic64 in 112 kernel 3 stride 2 pad 1",
                "strided 2-D max pooling: the greatest element under a window, of each of 64 channels; one output for 2 x 2 inputs",
            ),
            (
                "conv3d-transposed nN g2 ic4 oc2 in 8 kernel 2 stride 2",
                "a grouped transposed 3-D convolution: 2 groups, in each 2 channels -> 1; inputs stand 2 x 2 x 2 apart in the output; N images",
            ),
        ] {
            assert_eq!(say(text), sentence);
        }
    }
}
