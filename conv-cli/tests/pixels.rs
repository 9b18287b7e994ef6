//! `convc filter` with windows of whole numbers against plain integers.

mod common;

use common::{Folder, file, ok, read, routes};

const ONES_5: [i64; 5] = [1; 5];
const ONES_6: [i64; 6] = [1; 6];

/// A window of whole numbers, as text, its rows, and what sums are divided by.
const WHOLE: &[(&str, &[&[i64]], i64)] = &[
    ("[[-1,0,1],[-2,0,2],[-1,0,1]]", &[&[-1, 0, 1], &[-2, 0, 2], &[-1, 0, 1]], 1),
    ("sharpen", &[&[0, -1, 0], &[-1, 5, -1], &[0, -1, 0]], 1),
    ("emboss", &[&[-2, -1, 0], &[-1, 1, 1], &[0, 1, 2]], 1),
    ("[[1,2,1],[2,4,2],[1,2,1]]/16", &[&[1, 2, 1], &[2, 4, 2], &[1, 2, 1]], 16),
    ("[[3,1],[4,1]] / 6", &[&[3, 1], &[4, 1]], 6),
    ("box:5", &[&ONES_5, &ONES_5, &ONES_5, &ONES_5, &ONES_5], 25),
    ("box:6", &[&ONES_6, &ONES_6, &ONES_6, &ONES_6, &ONES_6, &ONES_6], 36),
    ("[[300,-1000,701]]/2", &[&[300, -1000, 701]], 2),
    // No reciprocal in f32 is right for all sums of 16 bits.
    ("[[14,0,3,1,1,-4,5000]]/2336", &[&[14, 0, 3, 1, 1, -4, 5000]], 2336),
    ("[[2,-2,2,2,2]]", &[&[2, -2, 2, 2, 2]], 1),
];

/// Where the number outside a row of `size` is.
fn folded(mode: &str, at: i64, size: i64) -> Option<i64> {
    let at = match mode {
        "symmetric" => at.rem_euclid(2 * size),
        "reflect" if size == 1 => 0,
        "reflect" => at.rem_euclid(2 * size - 2),
        "circular" => at.rem_euclid(size),
        "replicate" => at.clamp(0, size - 1),
        _ => at,
    };
    match mode {
        "symmetric" => Some(at.min(2 * size - 1 - at)),
        "reflect" if size > 1 => Some(at.min(2 * size - 2 - at)),
        _ => Some(at).filter(|at| (0..size).contains(at)),
    }
}

/// The numbers of a filtered picture in plain integers, channel by channel.
fn by_oracle(
    samples: &[i64],
    [height, width, channels]: [i64; 3],
    (rows, divisor): (&[&[i64]], i64),
    (mode, value): (&str, i64),
    most: i64,
) -> Vec<i64> {
    let (up, left) = (rows.len() as i64 / 2, rows[0].len() as i64 / 2);
    let pixel = |y: i64, x: i64, c: i64| {
        let sum: i64 = (0..)
            .zip(rows)
            .flat_map(|(dy, row)| {
                (0..).zip(*row).map(move |(dx, tap)| {
                    let y = folded(mode, y + dy - up, height);
                    let at = y.zip(folded(mode, x + dx - left, width));
                    let outside = if mode == "constant" { value } else { 0 };
                    tap * at.map_or(outside, |(y, x)| {
                        samples[((y * width + x) * channels + c) as usize]
                    })
                })
            })
            .sum();
        let (floor, rest) = (sum.div_euclid(divisor), sum.rem_euclid(divisor));
        let up = 2 * rest > divisor || 2 * rest == divisor && floor % 2 != 0;
        (floor + i64::from(up)).clamp(0, most)
    };
    let rows = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    rows.flat_map(|(y, x)| (0..channels).map(move |c| pixel(y, x, c))).collect()
}

#[test]
fn whole_numbers_are_exact_in_eight_and_sixteen_bits() {
    let folder = Folder::new();
    let (input, out) = (folder.path("in.png"), folder.path("out.png"));
    let number = |at: u32| at.wrapping_mul(2_654_435_761).rotate_left(11);
    for (width, height, sixteen, colour) in
        [(37, 9, false, true), (70, 6, false, false), (21, 5, true, true), (40, 3, true, false)]
    {
        let channels = if colour { 3 } else { 1 };
        let count = width * height * channels;
        // Extremes beside each other make the largest sums.
        let most = if sixteen { 65535 } else { 255 };
        let sample = |at: u32| match number(at) % 5 {
            0 => 0,
            1 => most,
            _ => number(at) >> 8 & most,
        };
        let samples: Vec<u32> = (0..count).map(sample).collect();
        let image: image::DynamicImage = match (sixteen, colour) {
            (false, true) => {
                let bytes = samples.iter().map(|x| *x as u8).collect();
                image::RgbImage::from_raw(width, height, bytes).expect("fits").into()
            }
            (false, false) => {
                let bytes = samples.iter().map(|x| *x as u8).collect();
                image::GrayImage::from_raw(width, height, bytes).expect("fits").into()
            }
            (true, true) => {
                let words: Vec<u16> = samples.iter().map(|x| *x as u16).collect();
                let image =
                    image::ImageBuffer::<image::Rgb<u16>, _>::from_raw(width, height, words);
                image.expect("fits").into()
            }
            (true, false) => {
                let words: Vec<u16> = samples.iter().map(|x| *x as u16).collect();
                let image =
                    image::ImageBuffer::<image::Luma<u16>, _>::from_raw(width, height, words);
                image.expect("fits").into()
            }
        };
        image.save(&input).expect("written");
        let samples: Vec<i64> = samples.into_iter().map(i64::from).collect();
        let shape = [height, width, channels].map(i64::from);
        let modes = ["zeros", "constant", "reflect", "symmetric", "replicate", "circular"];
        for (at, (window, rows, divisor)) in WHOLE.iter().enumerate() {
            let one = (at + width as usize) % modes.len();
            for mode in if at % 4 == 0 { &modes[..] } else { &modes[one..=one] } {
                let value = if *mode == "constant" { &["--padding-value", "7"][..] } else { &[] };
                let args =
                    ["filter", &input, "--window", window, "--padding-mode", mode, "-o", &out];
                ok(&[&args[..], value].concat());
                let found = image::open(&out).expect("a picture");
                let found: Vec<i64> = match sixteen {
                    true => found
                        .into_bytes()
                        .chunks_exact(2)
                        .map(|word| u16::from_ne_bytes([word[0], word[1]]).into())
                        .collect(),
                    false => found.into_bytes().into_iter().map(i64::from).collect(),
                };
                let outside = if sixteen { 7 * 257 } else { 7 };
                let window_of = (*rows, *divisor);
                let expected = by_oracle(&samples, shape, window_of, (mode, outside), most.into());
                assert!(found == expected, "{window}, {mode}, {width} x {height}, {sixteen}");
            }
        }
    }
}

#[test]
fn edges_of_colours_are_exact_too() {
    let folder = Folder::new();
    let (input, out) = (folder.path("in.png"), folder.path("out.png"));
    let (width, height) = (33, 8);
    let image = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([x * 71 + y * 5, x * y * 13, x * x + 90 * y].map(|x| x as u8))
    });
    image.save(&input).expect("written");
    let luma = |p: &image::Rgb<u8>| {
        let [r, g, b] = p.0.map(i64::from);
        299 * r + 587 * g + 114 * b
    };
    let grey: Vec<i64> = image.pixels().map(luma).collect();
    let sums = |rows: &[&[i64]]| {
        let shape = [height, width, 1].map(i64::from);
        let kept = by_oracle(&grey, shape, (rows, 1), ("symmetric", 0), i64::MAX);
        let negative: Vec<Vec<i64>> = rows.iter().map(|r| r.iter().map(|x| -x).collect()).collect();
        let negative: Vec<&[i64]> = negative.iter().map(Vec::as_slice).collect();
        let below = by_oracle(&grey, shape, (&negative, 1), ("symmetric", 0), i64::MAX);
        kept.into_iter().zip(below).map(|(a, b)| a - b).collect::<Vec<i64>>()
    };
    let x = sums(&[&[-1, 0, 1], &[-2, 0, 2], &[-1, 0, 1]]);
    let y = sums(&[&[-1, -2, -1], &[0, 0, 0], &[1, 2, 1]]);
    let even = |x: f64| x.round_ties_even().min(255.0) as u8;
    let pixels = |window: &str, more: &[&str]| {
        ok(&[&["filter", &input, "--window", window, "-o", &out], more].concat());
        image::open(&out).expect("a picture").into_luma8().into_raw()
    };
    let absolute: Vec<u8> = x.iter().map(|x| even(x.abs() as f64 / 1000.0)).collect();
    assert_eq!(pixels("sobel-x", &[]), absolute);
    let length = |(x, y): (&i64, &i64)| even(((x * x + y * y) as f64).sqrt() / 1000.0);
    assert_eq!(pixels("sobel", &[]), x.iter().zip(&y).map(length).collect::<Vec<u8>>());
    let npy = folder.path("out.npy");
    assert_eq!(pixels("sobel-x", &["--npy", &npy]), absolute);
    let (_, numbers) = read(&npy);
    assert!(numbers.iter().zip(&x).all(|(a, x)| *a == (*x as f64 / 1000.0) as f32));
}

#[test]
fn what_is_saved_beside_them_changes_no_pixel() {
    let folder = Folder::new();
    let input = file("tests/golden/rgb.png");
    for (window, ..) in WHOLE {
        let picture = |name: &str, more: &[&str]| {
            let out = folder.path(name);
            ok(&[&["filter", &input, "--window", window, "-o", &out], more].concat());
            std::fs::read(out).expect("written")
        };
        let alone = picture("alone.png", &[]);
        assert!(alone == picture("both.png", &["--npy", &folder.path("out.npy")]), "{window}");
        for route in routes() {
            assert!(alone == picture("route.png", &["--route", route]), "{window}, {route}");
        }
    }
}

#[test]
fn sums_beyond_32_bits_are_of_floats() {
    let folder = Folder::new();
    let (input, out) = (folder.path("in.png"), folder.path("out.png"));
    image::GrayImage::from_pixel(4, 4, image::Luma([3])).save(&input).expect("written");
    for window in ["[[20000000]]", "[[20000000,0]]/16777216", "[[2147483647]]/3"] {
        ok(&["filter", &input, "--window", window, "-o", &out]);
        let first = image::open(&out).expect("a picture").into_luma8().into_raw()[0];
        assert_eq!(first, if window.contains("16777216") { 4 } else { 255 }, "{window}");
    }
}
