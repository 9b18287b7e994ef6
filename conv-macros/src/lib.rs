//! `conv!`: a convolution compiled to Rust at build time.
//!
//! Each item is a function's signature with the sizes of its tensors, and the convolution's numbers
//! by the names of PyTorch. It becomes a plain, safe function on flat arrays, the output last;
//! sizes are checked at build time, on the wrong number itself.
//!
//! ```
//! conv_macros::conv! {
//!     /// Blurs a row: each output is the sum of three neighbours.
//!     pub fn blur(input: [f32; 1, 1, 6], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 6];
//!     padding: 1
//!
//!     /// Two channels to one, any height and width.
//!     fn mix(
//!         input: [f32; 1, 2, H, W], weight: [f32; 1, 2, 1, 1], bias: [f32; 1]
//!     ) -> [f32; 1, 1, H, W];
//!     activation: relu
//! }
//!
//! let mut output = [0.0; 6];
//! blur(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[1.0, 1.0, 1.0], &mut output);
//! assert_eq!(output, [3.0, 6.0, 9.0, 12.0, 15.0, 11.0]);
//!
//! let mut output = [0.0; 4];
//! mix(2, 2, &[1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0], &[1.0, -0.125], &[0.5], &mut output);
//! assert_eq!(output, [0.25, 0.0, 0.0, 0.0]);
//! ```
//!
//! `struct` in place of `fn` makes a type that packs its weights once, also when a `static` of it
//! is compiled. It runs faster, and knows its shapes and its work.
//!
//! ```
//! conv_macros::conv! {
//!     /// Eight features of a small picture.
//!     pub struct Stem(
//!         input: [f32; 1, 3, 8, 8], weight: [f32; 8, 3, 3, 3], bias: [f32; 8]
//!     ) -> [f32; 1, 8, 4, 4];
//!     stride: 2, padding: 1, activation: relu
//! }
//!
//! static WEIGHT: [f32; 8 * 3 * 3 * 3] = [0.5; 216];
//! static BIAS: [f32; 8] = [-3.0; 8];
//! static STEM: Stem = Stem::new(&WEIGHT, &BIAS);
//!
//! let mut output = [0.0; 8 * 4 * 4];
//! STEM.run(&[1.0; 3 * 8 * 8], &mut output);
//! assert_eq!(output[..5], [3.0, 6.0, 6.0, 6.0, 6.0]);
//! assert_eq!(STEM.run_on_slices(&vec![1.0; 192], &mut output), Ok(()));
//! let refused = STEM.run_on_slices(&vec![1.0; 191], &mut output);
//! assert_eq!(refused, Err("`input` must have 192 elements"));
//! assert_eq!(format!("{STEM:?}"), "Stem { .. }");
//! assert_eq!(Stem::MULTIPLY_ADDS, 3456);
//! assert_eq!((Stem::OUTPUT_SHAPE, Stem::PADDING), ([1, 8, 4, 4], [(1, 1), (1, 1)]));
//!
//! // Weights that are too large for a stack are packed on the heap.
//! let boxed: Box<Stem> = Stem::boxed(&WEIGHT, &BIAS);
//! ```
//!
//! Steps in braces are a chain: each is a convolution with a name and a weight, of what the step
//! before gives. Sizes follow along it, and the last one's are compared with the signature.
//! Steps are fused where it pays: strips of rows go through line buffers, and the bits are those of
//! the steps one after the other.
//!
//! ```
//! conv_macros::conv! {
//!     /// MobileNetV2's inverted residual.
//!     pub struct Block(input: [f32; 1, 8, 14, 14]) -> [f32; 1, 8, 14, 14];
//!     expand: { weight: [f32; 48, 8, 1, 1], bias: [f32; 48], activation: relu6 },
//!     depthwise: { weight: [f32; 48, 1, 3, 3], groups: 48, padding: 1, activation: relu6 },
//!     project: { weight: [f32; 8, 48, 1, 1], residual: input }
//!
//!     /// Two passes of a blur.
//!     fn blur(input: [f32; 1, 1, 3, 4]) -> [f32; 1, 1, 3, 4];
//!     down: { weight: [[1], [2], [1]], padding: [1, 0] },
//!     across: { weight: [[1, 2, 1]], padding: [0, 1] }
//! }
//!
//! let block = Block::new(&[0.1; 48 * 8], &[0.5; 48], &[0.1; 48 * 9], &[0.1; 8 * 48]);
//! let mut output = [0.0; 8 * 14 * 14];
//! block.run(&[0.0; 8 * 14 * 14], &mut output);
//! assert!((output[15] - 48.0 * 9.0 * 0.5 * 0.1 * 0.1).abs() < 1e-5);
//!
//! let mut output = [0.0; 12];
//! blur(&[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], &mut output);
//! assert_eq!(output, [1.0, 2.0, 1.0, 0.0, 2.0, 4.0, 2.0, 0.0, 1.0, 2.0, 1.0, 0.0]);
//! ```
//!
//! What a step adds before its activation is said by name: `residual: input`, or an earlier step.
//! `layout`, `std` and `accuracy` stand beside the steps. The arrays that a step wants of its
//! caller are called after it, `expand_weight`. Line buffers are on the stack; where they need more
//! than 256 KiB, as other scratch may, the caller passes an array as the last argument: `scratch`,
//! of any contents, as long as `Block::SCRATCH` says, or of a function `BLUR_SCRATCH`.
//!
//! | key | value | default |
//! |---|---|---|
//! | `stride`, `dilation` | `2`, `[2, 1]` | 1 |
//! | `padding` | `1`, `[1, 0]`, `(1, 2)`, `[(1, 2), 0]`, or a word | `valid` |
//! | `padding_mode` | `zeros`, `constant(0.5)`, or another word | `zeros` |
//! | `padding_value` | a number, with `padding_mode: constant` | 0 |
//! | `groups` | `4` | 1 |
//! | `transposed`, `flip` | `true`, `false` | `false` |
//! | `output_padding` | `1`, `[1, 0]`, with `transposed: true` | 0 |
//! | `activation` | `relu`, `clamp(0.0, 6.0)`, `prelu([0.25, 0.1])`, or another word | none |
//! | `requantise` | `onnx(0.02, 3)`, `tflite_double([0.1, 0.5])`, `onnx("s.npy", 3)` | none |
//! | `layout` | `nchw`, `nhwc`, `ncw`, .., `channels_last` | `channels_first` |
//! | `weight` | numbers or a file: `"stem.npy"`, `"model.safetensors#conv1.weight"` | a parameter |
//! | `bias` | likewise, beside a known weight | a parameter, or none |
//! | `accuracy` | `exact`, `fast`, `unfused` | `exact` |
//! | `std` | `true`, `false` | `true` |
//! | `schedule` | a string, as `explain` prints it | the model's choice |
//! | `tuning` | a file of `convc tune`, in a `struct` | the model's choices |
//!
//! Words of `padding` are `valid`, `same` (an odd window), `same_upper`, `same_lower`, `full` and
//! `causal`; of `padding_mode` `zeros`, `constant`, `reflect`, `symmetric`, `replicate` and
//! `circular`; of `activation` `relu`, `relu6`, `leaky_relu`, `clamp`, `sigmoid`, `tanh`, `silu`,
//! `gelu`, `hardswish`, `hardsigmoid`, `elu`, `softplus`, `mish` and `prelu`, whose slopes, one for
//! each output channel, are numbers in brackets or a file; of `requantise` `onnx`, `xnnpack_f32`,
//! `tflite_double` and `tflite_single`.
//!
//! With `accuracy: fast` a `struct` of one step may be computed in tiles of fewer multiplications
//! (Winograd's), with the bits of conv-jit under the same accuracy. A known window that is a column
//! times a row may run as those two, within the bound that the documentation of the function
//! states; for known sizes. With `unfused` each multiply-add rounds product and sum, as in C. With
//! `std: false` the code is from `core` alone, and the version is chosen by the features that the
//! crate is compiled for.
//!
//! With `std: false` a multiply-add is an instruction on x86 with `target-feature=+fma` and on
//! aarch64. Elsewhere `core` has none that stable Rust can ask for: its bits are worked out in
//! plain arithmetic, 25 times slower (`f64`: 550 times). With `std` other CPUs call the C library
//! for each. There `accuracy: unfused` is as fast as a plain loop: products and sums are rounded
//! each, also inside activations, and the bits are the same on every CPU, but not those of `exact`.
//!
//! ```
//! conv_macros::conv! {
//!     /// For a microcontroller.
//!     fn smooth(input: [f32; 1, 1, 6], weight: [f32; 1, 1, 3]) -> [f32; 1, 1, 6];
//!     padding: 1, std: false, accuracy: unfused
//! }
//!
//! let mut output = [0.0; 6];
//! smooth(&[0.1; 6], &[0.1, 0.2, 0.3], &mut output);
//! assert_eq!(output[1], 0.1f32 * 0.1 + 0.1 * 0.2 + 0.1 * 0.3);
//! ```
//!
//! A weight that is given here is compiled in: it is no parameter, taps of zero vanish, taps of 1
//! and -1 add and subtract, and for finite data the bits stay the same (an infinity or NaN
//! times zero is NaN, and a tap of zero that vanished leaves none). Its brackets are those of the
//! weight's shape, or of one window that serves every output channel. Files count from the
//! package's folder, and the code is made again when they change. Of a file only the tensors that
//! are named are read; they are packed as the macro runs, and a library grows by twice their size.
//!
//! ```
//! conv_macros::conv! {
//!     /// Vertical edges of a picture of any size.
//!     fn sobel(input: [f32; 1, 1, H, W]) -> [f32; 1, 1, H, W];
//!     padding: 1, weight: [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
//! }
//!
//! let mut output = [0.0; 12];
//! sobel(3, 4, &[1.0, 1.0, 5.0, 5.0, 1.0, 1.0, 5.0, 5.0, 1.0, 1.0, 5.0, 5.0], &mut output);
//! assert_eq!(output[4..8], [4.0, 16.0, 16.0, -20.0]);
//! ```
//!
//! Zero padding is skipped: a weight over it has no effect, were it infinite or NaN.
//!
//! Parameters are `input`, `weight`, and if wanted `bias` and `residual`, all `f32` or all `f64`.
//! Weights are `[out, in / groups, kernel..]`, transposed `[in, out / groups, kernel..]`. A size of
//! the batch or of the image may be an upper-case name: it becomes a `usize` argument in front
//! (batch first, then the axes from the outermost), the arrays become slices, and an output size
//! that follows from it is any other name. Such sizes are checked by each call, before it touches
//! an array: a batch may be 0, and nothing is computed; extents of input and output are at least 1,
//! as known ones are; and arrays are as long as the sizes say. Whatever else is passed is a panic
//! at the caller's line, with the sizes and both lengths.

use proc_macro::TokenStream;

/// A function for each convolution. See the [crate](self).
#[proc_macro]
pub fn conv(input: TokenStream) -> TokenStream {
    conv_codegen::expand(input.into()).into()
}
