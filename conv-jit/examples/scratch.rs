use conv_ir::*;
use conv_jit::*;
fn main() {
    let peak = conv_jit::peak::fma_peak(DType::F32).map(|p| p.gflops).unwrap_or(116.0);
    println!("peak {peak:.1}");
    let sched = std::env::var("S").ok();
    for d in std::env::args().skip(1) {
        let conv: Conv = match d.parse() {
            Ok(c) => c,
            Err(e) => {
                println!("{d}: {e}");
                continue;
            }
        };
        let mut o = Options::default();
        if let Some(s) = &sched {
            o.schedule = Some(s.parse().unwrap());
        }
        let t = std::time::Instant::now();
        let c = match CompiledConv::new(&conv, o) {
            Ok(c) => c,
            Err(e) => {
                println!("{d}: {e}");
                continue;
            }
        };
        let ct = t.elapsed().as_secs_f64() * 1e3;
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
        let (i, w, on) = (
            len(conv.input_shape()),
            conv.weight_shape().iter().product(),
            len(conv.output_shape()),
        );
        let (input, weight, bias) = (gen_(i), gen_(w), gen_(conv.spec().out_channels));
        let b = conv.spec().bias.then_some(&bias[..]);
        let p = c.pack(&weight, b).unwrap();
        let mut out = vec![0f32; on];
        let f = conv_ir::analysis::facts(&conv).unwrap();
        p.run(&input, &mut out).unwrap();
        let check = std::env::var("CHECK").is_ok();
        let mut ok = "";
        if check {
            let r = reference::run(
                &conv,
                reference::Arguments {
                    input: &input,
                    weight: &weight,
                    bias: b,
                    residual: None,
                },
                &[],
            )
            .unwrap();
            ok = if r.iter().zip(&out).all(|(a, b)| a == b) {
                "same"
            } else {
                "DIFFERS"
            };
        }
        let t0 = std::time::Instant::now();
        while t0.elapsed().as_millis() < 50 {
            p.run(&input, &mut out).unwrap();
        }
        let mut ts = vec![];
        let t0 = std::time::Instant::now();
        while t0.elapsed().as_millis() < 200 || ts.len() < 5 {
            let t = std::time::Instant::now();
            p.run(&input, &mut out).unwrap();
            ts.push(t.elapsed().as_secs_f64());
        }
        ts.sort_by(f64::total_cmp);
        let m = ts[ts.len() / 2];
        let g = f.multiply_adds as f64 * 2.0 / m / 1e9;
        println!(
            "{:8.3} ms {:6.1} GF {:5.1}% compile {:.2} ms code {:6} {ok} | {d} | {}",
            m * 1e3,
            g,
            g / peak * 100.0,
            ct,
            c.code_bytes(),
            c.schedule()
        );
    }
}
