//! `[server.tls]`

use std::sync::Arc;

use secrecy::SecretSlice;

use crate::config::decode::Context;
use crate::config::files::{Access, MAX_FILE};
use crate::config::mask::PEM;
use crate::config::model::Tls;
use crate::config::section::Section;
use crate::diagnostic::ServerFact;

/// Reads the certificate and its key; `None` if the table is absent or something in it cannot be used.
pub(super) fn tls(server: &Section<'_>, context: &Context<'_>) -> Option<Tls> {
    if !server.has("tls") {
        return None;
    }
    let section = server.table("tls");
    let (cert, key) = (read(&section, "cert", context), read(&section, "key", context));
    let ((cert, cert_pem), (key, key_pem)) = (cert?, key?);
    let key_pem = Arc::new(SecretSlice::from(key_pem.to_vec()));
    Some(Tls { cert, key, cert_pem, key_pem, span: section.span })
}

fn read(section: &Section<'_>, name: &'static str, context: &Context<'_>) -> Option<(String, Arc<[u8]>)> {
    let (path, span) = section.text(name)?;
    if path.contains(PEM) {
        let why =
            format!("`server.tls.{name}` contains PEM text: put that into a file, and write the file's path here");
        section.findings.report(ServerFact::BadTls { why }, &span);
        return None;
    }
    match context.reading.read(Access::Anywhere, path, MAX_FILE) {
        Ok(bytes) => Some((path.to_owned(), bytes)),
        Err(error) => {
            let (path, cause) = (path.to_owned(), error.to_string());
            section.findings.report(ServerFact::TlsUnreadable { path, cause }, &span);
            None
        }
    }
}
