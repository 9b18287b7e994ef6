//! Weights of a step in tiles: packing reads each of the transformed ones through a function of the
//! weights that come, so that there is no array of them.
//!
//! ```text
//! const fn transformed(weight: &[f32], at: usize) -> f32 {
//!     let (at, pair) = (at / 4096, at % 4096);
//!     let point_1 = at % 6; let at = at / 6; let point_0 = at % 6;
//!     <the sum over taps along axis 1 of G1[point_1][tap_1] times
//!         the sum along axis 0 of G0[point_0][tap_0] * weight[pair * 9 + tap_0 * 3 + tap_1]>
//! }
//! ```
//!
//! In f64, term by term in order, rounded once: the bits of [`Tiles::weights`].

use conv_ir::DType;
use conv_ir::winograd::Tiles;
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::expr::constant;
use super::lanes::type_name;
use super::tokens;

/// How the weights of a convolution in tiles are transformed.
#[derive(Clone, Debug, PartialEq)]
pub struct Transformed {
    /// Points by taps, of each axis.
    axes: Vec<Vec<Vec<f64>>>,
    /// Pairs of an input and an output channel: elements between two points.
    pairs: usize,
    /// The window is turned around.
    flip: bool,
}

impl Transformed {
    /// Those of so many pairs of an input and an output channel; windows may be turned around.
    pub fn new(tiles: &Tiles, pairs: usize, flip: bool) -> Transformed {
        let axes = tiles.transforms().into_iter().map(|axis| axis.g.clone()).collect();
        Transformed { axes, pairs, flip }
    }

    /// Taps along an axis.
    fn taps(&self, axis: usize) -> usize {
        self.axes[axis].first().map_or(0, Vec::len)
    }

    fn volume(&self) -> usize {
        (0..self.axes.len()).map(|axis| self.taps(axis)).product()
    }

    /// Weights that come.
    pub(super) fn taken(&self) -> usize {
        self.pairs * self.volume()
    }

    /// The function of the weights and the position among the transformed ones.
    pub(super) fn function(&self, dtype: DType) -> TokenStream {
        let (t, pairs) = (type_name(dtype), number(self.pairs));
        let mut points = TokenStream::new();
        for (axis, g) in self.axes.iter().enumerate().rev() {
            let (point, count) = (format_ident!("point_{axis}"), number(g.len()));
            points.extend(quote!(let (at, #point) = (at / #count, at % #count);));
        }
        let tables = self.axes.iter().enumerate().map(|(axis, g)| {
            let (name, points, taps) =
                (format_ident!("G{axis}"), number(g.len()), number(self.taps(axis)));
            let rows = g.iter().map(|row| {
                let row = row.iter().map(|&x| constant(x, DType::F64));
                quote!([#(#row),*])
            });
            quote!(const #name: [[f64; #taps]; #points] = [#(#rows),*];)
        });
        let sum = self.sum(self.axes.len());
        quote! {
            const fn transformed(weight: &[#t], at: usize) -> #t {
                #(#tables)*
                let (at, pair) = (at / #pairs, at % #pairs);
                #points
                let sum = #sum;
                sum as #t
            }
        }
    }

    /// The sum over the taps along the first so many axes; the last of them is the outermost, as it
    /// is transformed last.
    fn sum(&self, axes: usize) -> TokenStream {
        let Some(axis) = axes.checked_sub(1) else {
            return self.weight();
        };
        let (table, point, tap, sum) = (
            format_ident!("G{axis}"),
            format_ident!("point_{axis}"),
            format_ident!("tap_{axis}"),
            format_ident!("sum_{axis}"),
        );
        let (taps, inner) = (number(self.taps(axis)), self.sum(axis));
        quote!({
            let (mut #sum, mut #tap) = (-0.0f64, 0);
            while #tap < #taps {
                #sum += #table[#point][#tap] * #inner;
                #tap += 1;
            }
            #sum
        })
    }

    /// The weight of a pair at a tap.
    fn weight(&self) -> TokenStream {
        let taps = (0..self.axes.len()).fold(quote!(0), |at, axis| {
            let (tap, taps) = (format_ident!("tap_{axis}"), number(self.taps(axis)));
            if axis == 0 { quote!(#tap) } else { quote!((#at) * #taps + #tap) }
        });
        let (volume, last) = (number(self.volume()), number(self.volume().saturating_sub(1)));
        match self.flip {
            true => quote!((weight[pair * #volume + #last - (#taps)] as f64)),
            false => quote!((weight[pair * #volume + #taps] as f64)),
        }
    }
}

fn number(n: usize) -> TokenStream {
    tokens(&n.to_string())
}
