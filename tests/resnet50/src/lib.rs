//! ResNet-50's 53 convolutions as types, batch normalisation folded into the biases: how long does
//! a crate of them take to build?
//!
//! `time cargo build --release`, dependencies built before.

#![deny(warnings, missing_docs)]

conv_macros::conv! {
    /// The first layer.
    pub struct Stem(input: [f32; 1, 3, 224, 224], weight: [f32; 64, 3, 7, 7], bias: [f32; 64]) -> [f32; 1, 64, 112, 112];
    stride: 2, padding: 3, activation: relu

    /// Stage 1, block 1: channels shrink.
    pub struct Stage1Block1Shrink(input: [f32; 1, 64, 56, 56], weight: [f32; 64, 64, 1, 1], bias: [f32; 64]) -> [f32; 1, 64, 56, 56];
    activation: relu

    /// Stage 1, block 1: the window.
    pub struct Stage1Block1Window(input: [f32; 1, 64, 56, 56], weight: [f32; 64, 64, 3, 3], bias: [f32; 64]) -> [f32; 1, 64, 56, 56];
    padding: 1, activation: relu

    /// Stage 1, block 1: channels grow, and what went around is added.
    pub struct Stage1Block1Grow(input: [f32; 1, 64, 56, 56], weight: [f32; 256, 64, 1, 1], bias: [f32; 256], residual: [f32; 1, 256, 56, 56]) -> [f32; 1, 256, 56, 56];
    activation: relu

    /// Stage 1: the way around its first block.
    pub struct Stage1Shortcut(input: [f32; 1, 64, 56, 56], weight: [f32; 256, 64, 1, 1], bias: [f32; 256]) -> [f32; 1, 256, 56, 56];

    /// Stage 1, block 2: channels shrink.
    pub struct Stage1Block2Shrink(input: [f32; 1, 256, 56, 56], weight: [f32; 64, 256, 1, 1], bias: [f32; 64]) -> [f32; 1, 64, 56, 56];
    activation: relu

    /// Stage 1, block 2: the window.
    pub struct Stage1Block2Window(input: [f32; 1, 64, 56, 56], weight: [f32; 64, 64, 3, 3], bias: [f32; 64]) -> [f32; 1, 64, 56, 56];
    padding: 1, activation: relu

    /// Stage 1, block 2: channels grow, and what went around is added.
    pub struct Stage1Block2Grow(input: [f32; 1, 64, 56, 56], weight: [f32; 256, 64, 1, 1], bias: [f32; 256], residual: [f32; 1, 256, 56, 56]) -> [f32; 1, 256, 56, 56];
    activation: relu

    /// Stage 1, block 3: channels shrink.
    pub struct Stage1Block3Shrink(input: [f32; 1, 256, 56, 56], weight: [f32; 64, 256, 1, 1], bias: [f32; 64]) -> [f32; 1, 64, 56, 56];
    activation: relu

    /// Stage 1, block 3: the window.
    pub struct Stage1Block3Window(input: [f32; 1, 64, 56, 56], weight: [f32; 64, 64, 3, 3], bias: [f32; 64]) -> [f32; 1, 64, 56, 56];
    padding: 1, activation: relu

    /// Stage 1, block 3: channels grow, and what went around is added.
    pub struct Stage1Block3Grow(input: [f32; 1, 64, 56, 56], weight: [f32; 256, 64, 1, 1], bias: [f32; 256], residual: [f32; 1, 256, 56, 56]) -> [f32; 1, 256, 56, 56];
    activation: relu

    /// Stage 2, block 1: channels shrink.
    pub struct Stage2Block1Shrink(input: [f32; 1, 256, 56, 56], weight: [f32; 128, 256, 1, 1], bias: [f32; 128]) -> [f32; 1, 128, 56, 56];
    activation: relu

    /// Stage 2, block 1: the window.
    pub struct Stage2Block1Window(input: [f32; 1, 128, 56, 56], weight: [f32; 128, 128, 3, 3], bias: [f32; 128]) -> [f32; 1, 128, 28, 28];
    stride: 2, padding: 1, activation: relu

    /// Stage 2, block 1: channels grow, and what went around is added.
    pub struct Stage2Block1Grow(input: [f32; 1, 128, 28, 28], weight: [f32; 512, 128, 1, 1], bias: [f32; 512], residual: [f32; 1, 512, 28, 28]) -> [f32; 1, 512, 28, 28];
    activation: relu

    /// Stage 2: the way around its first block.
    pub struct Stage2Shortcut(input: [f32; 1, 256, 56, 56], weight: [f32; 512, 256, 1, 1], bias: [f32; 512]) -> [f32; 1, 512, 28, 28];
    stride: 2

    /// Stage 2, block 2: channels shrink.
    pub struct Stage2Block2Shrink(input: [f32; 1, 512, 28, 28], weight: [f32; 128, 512, 1, 1], bias: [f32; 128]) -> [f32; 1, 128, 28, 28];
    activation: relu

    /// Stage 2, block 2: the window.
    pub struct Stage2Block2Window(input: [f32; 1, 128, 28, 28], weight: [f32; 128, 128, 3, 3], bias: [f32; 128]) -> [f32; 1, 128, 28, 28];
    padding: 1, activation: relu

    /// Stage 2, block 2: channels grow, and what went around is added.
    pub struct Stage2Block2Grow(input: [f32; 1, 128, 28, 28], weight: [f32; 512, 128, 1, 1], bias: [f32; 512], residual: [f32; 1, 512, 28, 28]) -> [f32; 1, 512, 28, 28];
    activation: relu

    /// Stage 2, block 3: channels shrink.
    pub struct Stage2Block3Shrink(input: [f32; 1, 512, 28, 28], weight: [f32; 128, 512, 1, 1], bias: [f32; 128]) -> [f32; 1, 128, 28, 28];
    activation: relu

    /// Stage 2, block 3: the window.
    pub struct Stage2Block3Window(input: [f32; 1, 128, 28, 28], weight: [f32; 128, 128, 3, 3], bias: [f32; 128]) -> [f32; 1, 128, 28, 28];
    padding: 1, activation: relu

    /// Stage 2, block 3: channels grow, and what went around is added.
    pub struct Stage2Block3Grow(input: [f32; 1, 128, 28, 28], weight: [f32; 512, 128, 1, 1], bias: [f32; 512], residual: [f32; 1, 512, 28, 28]) -> [f32; 1, 512, 28, 28];
    activation: relu

    /// Stage 2, block 4: channels shrink.
    pub struct Stage2Block4Shrink(input: [f32; 1, 512, 28, 28], weight: [f32; 128, 512, 1, 1], bias: [f32; 128]) -> [f32; 1, 128, 28, 28];
    activation: relu

    /// Stage 2, block 4: the window.
    pub struct Stage2Block4Window(input: [f32; 1, 128, 28, 28], weight: [f32; 128, 128, 3, 3], bias: [f32; 128]) -> [f32; 1, 128, 28, 28];
    padding: 1, activation: relu

    /// Stage 2, block 4: channels grow, and what went around is added.
    pub struct Stage2Block4Grow(input: [f32; 1, 128, 28, 28], weight: [f32; 512, 128, 1, 1], bias: [f32; 512], residual: [f32; 1, 512, 28, 28]) -> [f32; 1, 512, 28, 28];
    activation: relu

    /// Stage 3, block 1: channels shrink.
    pub struct Stage3Block1Shrink(input: [f32; 1, 512, 28, 28], weight: [f32; 256, 512, 1, 1], bias: [f32; 256]) -> [f32; 1, 256, 28, 28];
    activation: relu

    /// Stage 3, block 1: the window.
    pub struct Stage3Block1Window(input: [f32; 1, 256, 28, 28], weight: [f32; 256, 256, 3, 3], bias: [f32; 256]) -> [f32; 1, 256, 14, 14];
    stride: 2, padding: 1, activation: relu

    /// Stage 3, block 1: channels grow, and what went around is added.
    pub struct Stage3Block1Grow(input: [f32; 1, 256, 14, 14], weight: [f32; 1024, 256, 1, 1], bias: [f32; 1024], residual: [f32; 1, 1024, 14, 14]) -> [f32; 1, 1024, 14, 14];
    activation: relu

    /// Stage 3: the way around its first block.
    pub struct Stage3Shortcut(input: [f32; 1, 512, 28, 28], weight: [f32; 1024, 512, 1, 1], bias: [f32; 1024]) -> [f32; 1, 1024, 14, 14];
    stride: 2

    /// Stage 3, block 2: channels shrink.
    pub struct Stage3Block2Shrink(input: [f32; 1, 1024, 14, 14], weight: [f32; 256, 1024, 1, 1], bias: [f32; 256]) -> [f32; 1, 256, 14, 14];
    activation: relu

    /// Stage 3, block 2: the window.
    pub struct Stage3Block2Window(input: [f32; 1, 256, 14, 14], weight: [f32; 256, 256, 3, 3], bias: [f32; 256]) -> [f32; 1, 256, 14, 14];
    padding: 1, activation: relu

    /// Stage 3, block 2: channels grow, and what went around is added.
    pub struct Stage3Block2Grow(input: [f32; 1, 256, 14, 14], weight: [f32; 1024, 256, 1, 1], bias: [f32; 1024], residual: [f32; 1, 1024, 14, 14]) -> [f32; 1, 1024, 14, 14];
    activation: relu

    /// Stage 3, block 3: channels shrink.
    pub struct Stage3Block3Shrink(input: [f32; 1, 1024, 14, 14], weight: [f32; 256, 1024, 1, 1], bias: [f32; 256]) -> [f32; 1, 256, 14, 14];
    activation: relu

    /// Stage 3, block 3: the window.
    pub struct Stage3Block3Window(input: [f32; 1, 256, 14, 14], weight: [f32; 256, 256, 3, 3], bias: [f32; 256]) -> [f32; 1, 256, 14, 14];
    padding: 1, activation: relu

    /// Stage 3, block 3: channels grow, and what went around is added.
    pub struct Stage3Block3Grow(input: [f32; 1, 256, 14, 14], weight: [f32; 1024, 256, 1, 1], bias: [f32; 1024], residual: [f32; 1, 1024, 14, 14]) -> [f32; 1, 1024, 14, 14];
    activation: relu

    /// Stage 3, block 4: channels shrink.
    pub struct Stage3Block4Shrink(input: [f32; 1, 1024, 14, 14], weight: [f32; 256, 1024, 1, 1], bias: [f32; 256]) -> [f32; 1, 256, 14, 14];
    activation: relu

    /// Stage 3, block 4: the window.
    pub struct Stage3Block4Window(input: [f32; 1, 256, 14, 14], weight: [f32; 256, 256, 3, 3], bias: [f32; 256]) -> [f32; 1, 256, 14, 14];
    padding: 1, activation: relu

    /// Stage 3, block 4: channels grow, and what went around is added.
    pub struct Stage3Block4Grow(input: [f32; 1, 256, 14, 14], weight: [f32; 1024, 256, 1, 1], bias: [f32; 1024], residual: [f32; 1, 1024, 14, 14]) -> [f32; 1, 1024, 14, 14];
    activation: relu

    /// Stage 3, block 5: channels shrink.
    pub struct Stage3Block5Shrink(input: [f32; 1, 1024, 14, 14], weight: [f32; 256, 1024, 1, 1], bias: [f32; 256]) -> [f32; 1, 256, 14, 14];
    activation: relu

    /// Stage 3, block 5: the window.
    pub struct Stage3Block5Window(input: [f32; 1, 256, 14, 14], weight: [f32; 256, 256, 3, 3], bias: [f32; 256]) -> [f32; 1, 256, 14, 14];
    padding: 1, activation: relu

    /// Stage 3, block 5: channels grow, and what went around is added.
    pub struct Stage3Block5Grow(input: [f32; 1, 256, 14, 14], weight: [f32; 1024, 256, 1, 1], bias: [f32; 1024], residual: [f32; 1, 1024, 14, 14]) -> [f32; 1, 1024, 14, 14];
    activation: relu

    /// Stage 3, block 6: channels shrink.
    pub struct Stage3Block6Shrink(input: [f32; 1, 1024, 14, 14], weight: [f32; 256, 1024, 1, 1], bias: [f32; 256]) -> [f32; 1, 256, 14, 14];
    activation: relu

    /// Stage 3, block 6: the window.
    pub struct Stage3Block6Window(input: [f32; 1, 256, 14, 14], weight: [f32; 256, 256, 3, 3], bias: [f32; 256]) -> [f32; 1, 256, 14, 14];
    padding: 1, activation: relu

    /// Stage 3, block 6: channels grow, and what went around is added.
    pub struct Stage3Block6Grow(input: [f32; 1, 256, 14, 14], weight: [f32; 1024, 256, 1, 1], bias: [f32; 1024], residual: [f32; 1, 1024, 14, 14]) -> [f32; 1, 1024, 14, 14];
    activation: relu

    /// Stage 4, block 1: channels shrink.
    pub struct Stage4Block1Shrink(input: [f32; 1, 1024, 14, 14], weight: [f32; 512, 1024, 1, 1], bias: [f32; 512]) -> [f32; 1, 512, 14, 14];
    activation: relu

    /// Stage 4, block 1: the window.
    pub struct Stage4Block1Window(input: [f32; 1, 512, 14, 14], weight: [f32; 512, 512, 3, 3], bias: [f32; 512]) -> [f32; 1, 512, 7, 7];
    stride: 2, padding: 1, activation: relu

    /// Stage 4, block 1: channels grow, and what went around is added.
    pub struct Stage4Block1Grow(input: [f32; 1, 512, 7, 7], weight: [f32; 2048, 512, 1, 1], bias: [f32; 2048], residual: [f32; 1, 2048, 7, 7]) -> [f32; 1, 2048, 7, 7];
    activation: relu

    /// Stage 4: the way around its first block.
    pub struct Stage4Shortcut(input: [f32; 1, 1024, 14, 14], weight: [f32; 2048, 1024, 1, 1], bias: [f32; 2048]) -> [f32; 1, 2048, 7, 7];
    stride: 2

    /// Stage 4, block 2: channels shrink.
    pub struct Stage4Block2Shrink(input: [f32; 1, 2048, 7, 7], weight: [f32; 512, 2048, 1, 1], bias: [f32; 512]) -> [f32; 1, 512, 7, 7];
    activation: relu

    /// Stage 4, block 2: the window.
    pub struct Stage4Block2Window(input: [f32; 1, 512, 7, 7], weight: [f32; 512, 512, 3, 3], bias: [f32; 512]) -> [f32; 1, 512, 7, 7];
    padding: 1, activation: relu

    /// Stage 4, block 2: channels grow, and what went around is added.
    pub struct Stage4Block2Grow(input: [f32; 1, 512, 7, 7], weight: [f32; 2048, 512, 1, 1], bias: [f32; 2048], residual: [f32; 1, 2048, 7, 7]) -> [f32; 1, 2048, 7, 7];
    activation: relu

    /// Stage 4, block 3: channels shrink.
    pub struct Stage4Block3Shrink(input: [f32; 1, 2048, 7, 7], weight: [f32; 512, 2048, 1, 1], bias: [f32; 512]) -> [f32; 1, 512, 7, 7];
    activation: relu

    /// Stage 4, block 3: the window.
    pub struct Stage4Block3Window(input: [f32; 1, 512, 7, 7], weight: [f32; 512, 512, 3, 3], bias: [f32; 512]) -> [f32; 1, 512, 7, 7];
    padding: 1, activation: relu

    /// Stage 4, block 3: channels grow, and what went around is added.
    pub struct Stage4Block3Grow(input: [f32; 1, 512, 7, 7], weight: [f32; 2048, 512, 1, 1], bias: [f32; 2048], residual: [f32; 1, 2048, 7, 7]) -> [f32; 1, 2048, 7, 7];
    activation: relu
}
