//! `convc filter` against `scipy.ndimage`: results made by `golden/make.py`.

mod common;

use common::{Folder, auto, file, ok, read, routes};

/// On the scale 0 to 255: no result may differ from scipy's by more than this part of the scale.
const TOLERANCE: f32 = 1e-5 * 255.0;

/// Filters one of the golden pictures and compares the numbers before rounding.
#[track_caller]
fn agrees(picture: &str, golden: &str, args: &[&str]) {
    let folder = Folder::new();
    let (out, numbers) = (folder.path("out.png"), folder.path("out.npy"));
    let input = file(&format!("tests/golden/{picture}.png"));
    ok(&[&["filter", &input, "-o", &out, "--npy", &numbers], args].concat());
    let (header, ours) = read(&numbers);
    let (golden_header, theirs) = read(file(&format!("tests/golden/{golden}.npy")));
    assert_eq!(header, golden_header);
    let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= TOLERANCE, "{golden}: differs by {worst}");
    assert_eq!(folder.files(), ["out.npy", "out.png"]);
}

#[test]
fn edges_agree_with_scipy() {
    agrees("grey", "sobel", &["--window", "sobel"]);
    agrees("grey", "sobel-x", &["--window", "sobel-x"]);
    agrees("grey", "sobel-y", &["--window", "sobel-y"]);
    agrees("grey", "laplacian", &["--window", "laplacian"]);
}

#[test]
fn colours_become_luma_for_edges() {
    agrees("rgb", "sobel-rgb", &["--window", "sobel"]);
}

#[test]
fn blurs_agree_with_scipy_and_keep_colour() {
    agrees("grey", "gaussian", &["--window", "gaussian:1.5"]);
    agrees("rgb", "gaussian-rgb", &["--window", "gaussian:1.5"]);
    agrees("grey", "box5", &["--window", "box:5"]);
}

#[test]
fn borders_agree_with_scipy() {
    agrees("grey", "gaussian-mirror", &["--window", "gaussian:1.5", "--padding-mode", "reflect"]);
    agrees("grey", "gaussian-wrap", &["--window", "gaussian:1.5", "--padding-mode", "circular"]);
    agrees("grey", "box4", &["--window", "box:4", "--padding-mode", "replicate"]);
}

#[test]
fn even_windows_have_scipys_middle_both_ways() {
    let args = [
        "--window",
        "[[1,2,3,4],[5,6,7,9]]",
        "--padding-mode",
        "constant",
        "--padding-value",
        "20",
    ];
    agrees("grey", "even", &args);
    agrees("grey", "even-flip", &[&args[..], &["--flip"]].concat());
}

#[test]
fn routes_give_the_same_picture() {
    let folder = Folder::new();
    let input = file("tests/golden/rgb.png");
    let picture = |route| {
        let out = folder.path(&format!("{route}.png"));
        ok(&["filter", &input, "--window", "sharpen", "-o", &out, "--route", route]);
        std::fs::read(out).expect("written")
    };
    let reference = picture("reference");
    for route in routes() {
        assert!(picture(route) == reference, "{route}");
    }
}

#[test]
fn the_photo_has_edges() {
    let folder = Folder::new();
    let (photo, out) = (file("../docs/astronaut.png"), folder.path("edges.png"));
    let text = ok(&["filter", &photo, "--window", "sobel", "-o", &out]);
    for line in [
        "picture  512 x 512, rgb",
        "window   3 x 3",
        &format!("route    {}", auto()),
        "compile  ",
        "run      ",
        "written  ",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let edges = image::open(&out).expect("a picture");
    assert_eq!((edges.width(), edges.height(), edges.color()), (512, 512, image::ColorType::L8));
    let bright = edges.to_luma8().pixels().filter(|pixel| pixel.0[0] > 128).count();
    assert!((5_000..80_000).contains(&bright), "{bright} bright pixels");
}

#[test]
fn transparency_is_kept_in_png_and_left_out_of_jpeg() {
    let folder = Folder::new();
    let (input, png, jpg) = (folder.path("in.png"), folder.path("out.png"), folder.path("out.jpg"));
    image::RgbaImage::from_fn(8, 8, |x, y| image::Rgba([10, 20, 30, (x * 8 + y) as u8]))
        .save(&input)
        .expect("written");
    ok(&["filter", &input, "--window", "box:3", "-o", &png]);
    assert_eq!(image::open(&png).expect("a picture"), image::open(&input).expect("a picture"));
    ok(&["filter", &png, "--window", "box:3", "-o", &jpg]);
    assert_eq!(image::open(&jpg).expect("a picture").color(), image::ColorType::Rgb8);
}
