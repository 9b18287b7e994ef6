//! Text in columns: names to the left, numbers to the right.

use conv_ir::analysis::ReceptiveField;

/// Which side a column leans to.
#[derive(Clone, Copy)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// The rows with their columns lined up, two spaces apart, a line each.
pub fn lined_up(sides: &[Side], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column).unwrap_or(0);
            match sides.get(column) {
                Some(Side::Right) => format!("{cell:>width$}"),
                Some(Side::Left) | None => format!("{cell:<width$}"),
            }
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// A name and its value on each line.
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let rows: Vec<Vec<String>> =
        pairs.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect();
    lined_up(&[Side::Left, Side::Left], &rows)
}

/// A duration in milliseconds with three digits that matter.
pub fn milliseconds(duration: std::time::Duration) -> String {
    format!("{} ms", three_digits(duration.as_secs_f64() * 1e3))
}

/// How much of an axis is seen: `7`; through holes `1 to 2`.
pub fn seen(field: &ReceptiveField) -> String {
    if field.least == field.size {
        return field.size.to_string();
    }
    format!("{} to {}", field.least, field.size)
}

/// A number with three digits that matter, and no more than three decimals.
pub fn three_digits(number: f64) -> String {
    let decimals = if number < 1.0 {
        3
    } else if number < 10.0 {
        2
    } else if number < 100.0 {
        1
    } else {
        0
    };
    format!("{number:.decimals$}")
}

/// A count with a blank between thousands.
pub fn thousands(count: u128) -> String {
    let digits = count.to_string();
    let group = |(at, digit): (usize, char)| {
        let blank = at > 0 && (digits.len() - at).is_multiple_of(3);
        [blank.then_some(' '), Some(digit)].into_iter().flatten()
    };
    digits.chars().enumerate().flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), "20".to_owned()]];
        assert_eq!(lined_up(&[Side::Left, Side::Right], &rows), "a     1\nbcd  20\n");
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0, 999, 1000, 1234567].map(thousands), ["0", "999", "1 000", "1 234 567"]);
    }
}
