//! A certificate for one run, and a TLS configuration that trusts it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Writes `cert.pem` and `key.pem` for `localhost` into a directory.
///
/// # Errors
/// A file cannot be written.
pub fn certify(directory: &Path) -> io::Result<()> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
    std::fs::write(directory.join("cert.pem"), made.cert.pem())?;
    std::fs::write(directory.join("key.pem"), made.signing_key.serialize_pem())
}

/// Trusts this certificate only. Sessions are never resumed, so every handshake is a full one.
///
/// # Errors
/// The file cannot be read, or is not a certificate.
pub fn trusting(certificate: &Path) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
    roots.add(certificate).map_err(io::Error::other)?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
