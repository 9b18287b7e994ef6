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
fn borders_beyond_the_picture_agree_with_scipy() {
    agrees("icon", "icon", &["--window", "gaussian:5"]);
    agrees("icon", "icon-mirror", &["--window", "gaussian:7", "--padding-mode", "reflect"]);
    agrees("icon", "icon-wrap", &["--window", "gaussian:9", "--padding-mode", "circular"]);
}

#[test]
fn a_single_pixel_has_a_border_too() {
    let folder = Folder::new();
    let (input, out) = (folder.path("in.png"), folder.path("out.png"));
    image::GrayImage::from_pixel(1, 1, image::Luma([77])).save(&input).expect("written");
    for mode in ["reflect", "symmetric", "replicate", "circular"] {
        ok(&["filter", &input, "--window", "box:5", "--padding-mode", mode, "-o", &out]);
        assert_eq!(image::open(&out).expect("a picture").into_luma8().into_raw(), [77], "{mode}");
    }
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

/// White in the middle of red that nobody sees.
fn white_in_unseen_red(folder: &Folder) -> String {
    let input = folder.path("in.png");
    let red = image::Rgba([255, 0, 0, 0]);
    let mut picture = image::RgbaImage::from_pixel(5, 5, red);
    picture.put_pixel(2, 2, image::Rgba([255; 4]));
    picture.save(&input).expect("written");
    input
}

#[test]
fn colours_that_nobody_sees_do_not_bleed() {
    let folder = Folder::new();
    let (input, out) = (white_in_unseen_red(&folder), folder.path("out.png"));
    for window in ["gaussian:1", "box:3", "sharpen", "[[1]]"] {
        for mode in ["symmetric", "circular", "constant"] {
            let value = if mode == "constant" { &["--padding-value", "255"][..] } else { &[] };
            let args = ["filter", &input, "--window", window, "--padding-mode", mode, "-o", &out];
            ok(&[&args[..], value].concat());
            let picture = image::open(&out).expect("a picture").into_rgba8();
            assert_eq!(picture.get_pixel(2, 2).0, [255; 4], "{window}, {mode}");
            assert_eq!(picture.get_pixel(0, 0).0[3], 0);
        }
    }
    for window in ["sobel", "sobel-x", "laplacian"] {
        ok(&["filter", &input, "--window", window, "-o", &out]);
        let picture = image::open(&out).expect("a picture").into_luma_alpha8();
        assert_eq!(picture.get_pixel(2, 2).0, [0, 255], "{window}: there is no edge to be seen");
    }
}

#[test]
fn opacity_is_the_weight_of_a_colour() {
    let folder = Folder::new();
    let (input, out) = (folder.path("in.png"), folder.path("out.png"));
    // Of the three pixels' weights 255, 51 and 0 one in six is the second's.
    let picture = image::RgbaImage::from_raw(
        3,
        1,
        [[0, 60, 0, 255], [120, 0, 0, 51], [200, 200, 200, 0]].concat(),
    );
    picture.expect("3 x 1").save(&input).expect("written");
    ok(&["filter", &input, "--window", "[[1,1,1]]", "--padding-mode", "replicate", "-o", &out]);
    let picture = image::open(&out).expect("a picture").into_rgba8();
    assert_eq!(picture.get_pixel(1, 0).0, [60, 150, 0, 51]);
}

#[test]
fn what_is_seen_whole_is_as_without_opacity() {
    let folder = Folder::new();
    let (plain, whole) = (file("tests/golden/rgb.png"), folder.path("whole.png"));
    image::open(&plain).expect("a picture").into_rgba8().save(&whole).expect("written");
    for window in ["gaussian:1", "sharpen"] {
        let (a, b) = (folder.path("a.npy"), folder.path("b.npy"));
        let out = folder.path("out.png");
        ok(&["filter", &plain, "--window", window, "-o", &out, "--npy", &a]);
        ok(&["filter", &whole, "--window", window, "-o", &out, "--npy", &b]);
        assert!(std::fs::read(a).expect("written") == std::fs::read(b).expect("written"));
    }
}

#[test]
fn sixteen_bits_stay_sixteen() {
    let folder = Folder::new();
    let (input, out) = (folder.path("in.png"), folder.path("out.png"));
    let grey = image::ImageBuffer::from_fn(64, 16, |x, y| image::Luma([(x * 1021 + y) as u16]));
    let colour = image::ImageBuffer::from_fn(9, 7, |x, y| {
        image::Rgba([x as u16 * 7001, y as u16 * 9001, 257, 65535 - x as u16])
    });
    let pictures = [image::DynamicImage::from(grey), image::DynamicImage::from(colour)];
    for picture in pictures {
        picture.save(&input).expect("written");
        let says = ok(&["filter", &input, "--window", "[[1]]", "-o", &out]);
        assert!(says.contains("16 bits"), "{says}");
        assert!(image::open(&out).expect("a picture") == picture);
        ok(&["filter", &input, "--window", "[[1]]", "-o", &folder.path("out.jpg")]);
    }
}

/// The beginning of a profile of such colours, which is all that anybody looks at.
fn profile(colours: &[u8; 4]) -> Vec<u8> {
    let mut profile = vec![7; 200];
    profile[16..20].copy_from_slice(colours);
    profile
}

#[test]
fn profile_and_resolution_are_kept() {
    let folder = Folder::new();
    let (input, out) = (folder.path("in.png"), folder.path("out.png"));
    let mut info = png::Info::with_size(2, 2);
    info.icc_profile = Some(profile(b"RGB ").into());
    let dims = png::PixelDimensions { xppu: 11811, yppu: 5906, unit: png::Unit::Meter };
    info.pixel_dims = Some(dims);
    let mut encoder = png::Encoder::with_info(std::fs::File::create(&input).expect("a file"), info)
        .expect("fits");
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("written");
    writer.write_image_data(&[9; 12]).and_then(|()| writer.finish()).expect("written");
    let of = |path: &str| {
        let file = std::io::BufReader::new(std::fs::File::open(path).expect("a file"));
        let reader = png::Decoder::new(file).read_info().expect("a picture");
        let info = reader.info();
        let dims = info.pixel_dims.map(|dims| (dims.xppu, dims.yppu, dims.unit));
        (info.icc_profile.as_ref().map(|profile| profile.to_vec()), dims)
    };
    let dims = Some((dims.xppu, dims.yppu, dims.unit));
    ok(&["filter", &input, "--window", "box:3", "-o", &out]);
    assert_eq!(of(&out), (Some(profile(b"RGB ")), dims));
    // Edges are grey, which such a profile does not describe.
    ok(&["filter", &input, "--window", "sobel", "-o", &out]);
    assert_eq!(of(&out), (None, dims));
    let (jpg, again) = (folder.path("out.jpg"), folder.path("again.jpg"));
    ok(&["filter", &input, "--window", "box:3", "-o", &jpg]);
    ok(&["filter", &jpg, "--window", "box:3", "-o", &again]);
    for path in [jpg.as_str(), &again] {
        use image::ImageDecoder;
        let bytes = std::fs::read(path).expect("written");
        // JFIF: dots to the inch.
        assert_eq!(bytes[13..18], [1, 1, 44, 0, 150], "{path}");
        let mut decoder =
            image::codecs::jpeg::JpegDecoder::new(std::io::Cursor::new(bytes)).expect("a JPEG");
        assert_eq!(decoder.icc_profile().expect("readable"), Some(profile(b"RGB ")), "{path}");
    }
    ok(&["filter", &again, "--window", "box:3", "-o", &out]);
    assert_eq!(of(&out), (Some(profile(b"RGB ")), dims));
}

#[test]
fn threads_change_no_pixel() {
    let folder = Folder::new();
    let input = file("tests/golden/rgb.png");
    let [one, three] = ["1", "3"].map(|threads| {
        let out = folder.path(&format!("{threads}.png"));
        ok(&["filter", &input, "--window", "gaussian:2", "--threads", threads, "-o", &out]);
        std::fs::read(out).expect("written")
    });
    assert!(one == three);
}

#[test]
fn a_report_has_plain_words() {
    let folder = Folder::new();
    let (input, out) = (file("tests/golden/grey.png"), folder.path("out.png"));
    let says = ok(&["filter", &input, "--window", "box:3", "-o", &out]);
    assert!(!says.contains("found") && !says.contains("taps"), "{says}");
    let fast = |window: &str| {
        ok(&["filter", &input, "--window", window, "--accuracy", "fast", "-o", &out])
    };
    assert!(fast("sobel-x").contains("accuracy  exact: sums are of integers"));
    assert!(fast("[[0.5,1.5]]").contains("accuracy  exact: columns and rows would not be faster"));
    let wide = |tap: &str| {
        let row = format!("[{}{tap}]", format!("{tap},").repeat(14));
        fast(&format!("[{}{row}]", format!("{row},").repeat(14)))
    };
    assert!(wide("0.5").contains("accuracy  rank 1: "), "{}", wide("0.5"));
    assert!(wide("3").contains("15 x 1, then 1 x 15"), "{}", wide("3"));
}
