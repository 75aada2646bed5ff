//! Checks a certificate and its key, and makes them ready for the listener. Only this file knows how.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore, ServerConfig};
use secrecy::ExposeSecret;

use crate::config::model::Tls;
use crate::diagnostic::{Diagnostic, ServerFact, TlsFault};
use crate::time::Time;

/// A certificate and its key as a listener takes them.
pub type Ready = Arc<ServerConfig>;

/// Checks that certificate and key can be read and belong together.
///
/// # Errors
/// What is wrong, in words that do not quote the key, at the path of the file in question.
pub fn build(tls: &Tls) -> Result<Ready, Box<Diagnostic>> {
    let of_cert = |fault: TlsFault| Box::new(Diagnostic::new(fault, tls.cert_span.clone()));
    let of_key = |fault: TlsFault| Box::new(Diagnostic::new(fault, tls.key_span.clone()));
    let pair = CertifiedKey::new(chain(tls).map_err(of_cert)?, key(tls).map_err(of_key)?);
    match pair.keys_match() {
        // Unknown is whether they belong together.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            let (cert, key) = (tls.cert.clone(), tls.key.clone());
            let fits = |own: &CertificateDer<'static>| {
                CertifiedKey::new(vec![own.clone()], pair.key.clone()).keys_match().is_ok()
            };
            return Err(of_key(match pair.cert.iter().skip(1).any(fits) {
                true => TlsFault::NotFirst { cert, key },
                false => TlsFault::OtherKey { cert, key },
            }));
        }
        Err(error) => return Err(of_cert(unusable(tls, &error))),
    }
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| of_cert(unusable(tls, &error)))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    // Not HTTP/2: a WebSocket upgrade needs HTTP/1.1, which is chosen where both are offered.
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    Ok(Arc::new(config))
}

fn chain(tls: &Tls) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let not_pem = |why| TlsFault::NotPem { path: tls.cert.clone(), why };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&tls.cert_pem).collect();
    let chain = chain.map_err(|error| not_pem(why(&error)))?;
    if chain.is_empty() { Err(not_pem("has no certificate".to_owned())) } else { Ok(chain) }
}

fn key(tls: &Tls) -> Result<Arc<dyn SigningKey>, TlsFault> {
    let path = tls.key.clone();
    if is_encrypted(tls.key_pem.expose_secret()) {
        return Err(TlsFault::Encrypted { path });
    }
    let Ok(key) = PrivateKeyDer::from_pem_slice(tls.key_pem.expose_secret()) else {
        return Err(TlsFault::NotPem { path, why: "has no private key in PEM".to_owned() });
    };
    ring::sign::any_supported_type(&key).map_err(|_| TlsFault::UnknownKey { path })
}

/// What the library says of a certificate that it cannot use.
fn unusable(tls: &Tls, error: &Error) -> TlsFault {
    let path = tls.cert.clone();
    match error {
        // The type of the cause is that of a library below it.
        Error::InvalidCertificate(CertificateError::Other(cause)) if format!("{cause:?}").contains("CertVersion") => {
            TlsFault::OldCertificate { path }
        }
        Error::InvalidCertificate(CertificateError::BadEncoding) => {
            TlsFault::Unusable { path, why: "it is damaged".into() }
        }
        Error::InvalidCertificate(error) => TlsFault::Unusable { path, why: format!("{error:?}") },
        error => TlsFault::Unusable { path, why: error.to_string() },
    }
}

/// Warns that the server's own certificate has expired, or is not valid yet. Those that signed it are not checked: one
/// of them may have expired while clients trust the certificate by another chain.
pub fn validity_warning(tls: &Tls, now: Time) -> Option<ServerFact> {
    let path = tls.cert.clone();
    match judge(tls, now)? {
        CertificateError::ExpiredContext { not_after, .. } => {
            Some(ServerFact::ExpiredCertificate { path, since: moment(not_after).to_string() })
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            Some(ServerFact::EarlyCertificate { path, from: moment(not_before).to_string() })
        }
        _ => None,
    }
}

/// When the server's own certificate expires. Asks a verifier about the end of time, which saves an X.509 parser for
/// one field.
pub fn expires(tls: &Tls) -> Option<Time> {
    match judge(tls, Time(i64::MAX))? {
        CertificateError::ExpiredContext { not_after, .. } => Some(moment(not_after)),
        _ => None,
    }
}

/// The objection a client would have to the server's own certificate at a given time.
fn judge(tls: &Tls, at: Time) -> Option<CertificateError> {
    let own = CertificateDer::from_pem_slice(&tls.cert_pem).ok()?;
    let mut roots = RootCertStore::empty();
    roots.add(own.clone()).ok()?;
    let provider = Arc::new(ring::default_provider());
    let client = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
    // The verifier checks the time before the name and the signature; this check cannot know what clients make of those
    // two.
    let name = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
    let at = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(at.0).unwrap_or_default()));
    match client.verify_server_cert(&own, &[], &name, &[], at) {
        Err(Error::InvalidCertificate(error)) => Some(error),
        _ => None,
    }
}

fn moment(time: UnixTime) -> Time {
    Time(i64::try_from(time.as_secs()).unwrap_or(i64::MAX).saturating_mul(1_000))
}

/// What is wrong with a PEM file (RFC 7468), without quoting its bytes.
fn why(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            format!("is cut off: a section has no `-----END {label}-----`")
        }
        pem::Error::Base64Decode(_) => "is not PEM: the text between `BEGIN` and `END` is not base64".to_owned(),
        _ => "is not PEM".to_owned(),
    }
}

/// Whether a key has a passphrase: PKCS #8 says so in the label, the older form in a header (RFC 1421).
fn is_encrypted(key_pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(key_pem);
    text.lines().any(|line| line.starts_with("-----BEGIN ENCRYPTED") || line.starts_with("Proc-Type: 4,ENCRYPTED"))
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
