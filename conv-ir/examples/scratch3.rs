use conv_ir::*;
fn main() {
    for d in std::env::args().skip(1) {
        let conv: Conv = d.parse().unwrap();
        let n = 200;
        let t = std::time::Instant::now();
        for _ in 0..n {
            std::hint::black_box(Schedule::choose(&conv, &Target::CRANELIFT));
        }
        let a = t.elapsed().as_secs_f64() / n as f64 * 1e6;
        let s = Schedule::choose(&conv, &Target::CRANELIFT).schedule;
        let t = std::time::Instant::now();
        for _ in 0..n {
            std::hint::black_box(passes::compile(&conv, &s, &Target::CRANELIFT, &mut |_, _| ())).unwrap();
        }
        println!(
            "{a:.1} us choose, {:.1} us passes: {d}  {s}",
            t.elapsed().as_secs_f64() / n as f64 * 1e6
        );
    }
}
