//! stub
use super::Conv;
impl Conv {
    /// Input shape in the user's layout, `None` where a size is free.
    pub fn input_shape(&self) -> Option<Vec<usize>> { todo!() }
    /// Weight shape.
    pub fn weight_shape(&self) -> Vec<usize> { todo!() }
    /// Output shape in the user's layout.
    pub fn output_shape(&self) -> Option<Vec<usize>> { todo!() }
}
