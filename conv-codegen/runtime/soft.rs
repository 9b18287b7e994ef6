//! Multiply-adds of one rounding in plain arithmetic: some 10 ns for f32, 100 for f64.

/// `a * b + c` with one rounding, without an instruction for it: the exact sum, rounded to odd in
/// 53 bits, keeps what rounding to 24 needs.
pub(super) fn fma_soft_f32(a: f32, b: f32, c: f32) -> f32 {
    let (product, c) = (a as f64 * b as f64, c as f64);
    let sum = product + c;
    let of_c = sum - product;
    let error = (product - (sum - of_c)) + (c - of_c);
    let bits = sum.to_bits();
    if error == 0.0 || !sum.is_finite() || bits & 1 == 1 {
        return sum as f32;
    }
    let away_from_zero = (error > 0.0) == (sum > 0.0);
    f64::from_bits(if away_from_zero { bits + 1 } else { bits - 1 }) as f32
}

/// `a * b + c` with one rounding, without an instruction for it: product and sum are whole numbers
/// of 128 bits.
pub(super) fn fma_soft_f64(a: f64, b: f64, c: f64) -> f64 {
    if !a.is_finite() || !b.is_finite() || a == 0.0 || b == 0.0 {
        return a * b + c;
    }
    if !c.is_finite() {
        return c;
    }
    if c == 0.0 {
        return a * b;
    }
    // A number is `mantissa * 2^exponent`; here its highest bit is bit 125, which leaves room for a
    // carry.
    let number = |x: f64| {
        let (field, fraction) = ((x.to_bits() >> 52 & 0x7ff) as i32, x.to_bits() & ((1 << 52) - 1));
        let mantissa = if field == 0 { fraction } else { fraction | 1 << 52 };
        (mantissa as u128, field.max(1) - 1075)
    };
    let raised = |mantissa: u128, exponent: i32| {
        let by = mantissa.leading_zeros() - 2;
        (mantissa << by, exponent - by as i32)
    };
    let ((a_mantissa, a_exponent), (b_mantissa, b_exponent)) = (number(a), number(b));
    let product = raised(a_mantissa * b_mantissa, a_exponent + b_exponent);
    let (c_mantissa, c_exponent) = number(c);
    let addend = raised(c_mantissa, c_exponent);
    let negative = a.is_sign_negative() != b.is_sign_negative();
    let (large, small, large_negative, small_negative) = match product.1 >= addend.1 {
        true => (product, addend, negative, c.is_sign_negative()),
        false => (addend, product, c.is_sign_negative(), negative),
    };
    // What falls off below is kept as one bit that says so.
    let by = (large.1 - small.1) as u32;
    let low = match by {
        0..=127 => small.0 >> by | (small.0 & ((1 << by) - 1) != 0) as u128,
        _ => 1,
    };
    let (sum, sum_negative) = match large_negative == small_negative {
        true => (large.0 + low, large_negative),
        false if large.0 >= low => (large.0 - low, large_negative),
        false => (low - large.0, small_negative),
    };
    if sum == 0 {
        return 0.0;
    }
    // The result's last bit counts `2^last`: 52 below the highest one, and no less than the
    // smallest number.
    let last = (large.1 + 127 - sum.leading_zeros() as i32 - 52).max(-1074);
    let mantissa = match last - large.1 {
        by if by <= 0 => sum << -by,
        by if by >= 128 => 0,
        by => {
            let (whole, rest, half) = (sum >> by, sum & ((1 << by) - 1), 1 << (by - 1));
            whole + (rest > half || rest == half && whole & 1 == 1) as u128
        }
    };
    // A mantissa of 53 bits carries into the exponent, and one of 54 likewise.
    let bits = (((last + 1074) as u64) << 52) + mantissa as u64;
    let magnitude = f64::from_bits(bits.min(0x7ff << 52));
    if sum_negative { -magnitude } else { magnitude }
}
