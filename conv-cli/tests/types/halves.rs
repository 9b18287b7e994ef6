//! Of pictures, and halves.

use super::*;

/// Pictures: 16 bits, borders, a window of signed numbers, stores that saturate.
#[test]
fn pictures_keep_their_own_numbers() {
    let folder = Folder::new();
    let x = file(&folder, "x.npy", &[5], &[0u16, 65535, 1, 2, 40000]);
    let w = file(&folder, "w.npy", &[3], &[-1i16, 2, -1]);
    let all = ["-i", &x, "-w", &w, "--padding", "same", "--mode", "replicate"];
    let sums = [-65535.0, 131069.0, -65535.0, -39997.0, 39998.0];
    gives(&folder, &all, Kind::I32, &[5], &sums);
    let stored = [&all[..], &["--output-type", "u16"]].concat();
    gives(&folder, &stored, Kind::U16, &[5], &[0.0, 65535.0, 0.0, 0.0, 39998.0]);
    let max = ["maxpool1d ic1 in L kernel 3", "-i", &x];
    gives(&folder, &max, Kind::U16, &[3], &[65535.0, 65535.0, 40000.0]);
    let said = ["maxpool1d u16 ic1 in L kernel 3", "-i", &x];
    gives(&folder, &said, Kind::U16, &[3], &[65535.0, 65535.0, 40000.0]);
    let constant = ["-i", &x, "-w", &w, "--padding", "1", "--input-zero-point", "2"];
    let constant = [&constant[..], &["--mode", "constant", "--padding-value", "3"]].concat();
    let sums = [-65538.0, 131069.0, -65535.0, -39997.0, 79995.0];
    gives(&folder, &constant, Kind::I32, &[5], &sums);
}

/// Converted first, computed in f32, rounded once: weights of any of the three types.
#[test]
fn halves_are_those_of_converting_first() {
    let folder = Folder::new();
    let numbers: Vec<f32> = (0..60).map(|at| (at as f32 * 0.37).sin()).collect();
    let halves: Vec<F16> = numbers.iter().map(|&x| F16::from_f32(x)).collect();
    let wide: Vec<f32> = halves.iter().map(|x| x.to_f32()).collect();
    let (x_shape, w_shape) = ([1, 2, 5, 6], [3, 2, 2, 3]);
    let (x, w) = ("x.npy", "w.npy");
    let (x, w) = (file(&folder, x, &x_shape, &halves), file(&folder, w, &w_shape, &halves[..36]));
    let x32 = file(&folder, "x32.npy", &x_shape, &wide);
    let w32 = file(&folder, "w32.npy", &w_shape, &wide[..36]);
    let flags = ["--padding", "1", "--activation", "silu"];
    let run = |x: &str, w: &str, more: &[&str]| {
        run(&folder, &[&["-i", x, "-w", w][..], &flags, more].concat())
    };
    let wanted = run(&x32, &w32, &[]).values::<f32>();
    let narrow: Vec<u16> = wanted.iter().map(|&y| F16::from_f32(y).to_bits()).collect();
    for (x, w, more) in [(&x, &w, &[][..]), (&x, &w32, &[]), (&x32, &w, &["--output-type", "f16"])]
    {
        let found = run(x, w, more);
        assert_eq!(found.kind, Kind::F16);
        let bits: Vec<u16> = found.values::<F16>().into_iter().map(F16::to_bits).collect();
        assert_eq!(bits, narrow);
    }
    assert_eq!(run(&x32, &w, &[]).values::<f32>(), wanted);
    assert_eq!(run(&x, &w, &["--output-type", "f32"]).values::<f32>(), wanted);
}

#[test]
fn bf16_comes_from_a_model_and_goes_to_one() {
    let folder = Folder::new();
    let numbers: Vec<BF16> = (0..10).map(|at| BF16::from_f32(at as f32 / 3.0)).collect();
    let bytes = safetensors::encode("x", &[10], &numbers).expect("bytes");
    let x = format!("{}#x", folder.write("x.safetensors", &bytes));
    let w = file(&folder, "w.npy", &[2], &[1f32, -1.0]);
    let y = format!("{}#y", folder.path("y.safetensors"));
    let said = ok(&["run", "-i", &x, "-w", &w, "-o", &y]);
    assert!(said.contains("y.safetensors: bf16 [9], route"), "{said}");
    let found = read_place(Path::new(""), &y, 9).expect("an array");
    let pairs = numbers.windows(2).map(|x| BF16::from_f32(x[0].to_f32() - x[1].to_f32()));
    assert_eq!(found.kind, Kind::BF16);
    assert_eq!(found.values::<BF16>(), pairs.collect::<Vec<_>>());
    let said = refused(&["run", "-i", &x, "-w", &w, "-o", &folder.path("y.npy")]);
    assert!(said.contains("cannot hold bf16: write .safetensors"), "{said}");
    let said = refused(&["run", "-i", &x, "-w", &w, "-o", &folder.path("y.safetensors")]);
    assert!(said.contains("write `#` and a name"), "{said}");
    let said = refused(&["run", "-i", &x, "-w", &w, "-o", &format!("{}#z", &x[..x.len() - 2])]);
    assert!(said.contains("is the same file as the input"), "{said}");
}

#[test]
fn what_integers_cannot_is_refused() {
    let folder = Folder::new();
    let x = file(&folder, "x.npy", &[1, 2, 4], &[7u8; 8]);
    let w = file(&folder, "w.npy", &[3, 2, 2], &[1i8; 12]);
    let f = file(&folder, "f.npy", &[3, 2, 2], &[1f32; 12]);
    let floats = file(&folder, "g.npy", &[1, 2, 4], &[1f32; 8]);
    let all = |args: &[&str], part: &str| {
        let said = refused(&[&["run", "-o", &folder.path("y.npy")], args].concat());
        assert!(said.contains(part), "{args:?}: {said}");
    };
    let says = |more: &[&str], part: &str| all(&[&["-i", &x, "-w", &w][..], more].concat(), part);
    all(&["-i", &x, "-w", &f], "the weight holds f32, but the input holds u8; all arrays must be");
    all(&["-i", &floats, "-w", &w], "the weight holds i8, but the input holds f32; all arrays");
    all(&["-i", &floats, "-w", &f, "--output-type", "u8"], "whose results are f16, bf16, f32 or");
    all(&["-i", &floats, "-w", &f, "--input-zero-point", "1"], "scales and their rounding are");
    says(&["--activation", "sigmoid"], "sigmoid is computed in floating point");
    says(&["--output-type", "f64"], "written as i8, u8, i16, u16, i32 or f32");
    says(&["--output-type", "u7"], "there is no type 'u7'; there are i8, u8,");
    says(&["--output-scale", "2"], "say which, --output-type u8");
    says(&["--output-zero-point", "2"], "i32 has none; say --output-type");
    says(&["--output-zero-point", "-1", "--output-type", "u8"], "u8 holds 0 to 255");
    says(&["--input-zero-point", "256"], "--input-zero-point 256: u8 holds 0 to 255");
    says(&["--weight-zero-point", "1,2"], "has 2 numbers, but needs 1, or 3: one for each output");
    says(&["--weight-zero-point", "0.5"], "0.5: a zero point must be a whole number");
    says(&["--weight-scale", "1,x"], "'1,x' is neither numbers");
    says(&["--weight-scale", "1,0,1", "--output-type", "u8"], "--weight-scale 0: a scale must be");
    says(&["--rounding", "up"], "'up' is no rounding; there are onnx, xnnpack-f32,");
    says(&["--rounding", "onnx", "--output-type", "f32"], "is not rounded to be f32");
    says(&["--mode", "constant", "--padding-value", "256"], "the input holds u8, from 0 to 255");
    all(&["avgpool1d ic2 in L kernel 2", "-i", &x], "an average of integers is none");
    let pool = ["maxpool1d ic2 in L kernel 2", "-i", &x, "--input-zero-point", "3"];
    all(&pool, "max pooling has no zero points or scales");
    let large = file(&folder, "l.npy", &[2], &[i32::MAX, i32::MAX]);
    let twice = file(&folder, "t.npy", &[1], &[2i8]);
    all(&["-i", &large, "-w", &twice], "output 0 is 4294967294, more than i32 holds");
    all(&["-i", &large, "-w", &large], "integers are exact up to 2^53");
}

/// A DESCRIPTION says the types of all arrays, and they are held against it.
#[test]
fn descriptions_of_halves() {
    let folder = Folder::new();
    let near_one = 1025.0 / 1024.0;
    let halves = |numbers: &[f64]| numbers.iter().map(|x| F16::from_f64(*x)).collect::<Vec<_>>();
    let x = file(&folder, "x.npy", &[1, 1, 4], &halves(&[1.0, 2.0, 3.0, near_one]));
    let w = file(&folder, "w.npy", &[1, 1, 2], &halves(&[0.5, 3.0]));
    let single = file(&folder, "single.npy", &[1, 1, 2], &[0.5f32, 3.0]);
    let exact = [6.5, 10.0, 1.5 + 3.0 * near_one];
    let rounded = exact.map(|sum| F16::from_f64(sum).to_f64());
    assert_ne!(exact, rounded, "the last one shows the type of the output");
    let args = ["conv1d f16 in W kernel 2", "-i", &x, "-w", &w];
    gives(&folder, &args, Kind::F16, &[1, 1, 3], &rounded);
    let args = ["conv1d f16 x f32 -> f32 in W kernel 2", "-i", &x, "-w", &single];
    gives(&folder, &args, Kind::F32, &[1, 1, 3], &exact);
    let says = |args: &[&str], words: &str| {
        let error = refused(&[&["run", "-o", &folder.path("y.npy")], args].concat());
        assert!(error.contains(words), "{error}");
    };
    says(
        &["conv1d f16 in W kernel 2", "-i", &x, "-w", &single],
        "the weight holds f32, but is described as f16",
    );
    says(
        &["conv1d f16 in W kernel 2; conv1d kernel 1", "-i", &x, "-w", &w, "-w", &w],
        "several steps round what is between them",
    );
}
