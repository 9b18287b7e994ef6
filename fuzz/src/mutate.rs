//! Inputs: seeds, changed. The n-th input is a pure function of the seeds, the seed and n.

use std::path::Path;

/// Steele, Lea and Flood's SplitMix64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which is above 0.
    fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &'a [Box<T>]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// No input is longer.
const LONGEST: usize = 1 << 16;

/// Numbers at the edges of types and limits.
const NUMBERS: [&str; 24] = [
    "0",
    "1",
    "2",
    "3",
    "7",
    "16",
    "255",
    "256",
    "1000",
    "32767",
    "65535",
    "65536",
    "100000",
    "2147483647",
    "4294967296",
    "140737488355328",
    "281474976710656",
    "9007199254740993",
    "4611686018427387904",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "-1",
];

/// Pieces that belong to no seed.
const PIECES: [&str; 16] =
    ["\0", "\n", "\r\n", "\t", " ", "\u{feff}", "é", "𝔸", "\"", "\\", ":", ";", ",", "x", "[", "{"];

/// Makes inputs.
pub struct Mutator {
    seeds: Vec<Box<[u8]>>,
    /// The words and the punctuation of the seeds.
    words: Vec<Box<[u8]>>,
}

impl Mutator {
    /// From the files of a folder; random bytes where there are none.
    pub fn new(folder: &Path) -> Mutator {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut seeds: Vec<Box<[u8]>> = files
            .filter_map(|file| std::fs::read(file.path()).ok())
            .map(Vec::into_boxed_slice)
            .collect();
        // Folders have no order.
        seeds.sort();
        let mut words: Vec<Box<[u8]>> =
            seeds.iter().flat_map(|seed| words(seed)).map(Into::into).collect();
        words.extend(PIECES.iter().map(|piece| piece.as_bytes().into()));
        words.sort();
        words.dedup();
        Mutator { seeds, words }
    }

    /// The input of this number.
    pub fn input(&self, seed: u64, number: u64) -> Vec<u8> {
        let mut random = Random(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ number);
        random.bits();
        if self.seeds.is_empty() || random.below(64) == 0 {
            let length = 4 + random.below(120);
            return (0..length).map(|_| random.bits() as u8).collect();
        }
        let mut input = random.pick(&self.seeds).to_vec();
        for _ in 0..random.below(6) {
            self.change(&mut input, &mut random);
            input.truncate(LONGEST);
        }
        input
    }

    fn change(&self, input: &mut Vec<u8>, random: &mut Random) {
        let at = random.below(input.len() + 1);
        let piece = (input.len() - at).min(1 + random.below(16));
        match random.below(12) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.bits() as u8,
            2 => drop(input.drain(at..at + piece)),
            3 => input.truncate(at),
            4 => {
                let other = random.pick(&self.seeds);
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend(&other[from..]);
            }
            5 => put(input, at, 0, random.pick(&self.words)),
            6 => {
                let word = random.pick(&self.words);
                self.replace(input, at, |byte| byte.is_ascii_alphabetic(), word);
            }
            7 | 8 => {
                let number = NUMBERS[random.below(NUMBERS.len())];
                self.replace(input, at, |byte| byte.is_ascii_digit(), number.as_bytes());
            }
            9 => {
                let copy = input[at..at + piece].to_vec();
                // Now and then very often.
                let times = if random.below(32) == 0 { random.below(4000) } else { 1 };
                put(input, at, 0, &copy.repeat(times));
            }
            10 => {
                let number = [0, 1, u64::MAX, 1 << 63, 1 << 32, random.bits()][random.below(6)];
                let bytes = &number.to_le_bytes()[..1 << random.below(4)];
                put(input, at, bytes.len(), bytes);
            }
            _ => {
                let word = random.pick(&self.words).to_vec();
                put(input, at, piece, &word);
            }
        }
    }

    /// Puts `by` in the place of the run of such bytes that begins at or behind `at`.
    fn replace(&self, input: &mut Vec<u8>, at: usize, is: fn(&u8) -> bool, by: &[u8]) {
        let Some(start) = input[at..].iter().position(is).map(|start| at + start) else { return };
        let length = input[start..].iter().take_while(|byte| is(byte)).count();
        put(input, start, length, by);
    }
}

/// Puts bytes in the place of `length` ones at `at`.
fn put(input: &mut Vec<u8>, at: usize, length: usize, bytes: &[u8]) {
    let end = (at + length).min(input.len());
    input.splice(at..end, bytes.iter().copied());
}

/// Runs of letters and digits, and what stands between them.
fn words(seed: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_word = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-');
    seed.chunk_by(move |a, b| is_word(a) == is_word(b)).filter(|word| word.len() < 24)
}
