//! What tract asks of every operator: a name, what it computes, and the facts of its outputs.

/// `op!(Type, "Name", |own, inputs| facts)` for one that is replaced before the graph runs; with
/// `Type::computed` behind the name, a method that gives the one output of a run.
macro_rules! op {
    ($op:ty, $name:literal, $($computed:path,)? |$own:ident, $inputs:ident| $facts:expr) => {
        impl Op for $op {
            fn name(&self) -> StaticName {
                $name.into()
            }

            op_as_typed_op!();
        }

        impl EvalOp for $op {
            not_out_of_plan!();

            $(fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
                Ok(tvec!($computed(self, &inputs)?.into_tvalue()))
            })?
        }

        impl TypedOp for $op {
            fn output_facts(&self, $inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
                let $own = self;
                Ok($facts)
            }

            as_op!();
        }
    };
}

pub(crate) use op;
