//! The cross product of benchdnn's CI core: 3 ranks x 6 families x 3 variants = 54 shapes, as text.
//!
//! Families: first layer (3 channels), 1x1, 3x3, padding beyond half the window, grouped,
//! depthwise. Variants: plain, channel tail (no multiple of any vector), stride + tail. This file
//! knows no other, so that conv-jit's own tests, which this crate depends on, can take it too.

const FAMILIES: [&str; 6] = ["first", "1x1", "3x3", "pad", "grouped", "depthwise"];
const VARIANTS: [&str; 3] = ["plain", "channel tail", "stride + tail"];

/// All of them, forward or transposed.
pub fn core(transposed: bool) -> Vec<String> {
    let mut shapes = Vec::new();
    for rank in 1..=3 {
        for family in FAMILIES {
            shapes.extend(VARIANTS.iter().map(|variant| text(rank, family, variant, transposed)));
        }
    }
    shapes
}

/// Channels are few where there are more axes to sum over.
fn text(rank: usize, family: &str, variant: &str, transposed: bool) -> String {
    let plain = variant == "plain";
    let channels = if plain { [16, 8, 8][rank - 1] } else { [19, 11, 5][rank - 1] };
    let (groups, ic, oc, kernel, pad) = match family {
        "first" => (1, 3, channels, if rank == 3 { 3 } else { 5 }, 2),
        "1x1" => (1, channels, channels, 1, 0),
        "3x3" => (1, channels, channels, 3, 1),
        "pad" => (1, channels / 2, channels, 3, 2),
        "grouped" => (2, 2 * (channels / 2), 2 * (channels / 2 + 1), 3, 1),
        _ => (channels, channels, channels, 3, 1),
    };
    let input = ["20", "9x10", "4x5x6"][rank - 1];
    let stride = if variant == "stride + tail" { "stride 2 " } else { "" };
    let transposed = if transposed { "-transposed" } else { "" };
    format!(
        "conv{rank}d{transposed} f32 n2 g{groups} ic{ic} oc{oc} in {input} kernel {kernel} {stride}pad {pad} + bias, relu"
    )
}
