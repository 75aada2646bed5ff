//! One request as handlers see it: everything but the body.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use warp::http::request::Parts;
use warp::http::{Extensions, HeaderMap, HeaderName, Method, Request, Uri, Version, header};
use warp::{Filter, Rejection};

use crate::host::Host;
use crate::http::answer::Rejected;
use crate::http::door::{Link, Side};
use crate::http::{credential, forwarded, headers, paths};
use crate::identify::identify;
use crate::live::Live;
use crate::principal::Principal;
use crate::problem::Refusal;
use crate::snapshot::Snapshot;
use crate::telemetry::stats::Route;

/// One request without its body.
pub struct Call {
    /// The connection that it came on.
    pub link: Arc<Link>,
    /// The configuration in force when it came.
    pub snapshot: Arc<Snapshot>,
    version: Version,
    /// The method.
    pub method: Method,
    /// The target.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// The caller's address, as trusted proxies report it; the loopback address on a Unix socket.
    pub peer: IpAddr,
    /// Whether the caller used TLS, to this server or to a trusted proxy.
    pub secure: bool,
    /// The route of its path on its listener, whatever the method.
    pub route: Route,
    /// Whether its headers say unambiguously where its body ends.
    pub framed: bool,
    caller: OnceLock<Result<Arc<Principal>, Refusal>>,
}

impl Call {
    /// Takes what it needs from a request; the rest goes into [`Call::request`].
    pub fn take(link: Arc<Link>, parts: Parts) -> (Arc<Self>, Extensions) {
        let Parts { method, uri, version, headers, extensions, .. } = parts;
        let snapshot = link.door.live.snapshot();
        let (peer, secure) = forwarded::peer(&snapshot.config.server.trusted_proxies, link.peer, &headers);
        let framed = headers::is_framed(&headers);
        let secure = secure || link.secure;
        let route = paths::route(link.door.side, uri.path());
        let caller = OnceLock::new();
        let call = Self { link, snapshot, version, method, uri, headers, peer, secure, route, framed, caller };
        (Arc::new(call), extensions)
    }

    /// The request for the filters, without the headers, which this call keeps.
    pub fn request<B>(self: &Arc<Self>, extensions: Extensions, body: B) -> Request<B> {
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut()) = (self.method.clone(), self.uri.clone());
        *request.extensions_mut() = extensions;
        request.extensions_mut().insert(self.clone());
        request
    }

    /// The server.
    pub fn live(&self) -> &Arc<Live> {
        &self.link.door.live
    }

    /// The side whose listener it came by.
    pub fn side(&self) -> Side {
        self.link.door.side
    }

    /// Whether its connection is closed after the answer.
    pub fn is_last(&self) -> bool {
        self.link.permit.is_over() || self.link.over_rate || !self.framed
    }

    /// The caller, identified when this is first called.
    ///
    /// # Errors
    /// As for [`Call::identify`].
    pub async fn caller(&self) -> Result<&Arc<Principal>, Refusal> {
        let known = match self.caller.get() {
            Some(known) => known,
            None => {
                let found = self.identify(&self.snapshot).await;
                self.caller.get_or_init(|| found)
            }
        };
        known.as_ref().map_err(Refusal::clone)
    }

    /// The caller, if it has been identified.
    pub fn known(&self) -> Option<&Principal> {
        self.caller.get()?.as_deref().ok()
    }

    /// The name of the caller in log lines, as far as it has been identified.
    pub fn caller_name(&self) -> &str {
        Principal::name_of(self.known())
    }

    /// Identifies the caller by this configuration, which need not be that in force when it came.
    ///
    /// # Errors
    /// 401 or 429, and 400 for more than one credential.
    pub async fn identify(&self, snapshot: &Snapshot) -> Result<Arc<Principal>, Refusal> {
        let bearer = credential::bearer(&self.headers)?;
        identify(snapshot, &self.live().failures, bearer, self.peer).await
    }

    /// The name by which the client addressed the server: the target's authority, or else the Host.
    ///
    /// # Errors
    /// 400 if there is no Host, more than one, or an invalid one, even if the target's authority counts (RFC 9112,
    /// section 3.2).
    pub fn host(&self) -> Result<Host<'_>, Refusal> {
        let host = self.one(&header::HOST)?.map(|host| parse_host(host, "`Host: ")).transpose()?;
        match self.uri.authority() {
            // User information before the host is not part of it.
            Some(authority) if host.is_some() || self.version == Version::HTTP_10 => {
                parse_host(authority.as_str().rsplit('@').next().unwrap_or_default(), "the target's `")
            }
            _ => host.ok_or_else(|| Refusal::BadRequest("send one `Host` header".into())),
        }
    }

    /// Whether it names neither the server nor a page, and need not: HTTP/1.0 has no Host (RFC 9112, section 3.2).
    pub fn is_nameless(&self) -> bool {
        let names = |name| self.headers.contains_key(name);
        self.version == Version::HTTP_10
            && self.uri.authority().is_none()
            && !names(header::HOST)
            && !names(header::ORIGIN)
    }

    /// The value of a header that may appear once.
    ///
    /// # Errors
    /// 400 when it appears twice or is not visible ASCII.
    pub fn one(&self, name: &HeaderName) -> Result<Option<&str>, Refusal> {
        headers::one(&self.headers, name)
    }

    /// Bytes of the target.
    pub fn target_len(&self) -> usize {
        let authority = self.uri.authority().map_or(0, |authority| authority.as_str().len());
        authority + self.uri.path_and_query().map_or(0, |target| target.as_str().len())
    }
}

fn parse_host<'h>(host: &'h str, what: &str) -> Result<Host<'h>, Refusal> {
    let bad = || Refusal::BadRequest(format!("{what}{}` is not a name and a port", host.escape_default()));
    Host::parse(host).ok_or_else(bad)
}

/// The methods that a route allows.
#[derive(Clone, Copy)]
pub enum Methods {
    Get,
    GetAndHead,
    Post,
    Delete,
}

impl Methods {
    fn contain(self, method: &Method) -> bool {
        match self {
            Self::Get => method == Method::GET,
            Self::GetAndHead => method == Method::GET || method == Method::HEAD,
            Self::Post => method == Method::POST,
            Self::Delete => method == Method::DELETE,
        }
    }

    /// As in an `Allow` header.
    fn list(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::GetAndHead => "GET, HEAD",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// Extracts the call for a route that allows these methods.
pub fn call(allowed: Methods) -> impl Filter<Extract = (Arc<Call>,), Error = Rejection> + Clone {
    warp::ext::get::<Arc<Call>>().and_then(move |call: Arc<Call>| {
        let allow = allowed.list();
        std::future::ready(if allowed.contain(&call.method) {
            Ok(call)
        } else if call.method == Method::OPTIONS {
            Err(warp::reject::custom(Rejected::Options(allow)))
        } else {
            Err(warp::reject::custom(Rejected::Refused(Refusal::MethodNotAllowed { allow })))
        })
    })
}
