//! Executable memory: never writable at once, and gone with its last user.

#![cfg(target_os = "linux")]

use crate::conv2d;

/// The protection of the page at an address, as the kernel sees it.
fn protection(address: usize) -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (lo, hi) = range.split_once('-')?;
        let bound = |text| usize::from_str_radix(text, 16).unwrap();
        (bound(lo)..bound(hi)).contains(&address).then(|| rest[..4].to_owned())
    })
}

#[test]
fn executable_and_not_writable_then_freed() {
    let conv = conv2d(2, 2, 3).input([8, 8]).cache(false).compile().unwrap();
    let packed = conv.pack(&[0.5f32; 36], None).unwrap();
    let address = conv.shared.code.address();
    assert_eq!(protection(address).as_deref(), Some("r-xp"));
    drop(conv);
    assert_eq!(protection(address).as_deref(), Some("r-xp"), "packed weights keep the code");
    drop(packed);
    assert_ne!(protection(address).as_deref(), Some("r-xp"));
}

#[test]
fn nothing_is_leaked() {
    let executable = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|l| l.contains("r-xp") && l.ends_with(" 0 ")).count()
    };
    let before = executable();
    for width in 8..72 {
        conv2d(1, 1, 3).input([8, width]).cache(false).compile().unwrap();
    }
    // Other tests compile meanwhile.
    assert!(executable() < before + 40);
}
