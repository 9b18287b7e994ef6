//! The published receptive fields that the networks are checked against.

/// One line of the published table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// Its name in [`NETWORKS`](super::NETWORKS).
    pub network: &'static str,
    /// The point's name.
    pub point: &'static str,
    /// Size of the receptive field.
    pub field: i64,
    /// Effective stride.
    pub stride: i64,
    /// Effective padding for each of [`PUBLISHED_AT`].
    pub padding: [i64; 2],
    /// Billions of operations for an input of 224 x 224.
    pub gflops: f64,
}

/// Height and width of the inputs that the table gives paddings for.
pub const PUBLISHED_AT: [usize; 2] = [224, 321];

/// The table: Araujo, Norris and Sim 2019, for TF-Slim's networks.
pub fn published() -> impl Iterator<Item = Published> {
    let lines = include_str!("../networks/published.txt").lines();
    lines.filter(|line| !line.starts_with('#')).filter_map(line)
}

fn line(text: &'static str) -> Option<Published> {
    let mut words = text.split_whitespace();
    let (network, point) = (words.next()?, words.next()?);
    let mut number = || words.next()?.parse::<f64>().ok();
    Some(Published {
        network,
        point,
        field: number()? as i64,
        stride: number()? as i64,
        padding: [number()? as i64, number()? as i64],
        gflops: number()?,
    })
}
