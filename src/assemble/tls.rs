//! A certificate and its key, made ready for the listener. The only file that knows how they are checked.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;

use crate::config::model::Tls;

/// Checks that both can be read and belong together.
///
/// # Errors
/// What is wrong, in words that do not quote the key.
pub fn build(tls: &Tls) -> Result<Arc<ServerConfig>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&tls.cert_pem).collect();
    let chain = chain.map_err(|error| format!("`{}` {}", tls.cert, why(&error)))?;
    if chain.is_empty() {
        return Err(format!("`{}` has no certificate", tls.cert));
    }
    if is_encrypted(tls.key_pem.expose_secret()) {
        return Err(format!("`{}` is encrypted: give relay the key without a passphrase", tls.key));
    }
    let key = PrivateKeyDer::from_pem_slice(tls.key_pem.expose_secret());
    let key = key.map_err(|_| format!("`{}` has no private key in PEM", tls.key))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let mut config = config.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            format!("`{}` is not the key of the certificate in `{}`: they are of two pairs", tls.key, tls.cert)
        }
        error => format!("`{}` and `{}` cannot be used: {error}", tls.cert, tls.key),
    })?;
    // HTTP/1.1 and nothing else: a WebSocket upgrade needs it.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What is wrong with a file of PEM (RFC 7468). Its bytes are not quoted.
fn why(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            format!("breaks off: a section of it begins and has no `-----END {label}-----`")
        }
        pem::Error::Base64Decode(_) => {
            "is not PEM: what stands between its `BEGIN` and its `END` is not base64".to_owned()
        }
        _ => "is not PEM".to_owned(),
    }
}

/// Whether a key has a passphrase: as PKCS #8 by its label, in the older form by a header (RFC 1421).
fn is_encrypted(key_pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(key_pem);
    text.lines().any(|line| line.starts_with("-----BEGIN ENCRYPTED") || line.starts_with("Proc-Type: 4,ENCRYPTED"))
}
