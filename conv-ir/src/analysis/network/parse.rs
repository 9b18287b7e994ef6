//! Reading a network: words, and a descent into braces.

use std::str::FromStr;

use super::{Item, Kind, LayerSpec, Network, Together};
use crate::Padding;
use crate::error::{Error, cut};

/// More layers than this are not a network but a mistake in a count.
const MOST_LAYERS: usize = 10_000;
/// Deeper braces than this are not a network either.
const MOST_DEPTH: usize = 32;

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Network, Error> {
        let mut words = Words::new(text);
        words.expect("input")?;
        let channels = words.number("the input's channels")?;
        let items = words.items(0)?;
        if let Some(word) = words.peek() {
            return Err(words.error(format!("'{}' has no '{{' that it belongs to", cut(word))));
        }
        Ok(Network { channels, items })
    }
}

struct Words<'a> {
    /// Each with its line.
    words: Vec<(usize, &'a str)>,
    at: usize,
    layers: usize,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Words<'a> {
        let mut words = Vec::new();
        for (line, content) in text.lines().enumerate() {
            let content = content.split('#').next().unwrap_or_default();
            for word in content.split(|c: char| c.is_whitespace() || c == ',') {
                words.extend(tokens(word).map(|token| (line + 1, token)));
            }
        }
        Words { words, at: 0, layers: 0 }
    }

    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).map(|(_, word)| *word)
    }

    fn next(&mut self) -> Option<&'a str> {
        let word = self.peek();
        self.at += usize::from(word.is_some());
        word
    }

    /// Goes on where the next word is this one.
    fn takes(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str) -> Result<(), Error> {
        match self.takes(word) {
            true => Ok(()),
            false => Err(self.error(format!("expected '{word}', found {}", self.found()))),
        }
    }

    fn found(&self) -> String {
        self.peek().map_or("the end".to_owned(), |word| format!("'{}'", cut(word)))
    }

    fn error(&self, message: String) -> Error {
        let last = self.words.last().map_or(1, |(line, _)| *line);
        let line = self.words.get(self.at).map_or(last, |(line, _)| *line);
        Error::Argument(format!("line {line} of the network: {message}"))
    }

    fn number(&mut self, what: &str) -> Result<usize, Error> {
        let number = self.peek().and_then(|word| word.parse().ok()).filter(|&n| n > 0);
        let number = number.ok_or_else(|| {
            self.error(format!("expected {what}, a positive number, found {}", self.found()))
        })?;
        self.at += 1;
        Ok(number)
    }

    /// Up to the end, or to a word that closes what is around.
    fn items(&mut self, depth: usize) -> Result<Vec<Item>, Error> {
        if depth > MOST_DEPTH {
            return Err(self.error(format!("braces are more than {MOST_DEPTH} deep")));
        }
        let mut items = Vec::new();
        while let Some(word) = self.peek() {
            match word {
                "}" | "|" => break,
                "repeat" => items.extend(self.repeated(depth)?),
                _ => items.push(self.item(depth)?),
            }
        }
        Ok(items)
    }

    fn item(&mut self, depth: usize) -> Result<Item, Error> {
        let word = self.next().unwrap_or_default();
        // Branches count as one more, and names as one: nothing that is repeated is free.
        self.layers += 1;
        if self.layers > MOST_LAYERS {
            return Err(self.back(format!("more than {MOST_LAYERS} layers")));
        }
        let kind = match word {
            "add" => return Ok(Item::Branches(Together::Added, self.branches(depth)?)),
            "join" => return Ok(Item::Branches(Together::Joined, self.branches(depth)?)),
            "conv" | "depthwise" | "pool" => word,
            _ => match word.strip_prefix(':') {
                Some(name) if !name.is_empty() && depth == 0 => {
                    return Ok(Item::Point(name.to_owned()));
                }
                Some(_) => {
                    return Err(self.back(format!(
                        "'{}' names a point, which must stand outside of braces",
                        cut(word)
                    )));
                }
                None => {
                    let known = "conv, depthwise, pool, add, join, repeat or :NAME";
                    return Err(self.back(format!("expected {known}, found '{}'", cut(word))));
                }
            },
        };
        Ok(Item::Layer(self.layer(kind)?))
    }

    /// An error about the word before.
    fn back(&mut self, message: String) -> Error {
        self.at -= 1;
        self.error(message)
    }

    fn layer(&mut self, kind: &str) -> Result<LayerSpec, Error> {
        let (kernel, stride) = self.window()?;
        let kind = match kind {
            "conv" => Kind::Conv(self.number("the channels")?),
            "depthwise" if self.takes("times") => {
                Kind::Depthwise(self.number("the windows a channel")?)
            }
            "depthwise" => Kind::Depthwise(1),
            _ => Kind::Pool,
        };
        let padding = if self.takes("valid") {
            Padding::Valid
        } else if self.takes("pad") {
            self.number("the padding")?.into()
        } else {
            self.takes("same");
            Padding::SameUpper
        };
        Ok(LayerSpec { kind, kernel, stride, padding })
    }

    /// `3x3`, `7x7/2`.
    fn window(&mut self) -> Result<([usize; 2], usize), Error> {
        let read = |word: &str| {
            let (kernel, stride) = word.split_once('/').unwrap_or((word, "1"));
            let (height, width) = kernel.split_once('x')?;
            let numbers =
                [height, width, stride].map(|n| n.parse().ok().filter(|&n: &usize| n > 0));
            Some(([numbers[0]?, numbers[1]?], numbers[2]?))
        };
        let window = self.peek().and_then(read);
        let window = window.ok_or_else(|| {
            self.error(format!("expected a window such as 3x3 or 3x3/2, found {}", self.found()))
        })?;
        self.at += 1;
        Ok(window)
    }

    fn branches(&mut self, depth: usize) -> Result<Vec<Vec<Item>>, Error> {
        self.expect("{")?;
        let mut branches = vec![self.items(depth + 1)?];
        while self.takes("|") {
            branches.push(self.items(depth + 1)?);
        }
        self.expect("}")?;
        Ok(branches)
    }

    fn repeated(&mut self, depth: usize) -> Result<Vec<Item>, Error> {
        self.expect("repeat")?;
        let count = self.number("how often")?;
        self.expect("{")?;
        let before = self.layers;
        let items = self.items(depth + 1)?;
        self.expect("}")?;
        let layers = (self.layers - before).saturating_mul(count).max(count);
        self.layers = before.saturating_add(layers);
        if self.layers > MOST_LAYERS {
            return Err(self.back(format!("more than {MOST_LAYERS} layers")));
        }
        Ok(std::iter::repeat_n(items, count).flatten().collect())
    }
}

/// Braces and bars stand for themselves, also without blanks around them.
fn tokens(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let alone = |c: char| matches!(c, '{' | '}' | '|');
        let end = if alone(first) { 1 } else { rest.find(alone).unwrap_or(rest.len()) };
        let (token, left) = rest.split_at(end);
        rest = left;
        Some(token)
    })
}
