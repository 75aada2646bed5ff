//! Changing a running relay.

mod admin;
mod against;
mod behind;
mod busy;
mod change;
mod keys;
mod live;
mod referenced;
mod refused;
mod registered;
mod shadow;
mod signal;
pub mod site;
mod slow;
mod writing;
