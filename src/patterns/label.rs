//! Matches a name against the label of one node.

use crate::name::{segments, split_first};

/// The wildcards of a canonical text: for one segment, and for all remaining ones.
pub(super) const ONE: &str = "*";
pub(super) const REST: &str = "**";

/// The result of matching a name against a label.
pub(super) enum Reached<'a> {
    /// They do not match.
    Nothing,
    /// Both end here.
    End,
    /// The name covers everything at this node and below.
    All,
    /// The label ends first; this is the rest of the name.
    Before(&'a str),
}

/// Whether the label contains the beginning of the name.
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

/// Whether the label overlaps the beginning of the name.
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

/// The length in bytes of the label's leading segments that the text shares; at least one, by which the node was found.
pub(super) fn common(label: &str, text: &str) -> usize {
    let mut bytes = 0;
    for (ours, _) in segments(label).zip(segments(text)).take_while(|(ours, theirs)| ours == theirs) {
        bytes += ours.len() + 1;
    }
    bytes - 1
}
