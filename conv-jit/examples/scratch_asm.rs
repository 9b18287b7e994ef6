use conv_ir::*;
use conv_jit::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let conv: Conv = a[1].parse().unwrap();
    let mut o = Options::default();
    if let Some(s) = a.get(2) {
        o.schedule = Some(s.parse().unwrap());
    }
    let c = CompiledConv::new(&conv, o).unwrap();
    println!("{}", c.nest());
    println!("{}", c.disassembly().unwrap());
}
