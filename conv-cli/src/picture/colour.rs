//! Colours that do on white and on black.

/// From the input to the output: blue, violet, orange.
const WAY: [[u8; 3]; 3] = [[0x3b, 0x82, 0xf6], [0x9b, 0x5d, 0xe5], [0xf5, 0x8a, 0x1f]];

/// Groups of channels, as many as one can tell apart.
const GROUPS: [&str; 6] = ["#3b82f6", "#f58a1f", "#22a06b", "#9b5de5", "#e5484d", "#0ea5b7"];

/// A layer's colour, `at` of `last`.
pub fn layer(at: usize, last: usize) -> String {
    let position = 2.0 * at as f64 / last.max(1) as f64;
    let from = (position as usize).min(1);
    let mix = |i: usize| {
        let (a, b) = (WAY[from][i] as f64, WAY[from + 1][i] as f64);
        (a + (b - a) * (position - from as f64)).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2))
}

/// A group's colour.
pub fn group(at: usize) -> &'static str {
    GROUPS[at % GROUPS.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_blue_and_orange() {
        assert_eq!(
            [layer(0, 4), layer(2, 4), layer(4, 4), layer(0, 0)],
            ["#3b82f6", "#9b5de5", "#f58a1f", "#3b82f6"]
        );
        assert_ne!(group(0), group(1));
    }
}
