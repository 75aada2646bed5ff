//! relay.toml: what the file says, checked, but not what follows from it.
//!
//! `keys` describes every key once; `decode` reads a file by that description into `model`; `check` looks at what no
//! single key shows. The only module that names `toml`. Reads no file by itself; [`files::Files`] does.

pub mod check;
pub mod decode;
pub mod documents;
mod duplicates;
pub mod editor;
pub mod files;
mod json;
pub mod keys;
pub(crate) mod mask;
pub mod model;
mod place;
pub mod reading;
mod section;
mod syntax;
pub mod units;
mod values;
pub mod view;

pub use self::units::{show_duration, show_size};

#[cfg(test)]
mod tests;
