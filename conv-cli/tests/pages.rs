//! The pages for users: every command line of every page is run, every picture that it draws is the
//! one in the repository, and what a `text` block below shows is what it printed. Their Rust runs
//! as doctests (`tests/src/pages.rs`).

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Folder, file, le, npy};

/// The pages, by their path from the root.
fn pages() -> Vec<String> {
    let mut pages = ["README.md", "docs/GALLERY.md", "docs/TESTS.md"].map(str::to_owned).to_vec();
    let guide = fs::read_dir(file("../docs/guide")).expect("the guide");
    let names = guide.map(|entry| entry.expect("an entry").file_name());
    pages.extend(names.map(|name| format!("docs/guide/{}", name.display())));
    pages.sort();
    pages
}

fn read(page: &str) -> String {
    fs::read_to_string(file(&format!("../{page}"))).unwrap_or_else(|e| panic!("{page}: {e}"))
}

/// The fenced blocks of a page, in order: the word behind the fence, and the lines. What stands
/// between them is `prose`.
fn blocks(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut blocks: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if is_open => is_open = false,
            Some(word) => {
                blocks.push((word, Vec::new()));
                is_open = true;
            }
            None if is_open => blocks.last_mut().expect("an open block").1.push(line),
            None if line.trim().is_empty() => {}
            None => blocks.push(("prose", vec![line])),
        }
    }
    blocks
}

/// The words of a line, as a shell finds them; a comment is none.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Runs a line of a page in a folder of its own; gives what it printed.
fn run(page: &str, line: &str, folder: &Folder) -> String {
    let words = words(line);
    let said: Vec<&str> = words.iter().map(String::as_str).collect();
    match said[..] {
        ["convc", ref args @ ..] => convc(page, line, args, folder),
        ["cargo", "run", "--release", "-p", "conv-cli", "--", ref args @ ..] => {
            convc(page, line, args, folder)
        }
        ["python3", "-c", script] => numpy(page, script, folder),
        ["cargo", "add", ref args @ ..] => cargo_add(page, args, folder),
        ["cargo", "run", .., "-p", "conv-tests", "--example", example] => {
            assert!(
                Path::new(&file(&format!("../examples/{example}.rs"))).exists(),
                "{page}: {line}"
            );
            String::new()
        }
        ["cargo", "install", "--path", package] => {
            let manifest = read(&format!("{package}/Cargo.toml"));
            assert!(manifest.contains("name = \"convc\""), "{page}: {line}");
            String::new()
        }
        // This very run.
        ["cargo", "test", "--workspace"] => String::new(),
        ["cargo", "test", "-p", package, ref args @ ..] => {
            let folder = if package == "conv-tests" { "tests" } else { package };
            let tests = args.windows(2).filter(|pair| pair[0] == "--test").map(|pair| pair[1]);
            for test in tests {
                let path = file(&format!("../{folder}/tests/{test}.rs"));
                assert!(Path::new(&path).exists(), "{page}: no {path}");
            }
            String::new()
        }
        _ => panic!("{page}: nobody runs `{line}`"),
    }
}

fn convc(page: &str, line: &str, args: &[&str], folder: &Folder) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_convc")).args(args).current_dir(&folder.0).output();
    let run = run.expect("convc starts");
    assert!(run.status.success(), "{page}: {line}\n{}", String::from_utf8_lossy(&run.stderr));
    if let Some(at) = args.iter().position(|arg| *arg == "--svg") {
        let picture = args[at + 1];
        let kept = fs::read_to_string(file(&format!("../docs/gallery/{picture}")));
        let drawn = fs::read_to_string(folder.path(picture)).expect("drawn");
        assert!(drawn == kept.expect("kept"), "{page}: {line}: another picture is kept");
    }
    String::from_utf8(run.stdout).expect("text")
}

/// Arrays of ones, as NumPy would save them: all that the pages use of Python.
fn numpy(page: &str, script: &str, folder: &Folder) -> String {
    let saves = script.strip_prefix("import numpy as np; ").expect("numpy");
    for save in saves.split("; ") {
        let (name, (shape, dtype)) = save
            .strip_prefix("np.save('")
            .and_then(|rest| rest.strip_suffix("'))"))
            .and_then(|rest| rest.split_once("', np.ones(("))
            .and_then(|(name, rest)| Some((name, rest.split_once("), '")?)))
            .unwrap_or_else(|| panic!("{page}: nobody runs `{save}`"));
        let shape: Vec<usize> =
            shape.split(", ").map(|extent| extent.parse().expect("an extent")).collect();
        let len = shape.iter().product();
        let (dtype, ones) = match dtype {
            "f4" => ("<f4", le(&vec![1.0; len])),
            "u1" => ("|u1", vec![1; len]),
            "i1" => ("|i1", vec![1; len]),
            _ => panic!("{page}: nobody runs `{save}`"),
        };
        folder.write(name, &npy(dtype, false, &shape, &ones));
    }
    String::new()
}

/// Adds what the page says to a package that needs nothing yet. Where it says an address, this
/// repository is taken.
fn cargo_add(page: &str, args: &[&str], folder: &Folder) -> String {
    let package = folder.0.path().join("package");
    if !package.exists() {
        fs::create_dir_all(package.join("src")).expect("a folder");
        fs::write(package.join("src/lib.rs"), "").expect("a file");
        let manifest = "[package]\nname = \"user\"\nedition = \"2024\"\n\n[workspace]\n";
        fs::write(package.join("Cargo.toml"), manifest).expect("a manifest");
    }
    let mut args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
    if let Some(at) = args.iter().position(|arg| arg == "--git") {
        let name = args.iter().find(|arg| arg.starts_with("conv-")).expect("a crate").clone();
        args.splice(at..at + 2, ["--path".to_owned(), format!("../conv/{name}")]);
    }
    for arg in &mut args {
        if let Some(name) = arg.strip_prefix("../conv/") {
            *arg = file(&format!("../{name}"));
        }
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = Command::new(cargo)
        .args(["add", "--offline", "--quiet", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .args(&args)
        .output()
        .expect("cargo starts");
    assert!(run.status.success(), "{page}: {args:?}\n{}", String::from_utf8_lossy(&run.stderr));
    String::new()
}

/// What the lines read.
fn with_inputs() -> Folder {
    let folder = Folder::new();
    for name in ["docs/astronaut.png", "conv-cli/layers/public.csv", "conv-cli/layers/blocks.txt"] {
        let path = folder.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::copy(file(&format!("../{name}")), path).expect("an input");
    }
    folder
}

#[test]
fn every_command_line_of_the_pages_runs_and_prints_what_the_page_shows() {
    let (mut lines, mut shown) = (0, 0);
    for page in pages() {
        let (text, folder) = (read(&page), with_inputs());
        let mut printed = None;
        for (word, block) in blocks(&text) {
            match (word, printed.take()) {
                ("sh", _) => {
                    let commands = block.iter().filter(|line| !words(line).is_empty());
                    for line in commands {
                        printed = Some(run(&page, line, &folder));
                        lines += 1;
                    }
                }
                ("text", Some(printed)) => {
                    let mut left = printed.lines().map(str::trim_end);
                    for line in block.iter().map(|line| line.trim_end()) {
                        assert!(
                            left.any(|is| is == line),
                            "{page}: not printed: {line}\n{printed}"
                        );
                        shown += 1;
                    }
                }
                _ => {}
            }
        }
    }
    println!("counted: {lines} command lines of the pages, {shown} lines of what they print");
    assert!(lines > 50, "{lines}");
}

/// Links of the pages lead to files, and pictures are there.
#[test]
fn links_lead_somewhere() {
    let others = ["ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md"];
    for page in pages().into_iter().chain(others.map(str::to_owned)) {
        let folder = PathBuf::from(file(&format!("../{page}"))).parent().expect("").to_owned();
        for link in read(&page).split("](").skip(1) {
            let link = link.split(')').next().expect("an end").split('#').next().expect("a path");
            if link.is_empty() || link.contains("://") {
                continue;
            }
            assert!(folder.join(link).exists(), "{page}: no {link}");
        }
    }
}

#[test]
fn the_rust_of_every_page_is_a_doctest() {
    let listed = read("tests/src/pages.rs");
    for page in pages().iter().filter(|page| read(page).contains("```rust")) {
        assert!(listed.contains(&format!("\"{page}\"")), "{page} is not in tests/src/pages.rs");
    }
}

/// Multiply-adds of a layer of the public table, padding included.
fn multiply_adds(layer: &str) -> f64 {
    let mut table = csv::Reader::from_path(file("layers/public.csv")).expect("the table");
    let columns = table.headers().expect("columns").clone();
    let rows = table.records().map(|row| row.expect("a row"));
    let row = rows.into_iter().find(|row| &row[0] == layer).unwrap_or_else(|| panic!("{layer}"));
    let column = |name: &str| &row[columns.iter().position(|is| is == name).expect("a column")];
    let numbers = |name: &str| -> Vec<f64> {
        column(name).split('x').map(|n| n.parse().expect("a number")).collect()
    };
    let axes = numbers("in_spatial").len();
    let places: f64 = (0..axes)
        .map(|axis| {
            let at = |name| numbers(name)[axis];
            let window = at("dilation") * (at("kernel") - 1.0) + 1.0;
            let steps = at("in_spatial") + at("pad_lo") + at("pad_hi") - window;
            match column("transposed") {
                "1" => at("in_spatial"),
                _ => (steps / at("stride")).floor() + 1.0,
            }
        })
        .product();
    let taps: f64 = numbers("kernel").iter().product();
    let [n, ic, oc, groups] = ["n", "ic", "oc", "groups"].map(|name| numbers(name)[0]);
    n * ic * oc / groups * taps * places
}

/// The README's table: shares of the peak and ratios follow from times that somebody measured.
#[test]
fn the_figures_of_the_readme_agree_with_each_other() {
    let readme = read("README.md");
    let rows = readme.lines().filter(|line| line.contains(" % | "));
    let rows: Vec<Vec<&str>> =
        rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect();
    assert_eq!(rows.len(), 10);
    for row in rows {
        let operations = 2.0 * multiply_adds(row[0]);
        let number = |text: &str| text.parse::<f64>().unwrap_or_else(|_| panic!("{row:?}"));
        let [ours, share, fast, peer, ratio, fast_ratio, machine @ ..] = &row[1..] else {
            panic!("{row:?}")
        };
        let [zen1, zen1_share, zen1_peer, zen1_ratio] = machine else { panic!("{row:?}") };
        for (peak, ours, share) in [(272.0, ours, share), (47.2, zen1, zen1_share)] {
            assert!(readme.contains(&format!("{peak} GFLOP/s")));
            let follows = operations / (number(ours) * 1e-3) / (peak * 1e9);
            let share = number(share.trim_end_matches(" %")) / 100.0;
            assert!((follows - share).abs() < 0.01, "{}: {follows}, not {share}", row[0]);
        }
        let ratios = [(ours, peer, ratio), (fast, peer, fast_ratio), (zen1, zen1_peer, zen1_ratio)];
        for (ours, peer, ratio) in ratios {
            let peer = number(peer.split(' ').next_back().expect("ms"));
            let follows = peer / number(ours);
            // Times of a few microseconds have two digits.
            assert!((follows - number(ratio)).abs() < 0.006, "{}: {follows}", row[0]);
        }
    }
}
