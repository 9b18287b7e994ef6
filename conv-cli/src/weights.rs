//! Weights on the command line: numbers in brackets, or a file.
//!
//! In: `[[1,2,1],[0,0,0],[-1,-2,-1]]`, `stem.npy` or `model.safetensors#conv1.weight`. Out: the
//! description with these numbers compiled in. A lone window serves every channel, as in `conv!`.

use std::path::Path;

use conv_ir::Conv;
use serde_json::Value;

use crate::failure::Failure;

/// The description with its weights.
pub fn known(conv: &Conv, weight: &str) -> Result<Conv, Failure> {
    let numbers = match weight.starts_with('[') {
        true => {
            literal(weight).map_err(|message| Failure::usage(format!("--weight: {message}")))?
        }
        false => conv_files::read_place(Path::new(""), weight, usize::MAX)?.exact(),
    };
    let (needed, found) = (conv.weight_len(), numbers.len());
    let window: usize = conv.weight_shape()[2..].iter().product();
    let lone = found == window && conv.spec().in_channels == conv.groups();
    let numbers = if lone { conv_ir::repeated(&numbers, needed / found.max(1))? } else { numbers };
    Ok(conv.with_weights(&numbers, None)?)
}

fn literal(text: &str) -> Result<Vec<f64>, String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|e| format!("numbers in brackets, as in [[1,0,-1],[2,0,-2],[1,0,-1]]: {e}"))?;
    let mut numbers = Vec::new();
    flatten(&value, &mut numbers)?;
    Ok(numbers)
}

/// Numbers row by row; rows of one level are equally long.
fn flatten(value: &Value, numbers: &mut Vec<f64>) -> Result<usize, String> {
    let Some(rows) = value.as_array() else {
        numbers.push(value.as_f64().ok_or_else(|| format!("{value} is no number"))?);
        return Ok(1);
    };
    let mut first = None;
    for (at, row) in rows.iter().enumerate() {
        let found = flatten(row, numbers)?;
        match first {
            Some(first) if first != found => {
                return Err(format!("row {at} has {found} numbers, but row 0 has {first}"));
            }
            Some(_) => {}
            None => first = Some(found),
        }
    }
    Ok(rows.len() * first.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_read_row_by_row() {
        assert_eq!(literal("[[1, 2], [-3, 4.5]]"), Ok(vec![1.0, 2.0, -3.0, 4.5]));
        assert_eq!(
            literal("[[1, 2], [3]]"),
            Err("row 1 has 1 numbers, but row 0 has 2".to_owned())
        );
        assert!(literal("[[1, x]]").is_err_and(|e| e.contains("numbers in brackets")));
        assert!(literal("[[1, null]]").is_err_and(|e| e.contains("null is no number")));
    }

    #[test]
    fn a_lone_window_serves_every_channel() {
        let conv: Conv = "conv2d g3 ic3 oc3 in 8x8 kernel 3x1".parse().expect("legal");
        let known = known(&conv, "[[1],[2],[1]]").expect("a lone window");
        assert_eq!(known.known().map(|k| k.weight.len()), Some(9));
        assert!(
            super::known(&conv, "[1, 2]")
                .is_err_and(|e| e.to_string().contains("weight has 2 elements"))
        );
        // Nine numbers, for a description that would make 72 GB of them.
        let conv: Conv =
            "conv2d g1000000000 ic1000000000 oc1000000000 in 8 kernel 3".parse().expect("legal");
        let refused = super::known(&conv, "[[1,2,1],[0,0,0],[1,2,1]]").expect_err("too many");
        let message = "a lone window of 9 taps for 1000000000 channels is more than";
        assert!(refused.to_string().starts_with(message), "{refused}");
    }
}
