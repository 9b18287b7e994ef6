//! How long the arrays of a run are, and where those between groups lie.

use conv_ir::Program;
use conv_ir::program::memory::{Copied, Joining, Lives, Slots};
use conv_ir::program::plan::Plan;

/// How long the arrays of a run are.
#[derive(Clone, Debug)]
pub(crate) struct Lens {
    /// Elements of each input.
    pub inputs: Vec<usize>,
    /// Elements of each output.
    pub outputs: Vec<usize>,
    /// Elements of the residual from outside.
    pub residual: Option<usize>,
    /// The tensors that a run takes.
    pub taken: Vec<usize>,
    /// The tensors that a run gives.
    pub given: Vec<usize>,
    /// Bytes of each block of memory for tensors between groups.
    pub slots: Vec<usize>,
    /// Tensors between groups, joined ones among them: the block, and where in it.
    pub between: Vec<(usize, Between)>,
    /// What is copied before each group, for the groups that need it, in order.
    pub copies: Vec<(usize, Joined)>,
    /// Behind the last tensor.
    outside: usize,
}

/// Where a tensor between groups lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Between {
    pub slot: usize,
    /// In bytes.
    pub offset: usize,
}

/// A tensor that is copied into a joined one: so many rows, so many bytes each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joined {
    pub from: usize,
    pub to: usize,
    pub rows: usize,
    pub row: usize,
    /// Bytes from one row to the next of the joined one, and before the first.
    pub stride: usize,
    pub start: usize,
}

impl Lens {
    /// Of a program whose sizes are known. Of tensors between groups that have gaps: how many
    /// elements they are.
    pub fn of(program: &Program, plan: &Plan, with_gaps: &[(usize, usize)]) -> Option<Lens> {
        let steps = program.steps();
        let count = steps.len();
        let elements = |tensor: usize| match tensor {
            0 => steps[0].conv.input_len(),
            k if k <= count => steps[k - 1].conv.output_len(),
            join => Some(program.len_of(join)),
        };
        // Of what is joined the parts have known sizes, or none has.
        let all = |tensors: &[usize]| tensors.iter().map(|&at| elements(at)).collect::<Option<_>>();
        let inputs = all(program.inputs())?;
        let bytes = |tensor: usize| {
            let with_gaps = with_gaps.iter().find(|(of, _)| *of == tensor);
            let elements = with_gaps.map_or_else(|| elements(tensor), |(_, len)| Some(*len));
            Some(elements? * program.type_of(tensor).bytes())
        };
        let lives = Lives::of(program, &plan.groups, Joining::InPlace);
        let mut slots = Slots::default();
        let mut between: Vec<Option<Between>> = vec![None; program.tensors()];
        let alive = lives.alive.iter().enumerate();
        let mut alive: Vec<(usize, (usize, usize))> =
            alive.filter_map(|(tensor, life)| Some((tensor, (*life)?))).collect();
        alive.sort_by_key(|(_, life)| life.0);
        for (tensor, life) in alive {
            let slot = slots.take(bytes(tensor)? as u64, life);
            between[tensor] = Some(Between { slot, offset: 0 });
        }
        for (tensor, within) in lives.within.iter().enumerate() {
            let Some(within) = within else { continue };
            let around = between[within.join]?;
            let (_, inner) = rows(program, within.join);
            let offset = within.channel * inner * program.type_of(tensor).bytes();
            between[tensor] = Some(Between { offset, ..around });
        }
        let copies = lives
            .copies
            .iter()
            .enumerate()
            .flat_map(|(group, copies)| copies.iter().map(move |copied| (group, copied)));
        let copies = copies.map(|(group, copied)| (group, Joined::of(program, copied)));
        let outside =
            steps.iter().position(|step| step.conv.spec().residual && step.residual.is_none());
        let tensors = between.into_iter().enumerate();
        Some(Lens {
            inputs,
            outputs: all(program.outputs())?,
            residual: outside.and_then(|at| elements(at + 1)),
            taken: program.inputs().to_vec(),
            given: program.outputs().to_vec(),
            slots: slots.lengths().map(usize::try_from).collect::<Result<_, _>>().ok()?,
            between: tensors.filter_map(|(tensor, at)| Some((tensor, at?))).collect(),
            copies: copies.collect(),
            outside: program.tensors(),
        })
    }

    /// Where the residual from outside stands among the tensors.
    pub fn outside(&self) -> usize {
        self.outside
    }
}

/// How the channels of a tensor lie: rows of them, and so many elements of each in a row.
fn rows(program: &Program, tensor: usize) -> (usize, usize) {
    let (shape, channels) = (program.shape(tensor), program.channel_dimension());
    let product = |shape: Option<&[usize]>| shape.unwrap_or_default().iter().product();
    (product(shape.get(..channels)), product(shape.get(channels + 1..)))
}

impl Joined {
    fn of(program: &Program, copied: &Copied) -> Joined {
        let (rows, inner) = rows(program, copied.from);
        let each = inner * program.type_of(copied.from).bytes();
        let channels = |tensor: usize| {
            program.shape(tensor).get(program.channel_dimension()).copied().unwrap_or(0)
        };
        Joined {
            from: copied.from,
            to: copied.to,
            rows,
            row: channels(copied.from) * each,
            stride: channels(copied.to) * each,
            start: copied.channel * each,
        }
    }
}

impl Joined {
    /// Copies.
    ///
    /// # Safety
    /// The addresses are exposed ones of both tensors, as long as their shapes say; no byte of the
    /// one is among those of the other that are written, which are nobody else's.
    pub unsafe fn copy(&self, addresses: &[usize]) {
        let Joined { from, to, rows, row, stride, start } = *self;
        for at in 0..rows {
            let source = std::ptr::with_exposed_provenance::<u8>(addresses[from] + at * row);
            let target = addresses[to] + start + at * stride;
            let target = std::ptr::with_exposed_provenance_mut::<u8>(target);
            // SAFETY: row `at` of both is within them (the caller's word), and they do not meet.
            unsafe { std::ptr::copy_nonoverlapping(source, target, row) };
        }
    }
}
