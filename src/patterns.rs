//! A map from patterns to values that finds values by what their patterns match.
//!
//! It is a radix tree over segments: adding, removing and finding depend on the segments of one name, not on the number
//! of patterns. A node holds all the segments up to the next branch, so there are at most two nodes for each pattern,
//! however long it is.
//!
//! At each of its segments a topic follows the literal and the wildcards. So it visits no more nodes than there are
//! distinct prefixes of patterns that match its own. They are few for a topic of few segments, whatever is subscribed
//! to, but double with each segment, and no pattern need match in the end. A [`Meter`] bounds the search where others
//! wait for it.

mod label;

use std::ops::ControlFlow;

use ahash::AHashMap;

use crate::footprint::{allocated, in_list, in_table, text};
use crate::name::{MAX_NAME, Pattern};
use crate::patterns::label::{ONE, REST, Reached, common, contains, first, overlaps};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Patterns<V> {
    nodes: Vec<Node<V>>,
    free: Vec<Id>,
    len: usize,
}

/// Index of a node. The root is the first, and has no label.
type Id = u32;
const ROOT: Id = 0;

#[derive(Debug, Clone)]
struct Node<V> {
    /// The segments between its parent and it.
    label: Box<str>,
    /// The pattern that ends here.
    here: Option<(Pattern, V)>,
    below: Option<Box<Below>>,
}

/// The children of a node, by their first segment.
#[derive(Debug, Clone, Default)]
struct Below {
    literals: AHashMap<Box<str>, Id>,
    one: Option<Id>,
    rest: Option<Id>,
}

/// How many more nodes a search may visit.
#[derive(Debug)]
pub struct Meter(pub usize);

impl Meter {
    /// Counts a visit, if there is one left.
    fn visit(&mut self) -> ControlFlow<()> {
        let Some(left) = self.0.checked_sub(1) else { return ControlFlow::Break(()) };
        self.0 = left;
        ControlFlow::Continue(())
    }
}

impl<V> Default for Patterns<V> {
    fn default() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<V> Patterns<V> {
    /// Most bytes for one pattern of the longest kind, besides its value: a node of its own and one that it branches
    /// from, an entry for both, and its segments in the labels and as keys.
    pub const EACH_BYTES: usize = 2 * (in_list(size_of::<Node<V>>()) + in_table(size_of::<(Box<str>, Id)>()))
        + allocated(size_of::<Below>())
        + 2 * in_list(size_of::<Id>())
        + text(MAX_NAME)
        + 2 * (allocated(MAX_NAME) + allocated(0));

    /// Number of patterns.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Pattern, &V)> {
        self.nodes.iter().filter_map(|node| node.here.as_ref().map(|(pattern, value)| (pattern, value)))
    }

    /// Adds a pattern, or replaces its value.
    pub fn insert(&mut self, pattern: Pattern, value: V) {
        let at = self.make(&pattern.canonical());
        self.len += usize::from(self.node(at).here.replace((pattern, value)).is_none());
    }

    /// The value of the pattern, which is added if it is not there.
    pub fn entry(&mut self, pattern: &Pattern) -> &mut V
    where
        V: Default,
    {
        let at = self.make(&pattern.canonical());
        let Self { nodes, len, .. } = self;
        let add = || {
            *len += 1;
            (pattern.clone(), V::default())
        };
        &mut nodes[at as usize].here.get_or_insert_with(add).1
    }

    /// The value of exactly this pattern.
    pub fn get(&self, pattern: &Pattern) -> Option<&V> {
        let at = *self.path(&pattern.canonical())?.last()?;
        self.nodes[at as usize].here.as_ref().map(|(_, value)| value)
    }

    /// The value of exactly this pattern, for changes.
    pub fn get_mut(&mut self, pattern: &Pattern) -> Option<&mut V> {
        let at = *self.path(&pattern.canonical())?.last()?;
        self.node(at).here.as_mut().map(|(_, value)| value)
    }

    /// Removes a pattern; returns its value.
    pub fn remove(&mut self, pattern: &Pattern) -> Option<V> {
        let text = pattern.canonical();
        let path = self.path(&text)?;
        let (&at, above) = path.split_last()?;
        let (_, value) = self.node(at).here.take()?;
        self.len -= 1;
        if self.is_empty() {
            *self = Self::default();
            return Some(value);
        }
        if self.nodes[at as usize].below.is_none() {
            let gone = self.take(at);
            let parent = above.last().copied().unwrap_or(ROOT);
            self.node(parent).unlink(first(&gone.label));
            self.join(parent);
        } else {
            self.join(at);
        }
        Some(value)
    }

    /// The same patterns, each with another value.
    pub fn map<U>(self, mut change: impl FnMut(V) -> U) -> Patterns<U> {
        let Self { nodes, free, len } = self;
        let mut changed = |Node { label, here, below }: Node<V>| {
            let here = here.map(|(pattern, value)| (pattern, change(value)));
            Node { label, here, below }
        };
        Patterns { nodes: nodes.into_iter().map(&mut changed).collect(), free, len }
    }

    /// Whether this holds for the value of any pattern that contains all of this name, a topic's or a pattern's. Asks
    /// until it does.
    pub fn any_containing<'a>(&'a self, name: &str, is_it: impl FnMut(&'a V) -> bool) -> bool {
        self.any_containing_metered(name, &mut Meter(usize::MAX), is_it) == Some(true)
    }

    /// Whether this holds for the value of any pattern that shares a topic with this name. Asks until it does.
    pub fn any_overlapping<'a>(&'a self, name: &str, mut is_it: impl FnMut(&'a V) -> bool) -> bool {
        let found = |value| if is_it(value) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        self.overlapping(name, &mut Meter(usize::MAX), found).is_break()
    }

    /// As [`Patterns::any_containing`]; `None` if the meter has run out before it is known.
    pub fn any_containing_metered<'a>(
        &'a self,
        name: &str,
        meter: &mut Meter,
        mut is_it: impl FnMut(&'a V) -> bool,
    ) -> Option<bool> {
        let mut is_found = false;
        let looked = self.containing_metered(name, meter, |value| {
            is_found = is_it(value);
            if is_found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (is_found || looked.is_continue()).then_some(is_found)
    }

    /// Visits the value of each pattern that contains all of this name, until told to stop or the meter has run out.
    pub fn containing_metered<'a>(
        &'a self,
        name: &str,
        meter: &mut Meter,
        mut found: impl FnMut(&'a V) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self.nodes.first() {
            Some(root) => self.containing_below(root, name, meter, &mut found),
            None => ControlFlow::Continue(()),
        }
    }

    /// Visits the value of each pattern that shares a topic with this name, until told to stop or the meter has run
    /// out.
    pub fn overlapping<'a>(
        &'a self,
        name: &str,
        meter: &mut Meter,
        mut found: impl FnMut(&'a V) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self.nodes.first() {
            Some(root) => self.overlapping_below(root, name, meter, &mut found),
            None => ControlFlow::Continue(()),
        }
    }

    fn containing_below<'a, F>(
        &'a self,
        node: &'a Node<V>,
        name: &str,
        meter: &mut Meter,
        found: &mut F,
    ) -> ControlFlow<()>
    where
        F: FnMut(&'a V) -> ControlFlow<()>,
    {
        let Some(below) = &node.below else { return ControlFlow::Continue(()) };
        let literal = if below.literals.is_empty() { None } else { below.literals.get(first(name)).copied() };
        for id in [below.rest, below.one, literal].into_iter().flatten() {
            meter.visit()?;
            let node = &self.nodes[id as usize];
            match contains(&node.label, name) {
                Reached::Before(name) => self.containing_below(node, name, meter, found)?,
                Reached::End => node.here.as_ref().map_or(ControlFlow::Continue(()), |(_, value)| found(value))?,
                Reached::Nothing | Reached::All => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn overlapping_below<'a, F>(
        &'a self,
        node: &'a Node<V>,
        name: &str,
        meter: &mut Meter,
        found: &mut F,
    ) -> ControlFlow<()>
    where
        F: FnMut(&'a V) -> ControlFlow<()>,
    {
        let Some(below) = &node.below else { return ControlFlow::Continue(()) };
        let mut enter = |id: Id| {
            meter.visit()?;
            let node = &self.nodes[id as usize];
            let reached = overlaps(&node.label, name);
            if let (Reached::End | Reached::All, Some((_, value))) = (&reached, &node.here) {
                found(value)?;
            }
            match reached {
                Reached::Nothing | Reached::End => ControlFlow::Continue(()),
                Reached::All => self.overlapping_below(node, REST, meter, found),
                Reached::Before(name) => self.overlapping_below(node, name, meter, found),
            }
        };
        match first(name) {
            ONE | REST => below.all().try_for_each(enter),
            literal => {
                let literal = below.literals.get(literal).copied();
                [below.rest, below.one, literal].into_iter().flatten().try_for_each(&mut enter)
            }
        }
    }

    /// The nodes on the path to where this text ends, without the root; `None` if there is no such node.
    fn path(&self, text: &str) -> Option<Vec<Id>> {
        let (mut at, mut left, mut path) = (ROOT, Some(text), Vec::new());
        while let Some(text) = left {
            at = self.nodes.get(at as usize)?.child(first(text))?;
            let label = &*self.nodes[at as usize].label;
            left = match text.strip_prefix(label)? {
                "" => None,
                more => Some(more.strip_prefix('.')?),
            };
            path.push(at);
        }
        Some(path)
    }

    /// The node where this text ends, created if necessary.
    fn make(&mut self, text: &str) -> Id {
        if self.nodes.is_empty() {
            self.nodes.push(Node::new(""));
        }
        let (mut at, mut left) = (ROOT, Some(text));
        while let Some(text) = left {
            let Some(child) = self.node(at).child(first(text)) else {
                let new = self.put(Node::new(text));
                self.node(at).link(first(text), new);
                return new;
            };
            let common = common(&self.node(child).label, text);
            if common < self.node(child).label.len() {
                self.split(child, common);
            }
            (at, left) = (child, text.get(common + 1..));
        }
        at
    }

    /// Splits a node: it keeps the first bytes of its label, and a new child gets the rest.
    fn split(&mut self, at: Id, bytes: usize) {
        let node = self.node(at);
        let upper = Node::new(&node.label[..bytes]);
        let mut lower = std::mem::replace(node, upper);
        lower.label = lower.label[bytes + 1..].into();
        let segment: Box<str> = first(&lower.label).into();
        let lower = self.put(lower);
        self.node(at).link(&segment, lower);
    }

    /// Merges a node with its only child, if no pattern ends at it.
    fn join(&mut self, at: Id) {
        let node = &self.nodes[at as usize];
        let Some(child) = node.below.as_ref().and_then(|below| below.only()) else { return };
        if at == ROOT || node.here.is_some() {
            return;
        }
        let mut lower = self.take(child);
        lower.label = [&*self.node(at).label, &*lower.label].join(".").into();
        *self.node(at) = lower;
    }

    fn node(&mut self, id: Id) -> &mut Node<V> {
        &mut self.nodes[id as usize]
    }

    fn put(&mut self, node: Node<V>) -> Id {
        if let Some(id) = self.free.pop() {
            self.nodes[id as usize] = node;
            return id;
        }
        self.nodes.push(node);
        Id::try_from(self.nodes.len() - 1).expect("there are fewer subscriptions than u32 counts")
    }

    fn take(&mut self, id: Id) -> Node<V> {
        self.free.push(id);
        std::mem::replace(self.node(id), Node::new(""))
    }
}

impl<V> Node<V> {
    fn new(label: &str) -> Self {
        Self { label: label.into(), here: None, below: None }
    }

    fn child(&self, segment: &str) -> Option<Id> {
        let below = self.below.as_ref()?;
        match segment {
            ONE => below.one,
            REST => below.rest,
            literal => below.literals.get(literal).copied(),
        }
    }

    fn link(&mut self, segment: &str, child: Id) {
        let below = self.below.get_or_insert_default();
        match segment {
            ONE => below.one = Some(child),
            REST => below.rest = Some(child),
            literal => _ = below.literals.insert(literal.into(), child),
        }
    }

    fn unlink(&mut self, segment: &str) {
        let Some(below) = &mut self.below else { return };
        match segment {
            ONE => below.one = None,
            REST => below.rest = None,
            literal => _ = below.literals.remove(literal),
        }
        if below.literals.len() * 4 < below.literals.capacity() {
            let room = below.literals.len() * 2;
            below.literals.shrink_to(room);
        }
        if below.all().next().is_none() {
            self.below = None;
        }
    }
}

impl Below {
    fn all(&self) -> impl Iterator<Item = Id> {
        [self.rest, self.one].into_iter().flatten().chain(self.literals.values().copied())
    }

    fn only(&self) -> Option<Id> {
        let mut all = self.all();
        all.next().filter(|_| all.next().is_none())
    }
}

#[cfg(test)]
#[path = "patterns_tests.rs"]
mod tests;
