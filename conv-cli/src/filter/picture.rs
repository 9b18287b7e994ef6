//! Pictures as numbers, and back.
//!
//! In: a PNG or JPEG file. Out: grey, or red, green and blue pixel by pixel, in 8 or 16 bits as the
//! file has them, with opacity, the colour profile and the resolution set aside. Windows that are
//! not of whole numbers ask for [planes](Picture::take_planes) of f32 on the scale 0 to 255, in
//! which 16-bit pictures keep their fractions. Cameras store some pictures lying on their side with
//! a note to turn them: they are turned.

use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::{JpegEncoder, PixelDensity, PixelDensityUnit};
use image::metadata::Orientation;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, Limits,
};

use super::around::{self, Density, Unit};
use crate::failure::Failure;
use crate::input;

/// 16-bit steps in one 8-bit step.
const STEPS: f32 = 257.0;

/// Most pixels of a picture, unless the user says otherwise: 64 million, with which a picture in
/// colour takes 3 GB on its way. A small file can claim any size.
pub const MOST_PIXELS: u64 = 1 << 26;

/// What a decoder may take beyond the pixels: profiles and texts are packed, too.
const ASIDE: u64 = 64 << 20;

/// How fine numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Depth {
    Eight,
    Sixteen,
}

/// The numbers of a picture's colours.
pub enum Pixels {
    /// Pixel by pixel.
    Bytes(Vec<u8>),
    /// Pixel by pixel.
    Words(Vec<u16>),
    /// Plane by plane, row by row, on the scale 0 to 255.
    Planes(Vec<f32>),
}

/// A picture, and what stands around it in a file.
pub struct Picture {
    /// Pixels from top to bottom.
    pub height: usize,
    /// Pixels from left to right.
    pub width: usize,
    /// 1 or 3.
    pub planes: usize,
    pub pixels: Pixels,
    /// Opacity, pixel by pixel, in 16-bit steps.
    pub alpha: Option<Vec<u16>>,
    pub depth: Depth,
    /// What the numbers mean as colours, in the form of the ICC.
    pub profile: Option<Vec<u8>>,
    pub density: Option<Density>,
}

impl Picture {
    /// Reads a file; its contents, not its name, tell the format.
    pub fn read(path: &Path, most_pixels: u64) -> Result<Picture, Failure> {
        let bytes = input::bytes(path)?;
        let density = around::density(&bytes).map_err(|around::Truncated| {
            Failure::file(
                path,
                "is not a PNG or JPEG that can be read: it is truncated, the picture has no end",
            )
        })?;
        decode(bytes, most_pixels, density).map_err(|message| Failure::file(path, message))
    }

    /// Numbers rounded to the nearest pixel value (halves to even) and kept within the scale, as a
    /// file of that format.
    pub fn encode(&self, format: ImageFormat) -> Result<Vec<u8>, String> {
        let size = u32::try_from(self.width).ok().zip(u32::try_from(self.height).ok());
        let size = size.ok_or("the picture is too large")?;
        match format {
            ImageFormat::Jpeg => self.jpeg(size).map_err(|error| error.to_string()),
            _ => self.png(size).map_err(|error| error.to_string()),
        }
    }

    fn png(&self, (width, height): (u32, u32)) -> Result<Vec<u8>, png::EncodingError> {
        let mut info = png::Info::with_size(width, height);
        info.icc_profile = self.fitting_profile().map(Cow::Borrowed);
        info.pixel_dims = self.density.map(Density::by_metre).map(|density| {
            let unit = match density.unit {
                Unit::Metre => png::Unit::Meter,
                _ => png::Unit::Unspecified,
            };
            png::PixelDimensions { xppu: density.x, yppu: density.y, unit }
        });
        let mut file = Vec::new();
        let mut encoder = png::Encoder::with_info(&mut file, info)?;
        encoder.set_compression(png::Compression::Fast);
        encoder.set_color(match (self.planes, &self.alpha) {
            (1, None) => png::ColorType::Grayscale,
            (1, Some(_)) => png::ColorType::GrayscaleAlpha,
            (_, None) => png::ColorType::Rgb,
            (_, Some(_)) => png::ColorType::Rgba,
        });
        encoder.set_depth(match self.depth {
            Depth::Eight => png::BitDepth::Eight,
            Depth::Sixteen => png::BitDepth::Sixteen,
        });
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.samples(self.depth, self.alpha.as_deref()))?;
        writer.finish()?;
        Ok(file)
    }

    /// JPEG knows no opacity and eight bits.
    fn jpeg(&self, (width, height): (u32, u32)) -> image::ImageResult<Vec<u8>> {
        let mut file = Vec::new();
        let mut encoder = JpegEncoder::new(&mut file);
        if let Some(density) = self.density.and_then(Density::by_inch) {
            let unit = match density.unit {
                Unit::Inch => PixelDensityUnit::Inches,
                Unit::Centimetre => PixelDensityUnit::Centimeters,
                Unit::None | Unit::Metre => PixelDensityUnit::PixelAspectRatio,
            };
            let density = (density.x as u16, density.y as u16);
            encoder.set_pixel_density(PixelDensity { density, unit });
        }
        if let Some(profile) = self.fitting_profile() {
            encoder.set_icc_profile(profile.to_vec()).map_err(image::ImageError::Unsupported)?;
        }
        let colour = if self.planes == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        encoder.write_image(&self.samples(Depth::Eight, None), width, height, colour)?;
        Ok(file)
    }

    /// The profile, if it is one of such planes: edges are grey, and a file in CMYK comes in as
    /// red, green and blue. The bytes from 16 on name its colours.
    fn fitting_profile(&self) -> Option<&[u8]> {
        let colours: &[u8] = if self.planes == 1 { b"GRAY" } else { b"RGB " };
        self.profile.as_deref().filter(|profile| profile.get(16..20) == Some(colours))
    }

    fn samples(&self, depth: Depth, alpha: Option<&[u16]>) -> Vec<u8> {
        let (area, planes) = (self.height * self.width, self.planes);
        let mut bytes = Vec::new();
        let push: &dyn Fn(usize, usize, &mut Vec<u8>) = match (&self.pixels, alpha) {
            (Pixels::Bytes(samples), None) if depth == Depth::Eight => return samples.clone(),
            (Pixels::Bytes(samples), _) => &|at, plane, bytes| {
                depth.push_word(u16::from(samples[at * planes + plane]) * STEPS as u16, bytes);
            },
            (Pixels::Words(samples), _) => {
                &|at, plane, bytes| depth.push_word(samples[at * planes + plane], bytes)
            }
            (Pixels::Planes(values), _) => {
                &|at, plane, bytes| depth.push(values[plane * area + at], bytes)
            }
        };
        for at in 0..area {
            (0..planes).for_each(|plane| push(at, plane, &mut bytes));
            if let Some(alpha) = alpha {
                depth.push_word(alpha[at], &mut bytes);
            }
        }
        bytes
    }

    /// The colours plane by plane, which leaves none here.
    pub fn take_planes(&mut self) -> Vec<f32> {
        match std::mem::replace(&mut self.pixels, Pixels::Planes(Vec::new())) {
            Pixels::Bytes(samples) => planar(&samples, self.planes, 1.0),
            Pixels::Words(samples) => planar(&samples, self.planes, STEPS),
            Pixels::Planes(values) => values,
        }
    }

    /// The shape in which NumPy holds such a picture: `[height, width]` or `[height, width, 3]`.
    pub fn shape(&self) -> Vec<usize> {
        let shape = [self.height, self.width, self.planes];
        shape[..if self.planes == 1 { 2 } else { 3 }].to_vec()
    }

    /// Opacity as a part of one, where there is any that is not all of it.
    pub fn opacity(&self) -> Option<Vec<f32>> {
        let alpha = self.alpha.as_ref().filter(|alpha| alpha.iter().any(|&a| a != u16::MAX))?;
        Some(alpha.iter().map(|&a| f32::from(a) / f32::from(u16::MAX)).collect())
    }

    /// Size and colours, in words.
    pub fn words(&self) -> String {
        let colours = if self.planes == 1 { "grey" } else { "rgb" };
        let alpha = if self.alpha.is_some() { " + alpha" } else { "" };
        let bits = if self.depth == Depth::Sixteen { ", 16 bits" } else { "" };
        format!("{} x {}, {colours}{alpha}{bits}", self.width, self.height)
    }
}

impl Depth {
    /// Casting saturates, and turns what is not a number into 0.
    fn push(self, value: f32, bytes: &mut Vec<u8>) {
        match self {
            Depth::Eight => bytes.push(value.round_ties_even() as u8),
            Depth::Sixteen => {
                bytes.extend(((value * STEPS).round_ties_even() as u16).to_be_bytes());
            }
        }
    }

    /// A number in 16-bit steps, to the nearest of 8-bit steps, of which none is halfway.
    fn push_word(self, value: u16, bytes: &mut Vec<u8>) {
        match self {
            Depth::Eight => bytes.push(((u32::from(value) + 128) / STEPS as u32) as u8),
            Depth::Sixteen => bytes.extend(value.to_be_bytes()),
        }
    }

    /// Steps of this depth in one step of 8 bits.
    pub fn steps(self) -> i32 {
        match self {
            Depth::Eight => 1,
            Depth::Sixteen => STEPS as i32,
        }
    }
}

/// The format that an output file's name asks for; standard output has none, and gets PNG.
pub fn format_of(path: &Path) -> Result<ImageFormat, Failure> {
    if path == Path::new(crate::output::STDOUT) {
        return Ok(ImageFormat::Png);
    }
    match ImageFormat::from_path(path) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => Ok(format),
        _ => Err(Failure::file(path, "the name must end in .png, .jpg or .jpeg")),
    }
}

fn decode(bytes: Vec<u8>, most_pixels: u64, density: Option<Density>) -> Result<Picture, String> {
    let unreadable =
        |error: image::ImageError| format!("is not a PNG or JPEG that can be read: {error}");
    let mut limits = Limits::default();
    limits.max_alloc = Some(most_pixels.saturating_mul(8).saturating_add(ASIDE));
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(|error| error.to_string())?;
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > most_pixels {
        return Err(format!(
            "is {width} x {height}, which is {pixels} pixels, more than {most_pixels}; allow them with --max-pixels {pixels}"
        ));
    }
    let orientation = decoder.orientation().map_err(unreadable)?;
    let profile = decoder.icc_profile().map_err(unreadable)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    image.apply_orientation(orientation);
    let on_its_side = match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => true,
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => false,
    };
    let density = if on_its_side { density.map(Density::turned) } else { density };
    Ok(Picture { profile, density, ..Picture::from(image) })
}

impl From<DynamicImage> for Picture {
    fn from(image: DynamicImage) -> Picture {
        let (height, width) = (image.height() as usize, image.width() as usize);
        let colour = image.color();
        let planes = if colour.has_color() { 3 } else { 1 };
        let channels = usize::from(colour.channel_count());
        let depth = if colour.bytes_per_pixel() as usize > channels {
            Depth::Sixteen
        } else {
            Depth::Eight
        };
        let (pixels, alpha) = match depth {
            Depth::Eight => {
                let samples = image.into_bytes();
                let alpha = samples.iter().skip(planes).step_by(channels);
                let alpha = alpha.map(|&a| u16::from(a) * STEPS as u16);
                let alpha = colour.has_alpha().then(|| alpha.collect());
                (Pixels::Bytes(colours(samples, channels, planes)), alpha)
            }
            Depth::Sixteen => {
                let samples = match (planes, colour.has_alpha()) {
                    (1, false) => image.into_luma16().into_raw(),
                    (1, true) => image.into_luma_alpha16().into_raw(),
                    (_, false) => image.into_rgb16().into_raw(),
                    (_, true) => image.into_rgba16().into_raw(),
                };
                let alpha = samples.iter().skip(planes).step_by(channels).copied();
                let alpha = colour.has_alpha().then(|| alpha.collect());
                (Pixels::Words(colours(samples, channels, planes)), alpha)
            }
        };
        Picture { height, width, planes, pixels, alpha, depth, profile: None, density: None }
    }
}

/// The same without opacity.
fn colours<T: Copy>(samples: Vec<T>, channels: usize, planes: usize) -> Vec<T> {
    match channels == planes {
        true => samples,
        false => {
            samples.chunks_exact(channels).flat_map(|pixel| &pixel[..planes]).copied().collect()
        }
    }
}

/// Plane by plane what was pixel by pixel.
fn planar<T: Copy + Into<f32>>(samples: &[T], planes: usize, steps: f32) -> Vec<f32> {
    let plane = |plane| samples.iter().skip(plane).step_by(planes);
    (0..planes).flat_map(plane).map(|&sample| sample.into() / steps).collect()
}

/// Pixel by pixel what was plane by plane.
pub fn interleaved(values: &[f32], planes: usize) -> Vec<f32> {
    let area = values.len() / planes;
    (0..area).flat_map(|at| (0..planes).map(move |plane| values[plane * area + at])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(depth: Depth, values: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        values.iter().for_each(|&value| depth.push(value, &mut bytes));
        bytes
    }

    #[test]
    fn pixels_survive_the_way_there_and_back() {
        let samples: Vec<u8> = (0..4 * 3 * 2).map(|i| (i * 11) as u8).collect();
        let image =
            DynamicImage::from(image::RgbaImage::from_raw(3, 2, samples.clone()).expect("3 x 2"));
        let mut picture = Picture::from(image);
        assert_eq!(picture.samples(picture.depth, picture.alpha.as_deref()), samples);
        let planes = picture.take_planes();
        assert_eq!((picture.planes, planes[0], planes[6]), (3, 0.0, 11.0));
        picture.pixels = Pixels::Planes(planes);
        assert_eq!(picture.samples(picture.depth, picture.alpha.as_deref()), samples);
    }

    #[test]
    fn sixteen_bits_survive_too() {
        let samples: Vec<u16> = (0..=u16::MAX).collect();
        let big_endian: Vec<u8> = samples.iter().flat_map(|s| s.to_be_bytes()).collect();
        let raw = image::ImageBuffer::from_raw(128, 128, samples).expect("128 x 128");
        let picture = Picture::from(DynamicImage::ImageRgba16(raw));
        assert_eq!((picture.planes, picture.depth), (3, Depth::Sixteen));
        assert!(picture.samples(picture.depth, picture.alpha.as_deref()) == big_endian);
        // Each 16-bit step is at most half an 8-bit step away from the nearest of those.
        let near = |word: u16| {
            let mut bytes = Vec::new();
            Depth::Eight.push_word(word, &mut bytes);
            (i32::from(bytes[0]) * 257 - i32::from(word)).abs() <= 128
        };
        assert!((0..=u16::MAX).all(near));
    }

    #[test]
    fn numbers_round_and_stay_within_the_scale() {
        let values = [-3.0, 0.49, 0.5, 1.5, 254.5, 300.0, f32::NAN];
        assert_eq!(bytes(Depth::Eight, &values), [0, 0, 0, 2, 254, 255, 0]);
        let steps = [-1.0, 1.5 / 257.0, 255.0, 256.0, f32::NAN];
        assert_eq!(bytes(Depth::Sixteen, &steps), [0, 0, 0, 2, 255, 255, 255, 255, 0, 0]);
    }
}
