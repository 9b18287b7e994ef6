//! `convc networks`: the published figures stand beside ours and agree, and one's own network is
//! read.

mod common;

use common::{Folder, ok, refused};

#[test]
fn every_network_agrees_with_what_is_published() {
    for size in ["224x224", "321x321"] {
        let text = ok(&["networks", "--size", size]);
        assert_eq!(text.lines().count(), 13, "{text}");
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words[2..5], words[6..9], "{line}");
        }
    }
    let text = ok(&["networks"]);
    for (network, field) in [
        ("alexnet_v2", " 195 "),
        ("vgg_16", " 212 "),
        ("mobilenet_v1", " 315 "),
        ("resnet_v1_50", " 483 "),
        ("resnet_v1_101", " 1027 "),
    ] {
        let line =
            text.lines().find(|line| line.starts_with(&format!("{network} "))).expect("a line");
        assert!(line.contains(field), "{line}");
    }
}

#[test]
fn a_network_of_ones_own() {
    let folder = Folder::new();
    let path = folder.write(
        "mine.net",
        b"input 3\nconv 3x5/2 8 :stem\nadd { | depthwise 3x3, conv 1x1 8 } :end\n",
    );
    let text = ok(&["networks", &path, "--size", "32x64"]);
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1][..7], ["stem", "3", "x", "5", "2", "0", "x"], "{text}");
    assert!(lines[2].contains(&"16") && lines[2].contains(&"32"), "{text}");
    assert!(lines[2].windows(3).any(|words| words == ["7", "x", "9"]), "{text}");
}

#[test]
fn what_is_wrong_is_said() {
    let folder = Folder::new();
    let bad = folder.write("bad.net", b"input 3\nconv 3x3\n");
    let unnamed = folder.write("unnamed.net", b"input 3\nconv 3x3 4\n");
    for (args, says) in [
        (
            &["networks", "resnet_v9"][..],
            "no built-in network has this name; they are vgg_a, alexnet_v2",
        ),
        (&["networks", &bad], "line 2 of the network: expected the channels"),
        (&["networks", &unnamed], "no point has a name"),
        (&["networks", "--size", "224"], "two numbers, height x width"),
        (&["networks", "--size", "HxW"], "two numbers, height x width"),
        (&["networks", "inception_v3", "--size", "8x8"], "kernel"),
    ] {
        let stderr = refused(args);
        assert!(stderr.contains(says), "{args:?}: {stderr}");
    }
}
