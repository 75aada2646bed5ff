//! Why a value fits no branch of a union (`anyOf`, `oneOf`): what is wrong with it in the branch it was meant for.
//!
//! Usually one member, the tag, tells the branches apart. A branch that expects another type or another tag was not
//! meant. Of the rest, the meant one is the branch that knows most of the value's members and finds the fewest faults
//! in them. A branch that is a union itself is as near as its nearest branch, and the fault reported is one of that
//! branch.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::mem::discriminant;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use crate::schema::json::escape;
use crate::schema::metered::worthless;
use crate::schema::violation::{NAMES, is_container, list, none_of, sentence, type_of, types};

/// How many levels below its object a tag may be.
const TAG_DEPTH: usize = 3;
/// How many of the members unknown to a branch are considered as tags.
const UNKNOWN: usize = 64;

type Fault = ValidationError<'static>;

/// The innermost reason of a refusal.
pub(super) struct Reason {
    /// The branches that lead to it, such as `oneOf/1`; empty if all branches agree.
    pub way: Vec<String>,
    /// The pointer to the faulty value.
    pub pointer: String,
    pub detail: String,
}

/// A union that refused a value.
#[derive(Clone, Copy)]
pub(super) struct Union<'e> {
    keyword: &'e str,
    pointer: &'e str,
    branches: &'e [Vec<Fault>],
}

/// A branch and its faults.
struct Branch<'e> {
    index: usize,
    faults: Vec<&'e Fault>,
    /// Where the branch expects other values, relative to the union's own place.
    tags: HashSet<Cow<'e, str>>,
    /// The members unknown to the branch, as such places.
    unknown: HashSet<Cow<'e, str>>,
}

impl<'e> Union<'e> {
    /// The union that an error is about; `None` for other errors.
    pub(super) fn of(error: &'e ValidationError<'_>) -> Option<Self> {
        let (Kind::AnyOf { context } | Kind::OneOfNotValid { context }) = error.kind() else { return None };
        let pointer = error.instance_path().as_str();
        Some(Self { keyword: error.kind().keyword(), pointer, branches: context })
    }

    /// The reason; `None` if nothing is known but that no branch fits, or if the faults of some branch are unknown.
    pub(super) fn reason(self) -> Option<Reason> {
        if self.faults().count() < self.branches.len() {
            return None;
        }
        let is_meant = |faults: &Vec<_>| !is_of_another_type(faults, self.pointer);
        let meant = self.faults().filter(|(_, faults)| is_meant(faults));
        let mut meant = told_apart(meant.map(|(index, faults)| self.branch(index, faults)).collect());
        let Some(one) = meant.first() else { return self.of_types() };
        let of_all =
            one.tags.iter().chain(&one.unknown).filter(|place| meant.iter().all(|branch| branch.refuses(place)));
        let wrong = of_all.min_by_key(|place| (depth(place), *place)).cloned();
        let wrong = wrong.as_deref();
        // A branch that knows the member is nearer than one that does not.
        let knows = |branch: &Branch<'_>| wrong.is_none_or(|place| branch.tags.contains(place));
        meant.sort_by_cached_key(|branch| (!knows(branch), distance(&branch.faults, self.pointer)));
        if let Some(reason) = wrong.filter(|_| meant.len() > 1).and_then(|place| self.of_tag(place, &meant)) {
            return Some(reason);
        }
        let nearest = meant.first()?;
        let is_wrong = |fault: &&&Fault| {
            wrong.is_some_and(|place| [expected, unknown].iter().any(|of| self.places(&[**fault], of).contains(place)))
        };
        let fault = nearest.faults.iter().find(is_wrong).or(nearest.faults.first())?;
        let inner = Union::of(fault).and_then(Union::reason);
        let mut reason = inner.unwrap_or_else(|| Reason {
            way: Vec::new(),
            pointer: fault.instance_path().as_str().to_owned(),
            detail: sentence(fault),
        });
        reason.way.insert(0, format!("{}/{}", self.keyword, nearest.index));
        Some(reason)
    }

    /// Each branch with the faults found before the meter ran out; branches without any are left out.
    fn faults(self) -> impl Iterator<Item = (usize, Vec<&'e Fault>)> {
        let known = |faults: &'e Vec<Fault>| faults.iter().filter(|fault| **fault.instance() != worthless()).collect();
        let branches = self.branches.iter().map(known).enumerate();
        branches.filter(|(_, faults): &(usize, Vec<_>)| !faults.is_empty())
    }

    fn branch(self, index: usize, faults: Vec<&'e Fault>) -> Branch<'e> {
        let (tags, unknown) = (self.places(&faults, &expected), self.places(&faults, &unknown));
        Branch { index, faults, tags, unknown }
    }

    /// The places of such faults. A nested union refuses a place if each of its branches does.
    fn places(self, faults: &[&'e Fault], of: &PlacesOf) -> HashSet<Cow<'e, str>> {
        let near = faults.iter().filter_map(|fault| {
            let place = fault.instance_path().as_str().strip_prefix(self.pointer)?;
            (depth(place) <= TAG_DEPTH).then_some((fault, place))
        });
        near.flat_map(|(fault, place)| match Union::of(fault) {
            Some(inner) => {
                let branches = inner.faults().map(|(_, faults)| self.places(&faults, of));
                branches.reduce(|all, more| &all & &more).unwrap_or_default()
            }
            None => of(fault, place).into_iter().collect(),
        })
        .collect()
    }

    /// The reason if no branch accepts the tag at that place.
    fn of_tag(self, place: &str, branches: &[Branch<'e>]) -> Option<Reason> {
        let pointer = format!("{}{place}", self.pointer);
        let mut found = Vec::new();
        for branch in branches.iter().filter(|branch| branch.tags.contains(place)) {
            found.extend(branch.faults.iter().flat_map(|fault| faults_at(fault, &pointer)));
        }
        let got = found.first()?.instance();
        let values = found.iter().flat_map(|fault| match fault.kind() {
            Kind::Constant { expected_value } => std::slice::from_ref(&**expected_value),
            Kind::Enum { options } => list(options),
            _ => &[],
        });
        let mut seen = HashSet::new();
        let values: Vec<&Value> = values.filter(|value| seen.insert(*value)).collect();
        let is_told = branches.iter().all(|branch| branch.tags.contains(place)) && !values.is_empty();
        let is_short = !values.iter().take(NAMES).any(|value| is_container(value));
        (is_told && is_short).then(|| Reason { way: Vec::new(), detail: none_of(got, &values), pointer })
    }

    /// The reason if all branches expect other types.
    fn of_types(self) -> Option<Reason> {
        let mut expected = Vec::new();
        self.expected_types(&mut expected);
        let got = self.branches.iter().flatten().find(|fault| fault.instance_path().as_str() == self.pointer)?;
        (!expected.is_empty()).then(|| Reason {
            way: Vec::new(),
            pointer: self.pointer.to_owned(),
            detail: format!("{} is expected, not {}", expected.join(" or "), type_of(got.instance())),
        })
    }

    fn expected_types(self, expected: &mut Vec<String>) {
        for fault in self.faults().flat_map(|(_, faults)| faults) {
            let more = match fault.kind() {
                _ if fault.instance_path().as_str() != self.pointer => continue,
                Kind::Type { kind: TypeKind::Single(one) } => vec![types(&TypeKind::Single(*one))],
                Kind::Type { kind: TypeKind::Multiple(several) } => {
                    several.iter().map(|one| types(&TypeKind::Single(one))).collect()
                }
                Kind::Constant { expected_value } => vec![type_of(expected_value).to_owned()],
                Kind::Enum { options } => list(options).iter().map(|value| type_of(value).to_owned()).collect(),
                _ => {
                    Union::of(fault).into_iter().for_each(|inner| inner.expected_types(expected));
                    continue;
                }
            };
            for name in more {
                if !expected.contains(&name) {
                    expected.push(name);
                }
            }
        }
    }
}

impl Branch<'_> {
    fn refuses(&self, place: &str) -> bool {
        self.tags.contains(place) || self.unknown.contains(place)
    }
}

/// Returns the places that a fault at a given place is about.
type PlacesOf = dyn for<'e> Fn(&'e Fault, &'e str) -> Vec<Cow<'e, str>>;

fn expected<'e>(fault: &'e Fault, place: &'e str) -> Vec<Cow<'e, str>> {
    match fault.kind() {
        Kind::Constant { .. } | Kind::Enum { .. } | Kind::FalseSchema => vec![place.into()],
        _ => Vec::new(),
    }
}

fn unknown<'e>(fault: &'e Fault, place: &'e str) -> Vec<Cow<'e, str>> {
    match fault.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } if place.is_empty() => {
            let some = unexpected.iter().take(UNKNOWN);
            some.map(|name| format!("/{}", escape(name)).into()).collect()
        }
        _ => Vec::new(),
    }
}

/// Removes the branches that expect another tag. A tag is a place that some branches accept and others refuse: the one
/// nearest to the root, and among equals the one that most branches refuse.
fn told_apart(mut branches: Vec<Branch<'_>>) -> Vec<Branch<'_>> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for tag in branches.iter().flat_map(|branch| &branch.tags) {
        *counts.entry(tag).or_default() += 1;
    }
    for branch in &branches {
        for place in branch.unknown.difference(&branch.tags) {
            counts.entry(place).and_modify(|count| *count += 1);
        }
    }
    let telling = counts.iter().filter(|(_, count)| **count < branches.len());
    let rank = |place: &str, count: usize| (depth(place), Reverse(count));
    let Some(best) = telling.clone().map(|(place, count)| rank(place, *count)).min() else { return branches };
    let tags: HashSet<String> =
        telling.filter(|(place, count)| rank(place, **count) == best).map(|(place, _)| (*place).to_owned()).collect();
    let is_meant = |branch: &Branch<'_>| !tags.iter().any(|tag| branch.refuses(tag));
    if branches.iter().any(is_meant) {
        branches.retain(is_meant);
    }
    branches
}

/// Whether a branch expects another type for the union's own value.
fn is_of_another_type(faults: &[&Fault], pointer: &str) -> bool {
    faults.iter().filter(|fault| fault.instance_path().as_str() == pointer).any(|fault| {
        let is_other = |value: &Value| discriminant(value) != discriminant(&**fault.instance());
        match fault.kind() {
            Kind::Type { .. } | Kind::FalseSchema => true,
            Kind::Constant { expected_value } => is_other(expected_value),
            Kind::Enum { options } => list(options).iter().all(is_other),
            _ => Union::of(fault)
                .is_some_and(|inner| inner.faults().all(|(_, faults)| is_of_another_type(&faults, pointer))),
        }
    })
}

/// How much there is to mend: first counting the object's own members, then everything. A union counts as its nearest
/// branch.
fn distance(faults: &[&Fault], pointer: &str) -> (usize, usize) {
    let of = |fault: &&Fault| {
        let inner = Union::of(fault).into_iter().flat_map(Union::faults);
        let nearest = inner.map(|(_, faults)| distance(&faults, pointer)).min();
        nearest.unwrap_or_else(|| match fault.kind() {
            _ if fault.instance_path().as_str() != pointer => (0, 1),
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                (unexpected.len(), unexpected.len())
            }
            _ => (1, 1),
        })
    };
    faults.iter().map(of).fold((0, 0), |(own, all), (more, total)| (own + more, all + total))
}

/// The faults at that place, in any branch.
fn faults_at<'e>(fault: &'e Fault, pointer: &str) -> Vec<&'e Fault> {
    match Union::of(fault) {
        Some(inner) => {
            inner.faults().flat_map(|(_, faults)| faults).flat_map(|fault| faults_at(fault, pointer)).collect()
        }
        None if fault.instance_path().as_str() == pointer => vec![fault],
        None => Vec::new(),
    }
}

fn depth(place: &str) -> usize {
    place.bytes().filter(|byte| *byte == b'/').count()
}
