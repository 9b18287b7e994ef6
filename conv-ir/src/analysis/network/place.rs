//! A network on an input of a certain size: every extent, channel and padding worked out.

use super::{Item, Kind, LayerSpec, Network, Together};
use crate::ConvSpec;
use crate::analysis::{Layer, Node, ReceptiveField, Stack, facts};
use crate::conv::Conv;
use crate::error::Error;

/// A network whose sizes are all known.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The windows, and the convolutions.
    pub stack: Stack,
    /// The named places, from the input on.
    pub points: Vec<Point>,
}

/// A place in a network that has a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its name.
    pub name: String,
    /// How many nodes of the stack lie below.
    pub nodes: usize,
    /// Channels there.
    pub channels: usize,
    /// Height and width there.
    pub extents: [usize; 2],
}

/// What is below a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// What it sees of the input: height, then width.
    pub fields: Vec<ReceptiveField>,
    /// Of all convolutions.
    pub parameters: u128,
    /// Of all convolutions.
    pub multiply_adds: u128,
}

impl Placed {
    /// What is below each point, in their order.
    ///
    /// # Errors
    /// As [`Stack::field`].
    pub fn seen(&self) -> Result<Vec<Seen>, Error> {
        let axes = (0..self.stack.rank()).map(|axis| self.stack.fields_of_firsts(axis));
        let fields = axes.collect::<Result<Vec<_>, _>>()?;
        let mut sums = vec![(0u128, 0u128)];
        for node in self.stack.nodes() {
            let (mut parameters, mut multiply_adds) = sums[sums.len() - 1];
            for facts in node.convs().into_iter().filter_map(facts) {
                parameters += u128::from(facts.parameters);
                multiply_adds += facts.multiply_adds;
            }
            sums.push((parameters, multiply_adds));
        }
        let seen = |point: &Point| {
            let nodes = point.nodes.min(self.stack.nodes().len());
            let (parameters, multiply_adds) = sums[nodes];
            let fields = fields.iter().map(|of_firsts| of_firsts[nodes]).collect();
            Seen { fields, parameters, multiply_adds }
        };
        Ok(self.points.iter().map(seen).collect())
    }
}

impl Network {
    /// The network on an input of this height and width.
    ///
    /// ```
    /// use conv_ir::analysis::Network;
    /// let network = Network::by_name("resnet_v1_50").unwrap().at([224, 224])?;
    /// assert_eq!(network.seen()?.last().unwrap().fields[0].size, 483);
    /// # Ok::<(), conv_ir::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] where a window does not fit, [`Error::Argument`] where branches do not.
    pub fn at(&self, input: [usize; 2]) -> Result<Placed, Error> {
        let mut points = Vec::new();
        let (nodes, _) = nodes(
            &self.items,
            FeatureMap { extents: input, channels: self.channels },
            &mut points,
        )?;
        let stack = Stack::new(nodes)?;
        Ok(Placed { stack, points })
    }
}

/// The shape of what has been computed.
#[derive(Clone, Copy, Debug, PartialEq)]
struct FeatureMap {
    extents: [usize; 2],
    channels: usize,
}

fn nodes(
    items: &[Item],
    from: FeatureMap,
    points: &mut Vec<Point>,
) -> Result<(Vec<Node>, FeatureMap), Error> {
    let mut place = from;
    let mut nodes = Vec::new();
    for item in items {
        match item {
            Item::Point(name) => points.push(Point {
                name: name.clone(),
                nodes: nodes.len(),
                channels: place.channels,
                extents: place.extents,
            }),
            Item::Layer(layer) => {
                let (layer, to) = layer.place(place)?;
                (nodes, place) = (push(nodes, Node::Layer(layer)), to);
            }
            Item::Branches(together, branches) => {
                let (join, to) = branched(*together, branches, place)?;
                (nodes, place) = (push(nodes, join), to);
            }
        }
    }
    Ok((nodes, place))
}

fn push(mut nodes: Vec<Node>, node: Node) -> Vec<Node> {
    nodes.push(node);
    nodes
}

fn branched(
    together: Together,
    branches: &[Vec<Item>],
    from: FeatureMap,
) -> Result<(Node, FeatureMap), Error> {
    let mut stacks = Vec::new();
    let mut places: Vec<FeatureMap> = Vec::new();
    for branch in branches {
        let (nodes, to) = nodes(branch, from, &mut Vec::new())?;
        stacks.push(Stack::new(nodes)?);
        places.push(to);
    }
    let first = places[0];
    if let Some(other) = places.iter().find(|place| place.extents != first.extents) {
        let ([h, w], [y, x]) = (first.extents, other.extents);
        let message = format!(
            "branches of {h} x {w} and {y} x {x} come together: they must have the same size"
        );
        return Err(Error::Argument(message));
    }
    let channels = match together {
        Together::Joined => places.iter().map(|place| place.channels).sum(),
        Together::Added => first.channels,
    };
    if together == Together::Added
        && let Some(other) = places.iter().find(|place| place.channels != channels)
    {
        let message = format!(
            "branches of {channels} and {} channels are added: they must have as many",
            other.channels
        );
        return Err(Error::Argument(message));
    }
    Ok((Node::Join(stacks), FeatureMap { channels, ..first }))
}

impl LayerSpec {
    fn place(&self, from: FeatureMap) -> Result<(Layer, FeatureMap), Error> {
        let (out_channels, groups) = match self.kind {
            Kind::Conv(channels) => (channels, 1),
            Kind::Depthwise(times) => (from.channels.saturating_mul(times), from.channels),
            Kind::Pool => (from.channels, from.channels),
        };
        let conv = Conv::new(ConvSpec {
            in_channels: from.channels,
            out_channels,
            groups,
            stride: self.stride.into(),
            padding: self.padding.clone(),
            ..ConvSpec::new(from.extents, self.kernel)
        })?;
        let extents = [0, 1].map(|axis| conv.axes()[axis].output.known().unwrap_or(0));
        let layer = Layer::from(&conv);
        let layer = match self.kind {
            Kind::Pool => Layer::pooling(layer.windows, layer.inputs),
            Kind::Conv(_) | Kind::Depthwise(_) => layer,
        };
        Ok((layer, FeatureMap { extents, channels: out_channels }))
    }
}
