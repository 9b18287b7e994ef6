//! Running a nest's code: constants packed once, then addresses in, and parts shared out.
//!
//! In: a nest, its code and arrays whose lengths somebody has checked. The n-th buffer of a role
//! takes the n-th array.

use std::sync::Arc;

use conv_ir::nest::{BufferId, BufferRole, Var};
use conv_ir::{Array, DType, Nest, with_stored};

use crate::code::{Code, Entry};
use crate::emit::scratch::{bytes, layout};
use crate::executor::Executor;
#[cfg(test)]
use crate::memory::guard;
use crate::memory::{Block, Room, is_guarded};
use crate::{Error, share};

/// What does not change between runs: packed buffers, copies of weights and biases where the body
/// reads them as they are, and where scratch lies.
pub(crate) struct Constants {
    /// Own what exposed addresses point to. After packing it is only read.
    _blocks: Vec<Arc<Block>>,
    /// Bytes of them that are ours.
    bytes: usize,
    /// By buffer of the nest.
    entries: Vec<TableEntry>,
    /// Bytes of one thread's scratch. `None` where sizes come with a run.
    scratch: Option<usize>,
}

/// Blocks of constants, as they come.
#[derive(Default)]
struct Kept {
    blocks: Vec<Arc<Block>>,
    bytes: usize,
}

impl Kept {
    /// So many bytes of a block, which others may have parts of as well.
    fn push(&mut self, block: Arc<Block>, bytes: usize) {
        self.blocks.push(block);
        self.bytes += bytes;
    }

    fn push_own(&mut self, block: Block) {
        let bytes = block.bytes();
        self.push(Arc::new(block), bytes);
    }
}

/// What stands in the buffer table of a run.
#[derive(Clone, Copy)]
enum TableEntry {
    /// The address of an array of the run, by position.
    Array(usize),
    /// An exposed address of a block, or an offset in a thread's scratch.
    Fixed(usize),
}

impl Constants {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those of a nest that [`packs_alike`](packs_alike), whose blocks are still theirs: they must
    /// not be dropped before.
    #[cfg(feature = "ndarray")]
    pub fn lent(&self, nest: &Nest, slack: &[i64]) -> Constants {
        Constants::new(nest, slack, Kept::default(), self.entries.clone())
    }

    /// With offsets in scratch, where they follow from the nest.
    fn new(nest: &Nest, slack: &[i64], kept: Kept, mut entries: Vec<TableEntry>) -> Constants {
        let scratch = nest.symbols.is_empty().then(|| {
            layout(nest, slack, &[], |id, start, _| entries[id.index()] = TableEntry::Fixed(start))
        });
        place_views(nest, &mut entries);
        let Kept { blocks, bytes } = kept;
        Constants { _blocks: blocks, bytes, entries, scratch: scratch.flatten() }
    }
}

/// Working memory of one nest at a time. Grows to what a run needs and stays so.
#[derive(Default)]
pub(crate) struct Work {
    block: Block,
    /// Room for the buffer table and the symbol table.
    table: Vec<usize>,
    symbols: Vec<i64>,
}

/// A nest's arrays, by position in the addresses of a run.
#[derive(Clone, Debug)]
pub(crate) struct Arrays {
    pub input: usize,
    pub output: usize,
    /// One per residual of the nest, in order.
    pub residuals: Vec<usize>,
}

/// A run about to start.
pub(crate) struct Run<'a> {
    pub nest: &'a Nest,
    pub code: &'a Code,
    pub constants: &'a Constants,
    /// Values of free sizes.
    pub sizes: &'a [(&'a str, usize)],
    /// Exposed addresses, of which the nest's arrays are some.
    pub addresses: &'a [usize],
    /// Parts that the work is cut into.
    pub parts: usize,
    pub executor: &'a dyn Executor,
}

impl Run<'_> {
    /// Runs the body.
    ///
    /// # Safety
    /// The array behind every address that the constants name has as many elements as the nest says
    /// at these sizes, the output nobody else's; `constants` were packed for this nest; its parts
    /// write different elements, or there is one.
    pub(crate) unsafe fn run(&self, work: &mut Work) -> Result<(), Error> {
        let Run { nest, code, constants, parts, executor, .. } = *self;
        work.fill_symbols(nest, self.sizes)?;
        work.table.clear();
        work.table.extend(constants.entries.iter().map(|place| match *place {
            TableEntry::Array(at) => self.addresses[at],
            TableEntry::Fixed(address) => address,
        }));
        let block = match constants.scratch {
            Some(bytes) if !is_guarded() => work.grow(bytes, parts)?,
            _ => work.reserve(nest, &code.slack, parts)?,
        };
        let start = work.block.start().expose_provenance();
        let (table, symbols) = (&work.table[..], &work.symbols[..]);
        #[cfg(test)]
        let guarded = (guard::copy(table), guard::copy(symbols));
        #[cfg(test)]
        let (table, symbols) = (guarded.0.as_slice(), guarded.1.as_slice());
        let job = |part: usize| {
            // SAFETY: addresses in the table are the caller's arrays, of the lengths that he
            // vouches for, or our packed ones, in the nest's order, or offsets that `layout` gave;
            // this part's scratch is `block` bytes nobody else uses; parts write different
            // elements.
            unsafe {
                let buffers =
                    std::slice::from_raw_parts(table.as_ptr().cast::<*mut u8>(), table.len());
                let scratch = std::ptr::with_exposed_provenance_mut(start + part * block);
                code.call(Entry::Run, buffers, symbols, scratch, (part, parts));
            }
        };
        match parts {
            1 => job(0),
            parts => run_once_each(executor, parts, &job),
        }
        Ok(())
    }
}

/// Guards against an executor of the user's that repeats a part, or invents one: two threads in one
/// part would share scratch.
pub(crate) fn run_once_each(executor: &dyn Executor, parts: usize, job: &(dyn Fn(usize) + Sync)) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let done = AtomicUsize::new(0);
    // Parts are handed out here and not by the executor's number, so that each is run exactly once
    // whatever the executor does.
    executor.run(parts, &|_| {
        let part = done.fetch_add(1, Ordering::Relaxed);
        if part < parts {
            job(part);
        }
    });
    // An executor that called too rarely leaves the rest to us.
    while done.load(Ordering::Relaxed) < parts {
        job(done.fetch_add(1, Ordering::Relaxed));
    }
}

impl Work {
    /// Room for the scratch of `parts` threads, and where its buffers lie in it, in the table.
    /// Bytes of one thread's.
    fn reserve(&mut self, nest: &Nest, slack: &[i64], parts: usize) -> Result<usize, Error> {
        let Work { table, symbols, .. } = self;
        let bytes = layout(nest, slack, symbols, |id, start, _| table[id.index()] = start);
        let bytes = bytes.ok_or_else(|| no_scratch(parts))?;
        place_views(nest, table);
        #[cfg(test)]
        if guard::side().is_some() {
            let mut arrays = Vec::new();
            layout(nest, slack, symbols, |_, start, bytes| arrays.push(start..start + bytes));
            let of =
                |part| arrays.iter().map(move |a| part * bytes + a.start..part * bytes + a.end);
            self.block.fence(parts * bytes, (0..parts).flat_map(of));
            return Ok(bytes);
        }
        self.grow(bytes, parts)
    }

    /// Room for `parts` times so many bytes, whose exposed address it gives.
    pub(crate) fn room(&mut self, bytes: usize, parts: usize) -> Result<usize, Error> {
        self.grow(bytes, parts)?;
        Ok(self.block.start().expose_provenance())
    }

    /// Room for `parts` times so many bytes. Bytes of one thread's.
    fn grow(&mut self, bytes: usize, parts: usize) -> Result<usize, Error> {
        let total = bytes.checked_mul(parts).ok_or_else(|| no_scratch(parts))?;
        self.block.grow(total)?;
        Ok(bytes)
    }

    /// Works out every symbol's value.
    fn fill_symbols(&mut self, nest: &Nest, sizes: &[(&str, usize)]) -> Result<(), Error> {
        self.symbols.clear();
        for symbol in &nest.symbols {
            let value = match &symbol.value {
                Some(quotient) => quotient.eval(|var| match var {
                    Var::Symbol(earlier) => self.symbols[earlier.index()],
                    Var::Axis(_) => unreachable!("a symbol follows from symbols before it"),
                }),
                None => given(&symbol.name, sizes)?,
            };
            self.symbols.push(value);
        }
        Ok(())
    }
}

fn no_scratch(parts: usize) -> Error {
    Error::Memory(format!("scratch for {parts} threads"))
}

/// Buffers that are views stand where those stand whose memory they see.
fn place_views<P: Copy>(nest: &Nest, entries: &mut [P]) {
    for (at, buffer) in nest.buffers.iter().enumerate() {
        if let Some(of) = buffer.view_of {
            entries[at] = entries[of.index()];
        }
    }
}

fn given(name: &str, sizes: &[(&str, usize)]) -> Result<i64, Error> {
    let found = sizes
        .iter()
        .find(|(known, _)| *known == name)
        .and_then(|(_, size)| i64::try_from(*size).ok());
    found.ok_or_else(|| Error::Argument(format!("the size {name} is missing")))
}

/// Whether what was packed for `nest` serves `other`, of the same convolution under the same
/// schedule, whose arrays lie otherwise.
#[cfg(feature = "ndarray")]
pub(crate) fn packs_alike(nest: &Nest, other: &Nest) -> bool {
    let (slack, needed) = (nest.slack(), other.slack());
    let same = |(at, (a, b)): (usize, (&conv_ir::nest::Buffer, &conv_ir::nest::Buffer))| {
        let id = BufferId(at as u32);
        a.role == b.role
            && match a.role {
                BufferRole::Weight | BufferRole::Bias | BufferRole::Packed => {
                    (a.dtype, &a.extents, &a.values) == (b.dtype, &b.extents, &b.values)
                        && a.view_of == b.view_of
                        && slack[at] >= needed[at]
                        && (share::body_reads(nest, id) || !share::body_reads(other, id))
                }
                BufferRole::Input
                | BufferRole::Residual
                | BufferRole::Output
                | BufferRole::Scratch => a.values == b.values,
            }
    };
    let pairs = nest.buffers.iter().zip(&other.buffers);
    nest.buffers.len() == other.buffers.len() && pairs.enumerate().all(same)
}

/// Runs `setup`: the packed buffers, and copies of weights and biases where the body reads them as
/// they are.
///
/// # Safety
/// `weights` and `biases` hold one slice per weight and bias buffer, in buffer order, each exactly
/// as long as that buffer. Surplus slices are ignored.
pub(crate) unsafe fn pack(
    nest: &Nest,
    (code, arrays): (&Code, &Arrays),
    (weights, biases): (&[Array<'_>], &[Array<'_>]),
    room: &mut Room,
) -> Result<Constants, Error> {
    let mut blocks = Kept::default();
    let (mut during, mut entries) = (Vec::new(), Vec::new());
    let fixed = |start: *mut u8| TableEntry::Fixed(start.expose_provenance());
    for at in 0..nest.buffers.len() {
        let id = BufferId(at as u32);
        let null = std::ptr::null_mut();
        if let Some(values) = &nest.buffer(id).values {
            let start = known_block(values, nest.buffer(id).dtype, code.slack[at], &mut blocks)?;
            during.push(start);
            entries.push(fixed(start));
            continue;
        }
        let given = |arrays: &[Array<'_>]| bytes_of(&arrays[nest.position_in_role(id)]).as_ptr();
        let given = |arrays: &[Array<'_>]| given(arrays).cast_mut();
        let mut kept =
            |arrays: &[Array<'_>]| copy(nest, id, &arrays[nest.position_in_role(id)], &mut blocks);
        let (now, later) = match nest.buffer(id).role {
            BufferRole::Weight => (given(weights), fixed(kept(weights)?)),
            BufferRole::Bias => (given(biases), fixed(kept(biases)?)),
            BufferRole::Packed => {
                let start = packed_block(nest, id, code.slack[at], (room, &mut blocks))?;
                (start, fixed(start))
            }
            BufferRole::Input => (null, TableEntry::Array(arrays.input)),
            BufferRole::Residual => {
                (null, TableEntry::Array(arrays.residuals[nest.position_in_role(id)]))
            }
            BufferRole::Output => (null, TableEntry::Array(arrays.output)),
            BufferRole::Scratch => (null, fixed(null)),
        };
        during.push(now);
        entries.push(later);
    }
    let symbols = vec![0; nest.symbols.len()];
    // SAFETY: weights and biases have the lengths of their buffers (the caller's word) and are only
    // read; packed buffers are ours and as long as the nest says; `setup` touches no other
    // buffer and, as `packed_block` checked, no symbol's value matters to it.
    unsafe { code.call(Entry::Setup, &during, &symbols, std::ptr::null_mut(), (0, 1)) };
    Ok(Constants::new(nest, &code.slack, blocks, entries))
}

/// Known numbers that the code reads from memory.
fn known_block(
    values: &[f64],
    dtype: DType,
    slack: i64,
    blocks: &mut Kept,
) -> Result<*mut u8, Error> {
    let mut block = Block::new(dtype.bytes() * (values.len() + slack as usize))?;
    let start = block.start();
    with_stored!(dtype, T => for (at, &value) in values.iter().enumerate() {
        // SAFETY: the block is fresh, longer than the numbers, and starts where any number may.
        unsafe { start.cast::<T>().add(at).write(<T as conv_ir::Stored>::from_f64(value)) };
    });
    blocks.push_own(block);
    Ok(start)
}

fn packed_block(
    nest: &Nest,
    id: BufferId,
    slack: i64,
    (room, blocks): (&mut Room, &mut Kept),
) -> Result<*mut u8, Error> {
    let buffer = nest.buffer(id);
    if nest.constant_len(id).is_none() {
        return Err(Error::Unsupported(format!(
            "packed buffer {} has a size known only at run time",
            buffer.name
        )));
    }
    let len = bytes(buffer, slack, &[]);
    let len = len.ok_or_else(|| Error::Memory(format!("packed buffer {}", buffer.name)))?;
    let (block, start) = room.take(len)?;
    blocks.push(block, len);
    Ok(start)
}

/// Bytes of a nest's packed weights.
pub(crate) fn packed_bytes(nest: &Nest, slack: &[i64]) -> usize {
    let packed = nest.buffers.iter().zip(slack).filter(|(b, _)| b.role == BufferRole::Packed);
    let each = packed.map(|(buffer, &slack)| Room::of(bytes(buffer, slack, &[]).unwrap_or(0)));
    each.fold(0, usize::saturating_add)
}

/// A copy of the caller's array, where the body needs one after packing.
fn copy(nest: &Nest, id: BufferId, from: &Array<'_>, blocks: &mut Kept) -> Result<*mut u8, Error> {
    if nest.buffer(id).view_of.is_some() || !share::body_reads(nest, id) {
        return Ok(std::ptr::null_mut());
    }
    let from = bytes_of(from);
    let mut block = Block::new(from.len())?;
    let start = block.start();
    // SAFETY: the block is fresh and at least as long as `from`.
    unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), start, from.len()) };
    blocks.push_own(block);
    Ok(start)
}

/// The bytes of an array's numbers.
fn bytes_of<'a>(array: &'a Array<'_>) -> &'a [u8] {
    with_stored!(array.dtype(), T => {
        let numbers: &[T] = <T as conv_ir::Stored>::numbers(array).unwrap_or_default();
        // SAFETY: plain numbers without padding, borrowed for as long as their bytes.
        unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
    })
}
