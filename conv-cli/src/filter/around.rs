//! What stands around the pixels in a file: whether it is whole, and how large pixels are.
//!
//! Decoders show what there is of a JPEG that was cut off, and know no resolution. Both formats are
//! lists of segments with their lengths in front, so finding the end takes no decoding.

/// How far apart pixels are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Density {
    /// Pixels to the unit, across.
    pub x: u32,
    /// Pixels to the unit, down.
    pub y: u32,
    pub unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// Only the ratio means something.
    None,
    Inch,
    Centimetre,
    Metre,
}

impl Density {
    /// In pixels to the metre, as PNG wants it.
    pub fn by_metre(self) -> Density {
        let metre = |scale: f64| Density {
            x: (f64::from(self.x) * scale).round() as u32,
            y: (f64::from(self.y) * scale).round() as u32,
            unit: Unit::Metre,
        };
        match self.unit {
            Unit::None | Unit::Metre => self,
            Unit::Inch => metre(1.0 / 0.0254),
            Unit::Centimetre => metre(100.0),
        }
    }

    /// In pixels to the inch, as JPEG wants it, unless it is in a unit that JPEG has. What is
    /// beyond 16 bits cannot be said there.
    pub fn by_inch(self) -> Option<Density> {
        let inch = |at: u32| (f64::from(at) * 0.0254).round() as u32;
        let found = match self.unit {
            Unit::Metre => Density { x: inch(self.x), y: inch(self.y), unit: Unit::Inch },
            Unit::None | Unit::Inch | Unit::Centimetre => self,
        };
        let fits = |at: u32| (1..=u32::from(u16::MAX)).contains(&at);
        (fits(found.x) && fits(found.y)).then_some(found)
    }

    /// Of the picture turned on its side.
    pub fn turned(self) -> Density {
        Density { x: self.y, y: self.x, unit: self.unit }
    }
}

/// The file ends before the picture does.
#[derive(Debug, PartialEq)]
pub struct Truncated;

pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
pub const JPEG: &[u8] = b"\xff\xd8\xff";

/// The resolution of a whole PNG or JPEG, if it says one; none of other files.
pub fn density(file: &[u8]) -> Result<Option<Density>, Truncated> {
    let found = match file {
        _ if file.starts_with(PNG) => png(file),
        _ if file.starts_with(JPEG) => jpeg(file),
        _ => Some(None),
    };
    found.ok_or(Truncated)
}

/// Chunks: length, name, data, checksum.
fn png(file: &[u8]) -> Option<Option<Density>> {
    let (mut at, mut density) = (PNG.len(), None);
    loop {
        let length = number(file.get(at..at + 4)?) as usize;
        let name = file.get(at + 4..at + 8)?;
        let end = (at + 8).checked_add(length)?;
        let data = file.get(at + 8..end)?;
        file.get(end..end + 4)?;
        match (name, data) {
            (b"pHYs", [size @ .., unit]) if size.len() == 8 => {
                let unit = if *unit == 1 { Unit::Metre } else { Unit::None };
                density = Some(Density { x: number(&size[..4]), y: number(&size[4..]), unit });
            }
            (b"IEND", _) => return Some(density),
            _ => {}
        }
        at = end + 4;
    }
}

/// Segments: 0xff, a name, a length that counts itself, data. Behind a scan's come the coded
/// pixels, in which 0xff is followed by 0 or the name of a restart.
fn jpeg(file: &[u8]) -> Option<Option<Density>> {
    let (mut at, mut density) = (2, None);
    loop {
        at += file.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        let name = *file.get(at + 1)?;
        match name {
            // The end of the picture.
            0xd9 => return Some(density),
            // Another 0xff in front of the name.
            0xff => at += 1,
            // No name, or segments without data.
            0 | 1 | 0xd0..=0xd8 => at += 2,
            _ => {
                let length = number(file.get(at + 2..at + 4)?) as usize;
                let data = file.get(at + 4..(at + 2 + length).max(at + 4))?;
                // JFIF: two bytes of version, the unit, the density, a small picture.
                if let (0xe0, [b'J', b'F', b'I', b'F', 0, _, _, unit, x1, x0, y1, y0, ..]) =
                    (name, data)
                {
                    let unit = [Unit::None, Unit::Inch, Unit::Centimetre].get(usize::from(*unit));
                    let (x, y) = (number(&[*x1, *x0]), number(&[*y1, *y0]));
                    density = unit.map(|&unit| Density { x, y, unit });
                }
                at += 2 + length.max(2);
            }
        }
    }
}

/// Highest byte first.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densities_change_their_unit() {
        let inch = Density { x: 300, y: 72, unit: Unit::Inch };
        let metre = Density { x: 11811, y: 2835, unit: Unit::Metre };
        assert_eq!((inch.by_metre(), metre.by_inch()), (metre, Some(inch)));
        let centimetre = Density { x: 40, y: 40, unit: Unit::Centimetre };
        assert_eq!(centimetre.by_inch(), Some(centimetre));
        assert_eq!(Density { x: u32::MAX, ..metre }.by_inch(), None);
    }

    #[test]
    fn anything_else_is_somebody_elses() {
        assert_eq!(density(b"GIF89a"), Ok(None));
        assert_eq!(density(JPEG), Err(Truncated));
    }
}
