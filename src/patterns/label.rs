//! How far a name matches the label of one node.

use crate::name::{segments, split_first};

/// A wildcard for one segment, as a canonical text has it, and one for those that are left.
pub(super) const ONE: &str = "*";
pub(super) const REST: &str = "**";

/// How far a name comes with the label of a node.
pub(super) enum Reached<'a> {
    /// They do not agree.
    Nothing,
    /// Both end.
    End,
    /// All that lies here and below.
    All,
    /// The label ends; of the name this is left.
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

/// Whether the label shares something with the beginning of the name.
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

/// How many bytes of the label's segments the text begins with; one segment at least, by which it was found.
pub(super) fn common(label: &str, text: &str) -> usize {
    let mut bytes = 0;
    for (ours, _) in segments(label).zip(segments(text)).take_while(|(ours, theirs)| ours == theirs) {
        bytes += ours.len() + 1;
    }
    bytes - 1
}
