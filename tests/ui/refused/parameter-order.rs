//! Parameters in another order.

conv_macros::conv! {
    fn f(weight: [f32; 1, 1, 3], input: [f32; 1, 1, 8]) -> [f32; 1, 1, 6];
}

fn main() {}
