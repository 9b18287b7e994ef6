//! A convolution after every pass, as text. Only what changed is printed.
//!
//! `cargo run -p conv-tests --example passes -- "conv1d f32 n1 g1 ic2 oc4 in 9 kernel 3 pad 1"`

use conv_ir::{Conv, Schedule, Target, passes};

fn main() -> Result<(), conv_ir::Error> {
    let text = std::env::args()
        .nth(1)
        .unwrap_or("conv1d-transposed f32 n1 g1 ic2 oc4 in 8 kernel 4 stride 2 pad 1".into());
    let conv: Conv = text.parse()?;
    let choice = Schedule::choose(&conv, &Target::CRANELIFT);
    println!("{conv}\n{}", choice.schedule);
    choice.reasons.iter().for_each(|reason| println!("  {reason}"));
    let mut before = String::new();
    passes::compile(&conv, &choice.schedule, &Target::CRANELIFT, &mut |pass, nest| {
        let after = nest.to_string();
        match after == before {
            true => println!("\n== {pass}: no change"),
            false => println!("\n== {pass}\n{after}"),
        }
        before = after;
    })?;
    Ok(())
}
