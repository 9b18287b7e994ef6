//! The arithmetic of one step along the axis of a stream: how many outputs are known with so many
//! inputs, and which inputs an output reads.
//!
//! It needs nothing but `core`, as [`driver`](super::driver) does: emitted Rust has both as they
//! stand here.

/// How padding repeats the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Mirrored at the outermost elements, which stand once.
    Reflect,
    /// Mirrored behind the outermost elements.
    Symmetric,
    /// The outermost elements.
    Replicate,
}

impl Repeat {
    /// The element that a position outside `0..extent` repeats, however far outside it is.
    pub const fn of(self, position: i64, extent: i64) -> i64 {
        let period = match self {
            Repeat::Replicate if position < 0 => return 0,
            Repeat::Replicate => return extent - 1,
            Repeat::Reflect if extent == 1 => return 0,
            Repeat::Reflect => 2 * (extent - 1),
            Repeat::Symmetric => 2 * extent,
        };
        let at = position.rem_euclid(period);
        match at < extent {
            true => at,
            false if period == 2 * extent => period - 1 - at,
            false => period - at,
        }
    }

    /// How many inputs at an end so much padding repeats.
    #[inline]
    pub const fn reach(self, padding: i64) -> i64 {
        match self {
            _ if padding == 0 => 0,
            Repeat::Replicate => 1,
            Repeat::Symmetric => padding,
            Repeat::Reflect => padding + 1,
        }
    }
}

/// Outputs that are known behind steps, of so many inputs, whatever follows.
pub fn known(lines: impl Iterator<Item = Line>, inputs: i64) -> i64 {
    lines.fold(inputs, |inputs, line| line.known(inputs)).max(0)
}

/// Outputs behind steps of an input of that length; 0 where it is too short for one.
pub fn total(lines: impl Iterator<Item = Line>, inputs: i64) -> i64 {
    let through = |inputs: i64, line: Line| if inputs > 0 { line.total(inputs).max(0) } else { 0 };
    lines.fold(inputs.max(0), through)
}

/// The numbers of a step along the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Inputs from one output's window to the next one's; of a transposed step, outputs from one
    /// input's to the next one's.
    pub stride: i64,
    /// Whether inputs are spread over outputs.
    pub transposed: bool,
    /// From the first tap to the last.
    pub reach: i64,
    /// Padding before the first input.
    pub lo: i64,
    /// Padding behind the last input.
    pub hi: i64,
    /// Outputs that a transposed step adds at the end.
    pub output_padding: i64,
    /// How padding repeats the input, where it does.
    pub repeat: Option<Repeat>,
}

impl Line {
    /// Outputs that read no input from `inputs` on, of an input whose padding is there too.
    #[inline]
    pub const fn read_before(&self, inputs: i64) -> i64 {
        match self.transposed {
            true => inputs * self.stride - self.lo,
            false => {
                let places = inputs - 1 + self.lo - self.reach;
                // Few steps have a stride, and a division takes as long as ten other instructions.
                (if self.stride == 1 { places } else { places.div_euclid(self.stride) }) + 1
            }
        }
    }

    /// Outputs of an input of that length; none or less where it is too short.
    #[inline]
    pub const fn total(&self, inputs: i64) -> i64 {
        let padding = self.lo + self.hi;
        match self.transposed {
            true => (inputs - 1) * self.stride - padding + self.reach + 1 + self.output_padding,
            false => (inputs + padding - self.reach - 1).div_euclid(self.stride) + 1,
        }
    }

    /// Outputs that are there with so many inputs, whatever follows. Those at the end that a crop
    /// would take away, if nothing followed, are not.
    #[inline]
    pub const fn known(&self, inputs: i64) -> i64 {
        // Of an input that is empty there is no output, whatever the padding.
        let front = self.front();
        let start = self.start();
        if inputs < 1 || inputs < front {
            return start;
        }
        let known = self.windows(inputs);
        if known > start { known } else { start }
    }

    /// The same wherever windows begin: less than none where the first one reaches beyond them.
    #[inline]
    pub const fn windows(&self, inputs: i64) -> i64 {
        let read = self.read_before(inputs);
        let total = if self.transposed { self.total(inputs) } else { read };
        if read < total { read } else { total }
    }

    /// Outputs are computed in multiples of this, but for the last ones.
    #[inline]
    pub const fn each(&self) -> i64 {
        if self.transposed { self.stride } else { 1 }
    }

    /// The first position that is computed: 0, or a few before it that are none of the output's, so
    /// that pieces of whole strides end where outputs are known.
    #[inline]
    pub const fn start(&self) -> i64 {
        match self.transposed {
            true => -(-self.windows(0)).rem_euclid(self.stride),
            false => 0,
        }
    }

    /// The first input that outputs from here on read.
    #[inline]
    pub const fn first_input(&self, output: i64) -> i64 {
        if !self.transposed {
            return output * self.stride - self.lo;
        }
        let at = output + self.lo;
        let first = (at - self.reach + self.stride - 1).div_euclid(self.stride);
        let own = at.div_euclid(self.stride);
        if first < own { first } else { own }
    }

    /// One past the last input that outputs before `end` read.
    #[inline]
    pub const fn end_input(&self, end: i64) -> i64 {
        match self.transposed {
            true => (end - 1 + self.lo).div_euclid(self.stride) + 1,
            false => (end - 1) * self.stride - self.lo + self.reach + 1,
        }
    }

    /// How many of the first inputs the padding before them repeats; 0 where it does not.
    #[inline]
    pub const fn front(&self) -> i64 {
        match self.repeat {
            Some(repeat) => repeat.reach(self.lo),
            None => 0,
        }
    }

    /// How many of the last inputs the padding behind them repeats; 0 where it does not.
    #[inline]
    pub const fn back(&self) -> i64 {
        match self.repeat {
            Some(repeat) => repeat.reach(self.hi),
            None => 0,
        }
    }

    /// Positions of the input that may be needed behind all known outputs.
    #[inline]
    pub const fn held(&self) -> i64 {
        if !self.transposed {
            // Before the first input all of the padding is.
            return if self.reach > self.lo { self.reach } else { self.lo };
        }
        let (mut most, mut inputs, start) = (0, 0, self.start());
        while inputs <= 1 {
            let known = self.windows(inputs);
            let held = inputs - self.first_input(if known > start { known } else { start });
            most = if held > most { held } else { most };
            inputs += 1;
        }
        most
    }
}
