//! The rules of the house that neither the compiler nor clippy knows: who may name whom, how large a thing may be, which
//! words are used.

mod architecture;
mod errors;
mod fences;
mod layers;
mod log;
mod source;
mod text;
