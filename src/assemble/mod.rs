//! Assembly: turns files into what a server runs on. The only module that puts configuration, schemas and kinds
//! together.

pub mod build;
mod commit;
pub mod gate;
pub mod load;
pub mod plan;
mod refused;
pub mod reload;
mod schemas;
mod succession;
mod tls;
pub mod worst_case;

pub use self::load::{Loaded, load};

use crate::plugin::Protocol;
use crate::protocol;

/// The WebSocket subprotocols; the first is spoken to a peer that offers none.
pub const PROTOCOLS: &[&dyn Protocol] = protocol::KINDS;

#[cfg(test)]
mod tests {
    use crate::config::keys::{self, Type};
    use crate::store;

    /// The table of keys is on a lower level than the stores, so it cannot ask them for their names.
    #[test]
    fn every_kind_of_store_can_be_written() {
        let names: Vec<_> = store::KINDS.iter().map(|kind| kind.name).collect();
        let key = keys::find("store", "kind").expect("the key");
        assert!(matches!(key.value, Type::Choice(choices) if choices == names), "{:?}, {names:?}", key.value);
    }
}
