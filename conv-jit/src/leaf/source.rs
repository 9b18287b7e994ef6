//! The values of a leaf's code, and where they come from.

use std::ops::Index;

use conv_ir::DType;

/// Something that needs a vector register while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Value(pub u32);

/// The values of a leaf's code: of each, whether it is carried through the loops.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carried(Vec<bool>);

impl Carried {
    /// A value that nothing has set yet.
    pub fn fresh(&mut self, is_carried: bool) -> Value {
        self.0.push(is_carried);
        Value(self.0.len() as u32 - 1)
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many of them are carried.
    pub fn lasting(&self) -> usize {
        self.iter().filter(|is_carried| *is_carried).count()
    }

    pub fn iter(&self) -> impl Iterator<Item = bool> {
        self.0.iter().copied()
    }
}

impl Index<Value> for Carried {
    type Output = bool;

    fn index(&self, value: Value) -> &bool {
        &self.0[value.0 as usize]
    }
}

impl From<Vec<bool>> for Carried {
    fn from(carried: Vec<bool>) -> Carried {
        Carried(carried)
    }
}
/// What addresses count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cursor(pub u32);

/// An address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub cursor: Cursor,
    pub bytes: i64,
}

impl Place {
    /// So many bytes further.
    pub fn offset(self, bytes: i64) -> Place {
        Place { bytes: self.bytes + bytes, ..self }
    }
}

/// Lanes `from..to`. Small, because code is made of thousands of operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Live {
    from: i16,
    to: i16,
}

impl Live {
    /// No lane.
    pub const NONE: Live = Live { from: 0, to: 0 };

    /// Any range; far beyond a vector is cut.
    pub fn new(from: i64, to: i64) -> Live {
        let near = |at: i64| at.clamp(-1024, 1024) as i16;
        Live { from: near(from), to: near(to) }
    }

    /// The first so many.
    pub fn first(count: i64) -> Live {
        Live::new(0, count)
    }

    /// The first lane, and one past the last.
    pub fn range(self) -> (i64, i64) {
        (self.from.into(), self.to.into())
    }

    /// Lanes of both.
    pub fn and(self, other: Live) -> Live {
        Live { from: self.from.max(other.from), to: self.to.min(other.to) }
    }

    /// No lane.
    pub fn is_empty(self) -> bool {
        self.from >= self.to
    }

    /// Every lane of a vector.
    pub fn is_all(self, width: i64) -> bool {
        self == Live::first(width)
    }
}

/// Where a vector comes from, if not from a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// One element in every lane; in a scalar leaf, the element.
    Splat(Place),
    /// Neighbouring elements, of which those of `live` may be touched; other lanes are zero.
    Vector { place: Place, live: Live },
    /// Elements `step` bytes apart, of which those of `live` may be touched; other lanes are zero.
    Strided { place: Place, step: i64, live: Live },
    /// Elements of a narrower type, widened: `step` bytes apart, or one in every lane where that is
    /// 0. Those of `live` may be touched; other lanes are zero.
    Stored { dtype: DType, place: Place, step: i64, live: Live },
    /// In each lane four bytes: that of the lane, of those `step` apart, and those behind it,
    /// `apart` from one another, of which `count` are counted; more are zero. Bytes of `live`,
    /// counted from the place, may be touched; others are zero.
    Slide { place: Place, step: i64, count: i64, apart: i64, live: Live },
    /// In each lane two bytes as words: that of the lane, of those `step` apart (0: the same in
    /// all), and the one that is `apart` behind it. Lanes of the first and of the second `live` may
    /// be touched; in others the word is zero.
    Words { dtype: DType, place: Place, step: i64, apart: i64, live: [Live; 2] },
    /// These bits in every lane.
    Bits(u64),
    /// These bits in the lanes outside `live`, zeros in those of it.
    Around { live: Live, bits: u64 },
}

impl Source {
    /// Where it is in memory, if it is there.
    pub fn place(&self) -> Option<Place> {
        match *self {
            Source::Splat(place)
            | Source::Vector { place, .. }
            | Source::Strided { place, .. }
            | Source::Stored { place, .. }
            | Source::Slide { place, .. }
            | Source::Words { place, .. } => Some(place),
            Source::Bits(_) | Source::Around { .. } => None,
        }
    }
}
