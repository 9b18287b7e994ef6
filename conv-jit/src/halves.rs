//! Slices of numbers of sixteen bits, from slices of their bits: those of another crate's types, or
//! of another language's arrays, without a copy. With feature `ndarray` views as well.

use conv_ir::{BF16, F16};

macro_rules! halves {
    ($($t:ident $shared:ident $mutable:ident $view:ident $view_mut:ident;)*) => {$(
        /// The numbers with these bits, in the same memory.
        ///
        /// ```
        #[doc = concat!("use conv_jit::{", stringify!($t), ", ", stringify!($shared), "};")]
        #[doc = concat!(
            "assert_eq!(", stringify!($shared), "(&[0x8000])[0].to_bits(), 0x8000);"
        )]
        /// ```
        pub fn $shared(bits: &[u16]) -> &[$t] {
            // SAFETY: the type is a transparent `u16`: as large, as aligned, valid with any bits.
            unsafe { std::slice::from_raw_parts(bits.as_ptr().cast(), bits.len()) }
        }

        /// The same, to be written.
        pub fn $mutable(bits: &mut [u16]) -> &mut [$t] {
            // SAFETY: as above; the bits are borrowed for the numbers alone.
            unsafe { std::slice::from_raw_parts_mut(bits.as_mut_ptr().cast(), bits.len()) }
        }

        /// The numbers with these bits, in the same memory.
        #[cfg(feature = "ndarray")]
        pub fn $view(bits: ndarray::ArrayViewD<'_, u16>) -> ndarray::ArrayViewD<'_, $t> {
            // SAFETY: as above.
            unsafe { bits.raw_view().cast().deref_into_view() }
        }

        /// The same, to be written.
        #[cfg(feature = "ndarray")]
        pub fn $view_mut(
            mut bits: ndarray::ArrayViewMutD<'_, u16>,
        ) -> ndarray::ArrayViewMutD<'_, $t> {
            // SAFETY: as above; the view was handed over, so nobody else has its bits.
            unsafe { bits.raw_view_mut().cast().deref_into_view_mut() }
        }

        const _: () = assert!(size_of::<$t>() == 2 && align_of::<$t>() == align_of::<u16>());
    )*};
}

halves! {
    F16 f16s f16s_mut f16_view f16_view_mut;
    BF16 bf16s bf16s_mut bf16_view bf16_view_mut;
}
