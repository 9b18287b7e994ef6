//! A tile that no register file holds.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 99, 99], weight: [f32; 64, 1, 3, 3]) -> [f32; 1, 64, 97, 97];
    schedule: "lanes oc:8 tile oc:64,ow:14"
}

fn main() {}
