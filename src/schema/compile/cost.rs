//! Finds schemas that cost too much to judge even one value: references that lead back to themselves, and definitions
//! that unfold exponentially.
//!
//! Follows only keywords that apply to the very same value. A step into a part of the payload is progress, and payloads
//! are bounded.

use crate::schema::compile::fault::SchemaFaultKind;
use crate::schema::compile::library::{Library, Way};
use crate::schema::compile::link::Linked;

/// The most schemas that may apply to one value. Hand-written schemas stay far below a hundred.
const STEPS: u64 = 10_000;

/// Checks all documents by themselves, then the documents of each root whose links add references between them.
pub(super) fn check<'l>(library: &mut Library<'_>, roots: impl Iterator<Item = &'l Linked>) {
    check_among(library, None);
    for linked in roots.filter(|linked| !linked.named.is_empty()) {
        check_among(library, Some(linked));
    }
}

/// Reports each cycle that shares at most one schema with those reported before. If there is no cycle, reports in each
/// document the first schema that unfolds beyond [`STEPS`].
fn check_among(library: &mut Library<'_>, linked: Option<&Linked>) {
    let count = library.nodes.len();
    let nodes: Vec<usize> = match linked {
        Some(linked) => linked.documents.iter().flat_map(|id| &library.documents[*id].nodes).copied().collect(),
        None => (0..count).collect(),
    };
    let mut edges: Vec<Vec<(usize, Option<usize>)>> = vec![Vec::new(); count];
    for id in &nodes {
        let node = &library.nodes[*id];
        edges[*id].extend(node.same.iter().map(|child| (*child, None)));
        let target = |reference: &usize| match &library.references[*reference].way {
            Some(Way::To { node, .. }) => Some(*node),
            _ => linked.and_then(|linked| linked.target(library, *reference)),
        };
        edges[*id].extend(node.references.iter().filter_map(|id| Some((target(id)?, Some(*id)))));
    }
    let (steps, on_way, is_told) = (vec![0; count], vec![false; count], vec![false; count]);
    let mut walk = Walk { edges, steps, on_way, is_told, cycles: Vec::new() };
    for node in nodes {
        walk.from(node);
    }
    for cycle in &walk.cycles {
        note_cycle(library, cycle);
    }
    if walk.cycles.is_empty() {
        note_unfolding(library, &walk);
    }
}

struct Walk {
    /// For each node, the schemas that apply to the same value, with the reference that leads there.
    edges: Vec<Vec<(usize, Option<usize>)>>,
    /// For each node, how many schemas it unfolds to; 0 until it is walked.
    steps: Vec<u64>,
    /// Marks the nodes on the path from the start of the walk to its current node.
    on_way: Vec<bool>,
    /// Marks the targets of the references in reported cycles.
    is_told: Vec<bool>,
    /// The references of each reported cycle.
    cycles: Vec<Vec<usize>>,
}

impl Walk {
    /// Walks depth first, without recursion because chains of references may be long.
    fn from(&mut self, start: usize) {
        if self.steps[start] != 0 {
            return;
        }
        // Each entry: a node, the reference that led to it, the next edge to follow.
        let mut way: Vec<(usize, Option<usize>, usize)> = vec![(start, None, 0)];
        self.on_way[start] = true;
        while let Some((node, _, next)) = way.last_mut() {
            let node = *node;
            let Some((child, by)) = self.edges[node].get(*next).copied() else {
                let below = self.edges[node].iter().map(|(child, _)| self.steps[*child]);
                self.steps[node] = below.fold(1, u64::saturating_add);
                self.on_way[node] = false;
                way.pop();
                continue;
            };
            *next += 1;
            if self.on_way[child] {
                let since = way.iter().rposition(|(node, ..)| *node == child).unwrap_or(0);
                let steps = way[since + 1..].iter().map(|(node, by, _)| (*node, *by)).chain([(child, by)]);
                let cycle: Vec<_> = steps.filter_map(|(node, by)| Some((node, by?))).collect();
                // Two cycles that meet in one schema are separate mistakes. References back and forth share more than
                // one schema, and make as many cycles as there are pairs, so one report stands for them.
                if cycle.iter().filter(|(node, _)| self.is_told[*node]).count() <= 1 {
                    cycle.iter().for_each(|(node, _)| self.is_told[*node] = true);
                    self.cycles.push(cycle.into_iter().map(|(_, by)| by).collect());
                }
            } else if self.steps[child] == 0 {
                self.on_way[child] = true;
                way.push((child, by, 0));
            }
        }
    }
}

fn note_cycle(library: &mut Library<'_>, cycle: &[usize]) {
    let Some(last) = cycle.last() else { return };
    let through = cycle.iter().map(|reference| library.references[*reference].text.clone()).collect();
    library.fault_of(*last, SchemaFaultKind::RefCycle { through });
}

/// Reports only the innermost schema that is too expensive, which explains those around it.
fn note_unfolding(library: &mut Library<'_>, walk: &Walk) {
    let mut told = vec![false; library.documents.len()];
    for node in 0..walk.steps.len() {
        let innermost = walk.edges[node].iter().all(|(child, _)| walk.steps[*child] <= STEPS);
        let document = library.nodes[node].document;
        if walk.steps[node] > STEPS && innermost && !told[document] {
            told[document] = true;
            let kind = SchemaFaultKind::Exponential { steps: walk.steps[node], limit: STEPS };
            library.fault(document, library.nodes[node].pointer.clone(), kind);
        }
    }
}
