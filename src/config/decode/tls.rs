//! `[server.tls]`

use std::sync::Arc;

use secrecy::SecretSlice;

use crate::config::decode::Context;
use crate::config::files::{Access, MAX_FILE};
use crate::config::mask::PEM;
use crate::config::model::{Span, Tls};
use crate::config::section::Section;
use crate::diagnostic::{ServerFact, TlsFault};

/// Reads the certificate and its key; `None` if the table is absent or something in it cannot be used.
pub(super) fn tls(server: &Section<'_>, context: &Context<'_>) -> Option<Tls> {
    if !server.has("tls") {
        return None;
    }
    let section = server.table("tls");
    let (cert, key) = (read(&section, "cert", context), read(&section, "key", context));
    let ((cert, cert_pem, cert_span), (key, key_pem, key_span)) = (cert?, key?);
    let key_pem = Arc::new(SecretSlice::from(key_pem.to_vec()));
    Some(Tls { cert, key, cert_pem, key_pem, cert_span, key_span })
}

fn read(section: &Section<'_>, name: &'static str, context: &Context<'_>) -> Option<(String, Arc<[u8]>, Span)> {
    let (path, span) = section.text(name)?;
    if path.contains(PEM) {
        section.findings.report(TlsFault::InPlaceOfPath { key: name }, &span);
        return None;
    }
    match context.reading.read(Access::Anywhere, path, MAX_FILE) {
        Ok(bytes) => {
            // PEM begins at its first line, which begins with this in a file from some editors.
            let unmarked = bytes.strip_prefix("\u{feff}".as_bytes()).map(Arc::from);
            Some((path.to_owned(), unmarked.unwrap_or(bytes), span))
        }
        Err(error) => {
            let (path, cause) = (path.to_owned(), error.to_string());
            section.findings.report(ServerFact::TlsUnreadable { path, cause }, &span);
            None
        }
    }
}
