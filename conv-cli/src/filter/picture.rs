//! Pictures as planes of numbers, and back.
//!
//! In: a PNG or JPEG file. Out: one plane (grey) or three (red, green, blue) of f32 on the scale 0
//! to 255, with transparency set aside; 16-bit pictures keep their fractions. Cameras store some
//! pictures lying on their side with a note to turn them: they are turned.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use super::window::Finish;
use crate::failure::Failure;

/// 16-bit steps in one 8-bit step.
const STEPS: f32 = 257.0;

/// A picture's numbers.
#[derive(Clone)]
pub struct Picture {
    /// Pixels from top to bottom.
    pub height: usize,
    /// Pixels from left to right.
    pub width: usize,
    /// 1 or 3.
    pub planes: usize,
    /// Plane by plane, row by row.
    pub values: Vec<f32>,
    /// Opacity, pixel by pixel.
    pub alpha: Option<Vec<u8>>,
}

impl Picture {
    /// Reads a file; its contents, not its name, tell the format.
    pub fn read(path: &Path) -> Result<Picture, Failure> {
        let bytes = std::fs::read(path)
            .map_err(|error| Failure::file(path, format!("cannot be read: {error}")))?;
        decode(bytes).map(Picture::from).map_err(|error| {
            Failure::file(path, format!("is not a PNG or JPEG that can be read: {error}"))
        })
    }

    /// Numbers rounded to the nearest pixel value (halves upwards) and kept within 0 to 255, as a
    /// file of that format.
    pub fn encode(&self, format: ImageFormat) -> image::ImageResult<Vec<u8>> {
        let mut file = Cursor::new(Vec::new());
        // JPEG knows no transparency.
        let alpha = self.alpha.as_deref().filter(|_| format != ImageFormat::Jpeg);
        self.pixels(alpha).write_to(&mut file, format)?;
        Ok(file.into_inner())
    }

    fn pixels(&self, alpha: Option<&[u8]>) -> DynamicImage {
        let area = self.height * self.width;
        let samples = (0..area).flat_map(|at| {
            let colour = (0..self.planes).map(move |plane| to_byte(self.values[plane * area + at]));
            colour.chain(alpha.map(|alpha| alpha[at]))
        });
        let (width, height, samples) = (self.width as u32, self.height as u32, samples.collect());
        let image = match (self.planes, alpha) {
            (1, None) => image::GrayImage::from_raw(width, height, samples).map(DynamicImage::from),
            (1, Some(_)) => {
                image::GrayAlphaImage::from_raw(width, height, samples).map(DynamicImage::from)
            }
            (_, None) => image::RgbImage::from_raw(width, height, samples).map(DynamicImage::from),
            (_, Some(_)) => {
                image::RgbaImage::from_raw(width, height, samples).map(DynamicImage::from)
            }
        };
        image.expect("as many samples as the size asks for")
    }

    /// The numbers as NumPy holds pictures: `[height, width]` or `[height, width, 3]`.
    pub fn interleaved(&self) -> (Vec<usize>, Vec<f32>) {
        let area = self.height * self.width;
        let values = (0..area)
            .flat_map(|at| (0..self.planes).map(move |plane| self.values[plane * area + at]));
        let shape = [self.height, self.width, self.planes];
        (shape[..if self.planes == 1 { 2 } else { 3 }].to_vec(), values.collect())
    }

    /// Two planes become one: the length of the vector that they hold.
    pub fn take_magnitude(&mut self) {
        let (x, y) = self.values.split_at(self.height * self.width);
        self.values = x.iter().zip(y).map(|(x, y)| x.hypot(*y)).collect();
        self.planes = 1;
    }

    /// As pixels show it: derivatives have a sign, pixels have none.
    pub fn shown(mut self, finish: Finish) -> Picture {
        if finish == Finish::Absolute {
            self.values.iter_mut().for_each(|value| *value = value.abs());
        }
        self
    }

    /// What the colours are called.
    pub fn colours(&self) -> &'static str {
        match (self.planes, &self.alpha) {
            (1, None) => "grey",
            (1, Some(_)) => "grey + alpha",
            (_, None) => "rgb",
            (_, Some(_)) => "rgb + alpha",
        }
    }
}

/// The format that an output file's name asks for.
pub fn format_of(path: &Path) -> Result<ImageFormat, Failure> {
    match ImageFormat::from_path(path) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => Ok(format),
        _ => Err(Failure::file(path, "the name must end in .png, .jpg or .jpeg")),
    }
}

fn decode(bytes: Vec<u8>) -> image::ImageResult<DynamicImage> {
    let mut decoder = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}

impl From<DynamicImage> for Picture {
    fn from(image: DynamicImage) -> Picture {
        let (width, height, colour) =
            (image.width() as usize, image.height() as usize, image.color());
        // Eight bits widen to sixteen without loss, so one path serves both.
        let (planes, samples) = if colour.has_color() {
            (3, image.to_rgba16().into_raw())
        } else {
            (1, image.to_luma_alpha16().into_raw())
        };
        let pixels = || samples.chunks_exact(planes + 1);
        let values = (0..planes)
            .flat_map(|plane| pixels().map(move |pixel| pixel[plane] as f32 / STEPS))
            .collect();
        let alpha = colour
            .has_alpha()
            .then(|| pixels().map(|pixel| to_byte(pixel[planes] as f32 / STEPS)).collect());
        Picture { height, width, planes, values, alpha }
    }
}

/// Casting saturates, and turns what is not a number into 0.
fn to_byte(value: f32) -> u8 {
    (value + 0.5).floor() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_survive_the_way_there_and_back() {
        let samples: Vec<u8> = (0..4 * 3 * 2).map(|i| (i * 11) as u8).collect();
        let image =
            DynamicImage::from(image::RgbaImage::from_raw(3, 2, samples.clone()).expect("3 x 2"));
        let picture = Picture::from(image);
        assert_eq!((picture.planes, picture.values[0], picture.values[6]), (3, 0.0, 11.0));
        assert_eq!(picture.pixels(picture.alpha.as_deref()).into_rgba8().into_raw(), samples);
    }

    #[test]
    fn numbers_round_and_stay_within_a_byte() {
        assert_eq!([-3.0, 0.49, 0.5, 254.5, 300.0, f32::NAN].map(to_byte), [0, 0, 1, 255, 255, 0]);
    }
}
