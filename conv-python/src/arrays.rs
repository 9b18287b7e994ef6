//! NumPy arrays as slices and views.
//!
//! An array must hold the element type, and as a slice lie row by row: one in Fortran order is
//! contiguous too, but its elements come in another order. Borrows are counted, so that an output
//! which is also read is an error. Arrays of `float16` and `bfloat16` come as the `uint16` of their
//! bits.

use conv_jit::{Array, BF16, DType, F16, Stored};
use numpy::ndarray::{ArrayViewD, ArrayViewMutD};
use numpy::{
    Element, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// What every type of the compiler's arrays is to NumPy.
pub trait Number: Stored {
    /// What the arrays hold that come here: itself, or its bits as `uint16`.
    type Held: Element;
    /// NumPy's name of the type.
    const NAME: &str;
    fn of(held: &[Self::Held]) -> &[Self];
    fn of_mut(held: &mut [Self::Held]) -> &mut [Self];
    fn view(held: ArrayViewD<'_, Self::Held>) -> ArrayViewD<'_, Self>;
    fn view_mut(held: ArrayViewMutD<'_, Self::Held>) -> ArrayViewMutD<'_, Self>;
}

macro_rules! numbers {
    ($($t:ident $held:ident $name:literal $way:tt;)*) => {$(
        impl Number for $t {
            type Held = $held;
            const NAME: &str = $name;
            fn of(held: &[$held]) -> &[$t] {
                numbers!(0 $way)(held)
            }
            fn of_mut(held: &mut [$held]) -> &mut [$t] {
                numbers!(1 $way)(held)
            }
            fn view(held: ArrayViewD<'_, $held>) -> ArrayViewD<'_, $t> {
                numbers!(2 $way)(held)
            }
            fn view_mut(held: ArrayViewMutD<'_, $held>) -> ArrayViewMutD<'_, $t> {
                numbers!(3 $way)(held)
            }
        }
    )*};
    ($n:tt itself) => { |held| held };
    (0 ($a:path, $b:path, $c:path, $d:path)) => { $a };
    (1 ($a:path, $b:path, $c:path, $d:path)) => { $b };
    (2 ($a:path, $b:path, $c:path, $d:path)) => { $c };
    (3 ($a:path, $b:path, $c:path, $d:path)) => { $d };
}

numbers! {
    f32 f32 "float32" itself;
    f64 f64 "float64" itself;
    F16 u16 "float16"
        (conv_jit::f16s, conv_jit::f16s_mut, conv_jit::f16_view, conv_jit::f16_view_mut);
    BF16 u16 "bfloat16"
        (conv_jit::bf16s, conv_jit::bf16s_mut, conv_jit::bf16_view, conv_jit::bf16_view_mut);
    i32 i32 "int32" itself;
    i8 i8 "int8" itself;
    u8 u8 "uint8" itself;
    i16 i16 "int16" itself;
    u16 u16 "uint16" itself;
}

/// Axes of a view at most; NumPy's arrays have up to 64.
const MOST_AXES: usize = 32;

/// Fails where an array has more axes than a view.
pub fn check_axes(name: &str, axes: usize) -> PyResult<()> {
    match axes > MOST_AXES {
        true => {
            Err(PyValueError::new_err(format!("{name} has {axes} axes, but {MOST_AXES} at most")))
        }
        false => Ok(()),
    }
}

/// NumPy's name of a type.
pub fn numpy_name(dtype: DType) -> &'static str {
    conv_ir::with_stored!(dtype, T => T::NAME)
}

/// An array of a type that is known at run time, while it is borrowed.
pub struct Given<'py> {
    array: Box<dyn AsArray + 'py>,
}

impl<'py> Given<'py> {
    pub fn read(name: &'static str, dtype: DType, array: &Bound<'py, PyAny>) -> PyResult<Self> {
        conv_ir::with_stored!(dtype, T => {
            let array = Box::new(Of::<T>(read::<T>(name, array)?, name));
            Ok(Given { array })
        })
    }

    pub fn array(&self) -> PyResult<Array<'_>> {
        self.array.array()
    }
}

struct Of<'py, T: Number>(PyReadonlyArrayDyn<'py, T::Held>, &'static str);

trait AsArray {
    fn array(&self) -> PyResult<Array<'_>>;
}

impl<T: Number> AsArray for Of<'_, T> {
    fn array(&self) -> PyResult<Array<'_>> {
        let numbers = T::of(elements(self.1, &self.0)?);
        T::array(numbers).ok_or_else(|| PyTypeError::new_err("an array of no type"))
    }
}

/// An array's elements, which lie row by row.
pub fn elements<'a, T: Element>(
    name: &str,
    array: &'a PyReadonlyArrayDyn<'_, T>,
) -> PyResult<&'a [T]> {
    match array.is_c_contiguous() {
        true => Ok(array.as_slice()?),
        false => Err(PyValueError::new_err(format!(
            "the elements of {name} do not lie row by row: give numpy.ascontiguousarray({name})"
        ))),
    }
}

/// An array that is read.
pub fn read<'py, T: Number>(
    name: &str,
    array: &Bound<'py, PyAny>,
) -> PyResult<PyReadonlyArrayDyn<'py, T::Held>> {
    let array = of_type::<T>(name, array)?;
    array.try_readonly().map_err(|_| {
        PyValueError::new_err(format!("{name} is written by another call at the same time"))
    })
}

/// An array that is written.
pub fn write<'py, T: Number>(
    name: &str,
    array: &Bound<'py, PyAny>,
) -> PyResult<PyReadwriteArrayDyn<'py, T::Held>> {
    let array = of_type::<T>(name, array)?;
    array.try_readwrite().map_err(|error| {
        PyValueError::new_err(match error {
            numpy::BorrowError::NotWriteable => format!("{name} is read-only"),
            _ => format!("{name} shares memory with an array that this or another call uses"),
        })
    })
}

fn of_type<'a, 'py, T: Number>(
    name: &str,
    array: &'a Bound<'py, PyAny>,
) -> PyResult<&'a Bound<'py, PyArrayDyn<T::Held>>> {
    let Ok(array) = array.cast::<PyUntypedArray>() else {
        let kind = array.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{name} is no NumPy array, but a {kind}")));
    };
    let typed = array.cast::<PyArrayDyn<T::Held>>();
    let typed = typed.map_err(|_| wrong_type(name, array, T::NAME))?;
    let size = size_of::<T::Held>();
    let is_odd = |(&n, &stride): (&usize, &isize)| n > 1 && stride % size as isize != 0;
    let odd = typed.shape().iter().zip(typed.strides()).any(is_odd);
    if odd || !(typed.data() as usize).is_multiple_of(align_of::<T::Held>()) {
        return Err(PyValueError::new_err(format!(
            "the elements of {name} lie at addresses that are no multiples of {size} bytes: give \
             {name}.copy()"
        )));
    }
    Ok(typed)
}

fn wrong_type(name: &str, array: &Bound<'_, PyUntypedArray>, needed: &str) -> PyErr {
    let found = array.dtype();
    PyTypeError::new_err(format!(
        "{name} holds {found}, but the convolution takes {needed}: convert it by \
         {name}.astype('{needed}'), or describe the other type"
    ))
}
