//! The pages for users: their Rust runs as doctests. Their command lines are run in
//! `conv-cli/tests/pages.rs`, which also sees that each page of the guide stands here.

macro_rules! pages {
    ($($name:ident = $path:literal),* $(,)?) => {
        $(
            #[doc = include_str!(concat!("../../", $path))]
            pub struct $name;
        )*
    };
}

pages! {
    Readme = "README.md",
    Guide = "docs/guide/README.md",
    Convolution = "docs/guide/convolution.md",
    TwoD = "docs/guide/2d.md",
    ThreeD = "docs/guide/3d.md",
    Dilated = "docs/guide/dilated.md",
    Pooling = "docs/guide/pooling.md",
    Transposed = "docs/guide/transposed.md",
    Pointwise = "docs/guide/pointwise.md",
    Separable = "docs/guide/separable.md",
    DepthwiseSeparable = "docs/guide/depthwise-separable.md",
    Group = "docs/guide/group.md",
    Streaming = "docs/guide/streaming.md",
    Networks = "docs/guide/networks.md",
    Types = "docs/guide/types.md",
    Python = "docs/guide/python.md",
    Onnx = "docs/guide/onnx.md",
}
