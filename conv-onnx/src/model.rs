//! A model: a file, and what was made of it for the shapes that came.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_hir::infer::{DimFact, Factoid};

use crate::error::tract;
use crate::explain::Explanation;
use crate::options::Options;
use crate::reader::{From, read};
use crate::sized::Sized;
use crate::tensor::dtype_name;
use crate::{Error, Tensor};

/// Sets of input shapes that a model remembers; the one used longest ago goes first. Each has its
/// own machine code and packed weights.
pub const MOST_SHAPES: usize = 8;

/// An input or output, as the model declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The type of its numbers, where the model says.
    pub dtype: Option<String>,
    /// Its extents, outermost first; none where the number of axes is open. A free one has no
    /// number.
    pub shape: Option<Vec<Option<usize>>>,
}

/// An ONNX model.
///
/// ```no_run
/// use conv_onnx::{Model, Tensor};
/// let model = Model::load("model.onnx")?;
/// let image = Tensor::new(&[1, 3, 224, 224], &[0.5f32; 3 * 224 * 224])?;
/// for (name, tensor) in model.run(&[("image", image)])? {
///     println!("{name}: {:?}", tensor.shape());
/// }
/// # Ok::<(), conv_onnx::Error>(())
/// ```
///
/// Batch and spatial sizes may be free. Shapes are compiled for when they are met, which takes some
/// tenths of a second; the last [`MOST_SHAPES`] sets of them are kept.
#[derive(Debug)]
pub struct Model {
    parsed: InferenceModel,
    options: Options,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// The last used first.
    met: Mutex<Vec<Met>>,
}

/// What was made for input shapes that came.
#[derive(Debug)]
struct Met {
    shapes: Vec<Vec<usize>>,
    sized: Arc<Sized>,
}

impl Model {
    /// Reads a model from a file, with the default options.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be read or is no model.
    pub fn load(path: impl AsRef<Path>) -> Result<Model, Error> {
        Model::load_with(path, Options::default())
    }

    /// Reads a model from a file.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(path: impl AsRef<Path>, options: Options) -> Result<Model, Error> {
        let path = path.as_ref();
        let no_file = |message| Error::File { path: path.to_owned(), message };
        // Before it is opened: a pipe would wait for someone who writes.
        let found =
            std::fs::metadata(path).map_err(|error| no_file(format!("cannot be read: {error}")))?;
        if !found.is_file() {
            return Err(no_file("cannot be read: it is no regular file".to_owned()));
        }
        let read = || read(From::Path(path), options.route);
        match tract("is no ONNX model that tract can read", read) {
            Ok(parsed) => Model::of(parsed, options),
            Err(error) => Err(no_file(error.to_string())),
        }
    }

    /// Reads a model from bytes. Weights in other files are not found.
    ///
    /// # Errors
    /// [`Error::Model`] where they are no model.
    pub fn parse(bytes: &[u8], options: Options) -> Result<Model, Error> {
        let read = || read(From::Bytes(bytes), options.route);
        Model::of(tract("reading the model", read)?, options)
    }

    fn of(parsed: InferenceModel, options: Options) -> Result<Model, Error> {
        let ports = |outlets: &[OutletId]| {
            let port = |&outlet: &OutletId| port(&parsed, outlet);
            outlets.iter().map(port).collect::<TractResult<Vec<Port>>>()
        };
        let (inputs, outputs) = tract("reading the model", || {
            Ok((ports(parsed.input_outlets()?)?, ports(parsed.output_outlets()?)?))
        })?;
        Ok(Model { parsed, options, inputs, outputs, met: Mutex::default() })
    }

    /// What it takes.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// What it gives.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// How it is compiled.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Computes all outputs, in the model's order, each with its name.
    ///
    /// # Errors
    /// [`Error::Input`] where an input is missing or unknown, or does not fit; [`Error::Model`] and
    /// [`Error::Jit`] where it cannot be compiled or run.
    pub fn run(&self, inputs: &[(&str, Tensor)]) -> Result<Vec<(String, Tensor)>, Error> {
        let inputs = self.in_order(inputs)?;
        let outputs = self.sized(&inputs)?.run(&inputs)?;
        let names = self.outputs.iter().map(|port| port.name.clone());
        Ok(names.zip(outputs).collect())
    }

    /// Compiles for the shapes of these inputs, and says which part is compiled, why the rest is
    /// not, and how long each node takes.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn explain(&self, inputs: &[(&str, Tensor)]) -> Result<Explanation, Error> {
        let inputs = self.in_order(inputs)?;
        Explanation::of(&*self.sized(&inputs)?, &inputs)
    }

    /// The inputs in the model's order, each of the right type and shape.
    fn in_order(&self, given: &[(&str, Tensor)]) -> Result<Vec<Tensor>, Error> {
        let known = |name: &str| self.inputs.iter().any(|port| port.name == name);
        if let Some((name, _)) = given.iter().find(|(name, _)| !known(name)) {
            let message = format!("the model has no input '{name}'; it takes {}", self.words());
            return Err(Error::Input(message));
        }
        let find = |port: &Port| {
            let mut found = given.iter().filter(|(name, _)| *name == port.name);
            let (Some((_, tensor)), None) = (found.next(), found.next()) else {
                let name = &port.name;
                let message =
                    format!("input '{name}' is needed once; the model takes {}", self.words());
                return Err(Error::Input(message));
            };
            port.check(tensor)?;
            Ok(tensor.clone())
        };
        self.inputs.iter().map(find).collect()
    }

    /// Its inputs as text: `x: f32 [?, 3, ?, ?]`.
    pub fn words(&self) -> String {
        self.inputs.iter().map(Port::to_string).collect::<Vec<_>>().join(", ")
    }

    fn sized(&self, inputs: &[Tensor]) -> Result<Arc<Sized>, Error> {
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|input| input.shape().to_vec()).collect();
        if let Some(found) = self.find(&shapes) {
            return Ok(found);
        }
        let fact = |input: &Tensor| InferenceFact::dt_shape(input.0.datum_type(), input.shape());
        let facts: Vec<InferenceFact> = inputs.iter().map(fact).collect();
        let made = Arc::new(Sized::new(&self.parsed, &facts, &self.options)?);
        let mut met = self.lock();
        met.insert(0, Met { shapes, sized: made.clone() });
        met.truncate(MOST_SHAPES);
        Ok(made)
    }

    /// What was made for these shapes, which are the last used from now on.
    fn find(&self, shapes: &[Vec<usize>]) -> Option<Arc<Sized>> {
        let mut met = self.lock();
        let at = met.iter().position(|met| met.shapes == shapes)?;
        met[..=at].rotate_right(1);
        Some(met[0].sized.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Met>> {
        // Nothing panics while the lock is held; if it did, the list would still be whole.
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn port(model: &InferenceModel, outlet: OutletId) -> TractResult<Port> {
    let fact = model.outlet_fact(outlet)?;
    let name = model.outlet_label(outlet).unwrap_or(&model.node(outlet.node).name).to_owned();
    let extent = |dim: &DimFact| dim.concretize().and_then(|dim| dim.to_usize().ok());
    let shape = (!fact.shape.is_open()).then(|| fact.shape.dims().map(extent).collect());
    Ok(Port { name, dtype: fact.datum_type.concretize().map(dtype_name), shape })
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ", self.name, self.dtype.as_deref().unwrap_or("any type"))?;
        let extent = |extent: &Option<usize>| extent.map_or("?".to_owned(), |n| n.to_string());
        match &self.shape {
            Some(shape) => {
                write!(f, "[{}]", shape.iter().map(extent).collect::<Vec<_>>().join(", "))
            }
            None => write!(f, "of any shape"),
        }
    }
}

impl Port {
    /// The sizes are checked at this door: nothing behind it meets an extent of 0.
    fn check(&self, tensor: &Tensor) -> Result<(), Error> {
        let (shape, dtype) = (tensor.shape(), tensor.dtype());
        let fits = self.shape.as_ref().is_none_or(|declared| {
            let same = |(declared, found): (&Option<usize>, &usize)| {
                declared.is_none_or(|declared| declared == *found)
            };
            declared.len() == shape.len() && declared.iter().zip(shape).all(same)
        });
        if self.dtype.as_ref().is_some_and(|declared| *declared != dtype) || !fits {
            let message =
                format!("input '{}' is {dtype} {shape:?}, but the model takes {self}", self.name);
            return Err(Error::Input(message));
        }
        if shape.contains(&0) {
            let name = &self.name;
            return Err(Error::Input(format!(
                "input '{name}' has shape {shape:?}, which is empty"
            )));
        }
        Ok(())
    }
}
