//! How a connection ends.

use crate::close::Close;
use crate::hub::connection::Dead;

/// How a connection ends.
pub(super) enum Ending {
    /// The server closes it, with this code.
    Close(Close),
    /// The peer closed first; the answer repeats its code.
    Answer(Option<u16>),
    /// The socket is dead, or given up as dead.
    Gone(&'static str),
}

impl From<Close> for Ending {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

impl From<Dead> for Ending {
    fn from(_: Dead) -> Self {
        Self::Gone("the peer is gone")
    }
}
