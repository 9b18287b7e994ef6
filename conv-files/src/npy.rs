//! NumPy's `.npy` files: arrays of f32 and f64, any number of axes.
//!
//! In: a file of format version 1, 2 or 3, either byte order, rows or columns first. Out: an
//! [`Array`] in C order and native bytes; and back, as version 1, little-endian, C order. Other
//! element types, structured types and files whose length does not fit their shape are refused.
//!
//! The existing crates parse the header with a general Python grammar that brings two dozen crates
//! and a C assembler into the build; the three keys that the format allows need less.

use conv_ir::{DType, Element};

/// A number type that files can hold.
pub trait Number: Element {
    /// From eight or four bytes, lowest first.
    fn from_le(bytes: &[u8]) -> Self;
    /// To bytes, lowest first.
    fn push_le(self, bytes: &mut Vec<u8>);
}

macro_rules! number {
    ($t:ty) => {
        impl Number for $t {
            fn from_le(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$t>()];
                own.copy_from_slice(bytes);
                <$t>::from_le_bytes(own)
            }
            fn push_le(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        }
    };
}

number!(f32);
number!(f64);

/// A file's contents: what the header says, and the numbers' bytes.
pub struct Array {
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    big_endian: bool,
    columns_first: bool,
    bytes: Vec<u8>,
}

impl Array {
    /// From bytes in C order, lowest byte first.
    pub(crate) fn in_order(dtype: DType, shape: Vec<usize>, bytes: Vec<u8>) -> Array {
        Array { dtype, shape, big_endian: false, columns_first: false, bytes }
    }

    /// The numbers as f64, which holds them all exactly.
    pub fn exact(&self) -> Vec<f64> {
        match self.dtype {
            DType::F32 => self.values::<f32>().into_iter().map(f64::from).collect(),
            DType::F64 => self.values(),
        }
    }

    /// The numbers in C order. `T` is the array's own type.
    pub fn values<T: Number>(&self) -> Vec<T> {
        let values =
            self.bytes.chunks_exact(self.dtype.bytes()).map(|chunk| self.value(chunk)).collect();
        if self.columns_first { rows_first(&self.shape, values) } else { values }
    }

    fn value<T: Number>(&self, chunk: &[u8]) -> T {
        if self.big_endian {
            T::from_le(&chunk.iter().rev().copied().collect::<Vec<u8>>())
        } else {
            T::from_le(chunk)
        }
    }
}

/// The bytes of a file, or an error where memory does not hold them beside the numbers.
///
/// # Errors
/// How much memory it would take.
pub fn encode<T: Number>(shape: &[usize], values: &[T]) -> Result<Vec<u8>, String> {
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let extents =
        if shape.len() == 1 { extents.trim_end() } else { extents.trim_end_matches(", ") };
    let width = T::DTYPE.bytes();
    let mut header =
        format!("{{'descr': '<f{width}', 'fortran_order': False, 'shape': ({extents}), }}");
    // The format wants the numbers to start at a multiple of 64.
    let padding = 63 - (MAGIC.len() + 4 + header.len()) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let needed = MAGIC.len() + 4 + header.len() + size_of_val(values);
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(needed)
        .map_err(|_| format!("the file needs {needed} bytes of memory, more than there is"))?;
    bytes.extend(MAGIC);
    bytes.extend([1, 0]);
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    values.iter().for_each(|value| value.push_le(&mut bytes));
    Ok(bytes)
}

const MAGIC: &[u8] = b"\x93NUMPY";

pub(crate) fn parse(mut bytes: Vec<u8>) -> Result<Array, String> {
    let (header_at, length) = header_place(&bytes)?;
    let data_at = header_at + length;
    let header = bytes.get(header_at..data_at).ok_or("is truncated: it ends inside its header")?;
    let header = Header::parse(&String::from_utf8_lossy(header))?;
    let (dtype, big_endian) = element_type(&header.descr)?;
    let (needed, found) = (byte_count(&header.shape, dtype)?, bytes.len() - data_at);
    let about = format!(
        "shape {:?} of {dtype} needs {needed} bytes after the header, but there are {found}",
        header.shape
    );
    match found.cmp(&needed) {
        std::cmp::Ordering::Less => Err(format!("is truncated: {about}")),
        std::cmp::Ordering::Greater => Err(format!("is too long: {about}")),
        std::cmp::Ordering::Equal => {
            bytes.drain(..data_at);
            let Header { columns_first, shape, .. } = header;
            Ok(Array { dtype, shape, big_endian, columns_first, bytes })
        }
    }
}

/// Where the header starts, and its length.
fn header_place(bytes: &[u8]) -> Result<(usize, usize), String> {
    if !bytes.starts_with(MAGIC) {
        return Err("is not a .npy file: it does not start with \\x93NUMPY".to_owned());
    }
    let at = |i: usize| {
        bytes.get(i).map(|&b| b as usize).ok_or("is truncated: it ends inside its header")
    };
    match at(6)? {
        1 => Ok((10, at(8)? | at(9)? << 8)),
        2 | 3 => Ok((12, at(8)? | at(9)? << 8 | at(10)? << 16 | at(11)? << 24)),
        version => Err(format!("has .npy format version {version}; 1, 2 and 3 are known")),
    }
}

fn element_type(descr: &str) -> Result<(DType, bool), String> {
    let big_endian = match descr.chars().next() {
        Some('>') => true,
        Some('=') => cfg!(target_endian = "big"),
        _ => false,
    };
    match descr.trim_start_matches(['<', '>', '=', '|']) {
        "f4" => Ok((DType::F32, big_endian)),
        "f8" => Ok((DType::F64, big_endian)),
        _ => Err(format!(
            "holds elements of type '{descr}'; only float32 ('f4') and float64 ('f8') can be convolved (in NumPy: x.astype('float32'))"
        )),
    }
}

fn byte_count(shape: &[usize], dtype: DType) -> Result<usize, String> {
    let count =
        shape.iter().try_fold(dtype.bytes(), |product, &extent| product.checked_mul(extent));
    // A zero makes the array empty, however large the rest.
    let count = if shape.contains(&0) { Some(0) } else { count };
    count.ok_or_else(|| format!("has shape {shape:?}, more elements than memory can hold"))
}

/// Elements of a Fortran-ordered array, put into C order.
fn rows_first<T: Copy>(shape: &[usize], values: Vec<T>) -> Vec<T> {
    if values.is_empty() {
        return values;
    }
    let mut strides = Vec::with_capacity(shape.len());
    shape.iter().fold(1, |stride, extent| {
        strides.push(stride);
        stride * extent
    });
    let mut index = vec![0; shape.len()];
    let place = |_| {
        let at: usize = index.iter().zip(&strides).map(|(i, stride)| i * stride).sum();
        for (i, extent) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *extent {
                break;
            }
            *i = 0;
        }
        values[at]
    };
    (0..values.len()).map(place).collect()
}

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
        let bad = || format!("has a header that cannot be read: {}", text.trim());
        let (mut descr, mut columns_first, mut shape) = (None, None, None);
        let body =
            text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or_else(bad)?;
        let mut rest = body.trim_start();
        while !rest.is_empty() {
            let (key, after) = quoted(rest).ok_or_else(bad)?;
            let value = after.trim_start().strip_prefix(':').ok_or_else(bad)?.trim_start();
            rest = match key {
                "descr" if value.starts_with('[') => {
                    return Err(
                        "holds a structured element type; only float32 and float64 can be convolved".to_owned(),
                    );
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

    fn message(bytes: Vec<u8>) -> String {
        parse(bytes).err().expect("must be refused")
    }

    #[test]
    fn what_is_written_reads_back() {
        for shape in [vec![], vec![2], vec![0, 3], vec![1, 2, 3]] {
            let values: Vec<f64> = (0..shape.iter().product()).map(|i| i as f64 - 0.5).collect();
            let bytes = encode(&shape, &values).unwrap_or_default();
            let array = parse(bytes).expect("our own file");
            assert_eq!(
                (array.dtype, &array.shape, array.values::<f64>()),
                (DType::F64, &shape, values)
            );
        }
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
        let array = parse(file("'>f4'", "True", "(2, 3)", &data)).expect("legal");
        assert_eq!(array.values::<f32>(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn everything_else_is_refused_with_the_reason() {
        assert!(message(b"PK\x03\x04".to_vec()).contains("is not a .npy file"));
        assert!(message(b"\x93NUMPY\x01\0\xff".to_vec()).contains("ends inside its header"));
        assert!(message(b"\x93NUMPY\x09\0\0\0".to_vec()).contains("version 9"));
        assert!(message(file("'<i8'", "False", "(2,)", &[0; 16])).contains("type '<i8'"));
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
}
