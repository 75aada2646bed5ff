//! What asked for a reload, and whether it has to wait.

/// What asked for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A file or directory changed.
    File,
    /// The files were looked at again.
    Poll,
    /// SIGHUP.
    Signal,
    /// `POST /reload`.
    Request,
}

impl Trigger {
    /// The word for logs and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Poll => "poll",
            Self::Signal => "signal",
            Self::Request => "request",
        }
    }

    /// Whether a person asked: then it applies at once.
    pub(super) fn is_asked_for(self) -> bool {
        matches!(self, Self::Signal | Self::Request)
    }
}
