//! `.safetensors`: named tensors of a model, of which one is read.
//!
//! ```text
//! 8 bytes: length of the header, lowest first | header, JSON: {"conv1.weight": {"dtype": "F32", "shape": [..], "data_offsets": [from, to]}, ..} | numbers, lowest byte first
//! ```
//!
//! F32 and F64 are read as they are; F16 and BF16 become f32, which holds each of them exactly. The
//! crate of that name would bring derive macros into every build of `conv!`; one tensor needs a
//! page.

use conv_ir::DType;
use serde_json::Value;

use crate::npy::Array;

/// Tensors listed in a message.
const LISTED: usize = 12;

/// One tensor of a file's bytes.
pub(crate) fn parse(bytes: &[u8], name: &str) -> Result<Array, String> {
    let length = bytes
        .first_chunk()
        .map(|b| u64::from_le_bytes(*b))
        .ok_or("is truncated: it ends inside its header")?;
    let end = usize::try_from(length)
        .ok()
        .and_then(|l| l.checked_add(8))
        .filter(|end| *end <= bytes.len());
    let end = end
        .ok_or("is no .safetensors file, or truncated: its header would be longer than the file")?;
    let header: Value = serde_json::from_slice(&bytes[8..end])
        .map_err(|e| format!("has a header that is no JSON: {e}"))?;
    let tensors = header.as_object().ok_or("has a header that is no table of tensors")?;
    let Some(tensor) = tensors.get(name).filter(|_| name != "__metadata__") else {
        return Err(missing(name, tensors));
    };
    let bad = || format!("has an entry for `{name}` that cannot be read: {tensor}");
    let numbers = |key: &str| -> Option<Vec<usize>> {
        let number = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
        tensor.get(key)?.as_array()?.iter().map(number).collect()
    };
    let dtype = tensor.get("dtype").and_then(Value::as_str).ok_or_else(bad)?;
    let shape = numbers("shape").ok_or_else(bad)?;
    let Some([from, to]) =
        numbers("data_offsets").as_deref().and_then(|o| o.first_chunk().copied())
    else {
        return Err(bad());
    };
    let data = bytes[end..]
        .get(from..to)
        .ok_or_else(|| format!("is truncated: `{name}` is not all there"))?;
    let (width, dtype, widen) = match dtype {
        "F32" => (4, DType::F32, Widen::No),
        "F64" => (8, DType::F64, Widen::No),
        "F16" => (2, DType::F32, Widen::By(from_half)),
        "BF16" => (2, DType::F32, Widen::By(|bits| f32::from_bits(u32::from(bits) << 16))),
        other => {
            return Err(format!("holds `{name}` as {other}; F32, F64, F16 and BF16 can be read"));
        }
    };
    let needed =
        shape.iter().try_fold(width, |product: usize, extent| product.checked_mul(*extent));
    if needed != Some(data.len()) {
        return Err(format!(
            "says that `{name}` is {shape:?}, but has {} bytes for it",
            data.len()
        ));
    }
    let numbers = match widen {
        Widen::No => data.to_vec(),
        Widen::By(widen) => {
            let pairs = data.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
            pairs.flat_map(|bits| widen(bits).to_le_bytes()).collect()
        }
    };
    Ok(Array::in_order(dtype, shape, numbers))
}

/// How a number becomes one that can be computed with.
enum Widen {
    /// It is one.
    No,
    /// From its bits.
    By(fn(u16) -> f32),
}

/// IEEE 754 binary16 as f32, exactly.
fn from_half(bits: u16) -> f32 {
    let (sign, exponent, fraction) =
        (bits >> 15, i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (fraction + 1024.0) * 2f32.powi(exponent - 25),
    };
    if sign == 1 { -magnitude } else { magnitude }
}

fn missing(name: &str, tensors: &serde_json::Map<String, Value>) -> String {
    let names: Vec<&str> =
        tensors.keys().map(String::as_str).filter(|n| *n != "__metadata__").collect();
    let more = names.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shown = names[..names.len().min(LISTED)].join(", ");
    match name {
        "" => format!(
            "holds several tensors: write `#` and a name behind the file, one of {shown}{more}"
        ),
        _ => format!("has no tensor `{name}`; it has {shown}{more}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn tensors_are_found_by_name_and_widened_exactly() {
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"h":{"dtype":"F16","shape":[1,2],"data_offsets":[8,12]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[12,14]}}"#;
        let mut data: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        data.extend([0x00, 0x3c, 0x01, 0x80]); // 1, -2^-24
        data.extend([0x40, 0xc0]); // -3
        let bytes = file(header, &data);
        let values = |name| parse(&bytes, name).map(|a| (a.shape.clone(), a.values::<f32>()));
        assert_eq!(values("a"), Ok((vec![2], vec![1.5, -2.0])));
        assert_eq!(values("h"), Ok((vec![1, 2], vec![1.0, -(2f32.powi(-24))])));
        assert_eq!(values("b"), Ok((vec![1], vec![-3.0])));
        assert_eq!(
            parse(&bytes, "c").err().unwrap_or_default(),
            "has no tensor `c`; it has a, b, h"
        );
        assert!(parse(&bytes, "").err().unwrap_or_default().contains("one of a, b, h"));
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
        assert!(message(&entry("I8", 2)).contains("as I8"));
        assert!(message(&entry("F32", 9)).contains("not all there"));
        assert!(message(&entry("F64", 8)).contains("has 8 bytes for it"));
    }
}
