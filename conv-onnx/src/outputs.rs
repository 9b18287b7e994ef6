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
    /// A tensor, full of what an earlier run left, for `write` to write as a whole.
    pub fn of(
        &self,
        dtype: DatumType,
        shape: &[usize],
        write: impl FnOnce(&mut Tensor) -> TractResult<()>,
    ) -> TractResult<Arc<Tensor>> {
        let mut tensor = self.taken(dtype, shape)?;
        write(Arc::make_mut(&mut tensor))?;
        self.lock().push(tensor.clone());
        Ok(tensor)
    }

    /// The same, of f32.
    pub fn written(
        &self,
        shape: &[usize],
        write: impl FnOnce(&mut [f32]) -> TractResult<()>,
    ) -> TractResult<Arc<Tensor>> {
        self.of(f32::datum_type(), shape, |tensor| {
            write(tensor.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?)
        })
    }

    /// Several at a time.
    pub fn all_written(
        &self,
        shapes: &[TVec<usize>],
        write: impl FnOnce(Vec<&mut [f32]>) -> TractResult<()>,
    ) -> TractResult<Vec<Arc<Tensor>>> {
        let taken = shapes.iter().map(|shape| self.taken(f32::datum_type(), shape));
        let mut tensors = taken.collect::<TractResult<Vec<Arc<Tensor>>>>()?;
        let own = tensors.iter_mut().map(|tensor| Arc::make_mut(tensor).try_as_plain_ram_mut());
        let mut own = own.collect::<TractResult<Vec<_>>>()?;
        let slices = own.iter_mut().map(|own| own.as_slice_mut::<f32>());
        write(slices.collect::<TractResult<Vec<_>>>()?)?;
        drop(own);
        self.lock().extend(tensors.iter().cloned());
        Ok(tensors)
    }

    /// One that nobody else has: a new one, or one whose only share was the list's.
    fn taken(&self, dtype: DatumType, shape: &[usize]) -> TractResult<Arc<Tensor>> {
        let mut tensor = match self.take(dtype, shape.iter().product()) {
            Some(tensor) => tensor,
            None => Arc::new(Tensor::zero_dt(dtype, shape)?),
        };
        Arc::make_mut(&mut tensor).set_shape(shape)?;
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
