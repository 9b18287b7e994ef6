//! The schedule: *how* a convolution is computed. Plain data, chosen by a model
//! ([`Schedule::choose`]), replaceable by the user.
//!
//! Every schedule in which each word is legal for the convolution computes the same bits; it
//! decides only speed. Passes check what they are asked to do and answer
//! [`Error::IllegalSchedule`](crate::Error::IllegalSchedule) where it cannot be done
//! ([`Schedule::check`]).
//!
//! ```text
//! lanes oc:4 tile oc:8,ow:5 order n,g,oc,oh,ow cache oc:64,ic:256 borders exact
//!     unroll kw step ic:2 pack parallel oc
//! ```
//!
//! Axes are named as in the canonical nest, after pass `canonicalise` has dropped unit axes and
//! merged contiguous ones.

mod check;
mod text;

pub(crate) use check::MOST;

use crate::nest::Role;
use crate::{Conv, PaddingMode};

/// A schedule, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The schedule.
    pub schedule: Schedule,
    /// One sentence per decision.
    pub reasons: Vec<String>,
}

/// How the edge of the image is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Borders {
    /// The domain is cut into tiles whose taps all lie inside, which test nothing, and tiles at the
    /// edge, whose outside taps are left out.
    #[default]
    Exact,
    /// The same, but where columns are in the lanes, edges inside a vector load what changes
    /// nothing in the lanes outside. For zero padding, finite weights and a target with masks.
    Mask,
    /// Rows of the input are copied into a padded panel that stays in cache, then every tile is an
    /// inner one. Zero padding then needs finite weights.
    Panel {
        /// Output rows (axis `oh`) a panel serves.
        rows: i64,
        /// Output columns (axis `ow`) it serves; `None`: all of them.
        columns: Option<i64>,
    },
}

/// How weight and bias lie in memory while the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Pack {
    /// As the caller has them.
    #[default]
    No,
    /// In the order of their use, channels in blocks of the register tile.
    Tiles,
    /// The same, where bytes are multiplied four at a time, with so many channels of the input side
    /// by side, which a machine with tiles multiplies at once: the largest multiple of four from
    /// 8 to this, and to 64, that divides them. Where there is none it is the same as
    /// [`Pack::Tiles`].
    Blocks {
        /// Channels of a block.
        channels: i64,
    },
    /// The same as [`Pack::Tiles`], but in blocks of `width` along `role` (`oc` or `g`), whatever
    /// the tile: schedules for several machines can share them. Lanes along that axis are `width`,
    /// or the tile is.
    Panels {
        /// The axis in blocks.
        role: Role,
        /// Channels (or groups) of a block.
        width: i64,
    },
}

impl Pack {
    /// The width of a panel.
    pub fn panel(self) -> Option<i64> {
        match self {
            Pack::Panels { width, .. } => Some(width),
            Pack::No | Pack::Tiles | Pack::Blocks { .. } => None,
        }
    }

    /// Whether blocks are register tiles.
    pub fn is_of_tiles(self) -> bool {
        matches!(self, Pack::Tiles | Pack::Blocks { .. })
    }
}

/// How a convolution is computed.
///
/// ```
/// use conv_ir::{Conv, Schedule, Target};
/// let conv: Conv = "conv2d ic64 oc64 in 56 kernel 3 pad 1".parse()?;
/// let choice = Schedule::choose(&conv, &Target::AVX2);
/// assert!(choice.schedule.to_string().starts_with("lanes oc:8 "));
/// assert_eq!(choice.schedule.to_string().parse::<Schedule>()?, choice.schedule);
/// # Ok::<(), conv_ir::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Schedule {
    /// The axis in the lanes (`oc`, `g` or `ow`), and how many. `None`: scalar.
    pub lanes: Option<(Role, i64)>,
    /// The register tile in elements, by axis (`oc`, `g`, `ow`, `oh`); what is not named is 1.
    pub tile: Vec<(Role, i64)>,
    /// Driver loops, outermost first. What is not named keeps its place before them.
    pub order: Vec<Role>,
    /// Output channels whose weights stay in cache while the loops inside theirs run; a multiple
    /// of their tile. 0: all of them in their own loop.
    pub cache: i64,
    /// Input channels whose weights stay in cache while the loops inside the outermost one over
    /// output channels run; what is summed so far is kept between such blocks. 0: all of them.
    pub cache_in: i64,
    /// How the edge of the image is met.
    pub borders: Borders,
    /// Reduction axes repeated in the code.
    pub unroll: Vec<Role>,
    /// What one step of the innermost loop of the reduction takes, repeated in the code, where
    /// that loop is over this axis: the largest divisor of its extent up to this.
    pub step: Option<(Role, i64)>,
    /// Whether weight and bias are copied once into the order of their use.
    pub pack: Pack,
    /// The driver loop that threads share.
    pub parallel: Option<Role>,
}

impl Schedule {
    /// The register tile's extent along an axis.
    pub fn tile_of(&self, role: Role) -> i64 {
        self.tile.iter().find(|(r, _)| *r == role).map_or(1, |t| t.1)
    }

    /// Panels as wide as the lanes; of single channels where something else is in the lanes.
    pub fn panels(&self) -> Pack {
        let (role, width) = match self.lanes {
            Some((role @ (Role::OutChannel | Role::Group), width)) => (role, width),
            _ => (Role::OutChannel, 1),
        };
        Pack::Panels { role, width }
    }

    /// The same with exact borders, which is right for any weights, where this one may multiply
    /// padding of zeros by weights that come later: that is right for finite ones alone
    /// ([`Nest::needs_finite_weights`](crate::nest::Nest::needs_finite_weights)).
    pub fn for_any_weights(&self, conv: &Conv) -> Option<Schedule> {
        let zeros = conv.spec().padding_mode == PaddingMode::Zeros;
        let multiplies = zeros && self.borders != Borders::Exact && conv.known().is_none();
        multiplies.then(|| Schedule { borders: Borders::Exact, ..self.clone() })
    }

    /// The lanes along an axis; 1 where it has none.
    pub fn lanes_of(&self, role: Role) -> i64 {
        self.lanes.filter(|(r, _)| *r == role).map_or(1, |l| l.1)
    }
}
