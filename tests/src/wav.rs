//! WAV files of one channel, for the examples that make sound.

/// A sound of one channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// Samples a second.
    pub rate: u32,
    /// From -1 to 1.
    pub samples: Vec<f32>,
}

impl Sound {
    /// As loud as 16 bits get.
    pub fn loudest(mut self) -> Sound {
        let most = self.samples.iter().fold(f32::MIN_POSITIVE, |most, s| most.max(s.abs()));
        self.samples.iter_mut().for_each(|s| *s /= most);
        self
    }

    /// A file of 16-bit samples; those beyond -1 and 1 are cut.
    pub fn written(&self) -> Vec<u8> {
        let number = |s: &f32| (s.clamp(-1.0, 1.0) * 32_767.0) as i16;
        let data: Vec<u8> = self.samples.iter().flat_map(|s| number(s).to_le_bytes()).collect();
        let (rate, len) = (self.rate, data.len() as u32);
        let head =
            [b"RIFF".as_slice(), &(36 + len).to_le_bytes(), b"WAVEfmt ", &16u32.to_le_bytes()];
        let mut file = head.concat();
        // PCM, one channel.
        [1u16, 1].iter().for_each(|word| file.extend(word.to_le_bytes()));
        // Samples and bytes a second.
        [rate, 2 * rate].iter().for_each(|word| file.extend(word.to_le_bytes()));
        // Bytes and bits of a sample.
        [2u16, 16].iter().for_each(|word| file.extend(word.to_le_bytes()));
        file.extend(b"data");
        file.extend(len.to_le_bytes());
        file.extend(data);
        file
    }

    /// The first channel of a file of 16-bit, 24-bit or floating-point samples.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(bytes: &[u8]) -> Result<Sound, String> {
        let chunks = Chunks { rest: bytes.get(12..).unwrap_or_default() };
        if bytes.get(..4) != Some(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
            return Err("no WAV file".to_owned());
        }
        let mut format = None;
        for (name, content) in chunks {
            match (name, format) {
                (b"fmt ", _) => {
                    let short = |at: usize| {
                        let bytes = content.get(at..at + 2).unwrap_or(&[0, 0]);
                        u16::from_le_bytes([bytes[0], bytes[1]])
                    };
                    let rate = u32::from(short(4)) | u32::from(short(6)) << 16;
                    // The extensible format says its own further behind.
                    let kind = if short(0) == 0xfffe { short(24) } else { short(0) };
                    format = Some((kind, usize::from(short(2)), rate, short(14)));
                }
                (b"data", Some((kind, channels, rate, bits))) => {
                    let number: fn(&[u8]) -> f32 = match (kind, bits) {
                        (1, 16) => |b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0,
                        (1, 24) => |b| {
                            (i32::from_le_bytes([0, b[0], b[1], b[2]]) >> 8) as f32 / 8_388_608.0
                        },
                        (3, 32) => |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
                        _ => {
                            return Err(format!(
                                "format {kind} of {bits} bits: 16, 24 and floating-point 32 are read"
                            ));
                        }
                    };
                    let frame = channels.max(1) * usize::from(bits / 8);
                    let samples = content.chunks_exact(frame).map(number).collect();
                    return Ok(Sound { rate, samples });
                }
                _ => {}
            }
        }
        Err("the file ends before its samples".to_owned())
    }
}

/// The chunks of a file.
struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Chunks<'a> {
    type Item = (&'a [u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.rest.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let len = u32::from_le_bytes(*len) as usize;
        let (content, rest) = rest.split_at(len.min(rest.len()));
        // Chunks begin at even places.
        self.rest = rest.get(len % 2..).unwrap_or_default();
        Some((name, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let sound = Sound { rate: 44_100, samples: vec![0.0, 0.5, -0.25, 1.0] };
        let read = Sound::read(&sound.written()).expect("a file");
        assert_eq!(read.rate, sound.rate);
        for (a, b) in read.samples.iter().zip(&sound.samples) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
        let file = sound.written();
        for len in 0..file.len() {
            drop(Sound::read(&file[..len]));
        }
        assert!(Sound::read(b"RIFF....WAVEfmt ").is_err());
    }
}
