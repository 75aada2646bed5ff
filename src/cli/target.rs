//! A running relay to call from here: its address, and connections to it.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;

/// How long making a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections from one loopback address before the next one is used: each address has some 28,000 ports.
const PORTS: usize = 20_000;

/// A stream of bytes, in whatever way it is connected.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// One of a relay's listeners. Clones are cheap.
#[derive(Clone)]
pub(super) struct Target {
    place: Place,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// The headers of every request: the host and the token.
    headers: HeaderMap,
}

#[derive(Clone)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Why a target cannot be used.
#[derive(Debug)]
pub(super) enum Unfound {
    /// The URL cannot be that of a relay.
    Misnamed,
    /// Nothing answers there.
    Unreachable(Error),
    /// The token cannot be sent, or the certificates cannot be used.
    Unfit(String),
}

impl Target {
    /// Finds the address of a URL by connecting to it.
    pub(super) async fn find(url: &str, ca: Option<&Path>, token: Option<&str>) -> Result<Self, Unfound> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
            let why = "the token has a character that no header can carry";
            let mut bearer = bearer.map_err(|_| Unfound::Unfit(why.to_owned()))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        if let Some(path) = url.strip_prefix("unix:") {
            headers.insert(HOST, HeaderValue::from_static("localhost"));
            let target = Self { place: Place::Unix(path.into()), tls: None, headers };
            target.connect(0).await.map_err(Unfound::Unreachable)?;
            return Ok(target);
        }
        let uri: Uri = url.parse().map_err(|_| Unfound::Misnamed)?;
        let (Some(authority), Some(scheme)) = (uri.authority(), uri.scheme_str()) else {
            return Err(Unfound::Misnamed);
        };
        let (tls, port) = match scheme {
            "http" => (None, 80),
            "https" => (Some((trust(ca).map_err(Unfound::Unfit)?, server_name(authority.host())?)), 443),
            _ => return Err(Unfound::Misnamed),
        };
        if uri.path() != "/" || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(Unfound::Misnamed);
        }
        headers.insert(HOST, HeaderValue::from_str(authority.as_str()).map_err(|_| Unfound::Misnamed)?);
        let host = authority.host().trim_matches(['[', ']']);
        let found = lookup_host((host, authority.port_u16().unwrap_or(port))).await;
        let found = found.map_err(Unfound::Unreachable)?;
        // All addresses are called by the same host name.
        let at = |address| Self { place: Place::Tcp(address), tls: tls.clone(), headers: headers.clone() };
        first(found.map(at)).await.map_err(Unfound::Unreachable)
    }

    /// The headers of every request.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The host for the URLs of requests.
    pub(super) fn host(&self) -> &str {
        self.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost")
    }

    /// Makes the connection with this number.
    pub(super) async fn connect(&self, number: usize) -> Result<Box<dyn Wire>, Error> {
        let connected = tokio::time::timeout(PATIENCE, self.connect_for_ever(number));
        connected.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::TimedOut, "it does not answer within 10 s")))
    }

    async fn connect_for_ever(&self, number: usize) -> Result<Box<dyn Wire>, Error> {
        let socket = match &self.place {
            Place::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Place::Tcp(address) => tcp(*address, number).await?,
        };
        // Each request is one write, which must not wait for an earlier answer.
        socket.set_nodelay(true)?;
        match &self.tls {
            Some((connector, name)) => Ok(Box::new(connector.connect(name.clone(), socket).await?)),
            None => Ok(Box::new(socket)),
        }
    }
}

/// What may be wrong if there is no connection.
pub(super) fn doubt(error: &Error) -> &'static str {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "name the authority that has signed it with `--ca FILE`"
        }
        Some(rustls::Error::InvalidMessage(_)) => "does that port speak TLS?",
        _ => "is a relay running there?",
    }
}

/// The first target that answers. `localhost` often resolves to an IPv6 address first, where nothing listens.
async fn first(targets: impl Iterator<Item = Target>) -> Result<Target, Error> {
    let mut failed = Error::from(ErrorKind::NotFound);
    for target in targets {
        match target.connect(0).await {
            Ok(_) => return Ok(target),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn tcp(address: SocketAddr, number: usize) -> Result<TcpStream, Error> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let (IpAddr::V4(ip), Ok(further @ 1..)) = (address.ip(), u8::try_from(number / PORTS))
        && ip.is_loopback()
        && further < 254
    {
        socket.bind((Ipv4Addr::new(127, 0, 0, 1 + further), 0).into())?;
    }
    socket.connect(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrNotAvailable => {
            Error::new(error.kind(), "no source port is left for one more connection to one address; take fewer")
        }
        _ => error,
    })
}

fn trust(ca: Option<&Path>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let bad = |why: String| format!("cannot load certificates from `{}`: {why}", path.display());
            let certificates = CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| bad(error.to_string()))?;
                roots.add(certificate).map_err(|error| bad(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(bad("it has no certificate in PEM".to_owned()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.expect("ring has what the default versions need");
    let config = versions.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn server_name(host: &str) -> Result<ServerName<'static>, Unfound> {
    ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|_| Unfound::Misnamed)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use hyper::header::HeaderMap;

    use super::{Place, Target, first};

    #[tokio::test]
    async fn every_address_of_a_name_is_tried() {
        let bind = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let (closed, open) = (bind(), bind());
        let places = [&closed, &open].map(|listener| Place::Tcp(listener.local_addr().expect("an address")));
        let targets = places.map(|place| Target { place, tls: None, headers: HeaderMap::new() });
        drop(closed);
        let found = first(targets.clone().into_iter()).await.expect("the second listens");
        assert!(matches!(found.place, Place::Tcp(address) if address == open.local_addr().expect("an address")));
        assert!(first(targets.into_iter().take(1)).await.is_err());
        assert!(first([].into_iter()).await.is_err());
    }
}
