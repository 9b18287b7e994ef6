use conv_ir::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let conv: Conv = match args[1].parse() {
        Ok(c) => c,
        Err(e) => {
            println!("{e}");
            return;
        }
    };
    let schedule = match args.get(2).filter(|s| !s.is_empty()) {
        Some(s) => s.parse().unwrap(),
        None => Schedule::choose(&conv, &Target::CRANELIFT).schedule,
    };
    println!("{conv}\n{schedule}");
    let show = args.get(3).cloned();
    let len = |s: Option<Vec<usize>>| s.unwrap().iter().product::<usize>();
    let mut x = 1u32;
    let mut gen_ = |n: usize| {
        (0..n)
            .map(|_| {
                x = x.wrapping_mul(1664525).wrapping_add(1013904223);
                ((x >> 16) as f32 / 32768.0) - 1.0
            })
            .collect::<Vec<f32>>()
    };
    let (i, w, o) = (
        len(conv.input_shape()),
        conv.weight_shape().iter().product(),
        len(conv.output_shape()),
    );
    let (input, weight, bias, res) = (gen_(i), gen_(w), gen_(conv.spec().out_channels), gen_(o));
    let mut base: Option<Vec<f32>> = Some(
        reference::run(
            &conv,
            reference::Arguments {
                input: &input,
                weight: &weight,
                bias: conv.spec().bias.then_some(&bias[..]),
                residual: conv.spec().residual.then_some(&res[..]),
            },
            &[],
        )
        .unwrap(),
    );
    let r = passes::compile(&conv, &schedule, &Target::CRANELIFT, &mut |name, nest| {
        if show.as_deref() == Some(name) || show.as_deref() == Some("all") {
            println!("== after {name}\n{nest}");
        }
        let v = nest::verify(nest);
        if !v.is_empty() {
            println!("after {name}: {v:?}");
        }
        let mut out = vec![f32::NAN; o];
        let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            interp::run(
                nest,
                interp::Arguments {
                    input: &input,
                    weight: &weight,
                    bias: conv.spec().bias.then_some(&bias[..]),
                    residual: conv.spec().residual.then_some(&res[..]),
                    output: &mut out,
                },
                &[],
            )
        }));
        match r {
            Ok(Ok(())) => {}
            Ok(Err(e)) => println!("{name}: {e}"),
            Err(_) => {
                println!("{name}: PANIC");
                if show.is_none() {
                    println!("{nest}");
                    std::process::exit(1);
                }
            }
        }
        match &base {
            None => base = Some(out),
            Some(b) => {
                if b.iter().zip(&out).any(|(a, b)| a != b) {
                    println!("{name}: DIFFERS");
                    if show.is_none() {
                        println!("{nest}");
                        std::process::exit(1)
                    }
                }
            }
        }
    });
    println!("{:?}", r.map(|n| n.leaves.len()));
}
