//! Sums of products as Rust text: element offsets, loop bounds, conditions.
//!
//! An offset is `base + constant + sum of coefficient * factor * factor..`; more than one factor
//! only where a stride holds a run-time size. Like terms are merged, positive terms are printed
//! before negative ones: a sum that ends up at zero or above never dips below it on the way, so
//! plain `usize` arithmetic is safe wherever all factors are `usize`. As soon as one factor may be
//! negative the whole sum is `isize`.

use super::range::Range;

/// A variable, or an opaque expression, as text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Factor {
    pub text: String,
    /// `isize` rather than `usize`.
    pub signed: bool,
    pub range: Range,
}

#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Sum {
    pub constant: i64,
    terms: Vec<(Vec<Factor>, i64)>,
}

impl Sum {
    pub fn constant(constant: i64) -> Sum {
        Sum { constant, terms: Vec::new() }
    }

    pub fn factor(factor: Factor) -> Sum {
        Sum { constant: 0, terms: vec![(vec![factor], 1)] }
    }

    /// Differs from the other in the constant at most.
    pub fn varies_as(&self, other: &Sum) -> bool {
        self.terms == other.terms
    }

    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    fn add_term(&mut self, factors: Vec<Factor>, coefficient: i64) {
        let same =
            |known: &[Factor]| known.iter().map(|f| &f.text).eq(factors.iter().map(|f| &f.text));
        match self.terms.iter().position(|(known, _)| same(known)) {
            Some(at) => self.terms[at].1 += coefficient,
            None => self.terms.push((factors, coefficient)),
        }
        self.terms.retain(|(_, coefficient)| *coefficient != 0);
    }

    pub fn add(&mut self, other: &Sum, scale: i64) {
        self.constant += other.constant * scale;
        for (factors, coefficient) in &other.terms {
            self.add_term(factors.clone(), coefficient * scale);
        }
    }

    pub fn plus(mut self, other: &Sum) -> Sum {
        self.add(other, 1);
        self
    }

    pub fn times(&self, other: &Sum) -> Sum {
        let mut product = Sum::default();
        product.add(self, other.constant);
        for (factors, coefficient) in &other.terms {
            product.add_term(factors.clone(), coefficient * self.constant);
            for (mine, own) in &self.terms {
                let mut both = [mine.as_slice(), factors].concat();
                both.sort_by(|a, b| a.text.cmp(&b.text));
                product.add_term(both, coefficient * own);
            }
        }
        product
    }

    pub fn range(&self) -> Range {
        self.terms.iter().fold(Range::exactly(self.constant), |sum, (factors, coefficient)| {
            let product = factors
                .iter()
                .map(|f| f.range)
                .reduce(Range::multiply)
                .unwrap_or(Range::exactly(1));
            sum.plus(product.times(*coefficient))
        })
    }

    /// Holds a factor that may be negative.
    pub fn signed(&self) -> bool {
        self.terms.iter().any(|(factors, _)| factors.iter().any(|f| f.signed))
    }

    /// Fit for `usize` arithmetic whatever the values.
    pub fn plain(&self) -> bool {
        !self.signed() && self.range().non_negative()
    }

    /// The terms of one sign and type, without the sign.
    fn part(&self, positive: bool, signed: bool) -> Vec<String> {
        let is_signed = |factors: &[Factor]| factors.iter().any(|f| f.signed);
        let chosen = self
            .terms
            .iter()
            .filter(|(factors, c)| (*c > 0) == positive && is_signed(factors) == signed);
        chosen.map(|(factors, c)| term(factors, c.abs())).collect()
    }

    /// The positive (or the negative) terms and constant, without the sign.
    fn side(&self, positive: bool, as_isize: bool) -> Vec<String> {
        let mut parts = self.part(positive, true);
        let plain = self.part(positive, false);
        match (as_isize, plain.as_slice()) {
            (false, _) => parts.extend(plain),
            (true, []) => {}
            (true, [one]) if !one.contains(' ') => parts.push(format!("{one} as isize")),
            (true, several) => parts.push(format!("({}) as isize", several.join(" + "))),
        }
        if self.constant != 0 && (self.constant > 0) == positive {
            parts.push(self.constant.abs().to_string());
        }
        parts
    }

    fn text(&self, as_isize: bool) -> String {
        if as_isize && self.plain() {
            let text = self.text(false);
            return match (self.as_constant(), text.contains(' ')) {
                (Some(_), _) => text,
                (None, false) => format!("{text} as isize"),
                (None, true) => format!("({text}) as isize"),
            };
        }
        let mut text = self.side(true, as_isize).join(" + ");
        for part in &self.side(false, as_isize) {
            // Numbers without a sign have no minus: of an empty range even `0 - n` is never run.
            text.push_str(match (text.is_empty(), as_isize || self.signed()) {
                (false, _) => " - ",
                (true, true) => "-",
                (true, false) => "0 - ",
            });
            // A cast binds weaker than the minus sign in front of it.
            let first_cast = text == "-" && part.contains(" as ");
            text.push_str(&if first_cast { format!("({part})") } else { part.clone() });
        }
        if text.is_empty() { "0".to_owned() } else { text }
    }

    /// As a `usize` expression, given that the value is not negative where it is evaluated.
    pub fn usize_text(&self) -> String {
        if self.signed() { format!("({}) as usize", self.text(true)) } else { self.text(false) }
    }

    /// As an `isize` expression.
    pub fn isize_text(&self) -> String {
        self.text(true)
    }

    /// As an `isize` expression that can stand before a method call or a cast.
    pub fn isize_atom(&self) -> String {
        match self.as_constant() {
            Some(constant) => format!("({constant}isize)"),
            None => format!("({})", self.text(true)),
        }
    }

    /// As a `usize` expression that is zero where the sum would be less; `None` where a term is
    /// signed.
    pub fn saturating_text(&self) -> Option<String> {
        let (from, less) = (self.side(true, false), self.side(false, false));
        let from = match from.as_slice() {
            _ if self.signed() => return None,
            [] => return None,
            [number] if number.bytes().all(|c| c.is_ascii_digit()) => format!("{number}usize"),
            [name] if !name.contains(' ') => name.clone(),
            several => format!("({})", several.join(" + ")),
        };
        Some(format!("{from}.saturating_sub({})", less.join(" + ")))
    }

    /// Divided by a number that divides every term.
    pub fn divided(&self, by: i64) -> Option<Sum> {
        let all = [self.constant]
            .into_iter()
            .chain(self.terms.iter().map(|(_, coefficient)| *coefficient));
        all.into_iter().all(|number| number % by == 0).then(|| Sum {
            constant: self.constant / by,
            terms: self.terms.iter().map(|(factors, c)| (factors.clone(), c / by)).collect(),
        })
    }

    /// `self >= 0` as text, where it is not certain.
    pub fn non_negative_text(&self) -> Option<String> {
        if self.range().non_negative() {
            return None;
        }
        let side = |positive| {
            let parts = self.side(positive, self.signed());
            if parts.is_empty() { "0".to_owned() } else { parts.join(" + ") }
        };
        let has_terms = self.terms.iter().any(|(_, coefficient)| *coefficient > 0);
        Some(match has_terms {
            true => format!("{} >= {}", side(true), side(false)),
            false => format!("{} <= {}", side(false), side(true)),
        })
    }
}

fn term(factors: &[Factor], coefficient: i64) -> String {
    let signed = factors.iter().any(|f| f.signed);
    let texts = factors.iter().map(|f| {
        if signed && !f.signed { format!("({} as isize)", f.text) } else { f.text.clone() }
    });
    let texts: Vec<String> =
        (coefficient != 1).then(|| coefficient.to_string()).into_iter().chain(texts).collect();
    texts.join(" * ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn var(text: &str, signed: bool) -> Sum {
        let range = if signed { Range { lo: None, hi: None } } else { Range::size() };
        Sum::factor(Factor { text: text.to_owned(), signed, range })
    }

    #[test]
    fn negative_terms_come_last() {
        let mut sum = Sum::constant(2).plus(&var("at", false));
        sum.add(&var("kw", false), -1);
        assert_eq!(sum.usize_text(), "at + 2 - kw");
        assert!(!sum.plain());
        assert_eq!(sum.non_negative_text().as_deref(), Some("at + 2 >= kw"));
    }

    #[test]
    fn one_signed_factor_makes_the_sum_signed() {
        let sum = var("at", true).plus(&var("w", false));
        assert_eq!(sum.usize_text(), "(at + w as isize) as usize");
    }

    #[test]
    fn numbers_without_a_sign_are_cast_as_a_whole_and_subtracted_down_to_zero() {
        let mut sum = Sum::constant(2).plus(&var("at", false));
        assert_eq!(sum.isize_text(), "(at + 2) as isize");
        sum.add(&var("kw", false), -4);
        assert_eq!(sum.saturating_text().as_deref(), Some("(at + 2).saturating_sub(4 * kw)"));
        assert_eq!(sum.divided(2), None);
        sum.add(&var("at", false), 1);
        assert_eq!(sum.divided(2).unwrap().usize_text(), "at + 1 - 2 * kw");
    }

    #[test]
    fn products_of_sizes_are_merged() {
        let sum =
            var("w", false).plus(&Sum::constant(2)).times(&var("h", false)).plus(&var("h", false));
        assert_eq!(sum.usize_text(), "3 * h + h * w");
    }
}
