//! The rules of the house that neither the compiler nor clippy checks: which module may name which, how long a file may
//! be, which words are used, and what documents say of the sources.

mod architecture;
mod errors;
mod fences;
mod layers;
mod log;
mod source;
mod text;
