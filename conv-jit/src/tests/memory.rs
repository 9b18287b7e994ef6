//! Executable memory: never writable at once, and an error where there is none.

#![cfg(target_os = "linux")]

use crate::pages::refusing;
use crate::{Error, conv2d};

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
fn executable_and_not_writable() {
    let conv = conv2d(2, 2, 3).input([8, 8]).cache(false).compile().unwrap();
    let packed = conv.pack(&[0.5f32; 36], None).unwrap();
    let address = conv.shared.codes[0].code.address();
    assert_eq!(protection(address).as_deref(), Some("r-xp"));
    drop(conv);
    assert_eq!(protection(address).as_deref(), Some("r-xp"), "packed weights keep the code");
    let mut output = [0.0; 72];
    packed.run(&[1.0; 128], &mut output).unwrap();
    assert_eq!(output, [9.0; 72]);
}

/// Whichever request it is that the system refuses: an error, nothing is lost, what is held runs,
/// and later requests are granted again.
#[test]
fn refused_pages_are_an_error() {
    let compile = || conv2d(1, 1, 3).input([8, 8]).cache(false).compile();
    let run = |packed: &crate::Packed<f32>| {
        let mut output = [0.0; 36];
        packed.run(&[2.0; 64], &mut output).unwrap();
        assert_eq!(output, [9.0; 36]);
    };
    let mut held = Vec::new();
    for granted in (0..60).step_by(5).chain(0..5) {
        // Many are granted more than one request needs: then it is the n-th that is refused.
        let refused = refusing(granted, || {
            loop {
                match compile() {
                    Ok(conv) => held.push(conv.pack(&[0.5f32; 9], None).unwrap()),
                    Err(refused) => return refused,
                }
            }
        });
        let message = refused.to_string();
        assert!(matches!(refused, Error::Memory(_)), "{message}");
        assert!(message.starts_with("no memory: executable pages: "), "{message}");
    }
    assert!(held.len() > 100);
    held.iter().for_each(run);
    held.truncate(1);
    held.extend((0..100).map(|_| compile().unwrap().pack(&[0.5f32; 9], None).unwrap()));
    held.iter().for_each(run);
}

/// Code is compiled and given back while other threads run what stands beside it.
#[test]
fn threads_share_regions() {
    std::thread::scope(|scope| {
        for thread in 1..5u8 {
            scope.spawn(move || {
                let mut held = std::collections::VecDeque::new();
                for _ in 0..40 {
                    let conv = conv2d(1, 1, 3).input([8, 8]).cache(false).compile().unwrap();
                    held.push_back(conv.pack(&[f32::from(thread); 9], None).unwrap());
                    for packed in &held {
                        let mut output = [0.0; 36];
                        packed.run(&[2.0; 64], &mut output).unwrap();
                        assert_eq!(output, [18.0 * f32::from(thread); 36]);
                    }
                    if held.len() > 3 {
                        held.pop_front();
                    }
                }
            });
        }
    });
}
