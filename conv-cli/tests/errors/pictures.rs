//! Pictures, and windows for them.

use super::*;

#[test]
fn pictures_must_be_pictures() {
    let folder = Folder::new();
    let (picture, out) = (file("tests/golden/grey.png"), folder.path("out.png"));
    let text = folder.write("text.png", b"not a picture");
    says(
        &folder,
        &["filter", &text, "--window", "sobel", "-o", &out],
        &["text.png: is not a PNG or JPEG"],
    );
    let bytes = std::fs::read(&picture).expect("it is there");
    let half = folder.write("half.png", &bytes[..bytes.len() / 2]);
    says(
        &folder,
        &["filter", &half, "--window", "sobel", "-o", &out],
        &["half.png: is not a PNG or JPEG that can be read"],
    );
    says(
        &folder,
        &["filter", &folder.path("none.png"), "--window", "sobel", "-o", &out],
        &["none.png: cannot be read"],
    );
    says(
        &folder,
        &["filter", &picture, "--window", "sobel", "-o", &folder.path("out.gif")],
        &["must end in .png"],
    );
    says(
        &folder,
        &["filter", &picture, "--window", "sobel", "-o", &folder.path("no/out.png")],
        &["there is no directory"],
    );
    let npy = folder.path("no/out.npy");
    says(
        &folder,
        &["filter", &picture, "--window", "sobel", "-o", &out, "--npy", &npy],
        &["there is no directory"],
    );
}

#[test]
fn pictures_must_be_whole() {
    let folder = Folder::new();
    let (png, jpg) = (folder.path("whole.png"), folder.path("whole.jpg"));
    let noise = |x: u32, y: u32| image::Rgb([(x * 37 + y * 101) as u8, (x * y) as u8, 9]);
    let picture = image::RgbImage::from_fn(16, 24, noise);
    picture.save(&png).and_then(|()| picture.save(&jpg)).expect("written");
    let out = folder.path("out.png");
    for whole in [png, jpg] {
        let bytes = std::fs::read(&whole).expect("written");
        let cuts = (8..bytes.len()).step_by(bytes.len() / 23);
        for cut in cuts.chain([bytes.len() - 13, bytes.len() - 2, bytes.len() - 1]) {
            let path = folder.write("cut", &bytes[..cut]);
            says(
                &folder,
                &["filter", &path, "--window", "[[1]]", "-o", &out],
                &["cut: is not a PNG"],
            );
            std::fs::remove_file(path).expect("it was there");
        }
    }
}

#[test]
fn pictures_must_not_be_huge() {
    let folder = Folder::new();
    let mut bomb = Vec::new();
    let encoder = png::Encoder::new(&mut bomb, 100_000, 90_000);
    std::mem::forget(encoder.write_header().expect("written"));
    bomb.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
    let (bomb, out) = (folder.write("bomb.png", &bomb), folder.path("out.png"));
    says(
        &folder,
        &["filter", &bomb, "--window", "sobel", "-o", &out],
        &[
            "bomb.png: is 100000 x 90000, which is 9000000000 pixels, more than 67108864",
            "--max-pixels 9000000000",
        ],
    );
    let picture = file("tests/golden/grey.png");
    let args = ["filter", &picture, "--window", "sobel", "-o", &out, "--max-pixels"];
    says(&folder, &[&args[..], &["1535"]].concat(), &["is 48 x 32, which is 1536 pixels"]);
    says(&folder, &[&args[..], &["0"]].concat(), &["--max-pixels"]);
    common::ok(&[&args[..], &["1536"]].concat());
}

#[test]
fn windows_must_be_known() {
    let folder = Folder::new();
    let (picture, out) = (file("tests/golden/grey.png"), folder.path("out.png"));
    let bad = [
        ("sobl", "there is no window of that name; known are sobel"),
        ("gaussian", "needs its standard deviation"),
        ("gaussian:-1", "must be above 0"),
        ("gaussian:nan", "must be above 0"),
        ("gaussian:1e30", "must be above 0"),
        ("box:0", "from 1 to"),
        ("box:x", "from 1 to"),
        ("sobel:3", "takes no number"),
        ("[[1,2],[3]]", "row 1 of the window has 1 numbers, but row 0 has 2"),
        ("[[]]", "at least one number"),
        ("[[1,", "rows of numbers"),
        ("[[1e999]]", "rows of numbers"),
    ];
    for (window, part) in bad {
        says(&folder, &["filter", &picture, "--window", window, "-o", &out], &[part]);
    }
    let value = ["filter", &picture, "--window", "sobel", "-o", &out, "--padding-value", "3"];
    says(&folder, &value, &["--padding-value needs --padding-mode constant"]);
}
