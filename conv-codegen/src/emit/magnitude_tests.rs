use super::*;
use conv_ir::{Conv, Schedule, Target, passes};

fn products(text: &str) -> Vec<Product> {
    let conv: Conv = text.parse().unwrap();
    let target = Target { masks_free: true, ..Target::AVX512 };
    let schedule = Schedule::choose(&conv, &target).schedule;
    of(&passes::compile(&conv, &schedule, &target, &mut |_, _| {}).unwrap()).unwrap()
}

/// The value of the largest product of sizes where each size is this.
fn at(products: &[Product], size: u128) -> u128 {
    let value = |f: &Factor| f.constant + f.terms.values().map(|n| n * size).sum::<u128>();
    let of_sizes = products.iter().filter(|product| !product.factors.is_empty());
    of_sizes.map(|p| p.number * p.factors.iter().map(value).product::<u128>()).max().unwrap()
}

#[test]
fn a_product_is_a_padded_tensor_and_not_much_more() {
    for (text, channels) in [
        ("conv2d in HxW kernel 3x3 pad 1", 1),
        ("conv2d ic8 oc8 in HxW kernel 3x3 pad 1 mode reflect", 8),
        ("conv2d nhwc g16 ic16 oc16 in HxW kernel 5x5 dilation 3 pad 6", 16),
        ("conv2d-transposed ic4 oc4 in HxW kernel 4x4 stride 2 pad 1", 16),
    ] {
        let products = products(text);
        for size in [100, 10_000, 1_000_000] {
            let (least, most) = (channels * size * size, 64 * channels * size * size);
            let found = at(&products, size);
            assert!((least..most).contains(&found), "{text}: {found} at {size}: {products:?}");
        }
    }
}

#[test]
fn far_taps_count_though_the_tensors_are_small() {
    let products =
        products("conv1d nwc ic4 oc4 in T kernel 2 dilation 1099511627776 pad 549755813888");
    assert!(at(&products, 1) >= 4 << 40, "{products:?}");
}

#[test]
fn terms_are_added_over_one_denominator_and_rounded_up_at_the_end() {
    let third = Linear::symbol(SymbolId(0)).divided(3).unwrap();
    let half = Linear::constant(1).divided(2).unwrap();
    let sum = third.times(3).unwrap().plus(&half).unwrap();
    let Factor { constant, terms } = sum.whole();
    assert_eq!((constant, terms[&SymbolId(0)]), (1, 1));
    assert_eq!(third.max(&half).unwrap().whole().terms[&SymbolId(0)], 1);
}
