//! The associated constants of a type per convolution or chain: its shapes, parameters and work.

use conv_ir::analysis;
use conv_ir::{Conv, Program};
use proc_macro2::TokenStream;
use quote::quote;

/// Name, type and value, what it says. Sizes that are known only at run time are left out.
pub(crate) fn constants(program: &Program) -> Vec<(String, TokenStream, String)> {
    program.single().map_or_else(|| of_steps(program), of_conv)
}

fn of_conv(conv: &Conv) -> Vec<(String, TokenStream, String)> {
    let mut all = Vec::new();
    let mut list = |name: &str, values: Option<Vec<usize>>, doc: &str| {
        let Some(values) = values else { return };
        let count = proc_macro2::Literal::usize_unsuffixed(values.len());
        let values = values.iter().map(|v| proc_macro2::Literal::usize_unsuffixed(*v));
        all.push((name.to_owned(), quote!([usize; #count] = [#(#values),*]), doc.to_owned()));
    };
    let axes = conv.axes();
    let of =
        |number: fn(&conv_ir::conv::ConvAxis) -> usize| Some(axes.iter().map(number).collect());
    list("INPUT_SHAPE", conv.input_shape(), "Batch, channels, spatial extents.");
    list(
        "WEIGHT_SHAPE",
        Some(conv.weight_shape()).filter(|_| conv.has_weight()),
        "As the framework of this convolution's layout has it.",
    );
    list("OUTPUT_SHAPE", conv.output_shape(), "Batch, channels, spatial extents.");
    list("KERNEL", of(|a| a.kernel), "Extents of the window.");
    list("STRIDE", of(|a| a.stride), "Step of the window.");
    list("DILATION", of(|a| a.dilation), "Distance of neighbouring taps.");
    let padding = axes.iter().map(|axis| {
        let (before, after) = axis.padding;
        let side = proc_macro2::Literal::usize_unsuffixed;
        let (before, after) = (side(before), side(after));
        quote!((#before, #after))
    });
    let (padding, rank) =
        (quote!([#(#padding),*]), proc_macro2::Literal::usize_unsuffixed(axes.len()));
    let groups = proc_macro2::Literal::usize_unsuffixed(conv.spec().groups);
    all.push((
        "PADDING".to_owned(),
        quote!([(usize, usize); #rank] = #padding),
        "Before and after each axis.".to_owned(),
    ));
    all.push((
        "GROUPS".to_owned(),
        quote!(usize = #groups),
        "Channels of one group do not see those of another.".to_owned(),
    ));
    if let Some(facts) = analysis::facts(conv) {
        let mut number = |name: &str, value: u128, doc: &str| {
            let value = proc_macro2::Literal::u128_unsuffixed(value);
            all.push((name.to_owned(), quote!(u64 = #value), doc.to_owned()));
        };
        number("PARAMETERS", facts.parameters.into(), "Weights, and biases where there are some.");
        number("MULTIPLY_ADDS", facts.multiply_adds, "Of one run, padding counted.");
    }
    all
}

/// What is said of all steps together.
fn of_steps(chain: &Program) -> Vec<(String, TokenStream, String)> {
    let shape = |name: &str, values: Vec<usize>| {
        let count = proc_macro2::Literal::usize_unsuffixed(values.len());
        let values = values.into_iter().map(proc_macro2::Literal::usize_unsuffixed);
        (
            name.to_owned(),
            quote!([usize; #count] = [#(#values),*]),
            "Batch, channels, spatial extents.".to_owned(),
        )
    };
    let facts: Vec<_> = chain.convs().filter_map(analysis::facts).collect();
    let number = |name: &str, value: u128, doc: &str| {
        let value = proc_macro2::Literal::u128_unsuffixed(value);
        (name.to_owned(), quote!(u64 = #value), doc.to_owned())
    };
    let parameters = chain.convs().map(|conv| {
        let bias = if conv.spec().bias { conv.bias_len() } else { 0 };
        (conv.weight_len() + bias) as u128
    });
    let parameters = number("PARAMETERS", parameters.sum(), "Weights and biases of all steps.");
    if facts.len() < chain.steps().len() {
        return vec![parameters];
    }
    // `INPUT_SHAPE`, or `INPUT_SHAPES` of several.
    let ends = |name: &str, tensors: &[usize]| match tensors {
        &[one] => shape(name, chain.shape(one)),
        several => {
            let shapes = several.iter().map(|&tensor| {
                let shape = chain.shape(tensor);
                let sizes = shape.into_iter().map(proc_macro2::Literal::usize_unsuffixed);
                quote!([#(#sizes),*])
            });
            let [count, rank] = [several.len(), chain.shape(several[0]).len()]
                .map(proc_macro2::Literal::usize_unsuffixed);
            let doc = "Of each, as a run takes them: batch, channels, spatial extents.";
            let values = quote!([[usize; #rank]; #count] = [#(#shapes),*]);
            (format!("{name}S"), values, doc.to_owned())
        }
    };
    vec![
        ends("INPUT_SHAPE", chain.inputs()),
        ends("OUTPUT_SHAPE", chain.outputs()),
        parameters,
        number(
            "MULTIPLY_ADDS",
            facts.iter().map(|f| f.multiply_adds).sum(),
            "Of one run of all steps, padding counted.",
        ),
    ]
}
