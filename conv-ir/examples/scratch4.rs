use conv_ir::*;
fn main() {
    for d in std::env::args().skip(1) {
        let conv: Conv = d.parse().unwrap();
        let s = Schedule::choose(&conv, &Target::CRANELIFT).schedule;
        let mut tot: Vec<(String, f64)> = Vec::new();
        for _ in 0..100 {
            let mut t = std::time::Instant::now();
            let mut k = 0;
            passes::compile(&conv, &s, &Target::CRANELIFT, &mut |p, _| { let e = t.elapsed().as_secs_f64()*1e6; if tot.len() <= k { tot.push((p.to_owned(), 0.0)); } tot[k].1 += e / 100.0; k += 1; t = std::time::Instant::now(); }).unwrap();
        }
        println!("{}", tot.iter().map(|(p, t)| format!("{p} {t:.1}")).collect::<Vec<_>>().join(", "));
    }
}
