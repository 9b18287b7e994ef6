//! Regions that become one program.

use crate::check;
use crate::graph::{Attribute, Graph};

const SHAPE: [usize; 4] = [1, 3, 8, 9];

/// Convolutions of each compiled node, and tract's operators, of a graph that is right.
fn parts(build: impl FnOnce(&mut Graph) -> Vec<String>) -> (Vec<usize>, Vec<String>) {
    let mut graph = Graph::new(&SHAPE.map(|n| n as i64));
    let outputs = build(&mut graph);
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let explanation = check(&graph.bytes(&outputs), &SHAPE);
    let left = crate::tracts(&explanation).into_iter().map(str::to_owned).collect();
    let ours = explanation.nodes.into_iter().filter(|node| node.is_ours);
    (ours.map(|node| node.convolutions).collect(), left)
}

fn joined(graph: &mut Graph, parts: &[&str]) -> String {
    graph.node("Concat", parts, vec![Attribute::Int("axis", 1)])
}

#[test]
fn branches_and_what_joins_them_are_one_program() {
    let (ours, left) = parts(|graph| {
        let stem = graph.conv("x", [3, 6], 3, 1);
        let a = graph.conv(&stem, [6, 4], 1, 0);
        let b = graph.conv(&stem, [6, 5], 3, 1);
        let all = joined(graph, &[&a, &b, &stem]);
        let y = graph.conv(&all, [15, 6], 1, 0);
        vec![graph.node("Add", &[&y, &stem], vec![])]
    });
    assert_eq!((ours, left), (vec![4], vec![]));
}

#[test]
fn two_outputs_end_two_programs() {
    let (ours, left) = parts(|graph| {
        let stem = graph.conv("x", [3, 6], 3, 1);
        let fine = graph.conv(&stem, [6, 4], 1, 0);
        let middle = graph.conv(&fine, [4, 4], 3, 1);
        let coarse = graph.conv(&middle, [4, 5], 3, 1);
        vec![fine, coarse]
    });
    assert_eq!((ours, left), (vec![2, 2], vec![]));
}

#[test]
fn a_tensor_joined_for_others_too_is_one() {
    let (ours, left) = parts(|graph| {
        let a = graph.conv("x", [3, 4], 1, 0);
        let b = graph.conv("x", [3, 5], 3, 1);
        let all = joined(graph, &[&a, &b]);
        let y = graph.conv(&all, [9, 2], 3, 1);
        let z = graph.node("Sin", &[&all], vec![]);
        vec![y, z]
    });
    assert_eq!((ours, left), (vec![1, 1, 1], vec!["Concat".to_owned(), "Sin".to_owned()]));
}

/// No program reads what it gives: a way through tract's nodes divides it.
#[test]
fn what_stands_behind_a_node_that_is_left_is_another_program() {
    let (ours, left) = parts(|graph| {
        let a = graph.conv("x", [3, 4], 3, 1);
        let b = graph.conv(&a, [4, 4], 3, 1);
        let c = graph.conv(&a, [4, 4], 1, 0);
        let waves = graph.node("Sin", &[&b], vec![]);
        let both = joined(graph, &[&c, &waves]);
        let d = graph.conv(&both, [8, 4], 3, 1);
        vec![graph.node("Add", &[&d, &c], vec![])]
    });
    assert_eq!(ours.iter().sum::<usize>(), 4);
    assert!(ours.len() > 1 && left.contains(&"Sin".to_owned()), "{ours:?} {left:?}");
}
