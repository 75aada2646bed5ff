//! Protocols: how messages and notices are written for subscribers, and how their commands are read.
//!
//! Text in, values out, or the other way round: no sockets, no log, no configuration. A message is written once for
//! each protocol in use, frame header included, and the same bytes go to every subscriber.

pub mod command;
mod members;
pub mod relay_raw;
pub mod relay_v1;
pub mod sse;
pub mod written;

use crate::plugin::Protocol;

/// Every WebSocket subprotocol; the first is the default. Each needs a slot of its own, which `ENCODERS` counts.
pub const KINDS: &[&dyn Protocol] = &[&relay_v1::RelayV1, &relay_raw::RelayRaw];

#[cfg(test)]
#[path = "notice_tests.rs"]
mod notices;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::KINDS;
    use crate::plugin::{ENCODERS, Encoder};
    use crate::protocol::sse::Sse;

    #[test]
    fn every_encoder_has_a_slot_and_every_protocol_a_name_of_its_own() {
        let mut slots: Vec<usize> = KINDS.iter().map(|protocol| protocol.slot()).chain([Sse.slot()]).collect();
        slots.sort_unstable();
        assert_eq!(slots, (0..ENCODERS).collect::<Vec<_>>());
        let names: BTreeSet<&str> = KINDS.iter().map(|protocol| protocol.name()).collect();
        assert_eq!(names.len(), KINDS.len());
    }
}
