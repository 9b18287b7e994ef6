//! `.safetensors`: named tensors of a model, of which one is read; and files of one tensor.
//!
//! ```text
//! 8 bytes  length of the header, lowest first
//! header   JSON: {"conv1.weight": {"dtype": "F32", "shape": [..], "data_offsets": [from, to]}, ..}
//! numbers  lowest byte first
//! ```
//!
//! Each [`Kind`] is read as it is. The crate of that name would bring derive macros into every
//! build of `conv!`; one tensor needs a page.

use std::io::{Read, Seek, SeekFrom};

use conv_ir::cut;
use serde_json::{Value, json};

use crate::array::{Array, Order, push};
use crate::claims::{bytes, count, room, shown};
use crate::numbers::with_number;
use crate::{Kind, Number};

/// Bytes of the longest header that the format allows.
const LONGEST: u64 = 100_000_000;

/// The entry of the header that is about the file.
const NO_TENSOR: &str = "__metadata__";

/// Tensors listed in a message.
const LISTED: usize = 12;

/// Reads one tensor (the only one, where `name` is empty), of at most so many numbers, of a source
/// `length` bytes: its header and that tensor, nothing else.
///
/// # Errors
/// Where it is no such file, or has no such tensor; or the tensor cannot be convolved.
pub fn read(
    source: &mut (impl Read + Seek),
    length: u64,
    name: &str,
    most: usize,
) -> Result<Array, String> {
    let (header, start) = header(source, length)?;
    let tensors = header.as_object().ok_or("has a header that is no table of tensors")?;
    let names: Vec<&str> = tensors.keys().map(String::as_str).filter(|n| *n != NO_TENSOR).collect();
    let name = match names[..] {
        [only] if name.is_empty() => only,
        _ => name,
    };
    let Some(tensor) = tensors.get(name).filter(|_| name != NO_TENSOR) else {
        return Err(missing(name, &names));
    };
    let name = cut(name);
    let bad =
        || format!("has an entry for `{name}` that cannot be read: {}", cut(&tensor.to_string()));
    let numbers = |key: &str| -> Option<Vec<u64>> {
        tensor.get(key)?.as_array()?.iter().map(Value::as_u64).collect()
    };
    let dtype = tensor.get("dtype").and_then(Value::as_str).ok_or_else(bad)?;
    let shape = numbers("shape").ok_or_else(bad)?.into_iter().map(usize::try_from);
    let shape: Vec<usize> = shape.collect::<Result<_, _>>().map_err(|_| bad())?;
    let Some(&[from, to]) = numbers("data_offsets").as_deref() else {
        return Err(bad());
    };
    if from > to || to > length - start {
        return Err(format!("is truncated: `{name}` is not all there"));
    }
    let Some(&kind) = Kind::ALL.iter().find(|kind| kind.safetensors() == dtype) else {
        let (dtype, names) = (cut(dtype), Kind::ALL.iter().map(|kind| kind.safetensors()));
        let names = names.collect::<Vec<_>>().join(", ");
        return Err(format!("holds `{name}` as {dtype}; {names} can be read"));
    };
    let needed = count(&shape, most)?.checked_mul(kind.bytes());
    let Some(needed) = needed.filter(|needed| *needed as u64 == to - from) else {
        let (shape, found) = (shown(&shape), to - from);
        return Err(format!("says that `{name}` is {shape}, but has {found} bytes for it"));
    };
    source
        .seek(SeekFrom::Start(start + from))
        .map_err(|error| format!("cannot be read: {error}"))?;
    Ok(Array { kind, shape, order: Order::default(), bytes: bytes(source, needed)? })
}

/// The bytes of a file of one tensor, or an error where memory does not hold them beside the
/// numbers.
///
/// # Errors
/// How much memory it would take.
pub fn encode<T: Number>(name: &str, shape: &[usize], values: &[T]) -> Result<Vec<u8>, String> {
    let (dtype, size) = (T::KIND.safetensors(), size_of_val(values));
    let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [0, size]});
    let mut header = json!({ name: entry }).to_string();
    // The numbers start at a multiple of eight.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    let mut bytes = room(8 + header.len() + size)?;
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    push(values, &mut bytes);
    Ok(bytes)
}

impl Array {
    /// The bytes of a `.safetensors` file of one tensor.
    ///
    /// # Errors
    /// As [`encode`].
    pub fn to_safetensors(&self, name: &str) -> Result<Vec<u8>, String> {
        with_number!(self.kind, T => {
            encode(name, &self.shape, &self.values::<T>())
        })
    }
}

/// The header, and where the numbers start.
fn header(source: &mut impl Read, length: u64) -> Result<(Value, u64), String> {
    let start = bytes(source, length.min(8) as usize)?;
    let header = start.first_chunk().map(|start| u64::from_le_bytes(*start));
    let header = header.ok_or("is truncated: it ends inside its header")?;
    if header > length - 8 {
        return Err(
            "is no .safetensors file, or truncated: its header would be longer than the file"
                .to_owned(),
        );
    }
    if header > LONGEST {
        return Err(format!("has a header of {header} bytes, but the format allows {LONGEST}"));
    }
    let text = bytes(source, header as usize)?;
    let table = serde_json::from_slice(&text)
        .map_err(|error| format!("has a header that is no JSON: {error}"))?;
    Ok((table, 8 + header))
}

fn missing(name: &str, names: &[&str]) -> String {
    let more = names.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shown: Vec<String> = names.iter().take(LISTED).map(|name| cut(name)).collect();
    let shown = shown.join(", ");
    match name {
        "" if names.is_empty() => "holds no tensor".to_owned(),
        "" => format!(
            "holds several tensors: write `#` and a name behind the file, one of {shown}{more}"
        ),
        _ => format!("has no tensor `{}`; it has {shown}{more}", cut(name)),
    }
}

#[cfg(test)]
mod tests {
    use conv_ir::F16;

    use super::*;

    fn parse(bytes: &[u8], name: &str) -> Result<Array, String> {
        read(&mut std::io::Cursor::new(bytes), bytes.len() as u64, name, usize::MAX)
    }

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn tensors_are_found_by_name_and_keep_their_type() {
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"h":{"dtype":"F16","shape":[1,2],"data_offsets":[8,12]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[12,14]}}"#;
        let mut data: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        data.extend([0x00, 0x3c, 0x01, 0x80]); // 1, -2^-24
        data.extend([0x40, 0xc0]); // -3
        let bytes = file(header, &data);
        let values = |name| parse(&bytes, name).map(|a| (a.shape.clone(), a.values::<f32>()));
        assert_eq!(values("a"), Ok((vec![2], vec![1.5, -2.0])));
        assert_eq!(values("h"), Ok((vec![1, 2], vec![1.0, -(2f32.powi(-24))])));
        assert_eq!(values("b"), Ok((vec![1], vec![-3.0])));
        let half = parse(&bytes, "h")
            .map(|a| (a.kind, a.values::<F16>().into_iter().map(F16::to_bits).collect::<Vec<_>>()));
        assert_eq!(half, Ok((Kind::F16, vec![0x3c00, 0x8001])));
        assert_eq!(
            parse(&bytes, "c").err().unwrap_or_default(),
            "has no tensor `c`; it has a, b, h"
        );
        assert!(parse(&bytes, "").err().unwrap_or_default().contains("one of a, b, h"));
    }

    #[test]
    fn the_only_tensor_needs_no_name() {
        let entry = r#""w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#;
        let about = r#""__metadata__":{"format":"pt"}"#;
        let read = |header: &str| parse(&file(header, &[3, 4]), "").map(|a| a.exact());
        assert_eq!(read(&format!("{{{entry}}}")), Ok(vec![3.0, 4.0]));
        assert_eq!(read(&format!("{{{about},{entry}}}")), Ok(vec![3.0, 4.0]));
        assert_eq!(read(&format!("{{{about}}}")), Err("holds no tensor".to_owned()));
    }

    #[test]
    fn what_is_written_reads_back() {
        for &kind in Kind::ALL {
            with_number!(kind, T => {
                let values = [-1.5, 0.0, 100.0, 3.0, 7.0, 9.0].map(T::nearest);
                for shape in [vec![], vec![0, 2], vec![2, 3]] {
                    let values = &values[..shape.iter().product()];
                    let bytes = encode("a \"name\"", &shape, values).expect("bytes");
                    let read = parse(&bytes, "a \"name\"").expect("our own file");
                    assert_eq!((read.kind, &read.shape, read.values::<T>()), (kind, &shape, values.to_vec()));
                    assert_eq!((bytes.len(), (bytes.len() - size_of_val(values)) % 8), (bytes.capacity(), 0));
                }
            });
        }
    }

    #[test]
    fn broken_files_say_what_is_wrong() {
        let message = |bytes: &[u8]| parse(bytes, "a").err().unwrap_or_default();
        assert!(message(b"abc").contains("truncated"));
        assert!(message(&[255; 16]).contains("longer than the file"));
        assert!(message(&file("[", &[])).contains("no JSON"));
        let entry = |dtype: &str, to: usize| {
            file(
                &format!(r#"{{"a":{{"dtype":"{dtype}","shape":[2],"data_offsets":[0,{to}]}}}}"#),
                &[0; 8],
            )
        };
        let names = "I8, U8, I16, U16, I32, I64, BOOL, F16, BF16, F32, F64 can be read";
        assert!(message(&entry("F8_E4M3", 2)).contains(&format!("`a` as F8_E4M3; {names}")));
        assert!(message(&entry("I16", 2)).contains("has 2 bytes for it"));
        assert!(message(&entry("F32", 9)).contains("not all there"));
        assert!(message(&entry("F64", 8)).contains("has 8 bytes for it"));
    }

    #[test]
    fn any_bytes_are_read_or_refused_in_a_short_line() {
        let long = "n".repeat(50_000);
        let sound = file(
            &format!(
                r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}},"{long}":{{"dtype":"{long}","shape":[],"data_offsets":[0,0]}}}}"#
            ),
            &[0; 8],
        );
        let message = |name: &str| parse(&sound, name).err().unwrap_or_default();
        assert!(message(&long).contains("nn..` as nn"), "{}", message(&long));
        for name in [&long, "b", ""] {
            assert!(message(name).len() < 400, "{}", message(name));
        }
        let short = r#"{"a":{"dtype":"BF16","shape":[2, 1],"data_offsets":[2,6]}}"#;
        crate::tests::damaged(&file(short, &[7; 8]), |bytes| {
            parse(bytes, "a").map(|array| array.exact().len())
        });
    }

    #[test]
    fn of_a_large_file_the_header_and_one_tensor_are_read() {
        /// Counts what is read.
        struct Counted(std::io::Cursor<Vec<u8>>, usize);
        impl Read for Counted {
            fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
                let read = self.0.read(to)?;
                self.1 += read;
                Ok(read)
            }
        }
        impl Seek for Counted {
            fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
                self.0.seek(to)
            }
        }
        let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4000000,4000008]}}"#;
        let bytes = file(header, &[0; 8_000_000]);
        let length = bytes.len() as u64;
        let mut source = Counted(std::io::Cursor::new(bytes), 0);
        assert_eq!(read(&mut source, length, "a", 2).map(|a| a.exact()), Ok(vec![0.0; 2]));
        assert_eq!(source.1, 8 + header.len() + 8);
        source.0.set_position(0);
        let refused = read(&mut source, length, "a", 1).err();
        assert_eq!(refused.as_deref(), Some("has shape [2]: 2 numbers, but at most 1"));
    }
}
