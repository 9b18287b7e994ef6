//! Memory of outputs that nobody reads any more, for the next ones.
//!
//! A network's tensors are megabytes, and an allocator gives such blocks back to the system and
//! asks for them again in every run, a page at a time: a fifth of the time. So the nodes of a model
//! keep a share of each output. One of which theirs is the only share is free. The list grows to
//! what is alive at once in as many runs as there were side by side.

use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::tract_core::internal::*;

/// The outputs of one model for one set of shapes.
#[derive(Debug, Default)]
pub struct Outputs(Mutex<Vec<Arc<Tensor>>>);

/// Asks for a large block and gives it back at once. From then on the allocator of glibc keeps
/// blocks of up to that size, and twice as much at the end of its heap, instead of returning them:
/// it goes by the largest block that it had from the system, up to 32 MiB. That is for the outputs
/// of tract's nodes. Others do nothing with it.
pub fn keep_blocks() {
    const LARGEST: usize = (32 << 20) - (64 << 10);
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGEST)));
}

impl PartialEq for Outputs {
    fn eq(&self, other: &Outputs) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Outputs {
    /// A tensor of f32, full of what an earlier run left, for `write` to write as a whole.
    pub fn written(
        &self,
        shape: &[usize],
        write: impl FnOnce(&mut [f32]) -> TractResult<()>,
    ) -> TractResult<Arc<Tensor>> {
        self.of(f32::datum_type(), shape, |tensor| {
            write(tensor.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?)
        })
    }

    /// The same, of any type.
    pub fn of(
        &self,
        dtype: DatumType,
        shape: &[usize],
        write: impl FnOnce(&mut Tensor) -> TractResult<()>,
    ) -> TractResult<Arc<Tensor>> {
        let mut tensor = match self.take(dtype, shape.iter().product()) {
            Some(tensor) => tensor,
            None => Arc::new(Tensor::zero_dt(dtype, shape)?),
        };
        // Nobody else has it: a new one, or one whose only share was the list's.
        let own = Arc::make_mut(&mut tensor);
        own.set_shape(shape)?;
        write(own)?;
        self.lock().push(tensor.clone());
        Ok(tensor)
    }

    /// A free one of so many numbers.
    fn take(&self, dtype: DatumType, len: usize) -> Option<Arc<Tensor>> {
        let mut list = self.lock();
        let is_free = |tensor: &Arc<Tensor>| {
            tensor.len() == len && tensor.datum_type() == dtype && Arc::strong_count(tensor) == 1
        };
        let at = list.iter().position(is_free)?;
        Some(list.swap_remove(at))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Tensor>>> {
        // Nothing panics while the lock is held; if it did, the list would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
