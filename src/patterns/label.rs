//! How far a name matches the label of one node.

use crate::name::{segments, split_first};

/// In a canonical text: the wildcard for one segment, and the one for all that are left.
pub(super) const ONE: &str = "*";
pub(super) const REST: &str = "**";

/// How far a name agrees with the label of a node.
pub(super) enum Reached<'a> {
    Nothing,
    /// Both end.
    End,
    /// Everything at this node and below.
    All,
    /// The label ends; this much of the name is left.
    Before(&'a str),
}

/// Compares a name with a label that may contain it.
pub(super) fn contains<'a>(label: &str, name: &'a str) -> Reached<'a> {
    let mut left = Some(name);
    for segment in segments(label) {
        let Some(name) = left else { return Reached::Nothing };
        let (theirs, more) = split_first(name);
        match segment {
            REST => return Reached::End,
            ONE if theirs != REST => {}
            literal if literal == theirs => {}
            _ => return Reached::Nothing,
        }
        left = more;
    }
    left.map_or(Reached::End, Reached::Before)
}

/// Compares a name with a label that may share a topic with it.
pub(super) fn overlaps<'a>(label: &str, name: &'a str) -> Reached<'a> {
    let mut left = Some(name);
    for segment in segments(label) {
        let Some(name) = left else { return Reached::Nothing };
        let (theirs, more) = split_first(name);
        match (segment, theirs) {
            (REST, _) => return Reached::End,
            (_, REST) => return Reached::All,
            (ONE, _) | (_, ONE) => {}
            _ if segment == theirs => {}
            _ => return Reached::Nothing,
        }
        left = more;
    }
    left.map_or(Reached::End, Reached::Before)
}

pub(super) fn first(name: &str) -> &str {
    split_first(name).0
}

/// Number of bytes of whole segments that both begin with: at least one segment, by which the node was found.
pub(super) fn common(label: &str, text: &str) -> usize {
    let mut bytes = 0;
    for (ours, _) in segments(label).zip(segments(text)).take_while(|(ours, theirs)| ours == theirs) {
        bytes += ours.len() + 1;
    }
    bytes - 1
}
