//! Networks as text: the layers that slide a window, how they branch, and where published tables
//! look at them.
//!
//! ```text
//! network := 'input' CHANNELS item..
//! item    := step | 'add' '{' branch '|' branch .. '}' | 'join' '{' branch '|' branch .. '}'
//!          | 'repeat' COUNT '{' item.. '}' | ':' NAME
//! step    := 'conv' K x K ['/' STRIDE] CHANNELS [padding]
//!          | 'depthwise' K x K ['/' STRIDE] ['times' N] [padding]
//!          | 'pool' K x K ['/' STRIDE] [padding]
//! padding := 'same' (also where nothing is said) | 'valid' | 'pad' N
//! ```
//!
//! `add` adds its branches, `join` puts their channels side by side; an empty branch is a shortcut.
//! `:NAME` names what has been computed so far. Commas and line breaks are there for the eye; `#`
//! starts a comment. An item holds what its branches compute, so names stand outside of branches.
//!
//! In: text. Out: a [`Network`], and for an input's size its [`Stack`] with every padding worked
//! out ([`Network::at`]).

mod parse;
mod place;
mod published;

pub use place::{Placed, Point, Seen};
pub use published::{PUBLISHED_AT, Published, published};

#[cfg(test)]
mod tests;

/// A network read from text.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    channels: usize,
    items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Layer(LayerSpec),
    Branches(Together, Vec<Vec<Item>>),
    Point(String),
}

/// How branches come together.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Together {
    Added,
    Joined,
}

#[derive(Clone, Debug, PartialEq)]
struct LayerSpec {
    kind: Kind,
    kernel: [usize; 2],
    stride: usize,
    padding: crate::Padding,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// To so many channels.
    Conv(usize),
    /// So many windows a channel.
    Depthwise(usize),
    Pool,
}

macro_rules! networks {
    ($($name:literal),* $(,)?) => {
        /// The networks of the published table, as (name, text), smallest field first.
        pub const NETWORKS: &[(&str, &str)] = &[$(($name, include_str!(concat!("networks/", $name, ".net")))),*];
    };
}

networks!(
    "vgg_a",
    "alexnet_v2",
    "vgg_16",
    "mobilenet_v1",
    "resnet_v1_50",
    "inception_v2",
    "resnet_v1_101",
    "inception_v3",
    "resnet_v1_152",
    "resnet_v1_200",
    "inception_v4",
    "inception_resnet_v2",
);

impl Network {
    /// One of [`NETWORKS`].
    pub fn by_name(name: &str) -> Option<Network> {
        let (_, text) = NETWORKS.iter().find(|(known, _)| *known == name)?;
        text.parse().ok()
    }
}
