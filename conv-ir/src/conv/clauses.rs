//! The words that clauses of the text form begin with, and those of others that mean the same.

/// Every word of this form, for what is near one.
pub(super) const CLAUSES: [&str; 34] = [
    "n",
    "g",
    "ic",
    "oc",
    "in",
    "kernel",
    "stride",
    "dilation",
    "pad",
    "mode",
    "out_pad",
    "flip",
    "f32",
    "f64",
    "f16",
    "bf16",
    "i32",
    "i16",
    "u16",
    "nchw",
    "nhwc",
    "channels-last",
    "bias",
    "residual",
    "padding",
    "padding_mode",
    "output_padding",
    "groups",
    "in_channels",
    "out_channels",
    "ceil_mode",
    "count_include_pad",
    "scale",
    "output_size",
];

/// The word of this form for one of PyTorch's, of `conv!` or of the command line.
pub(super) fn our_word(word: &str) -> &str {
    match word {
        "input" | "size" => "in",
        "kernel_size" | "kernel-size" => "kernel",
        "padding" => "pad",
        "padding_mode" | "padding-mode" => "mode",
        "output_padding" | "output-padding" | "out-pad" => "out_pad",
        "batch" => "n",
        "groups" => "g",
        "in_channels" | "in-channels" | "channels" => "ic",
        "out_channels" | "out-channels" => "oc",
        "ceil-mode" => "ceil_mode",
        "output-size" => "output_size",
        "count-include-pad" => "count_include_pad",
        ours => ours,
    }
}
