//! Protocols: how messages and notices are written for subscribers, and how their commands are read.
//!
//! Everything here is text in, values out, or the other way round: no sockets, no log, no configuration. A message is
//! written once for each protocol in use, frame header included, and the same bytes go to every subscriber.

pub mod command;
pub mod envelope;
mod members;
pub mod relay_raw;
pub mod relay_v1;
pub mod sse;

use crate::plugin::Protocol;

/// A kind of WebSocket subprotocol.
pub struct Kind {
    /// The subprotocol's name, by which a subscriber asks for it (RFC 6455, section 1.9).
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// It; a protocol has no state.
    pub protocol: &'static dyn Protocol,
}

/// Every WebSocket subprotocol; the first is spoken where none is asked for.
pub const KINDS: &[Kind] = &[relay_v1::KIND, relay_raw::KIND];

#[cfg(test)]
#[path = "notice_tests.rs"]
mod notices;

#[cfg(test)]
mod tests {
    use super::KINDS;
    use crate::plugin::{ENCODERS, Encoder};
    use crate::protocol::sse::Sse;

    #[test]
    fn every_encoder_has_a_slot_of_its_own_and_every_kind_its_name() {
        let mut slots = vec![Sse.slot()];
        for kind in KINDS {
            assert_eq!(kind.protocol.name(), kind.name);
            slots.push(kind.protocol.slot());
        }
        slots.sort_unstable();
        assert_eq!(slots, (0..ENCODERS).collect::<Vec<_>>());
    }
}
