//! `convc gallery`: the kinds of convolution as pictures, and a page that shows them.
//!
//! The figures are those of Kunlun Bai's "A Comprehensive Introduction to Different Types of
//! Convolutions in Deep Learning" (2019), drawn anew. Each is what `convc explain --svg` draws for
//! the descriptions that stand below it.

use std::fs;
use std::path::{Path, PathBuf};

use conv_ir::Conv;
use conv_ir::analysis::Matrix;

use crate::failure::Failure;
use crate::output;
use crate::picture::{self, View};

const EXAMPLES: &str = "\
Examples:
  convc gallery docs
      writes docs/GALLERY.md and the pictures in docs/gallery";

/// Draw every kind of convolution, and write a page that shows them
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The folder to write GALLERY.md and gallery/*.svg in
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// One picture.
struct Figure {
    name: &'static str,
    title: &'static str,
    says: &'static str,
    view: View,
    convs: &'static [&'static str],
}

const FIGURES: &[Figure] = &[
    Figure {
        name: "standard",
        title: "One channel",
        says: "A 3 × 3 window slides over 5 × 5 elements. Each output is a weighted sum of nine inputs, and there is room for 3 × 3 of them.",
        view: View::Space,
        convs: &["conv2d in 5 kernel 3"],
    },
    Figure {
        name: "padded",
        title: "Padded",
        says: "A ring of zeros around the input, and the output is as large as the input.",
        view: View::Space,
        convs: &["conv2d in 5 kernel 3 pad 1"],
    },
    Figure {
        name: "strided",
        title: "Strided",
        says: "The window moves by two. An output stands for 2 × 2 inputs, and is drawn that large.",
        view: View::Space,
        convs: &["conv2d in 7 kernel 3 stride 2 pad 1"],
    },
    Figure {
        name: "channels",
        title: "Many channels",
        says: "A window is as deep as the input has channels, and each window makes one channel of the output.",
        view: View::Channels,
        convs: &["conv2d ic3 oc128 in 7 kernel 3"],
    },
    Figure {
        name: "pointwise",
        title: "1 × 1",
        says: "A window of one element mixes channels and looks at no neighbours: it makes many channels fewer, or few more.",
        view: View::Channels,
        convs: &["conv2d ic32 oc8 in 7 kernel 1"],
    },
    Figure {
        name: "volume",
        title: "3-D",
        says: "The window slides in three directions.",
        view: View::Space,
        convs: &["conv3d in 6 kernel 3"],
    },
    Figure {
        name: "transposed",
        title: "Transposed: 2 × 2 becomes 4 × 4",
        says: "The matrix of a 3 × 3 convolution from 4 × 4 to 2 × 2, transposed. Seen as a convolution, the input has a border as wide as the window allows.",
        view: View::Space,
        convs: &["conv2d-transposed in 2 kernel 3"],
    },
    Figure {
        name: "transposed-strided",
        title: "Transposed with stride 2: 2 × 2 becomes 5 × 5",
        says: "The stride puts holes between the inputs. Outputs are half a step apart, and neighbours see different numbers of inputs: one, two or four.",
        view: View::Space,
        convs: &["conv2d-transposed in 2 kernel 3 stride 2"],
    },
    Figure {
        name: "dilated",
        title: "Dilated 1, 2, 4",
        says: "Three windows of nine weights each, their taps one, two and four apart: the field grows from 3 × 3 to 7 × 7 to 15 × 15, without a hole.",
        view: View::Space,
        convs: &[
            "conv2d in 19 kernel 3",
            "conv2d in 17 kernel 3 dilation 2",
            "conv2d in 13 kernel 3 dilation 4",
        ],
    },
    Figure {
        name: "dilated-causal",
        title: "Dilated and causal, in one dimension",
        says: "As in WaveNet: no output sees the future, and four layers of two taps see sixteen elements.",
        view: View::Space,
        convs: &[
            "conv1d in 16 kernel 2 pad causal",
            "conv1d in 16 kernel 2 dilation 2 pad causal",
            "conv1d in 16 kernel 2 dilation 4 pad causal",
            "conv1d in 16 kernel 2 dilation 8 pad causal",
        ],
    },
    Figure {
        name: "spatially-separable",
        title: "Spatially separable",
        says: "3 × 1, then 1 × 3: what a 3 × 3 window sees, with 6 weights instead of 9 and 72 multiply-adds instead of 81.",
        view: View::Space,
        convs: &["conv2d in 5 kernel 3x1", "conv2d in 3x5 kernel 1x3"],
    },
    Figure {
        name: "depthwise-separable",
        title: "Depthwise separable",
        says: "First a window for each channel alone, then 1 × 1 to mix them: 411 weights where a dense convolution has 3 456.",
        view: View::Channels,
        convs: &["conv2d g3 ic3 oc3 in 7 kernel 3", "conv2d ic3 oc128 in 5 kernel 1"],
    },
    Figure {
        name: "grouped",
        title: "Grouped",
        says: "Windows see only the channels of their group: with two groups, half the weights and half the work.",
        view: View::Channels,
        convs: &["conv2d g2 ic8 oc8 in 7 kernel 3"],
    },
    Figure {
        name: "two-plus-one",
        title: "(2+1)-D",
        says: "Frames of a film: first within a frame, then between frames.",
        view: View::Space,
        convs: &["conv3d in 5x6x6 kernel 1x3x3", "conv3d in 5x4x4 kernel 3x1x1"],
    },
    Figure {
        name: "down-and-up",
        title: "Down and up again",
        says: "A strided convolution, one in between, and a transposed one: fields through all of them are exact, also where strides are fractions.",
        view: View::Space,
        convs: &[
            "conv2d in 12 kernel 3 stride 2 pad 1:0",
            "conv2d in 6 kernel 3 pad 1",
            "conv2d-transposed in 6 kernel 4 stride 2 pad 1",
        ],
    },
    Figure {
        name: "resnet-stem",
        title: "The first layers of ResNet, large",
        says: "Of 224 × 224 elements only those around the field are drawn.",
        view: View::Space,
        convs: &[
            "conv2d ic3 oc64 in 224 kernel 7 stride 2 pad 3",
            "conv2d ic64 oc64 in 112 kernel 3 stride 2 pad 1",
            "conv2d ic64 oc64 in 56 kernel 3 pad 1",
        ],
    },
];

/// The command.
pub fn gallery(args: &Args) -> Result<(), Failure> {
    if !args.folder.is_dir() {
        return Err(Failure::file(
            &args.folder,
            "there is no such folder; make it, or give another",
        ));
    }
    let pictures = args.folder.join("gallery");
    let mut files = vec![(args.folder.join("GALLERY.md"), page()?)];
    for figure in FIGURES {
        let convs: Vec<Conv> =
            figure.convs.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        files.push((
            pictures.join(format!("{}.svg", figure.name)),
            picture::draw(&convs, figure.view)?,
        ));
    }
    let made = !pictures.is_dir();
    if made {
        fs::create_dir(&pictures).map_err(|error| Failure::file(&pictures, error))?;
    }
    let files: Vec<(&Path, &[u8])> =
        files.iter().map(|(path, text)| (path.as_path(), text.as_bytes())).collect();
    output::write(&files).inspect_err(|_| {
        if made {
            // Only if it is empty still; what another put there stays.
            let _ = fs::remove_dir(&pictures);
        }
    })
}

/// A convolution whose matrix is small enough to be read.
const MATRIX: &str = "conv2d in 4 kernel 3";

fn page() -> Result<String, Failure> {
    let mut text = "\
# Kinds of convolution

Drawn by `convc gallery docs`. In pictures of grids the input lies at the bottom; one output in the middle is marked, and everything below that it depends on. A
layer's element is drawn as large as the piece of input that it stands for, and over its middle. Dashed places are padding, or holes between the inputs of a transposed
convolution. In pictures of blocks, channels recede, and colours are groups.

The figures follow Kunlun Bai, *A Comprehensive Introduction to Different Types of Convolutions in Deep Learning* (2019). Any other is one command away:
`convc explain DESCRIPTION.. --svg FILE`, with `--view channels` for blocks.
"
    .to_owned();
    for figure in FIGURES {
        let view = if figure.view == View::Channels { " --view channels" } else { "" };
        let convs: Vec<String> = figure.convs.iter().map(|conv| format!("'{conv}'")).collect();
        text += &format!(
            "\n## {}\n\n{}\n\n![{}](gallery/{}.svg)\n\n```sh\nconvc explain {} --svg {}.svg{view}\n```\n",
            figure.title,
            figure.says,
            figure.title,
            figure.name,
            convs.join(" "),
            figure.name
        );
    }
    let matrix = Matrix::of(&MATRIX.parse()?)?;
    text += &format!(
        "\n## As a matrix\n\nThe {} outputs of a 3 × 3 window on {} inputs, each a sum over a row of weights. Transposed, the same matrix takes 2 × 2 elements \
         to 4 × 4: the transposed convolution.\n\n```text\n{matrix}```\n\n```text\n{}```\n\n```sh\nconvc explain '{MATRIX}' --matrix\n```\n",
        matrix.rows(),
        matrix.columns(),
        matrix.transposed(),
    );
    Ok(text)
}
