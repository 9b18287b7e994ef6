use conv_ir::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let conv: Conv = match args[1].parse() { Ok(c) => c, Err(e) => { println!("{e}"); return } };
    let schedule = match args.get(2).filter(|s| !s.is_empty()) { Some(s) => s.parse().unwrap(), None => Schedule::choose(&conv, &Target::CRANELIFT).schedule };
    println!("{conv}\n{schedule}");
    let n = passes::compile(&conv, &schedule, &Target::CRANELIFT, &mut |_, _| ()).unwrap();
    if args.len() > 3 { println!("{n}"); }
    let names: Vec<String> = conv.free_sizes().into_iter().map(str::to_owned).collect();
    for v in [1usize, 2, 3, 4, 5, 7, 8, 9, 11, 16, 23, 40, 41] {
        let free: Vec<(&str, usize)> = names.iter().map(|s| (s.as_str(), v)).collect();
        let Ok(c) = conv.with_sizes(&free) else { println!("{v}: no"); continue };
        let base = lower::lower(&c);
        let len = |s: Option<Vec<usize>>| s.unwrap().iter().product::<usize>();
        let mut x = 1u32; let mut gen_ = |n: usize| (0..n).map(|_| { x = x.wrapping_mul(1664525).wrapping_add(1013904223); ((x >> 16) as f32 / 32768.0) - 1.0 }).collect::<Vec<f32>>();
        let (i, w, o) = (len(c.input_shape()), c.weight_shape().iter().product(), len(c.output_shape()));
        let (input, weight, bias) = (gen_(i), gen_(w), gen_(conv.spec().out_channels));
        let (mut a, mut b) = (vec![0f32; o], vec![0f32; o]);
        let arg = |out| interp::Arguments { input: &input, weight: &weight, bias: conv.spec().bias.then_some(&bias[..]), residual: None, output: out };
        interp::run(&base, arg(&mut a), &[]).unwrap();
        interp::run(&n, arg(&mut b), &free).unwrap();
        if a != b { println!("{v}: DIFFERS"); }
    }
}
