//! Machine code, and everything that it was made from.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use conv_ir::{Isa, Nest, Program, Target};

use crate::backend::Backend;
use crate::code::Code;
use crate::engine::Arrays;
use crate::host::is_here;
use crate::lens::Lens;
use crate::lowered::{Lowered, LoweredGroup};
use crate::memo::{Memo, twins};
use crate::options::Options;
use crate::x86::Kernels;
use crate::{Error, executor, share};

/// What clones, packed weights and the cache hold together.
pub(crate) struct Shared {
    /// The program as it was described.
    pub described: Program,
    pub lowered: Lowered,
    /// How it was compiled. Threads are those that it was planned for.
    pub options: Options,
    pub backend: Backend,
    /// One per group.
    pub codes: Vec<GroupCode>,
    /// `None` where a size is free.
    pub lens: Option<Lens>,
    /// From the description to nests: rewriting, planning, scheduling, passes.
    pub lowering: Duration,
    /// For arrays that do not lie row by row.
    #[cfg(feature = "ndarray")]
    pub strided: crate::strided::Strided,
}

/// The machine code of a group, and what a run must know of it.
pub(crate) struct GroupCode {
    /// That of a group before it, where the nests are the same but for names: networks repeat their
    /// blocks.
    pub code: Arc<Code>,
    /// Its arrays by tensor.
    pub arrays: Arrays,
    /// Parts of the work can be done by different threads.
    divisible: bool,
    /// As many threads as there is work for.
    useful_threads: usize,
}

/// Refuses a target whose instructions this CPU does not have.
fn check_here(target: &Target) -> Result<(), Error> {
    match is_here(target.isa) {
        true => Ok(()),
        false => Err(Error::Unsupported(format!(
            "target {target} needs {}, which this CPU does not have",
            target.isa.machine().features.join(", ")
        ))),
    }
}

impl Shared {
    pub fn new(described: &Program, options: &Options) -> Result<Shared, Error> {
        check_here(&options.target)?;
        let backend = options.backend()?;
        let start = Instant::now();
        let memo = Memo::of(described);
        let mut lowered = Lowered::with(described, options, &memo)?;
        let lowering = start.elapsed();
        let groups = lowered.groups.iter_mut();
        let kernels: Vec<_> =
            groups.map(|group| Mutex::new(std::mem::take(&mut group.kernels))).collect();
        let (program, groups) = (&lowered.rewritten.program, &lowered.groups);
        let twins = twins(groups.iter().map(|group| &group.nest));
        let firsts: Vec<usize> = (0..groups.len()).filter(|&at| twins[at] == at).collect();
        let code = |first: usize| {
            let at = firsts[first];
            let mut kernels = kernels[at].lock().unwrap_or_else(PoisonError::into_inner);
            let kernels = std::mem::take(&mut *kernels);
            made(&groups[at].nest, kernels, (&backend, options.target.isa, &memo)).map(Arc::new)
        };
        let all = executor::each(firsts.len(), options.threads, &code).into_iter();
        let all: Vec<_> = all.collect::<Result<_, _>>()?;
        let code_of = |at: usize| &all[firsts.partition_point(|&first| first < twins[at])];
        let codes = groups.iter().enumerate();
        let codes =
            codes.map(|(at, group)| GroupCode::new(program, group, Arc::clone(code_of(at))));
        let codes = codes.collect();
        Ok(Shared {
            codes,
            lens: Lens::of(lowered.program(), &lowered.plan, &lowered.with_gaps()),
            described: described.clone(),
            options: options.clone(),
            lowered,
            backend,
            lowering,
            #[cfg(feature = "ndarray")]
            strided: crate::strided::Strided::default(),
        })
    }

    /// Whether padding is multiplied by weights that come later, or all inputs of a block are.
    pub fn needs_finite_weights(&self) -> bool {
        let lowered = &self.lowered;
        !lowered.rewritten.in_blocks.is_empty()
            || lowered.groups.iter().any(|group| group.nest.needs_finite_weights)
    }

    /// The code of all groups, each once.
    pub fn each_code(&self) -> impl Iterator<Item = &Code> {
        let is_first = |at: usize, code: &Arc<Code>| {
            !self.codes[..at].iter().any(|before| Arc::ptr_eq(&before.code, code))
        };
        let codes = self.codes.iter().map(|group| &group.code).enumerate();
        codes.filter(move |(at, code)| is_first(*at, code)).map(|(_, code)| &**code)
    }

    /// Neither schedule nor plan was given.
    pub fn is_models_choice(&self) -> bool {
        self.options.schedule.is_none() && self.options.plan.is_none()
    }
}

fn made(
    nest: &Nest,
    mut kernels: Kernels,
    (backend, isa, memo): (&Backend, Isa, &Memo),
) -> Result<Code, Error> {
    let start = Instant::now();
    memo.complete(nest, isa, &mut kernels);
    let assembling = start.elapsed();
    let mut code = Code::new(nest, backend, isa, kernels)?;
    code.time.emit += assembling;
    Ok(code)
}

impl GroupCode {
    fn new(
        program: &Program,
        LoweredGroup { group, nest, .. }: &LoweredGroup,
        code: Arc<Code>,
    ) -> GroupCode {
        let steps = &program.steps()[group.steps.clone()];
        let outside = program.tensors();
        let adds = steps.iter().filter(|step| step.conv.spec().residual);
        let from = adds.map(|step| step.residual.unwrap_or(outside));
        // What a step of the group gives stays within it.
        let is_from_before = |from: &usize| *from <= group.steps.start || *from == outside;
        GroupCode {
            code,
            arrays: Arrays {
                input: program.input_of(group.steps.start),
                output: group.steps.end,
                residuals: from.filter(is_from_before).collect(),
            },
            divisible: share::is_divisible(nest),
            useful_threads: share::useful_threads(steps.iter().map(|step| &step.conv)),
        }
    }

    /// Into how many parts a run is cut: as many as asked for, or as are useful, `most` at most.
    pub fn parts(&self, asked: Option<usize>, most: usize) -> usize {
        match self.divisible {
            true => asked.unwrap_or(self.useful_threads.min(most)),
            false => 1,
        }
    }
}
