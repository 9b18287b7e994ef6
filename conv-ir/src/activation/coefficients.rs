//! The constants of the activations, per element type.
//!
//! Sources: the reduction of the exponent is Cody and Waite's ("Software Manual for the Elementary
//! Functions", 1980), with ln 2 split as in Cephes (f32) and fdlibm (f64). The polynomial for `e^r`
//! and the rational function for the normal distribution's tail (all its terms are positive, as in
//! Cody's "Rational Chebyshev approximations for the error function", 1969, so nothing cancels)
//! were fitted for this project: minimal largest relative error by Lawson's iteration in 70-digit
//! arithmetic, then rounded to the element type (for `P` and `Q` in f32: to the best of the
//! neighbouring values). So was the series of `atanh`, by Remez's exchange, its first term kept.
//!
//! Every f32 constant is an f32 exactly, except `log2_e`, `1/6` and the user's own, which round to
//! the nearest; nothing depends on how.

use crate::dtype::DType;

/// The constants for one element type.
#[derive(Debug)]
pub struct Coefficients {
    /// `1 / ln 2`.
    pub log2_e: f64,
    /// The upper bits of `ln 2`, few enough that any exponent times this is exact.
    pub ln2_hi: f64,
    /// `ln 2 - ln2_hi`.
    pub ln2_lo: f64,
    /// `e^r` in powers of `r`, for `|r| <= ln 2 / 2`. Relative error `3.1e-9` (f64 `3.7e-18`). The
    /// first two are 1.
    pub exp: &'static [f64],
    /// Below this, `1 + e^(-x)` is infinite.
    pub sigmoid_lo: f64,
    /// Above this, `1 + e^(-x)` is 1.
    pub sigmoid_hi: f64,
    /// Below this, `e^x` is subnormal.
    pub exp_lo: f64,
    /// Above this, `tanh` is 1.
    pub tanh_hi: f64,
    /// Above this, `x * e^(-x^2 / 2) * P / Q` is subnormal.
    pub gelu_hi: f64,
    /// `P(y)` of `P / Q = e^(y^2 / 2) * erfc(y / sqrt 2) / 2` for `0 <= y <= gelu_hi`. Relative
    /// error `7.7e-9` (f64 `1.0e-16`).
    pub gelu_p: &'static [f64],
    /// `Q(y)` of the same.
    pub gelu_q: &'static [f64],
    /// `2 atanh(s) / s` in powers of `s^2`, for `|s| <= 1/3`. Relative error `5.5e-9` (f64
    /// `2.3e-18`).
    pub atanh: &'static [f64],
}

impl Coefficients {
    /// The constants for a type.
    pub fn of(dtype: DType) -> &'static Coefficients {
        match dtype.format().computed {
            DType::F64 => &F64,
            _ => &F32,
        }
    }
}

static F32: Coefficients = Coefficients {
    log2_e: std::f64::consts::LOG2_E,
    ln2_hi: 0.693359375,
    ln2_lo: -0.00021219444170128554,
    exp: &[
        1.0,
        1.0,
        0.4999999403953552,
        0.1666652113199234,
        0.04166826233267784,
        0.008368671871721745,
        0.0013820999301970005,
    ],
    sigmoid_lo: -89.0,
    sigmoid_hi: 30.0,
    exp_lo: -87.0,
    tanh_hi: 9.5,
    gelu_hi: 13.199999809265137,
    gelu_p: &[
        0.5,
        0.43571415543556213,
        0.18132716417312622,
        0.039990998804569244,
        0.004021181724965572,
    ],
    gelu_q: &[
        1.0,
        1.6693131923675537,
        1.19456946849823,
        0.4644341468811035,
        0.10024993866682053,
        0.010079464875161648,
    ],
    atanh: &[2.0, 0.666664183139801, 0.4002152681350708, 0.2800181806087494, 0.2801193296909332],
};

static F64: Coefficients = Coefficients {
    log2_e: std::f64::consts::LOG2_E,
    ln2_hi: 6.931_471_803_691_238e-1,
    ln2_lo: 1.908_214_929_270_587_7e-10,
    exp: &[
        1.0,
        1.0,
        0.5000000000000011,
        0.1666666666666644,
        0.041666666666527,
        0.008333333333477463,
        0.001388888894433381,
        0.00019841269541663131,
        2.4801492456091766e-05,
        2.7557556148397176e-06,
        2.763045574694934e-07,
        2.5009361826371198e-08,
    ],
    sigmoid_lo: -710.0,
    sigmoid_hi: 60.0,
    exp_lo: -708.0,
    tanh_hi: 20.0,
    gelu_hi: 37.63,
    gelu_p: &[
        0.5,
        0.7740346275341664,
        0.5928311235331247,
        0.28846525856866495,
        0.09731029845285916,
        0.0235036471517325,
        0.0040641044139151095,
        0.0004867748601005738,
        3.692365628849645e-05,
        1.3710013188715042e-06,
    ],
    gelu_q: &[
        1.0,
        2.3459538158711886,
        2.5574625771067416,
        1.7104750345701498,
        0.7795843734462289,
        0.253922824438206,
        0.0601281974070833,
        0.010279752903761123,
        0.0012236002185961059,
        9.255388085312891e-05,
        3.4365906704513717e-06,
    ],
    atanh: &[
        2.0,
        0.6666666666666631,
        0.4000000000015512,
        0.28571428548117256,
        0.2222222395370368,
        0.18181744476761644,
        0.15386548446796805,
        0.13301120620481152,
        0.12104951188105417,
        0.08344943141059442,
        0.1700981037365588,
    ],
};
