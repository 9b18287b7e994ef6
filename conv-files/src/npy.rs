//! NumPy's `.npy` files: arrays of any number of axes.
//!
//! In: a file of format version 1, 2 or 3, either byte order, rows or columns first. Out: an
//! [`Array`] in C order and native bytes; and back, as version 1, little-endian, C order. Types
//! that are no [`Kind`], structured types and files whose length does not fit their shape are
//! refused.
//!
//! The existing crates parse the header with a general Python grammar that brings two dozen crates
//! and a C assembler into the build; the three keys that the format allows need less.

use std::io::Read;

use conv_ir::cut;

use crate::array::{Array, Order};
use crate::claims::{bytes, count, room, shown};
use crate::numbers::with_number;
use crate::{Kind, Number};

/// The bytes of a file, or an error where memory does not hold them beside the numbers.
///
/// # Errors
/// How much memory it would take; or NumPy has no such type.
pub fn encode<T: Number>(shape: &[usize], values: &[T]) -> Result<Vec<u8>, String> {
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let extents =
        if shape.len() == 1 { extents.trim_end() } else { extents.trim_end_matches(", ") };
    let kind = T::KIND;
    let name = kind.npy().ok_or_else(|| {
        format!("a .npy file cannot hold {kind}: write .safetensors, which can, or convert it")
    })?;
    let order = if kind.bytes() == 1 { '|' } else { '<' };
    let mut header =
        format!("{{'descr': '{order}{name}', 'fortran_order': False, 'shape': ({extents}), }}");
    // The format wants the numbers to start at a multiple of 64.
    let padding = 63 - (MAGIC.len() + 4 + header.len()) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let mut bytes = room(MAGIC.len() + 4 + header.len() + size_of_val(values))?;
    bytes.extend(MAGIC);
    bytes.extend([1, 0]);
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    crate::array::push(values, &mut bytes);
    Ok(bytes)
}

impl Array {
    /// The bytes of a `.npy` file.
    ///
    /// # Errors
    /// As [`encode`](crate::encode).
    pub fn to_npy(&self) -> Result<Vec<u8>, String> {
        with_number!(self.kind, T => encode(&self.shape, &self.values::<T>()))
    }
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// Bytes in front of the header in format version 1; later ones have two more.
const LEAST: u64 = 10;

const CUT_OFF: &str = "is truncated: it ends inside its header";

/// Reads a file of `length` bytes from its beginning, of at most so many numbers.
///
/// # Errors
/// Where it is no such file, or holds what cannot be convolved.
pub fn read(source: &mut impl Read, length: u64, most: usize) -> Result<Array, String> {
    let start = bytes(source, length.min(LEAST) as usize)?;
    if !start.starts_with(MAGIC) {
        return Err("is not a .npy file: it does not start with \\x93NUMPY".to_owned());
    }
    let [.., version, _, low, high] =
        <[u8; LEAST as usize]>::try_from(start).map_err(|_| CUT_OFF)?;
    let low = u32::from(low) | u32::from(high) << 8;
    let (at, header) = match version {
        1 => (LEAST, low),
        2 | 3 if length < LEAST + 2 => return Err(CUT_OFF.to_owned()),
        2 | 3 => {
            let rest = bytes(source, 2)?;
            (LEAST + 2, low | u32::from(rest[0]) << 16 | u32::from(rest[1]) << 24)
        }
        version => return Err(format!("has .npy format version {version}; 1, 2 and 3 are known")),
    };
    let found = length.checked_sub(at + u64::from(header)).ok_or(CUT_OFF)?;
    let header = bytes(source, header as usize)?;
    let Header { descr, columns_first, shape } = Header::parse(&String::from_utf8_lossy(&header))?;
    let (kind, big_endian) = element_type(&descr)?;
    let needed = count(&shape, most)?.checked_mul(kind.bytes());
    let needed = needed.ok_or_else(|| {
        format!("has shape {}, more elements than memory can hold", shown(&shape))
    })?;
    let about = format!(
        "shape {} of {kind} needs {needed} bytes after the header, but there are {found}",
        shown(&shape)
    );
    match found.cmp(&(needed as u64)) {
        std::cmp::Ordering::Less => Err(format!("is truncated: {about}")),
        std::cmp::Ordering::Greater => Err(format!("is too long: {about}")),
        std::cmp::Ordering::Equal => {
            let bytes = bytes(source, needed)?;
            Ok(Array { kind, shape, order: Order { big_endian, columns_first }, bytes })
        }
    }
}

fn element_type(descr: &str) -> Result<(Kind, bool), String> {
    let big_endian = match descr.chars().next() {
        Some('>') => true,
        Some('=') => cfg!(target_endian = "big"),
        _ => false,
    };
    let name = descr.trim_start_matches(['<', '>', '=', '|']);
    if let Some(kind) = Kind::ALL.iter().find(|kind| kind.npy().as_deref() == Some(name)) {
        return Ok((*kind, big_endian));
    }
    let descr = cut(descr);
    Err(match name {
        "c8" | "c16" => format!(
            "holds elements of type '{descr}', complex numbers; convolve their parts one by one (in NumPy: x.real and x.imag)"
        ),
        "V2" => format!(
            "holds elements of type '{descr}', two bytes without a name, as NumPy writes bfloat16; write it as .safetensors, or convert it (in NumPy: x.astype('float32'))"
        ),
        _ => format!(
            "holds elements of type '{descr}'; {NAMES} can be read (in NumPy: x.astype('float32'))"
        ),
    })
}

/// The types that can be read, as NumPy names them: `i8` is eight bytes there, and one here.
const NAMES: &str = "bool, int8, uint8, int16, uint16, int32, int64, float16, float32 and float64";

/// The dictionary in front of the numbers.
#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    columns_first: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, keys in any order.
    fn parse(text: &str) -> Result<Header, String> {
        let bad = || format!("has a header that cannot be read: {}", cut(text.trim()));
        let (mut descr, mut columns_first, mut shape) = (None, None, None);
        let body =
            text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or_else(bad)?;
        let mut rest = body.trim_start();
        while !rest.is_empty() {
            let (key, after) = quoted(rest).ok_or_else(bad)?;
            let value = after.trim_start().strip_prefix(':').ok_or_else(bad)?.trim_start();
            rest = match key {
                "descr" if value.starts_with('[') => {
                    return Err(format!(
                        "holds a structured element type; {NAMES} can be read (in NumPy: x['field'])"
                    ));
                }
                "descr" => quoted(value).map(|(text, rest)| (descr = Some(text.to_owned()), rest)),
                "fortran_order" => boolean(value).map(|(b, rest)| (columns_first = Some(b), rest)),
                "shape" => tuple(value).map(|(extents, rest)| (shape = Some(extents), rest)),
                _ => None,
            }
            .map(|((), rest)| rest.trim_start())
            .ok_or_else(bad)?;
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        match (descr, columns_first, shape) {
            (Some(descr), Some(columns_first), Some(shape)) => {
                Ok(Header { descr, columns_first, shape })
            }
            _ => Err(bad()),
        }
    }
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

fn boolean(text: &str) -> Option<(bool, &str)> {
    let no = text.strip_prefix("False").map(|rest| (false, rest));
    no.or_else(|| text.strip_prefix("True").map(|rest| (true, rest)))
}

/// A tuple of integers; Python 2 wrote some as `3L`.
fn tuple(text: &str) -> Option<(Vec<usize>, &str)> {
    let (inside, rest) = text.strip_prefix('(')?.split_once(')')?;
    let inside = inside.trim().trim_end_matches(',');
    if inside.is_empty() {
        return Some((Vec::new(), rest));
    }
    let extents = inside.split(',').map(|extent| extent.trim().trim_end_matches('L').parse().ok());
    Some((extents.collect::<Option<_>>()?, rest))
}

#[cfg(test)]
mod tests {
    use conv_ir::{BF16, F16};

    use super::*;

    fn file(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header =
            format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\0".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend(data);
        bytes
    }

    fn parse(mut bytes: &[u8]) -> Result<Array, String> {
        let length = bytes.len() as u64;
        read(&mut bytes, length, usize::MAX)
    }

    fn message(bytes: Vec<u8>) -> String {
        parse(&bytes).err().expect("must be refused")
    }

    #[test]
    fn what_is_written_reads_back() {
        for &kind in Kind::ALL {
            with_number!(kind, T => {
                let values = [-1.5, 0.0, 100.0, 3.0, 7.0, 9.0].map(T::nearest);
                for shape in [vec![], vec![2], vec![0, 3], vec![1, 2, 3]] {
                    let values = &values[..shape.iter().product()];
                    let Ok(bytes) = encode(&shape, values) else {
                        assert_eq!(kind, Kind::BF16);
                        continue;
                    };
                    let array = parse(&bytes).expect("our own file");
                    let read = (array.kind, &array.shape, array.values::<T>());
                    assert_eq!(read, (kind, &shape, values.to_vec()));
                }
            });
        }
        let refused = encode(&[0], &[] as &[BF16]).err().unwrap_or_default();
        assert!(refused.contains("cannot hold bf16: write .safetensors"), "{refused}");
    }

    /// As NumPy writes them: `np.array([..], dtype).tofile`.
    #[test]
    fn every_type_of_numpys_is_read_exactly() {
        let read = |descr: &str, data: &[u8]| {
            let shape = format!("({},)", data.len() / descr[3..4].parse::<usize>().expect("bytes"));
            parse(&file(descr, "False", &shape, data)).expect("legal")
        };
        assert_eq!(read("'|i1'", &[0x80, 0x7f]).values::<i8>(), [-128, 127]);
        assert_eq!(read("'|u1'", &[0, 0xff]).values::<u8>(), [0, 255]);
        assert_eq!(read("'<i2'", &[0, 0x80, 1, 0]).values::<i16>(), [-32768, 1]);
        assert_eq!(read("'>u2'", &[0, 1, 0xff, 0xfe]).values::<u16>(), [1, 0xfffe]);
        assert_eq!(read("'<i4'", &[0, 0, 0, 0x80]).values::<i32>(), [i32::MIN]);
        assert_eq!(read("'>i4'", &[0xff, 0xff, 0xff, 0xfe]).exact(), [-2.0]);
        let halves = read("'<f2'", &[0x00, 0x3c, 0xff, 0x7b, 0x01, 0x80]);
        assert_eq!(halves.values::<f32>(), [1.0, 65504.0, -(2f32.powi(-24))]);
        let bits: Vec<u16> = halves.values::<F16>().into_iter().map(F16::to_bits).collect();
        assert_eq!(bits, [0x3c00, 0x7bff, 0x8001]);
    }

    #[test]
    fn whole_numbers_of_64_bits_and_truths_become_what_is_convolved() {
        let numbers = |numbers: [i64; 2]| numbers.map(i64::to_le_bytes).concat();
        let read = |descr: &str, data: &[u8]| {
            parse(&file(descr, "False", "(2,)", data)).expect("legal").convolved()
        };
        let array = read("'<i8'", &numbers([-(1 << 31), 7])).expect("fits");
        assert_eq!((array.kind, array.values::<i32>()), (Kind::I32, vec![i32::MIN, 7]));
        let array = read("'|b1'", &[0, 1]).expect("fits");
        assert_eq!((array.kind, array.values::<u8>()), (Kind::U8, vec![0, 1]));
        let refused = read("'<i8'", &numbers([0, 1 << 31])).err().unwrap_or_default();
        assert!(refused.contains("holds 2147483648 as int64"), "{refused}");
    }

    #[test]
    fn numbers_start_at_a_multiple_of_64() {
        let bytes = encode::<f32>(&[3], &[1.0, 2.0, 3.0]).unwrap_or_default();
        assert_eq!((bytes.len(), (bytes.len() - 12) % 64), (bytes.capacity(), 0));
    }

    #[test]
    fn columns_first_and_highest_byte_first_are_read_rightly() {
        let data: Vec<u8> =
            [0.0f32, 3.0, 1.0, 4.0, 2.0, 5.0].iter().flat_map(|v| v.to_be_bytes()).collect();
        let array = parse(&file("'>f4'", "True", "(2, 3)", &data)).expect("legal");
        assert_eq!(array.values::<f32>(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn everything_else_is_refused_with_the_reason() {
        assert!(message(b"PK\x03\x04".to_vec()).contains("is not a .npy file"));
        assert!(message(b"\x93NUMPY\x01\0\xff".to_vec()).contains("ends inside its header"));
        assert!(message(b"\x93NUMPY\x09\0\0\0".to_vec()).contains("version 9"));
        assert!(message(file("'<c8'", "False", "(2,)", &[0; 16])).contains("x.real and x.imag"));
        assert!(message(file("'<u8'", "False", "(2,)", &[0; 16])).contains(
            "type '<u8'; bool, int8, uint8, int16, uint16, int32, int64, float16, float32 and \
             float64 can"
        ));
        assert!(message(file("'<V2'", "False", "(1,)", &[0; 2])).contains("NumPy writes bfloat16"));
        assert!(message(file("[('a', '<f4')]", "False", "(2,)", &[0; 8])).contains("structured"));
        assert!(
            message(file("'<f4'", "False", "(2,)", &[0; 7]))
                .contains("needs 8 bytes after the header, but there are 7")
        );
        assert!(message(file("'<f4'", "False", "(2,)", &[0; 9])).contains("is too long"));
        assert!(
            message(file("'<f4'", "False", "(4611686018427387904, 4)", &[]))
                .contains("more elements than memory")
        );
        assert!(
            message(file("'<f4'", "Maybe", "(2,)", &[0; 8])).contains("header that cannot be read")
        );
    }

    #[test]
    fn any_bytes_are_read_or_refused_in_a_short_line() {
        for (descr, size) in [("'<f4'", 8), ("'>f8'", 16), ("'|i1'", 2), ("'>f2'", 4)] {
            let sound = file(descr, "True", "(1, 2)", &[1; 16][..size]);
            crate::tests::damaged(&sound, |bytes| parse(bytes).map(|array| array.exact().len()));
        }
        let long = "9".repeat(60_000);
        for shape in [format!("({long},)"), "(2, 0, 3)".to_owned(), "(1, ".repeat(9_999)] {
            assert!(message(file("'<f4'", "False", &shape, &[0; 8])).len() < 300);
        }
        assert!(message(file(&format!("'{}'", &long[..50_000]), "False", "()", &[])).len() < 300);
        // A length that no file has asks for no memory.
        let huge = b"\x93NUMPY\x02\0\xff\xff\xff\xff{}".to_vec();
        assert!(message(huge).contains("ends inside its header"));
    }
}
