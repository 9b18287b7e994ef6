//! The leaf that does most of the work: an item names it, with its bill, so that a reader knows
//! where to look first.

use conv_ir::Nest;
use conv_ir::nest::Leaf;
use conv_ir::nest::bill::Bill;
use conv_ir::nest::work::work;

use super::Version;
use super::scope::identifier;

/// A line for each version: the leaf, and what a step of it costs.
pub(crate) fn bills(versions: &[Version]) -> Vec<String> {
    let line = |version: &Version| {
        let leaf = hottest(&version.nest)?;
        let (module, name) = (version.module(), identifier(&leaf.name));
        Some(format!("- {module}, mostly in `{name}`: {}", Bill::of(leaf)))
    };
    versions.iter().filter_map(line).collect()
}

fn hottest(nest: &Nest) -> Option<&Leaf> {
    let work = work(nest);
    let (at, _) =
        work.iter().enumerate().max_by_key(|(at, work)| (**work, std::cmp::Reverse(*at)))?;
    nest.leaves.get(at)
}
