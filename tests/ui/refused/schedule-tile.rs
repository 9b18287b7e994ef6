//! A tile that is no multiple of the lanes.

conv_macros::conv! {
    fn f(input: [f32; 1, 1, 8], weight: [f32; 8, 1, 3]) -> [f32; 1, 8, 6];
    schedule: "tile oc:4 lanes oc:8"
}

fn main() {}
