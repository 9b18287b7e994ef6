//! Reading the one-line text forms: a cursor that knows its column, and errors that say what was
//! found and what was expected.
//!
//! Columns count characters from 1. White space separates words and is otherwise skipped; numbers
//! in a list (`3x3`, `1:1,0:2`) stand together, so that a comma with a space or a letter after it
//! ends the list.

use crate::error::{Error, cut};

pub(super) struct Scanner<'a> {
    what: &'static str,
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// `what` is read, as error messages call it: `the convolution`.
    pub fn new(what: &'static str, text: &'a str) -> Self {
        Scanner { what, text, at: 0 }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Takes the longest run of matching characters, which may be empty.
    pub fn run(&mut self, matches: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !matches(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    /// Takes letters, digits, `_` and `-`.
    pub fn word(&mut self) -> &'a str {
        self.skip_spaces();
        self.run(|c| c.is_alphanumeric() || c == '_' || c == '-')
    }

    pub fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    /// Takes `wanted` if it comes next and a number behind it, perhaps after spaces.
    pub fn eat_before_digit(&mut self, wanted: char) -> bool {
        let behind = self.rest().strip_prefix(wanted).map(str::trim_start);
        behind.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            && self.eat(wanted)
    }

    /// Takes `wanted` if it comes next and nothing follows but spaces.
    pub fn eat_last(&mut self, wanted: char) -> bool {
        let behind = self.rest().strip_prefix(wanted);
        behind.is_some_and(|rest| rest.trim().is_empty()) && self.eat(wanted)
    }

    /// Takes `wanted` if it comes next, whatever follows it.
    pub fn eat_word(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    /// Takes `wanted` if it comes next and is all of a word.
    pub fn eat_alone(&mut self, wanted: &str) -> bool {
        self.at_word(wanted) && self.eat_word(wanted)
    }

    /// Whether `wanted` comes next and is all of a word.
    pub fn at_word(&self, wanted: &str) -> bool {
        let behind = self.rest().strip_prefix(wanted).map(|rest| rest.chars().next());
        let goes_on = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        behind.is_some_and(|next| !next.is_some_and(goes_on))
    }

    pub fn end(&mut self) -> Result<(), Error> {
        self.skip_spaces();
        if self.peek().is_none() { Ok(()) } else { Err(self.expected("nothing more")) }
    }

    pub fn number(&mut self) -> Result<usize, Error> {
        let start = self.at;
        let digits = self.run(|c| c.is_ascii_digit());
        if digits.is_empty() {
            return Err(match self.peek() {
                Some('-') => self.expected("a number that is not negative"),
                _ => self.expected("a number"),
            });
        }
        digits.parse().map_err(|_| self.error(start, format!("{} is too large", cut(digits))))
    }

    pub fn float(&mut self) -> Result<f64, Error> {
        self.skip_spaces();
        let start = self.at;
        let text = self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-'));
        text.parse().map_err(|_| match text {
            "" => self.expected("a number"),
            _ => self.error(start, format!("`{}` is no number", cut(text))),
        })
    }

    /// Numbers with commas between: `0.5,0.25`.
    pub fn floats(&mut self) -> Result<Vec<f64>, Error> {
        let mut items = vec![self.float()?];
        self.skip_spaces();
        while self.eat(',') {
            items.push(self.float()?);
            self.skip_spaces();
        }
        Ok(items)
    }

    /// A whole number of 32 bits.
    pub fn integer(&mut self) -> Result<i32, Error> {
        self.skip_spaces();
        let start = self.at;
        let text = self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-'));
        text.parse().map_err(|_| match text {
            "" => self.expected("a whole number"),
            _ => self.error(start, format!("`{}` is no whole number of 32 bits", cut(text))),
        })
    }

    /// Items without spaces between them: `axbxc` or `a,b,c`.
    pub fn list<T>(
        &mut self,
        item: impl Fn(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        self.skip_spaces();
        let mut items = vec![item(self)?];
        while self.continues() {
            self.at += 1;
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn continues(&self) -> bool {
        let mut chars = self.rest().chars();
        match chars.next() {
            Some('x') => true,
            // A negative number is an item too, and its own mistake.
            Some(',') => chars.next().is_some_and(|c| c.is_ascii_digit() || c == '-'),
            _ => false,
        }
    }

    /// `name(a,b)`: exactly as many numbers in parentheses as the `form` has.
    pub fn arguments<const COUNT: usize>(&mut self, form: &str) -> Result<[f64; COUNT], Error> {
        let mut values = [0.0; COUNT];
        for (i, value) in values.iter_mut().enumerate() {
            self.punctuation(if i == 0 { '(' } else { ',' }, form)?;
            *value = self.float()?;
        }
        self.punctuation(')', form)?;
        Ok(values)
    }

    /// `name(a,b,..)`: as many numbers in parentheses as there are.
    pub fn any_arguments(&mut self, form: &str) -> Result<Vec<f64>, Error> {
        self.punctuation('(', form)?;
        let values = self.floats()?;
        self.punctuation(')', form)?;
        Ok(values)
    }

    fn punctuation(&mut self, c: char, form: &str) -> Result<(), Error> {
        self.skip_spaces();
        match self.eat(c) {
            true => Ok(()),
            false => Err(self.expected(&format!("`{c}`, as in `{form}`"))),
        }
    }

    pub fn error(&self, at: usize, message: String) -> Error {
        let column = self.text[..at].chars().count() + 1;
        Error::Parse { what: self.what, column, message }
    }

    pub fn expected(&self, wanted: &str) -> Error {
        let found = match self.rest().split_whitespace().next() {
            _ if self.rest().is_empty() => "nothing".to_owned(),
            Some(word) if !self.rest().starts_with(char::is_whitespace) => {
                format!("`{}`", cut(word))
            }
            _ => "a space".to_owned(),
        };
        self.error(self.at, format!("found {found}, expected {wanted}"))
    }

    /// A word that is none of the known ones, with the nearest of them.
    pub fn unknown(&self, at: usize, word: &str, known: &[&str]) -> Error {
        let message = match nearest(word, known) {
            _ if word.is_empty() => return self.expected(&alternatives(known)),
            Some(near) => format!("found `{}`, did you mean `{near}`?", cut(word)),
            None => format!("found `{}`, expected {}", cut(word), alternatives(known)),
        };
        self.error(at, message)
    }

    /// A word that means something else than its neighbours among the known ones.
    pub fn not_there(&self, at: usize, word: &str, known: &[&str]) -> Error {
        self.error(at, format!("there is no `{}`, but {}", cut(word), alternatives(known)))
    }
}

fn alternatives(known: &[&str]) -> String {
    match known {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", first.join(", "))
        }
    }
}

/// The known word with the fewest edits, if they are few.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let (edits, near) =
        known.iter().map(|&k| (edit_distance(word, k), k)).min_by_key(|&(edits, _)| edits)?;
    (edits <= 2 && edits * 2 <= word.chars().count()).then_some(near)
}

/// Insertions, deletions and replacements that turn `a` into `b`. Quadratic, so long words are cut:
/// they are near nothing.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(40).collect();
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word() {
        let known = ["stride", "dilation", "pad"];
        assert_eq!(nearest("strides", &known), Some("stride"));
        assert_eq!(nearest("dilatoin", &known), Some("dilation"));
        assert_eq!(nearest("xy", &known), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
    }

    #[test]
    fn columns_count_characters() {
        let mut scan = Scanner::new("the test", "é y");
        scan.word();
        scan.skip_spaces();
        let error = scan.expected("`x`").to_string();
        assert_eq!(error, "cannot read the test at column 3: found `y`, expected `x`");
    }
}
