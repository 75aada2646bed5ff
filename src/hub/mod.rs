//! The hub: every accepted message passes here on its way to the subscribers. No sockets, no configuration.

pub mod topic;
