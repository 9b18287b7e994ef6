//! How long the arrays of a run are.

use conv_ir::Program;
use conv_ir::program::plan::Plan;

/// How long the arrays of a run are.
#[derive(Clone, Debug)]
pub(crate) struct Lens {
    /// Elements.
    pub input: usize,
    /// Elements.
    pub output: usize,
    /// Elements of the residual from outside.
    pub residual: Option<usize>,
    /// Tensors between groups, each with its bytes.
    pub between: Vec<(usize, usize)>,
    /// The last tensor: the output.
    pub last: usize,
}

impl Lens {
    /// Of a program whose sizes are known.
    pub fn of(program: &Program, plan: &Plan) -> Option<Lens> {
        let last = program.steps().len();
        let elements = |tensor: usize| match tensor {
            0 => program.steps()[0].conv.input_len(),
            k => program.steps()[k - 1].conv.output_len(),
        };
        let ends = plan.groups.iter().map(|group| group.steps.end).filter(|end| *end < last);
        let between = ends.map(|end| Some((end, elements(end)? * program.type_of(end).bytes())));
        let outside = program
            .steps()
            .iter()
            .position(|step| step.conv.spec().residual && step.residual.is_none());
        Some(Lens {
            input: elements(0)?,
            output: elements(last)?,
            residual: outside.and_then(|at| elements(at + 1)),
            between: between.collect::<Option<_>>()?,
            last,
        })
    }

    /// Where the residual from outside stands among the tensors.
    pub fn outside(&self) -> usize {
        self.last + 1
    }
}
