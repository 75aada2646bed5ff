//! The rules of the house that neither the compiler nor clippy knows: who may name whom, how large a thing may be, which
//! words are used.

mod errors;
mod fences;
mod layers;
mod source;
mod text;
