//! `[server]` and `[log]`

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::config::decode::Context;
use crate::config::decode::tls::tls;
use crate::config::model::{Listen, Log, Server, Span};
use crate::config::section::{Placed, Section};
use crate::diagnostic::ServerFact;
use crate::host::Host;

/// The longest path of a Unix socket, in bytes: `sun_path` without its terminating zero (unix(7)).
const MAX_SOCKET: usize = 107;

pub(super) fn log(section: &Section<'_>) -> Log {
    let default = Log::default();
    Log {
        json: section.choice("format") == Some("json"),
        level: section.choice("level").map_or(default.level, str::to_owned),
    }
}

pub(super) fn server(section: &Section<'_>, context: &Context<'_>) -> Server {
    let default = Server::default();
    let text = |name| section.text(name);
    let (listen_written, admin_written) = (text("listen"), text("admin"));
    let listen = match &listen_written {
        Some(value) => listener(section, value.clone()),
        None => Some(default.listen.clone()),
    };
    let admin = match &admin_written {
        None => default.admin,
        Some(("", _)) => None,
        Some(value) => listener(section, value.clone()),
    };
    if let (Some(admin), Some((_, span))) = (&admin, admin_written.or(listen_written)) {
        check_admin(section, admin, listen.as_ref(), &span);
    }
    let proxies = each(section, "trusted_proxies", proxy, |value| ServerFact::BadProxy { value });
    Server {
        listen: listen.unwrap_or(default.listen),
        admin,
        allowed_origins: each(section, "allowed_origins", origin, |value| ServerFact::BadOrigin { value }),
        allowed_hosts: section
            .has("allowed_hosts")
            .then(|| each(section, "allowed_hosts", host, |value| ServerFact::BadHost { value }))
            .filter(|hosts| !hosts.is_empty()),
        trusted_proxies: proxies,
        public_url: text("public_url").filter(|(url, _)| !url.is_empty()).and_then(|(url, span)| {
            let base = base_url(url);
            if base.is_none() {
                section.findings.report(ServerFact::BadPublicUrl { value: url.to_owned() }, &span);
            }
            base
        }),
        tls: tls(section, context),
    }
}

fn listener(section: &Section<'_>, (text, span): Placed<&str>) -> Option<Listen> {
    let listen = match text.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') && path.len() > MAX_SOCKET => {
            let fact = ServerFact::LongSocket { value: text.to_owned(), bytes: path.len(), most: MAX_SOCKET };
            section.findings.report(fact, &span);
            return None;
        }
        Some(path) => path.starts_with('/').then(|| Listen::Unix(PathBuf::from(path))),
        None => text.parse::<SocketAddr>().ok().map(Listen::Tcp),
    };
    if listen.is_none() {
        section.findings.report(ServerFact::BadListen { value: text.to_owned() }, &span);
    }
    listen
}

/// Compares the listeners as they will be in force, since one of them may be the default.
fn check_admin(section: &Section<'_>, admin: &Listen, listen: Option<&Listen>, span: &Span) {
    if let Some(listen) = listen.filter(|listen| are_same(admin, listen)) {
        let fact = ServerFact::SameListener { admin: admin.to_string(), listen: listen.to_string() };
        return section.findings.report(fact, span);
    }
    match admin {
        Listen::Tcp(address) if !address.ip().to_canonical().is_loopback() => {
            section.findings.report(ServerFact::AdminExposed { value: admin.to_string() }, span);
        }
        _ => {}
    }
}

/// Whether the two cannot both be listened on.
fn are_same(one: &Listen, other: &Listen) -> bool {
    match (one, other) {
        // Port 0 becomes another port each time.
        (Listen::Tcp(one), Listen::Tcp(other)) if one.port() != 0 && one.port() == other.port() => {
            let (one, other) = (one.ip().to_canonical(), other.ip().to_canonical());
            one == other || takes(one, other) || takes(other, one)
        }
        (Listen::Unix(one), Listen::Unix(other)) => one == other,
        _ => false,
    }
}

/// Whether a listener on this address gets connections meant for the other one. A listener on `::` gets IPv4 too.
fn takes(address: IpAddr, other: IpAddr) -> bool {
    address.is_unspecified() && (address.is_ipv6() || other.is_ipv4())
}

/// Reads a list of texts by one rule. Texts that break it are reported and left out.
fn each<T>(
    section: &Section<'_>,
    name: &'static str,
    read: fn(&str) -> Option<T>,
    wrong: fn(String) -> ServerFact,
) -> Vec<T> {
    let mut values = Vec::new();
    for (text, span) in section.texts(name).unwrap_or_default() {
        match read(text) {
            Some(value) => values.push(value),
            None => section.findings.report(wrong(text.to_owned()), &span),
        }
    }
    values
}

/// An origin such as `https://app.example.org:8443`, as browsers send it (RFC 6454, section 6.2): never with the
/// scheme's default port.
fn origin(text: &str) -> Option<String> {
    let (scheme, authority) = text.split_once("://")?;
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_lowercase() || b"+-.".contains(&b)) => "",
        _ => return None,
    };
    let names_default = !default_port.is_empty() && authority.ends_with(default_port);
    (!names_default && host(authority).is_some()).then(|| text.to_ascii_lowercase())
}

/// A host, with or without a port, as people write it. Requests may have stranger ones, but here `*` or `,` would mean
/// more than the one name that they would match.
fn host(text: &str) -> Option<String> {
    let host = Host::parse(text)?;
    let is_plain = host.name().bytes().all(|b| b.is_ascii_alphanumeric() || b"-._[:]".contains(&b));
    let is_port = host.port().is_none_or(|port| port.parse::<u16>().is_ok());
    (is_plain && is_port).then(|| text.to_ascii_lowercase())
}

/// An address, or a network as address and prefix length. Callers are compared as IPv4 if possible, so networks are
/// converted too: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn proxy(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(bits), |text| text.parse().ok())?;
    let canonical = address.to_canonical();
    let mapped = if canonical == address { 0 } else { 96 };
    (length <= bits).then_some((canonical, length.checked_sub(mapped)?))
}

/// A URL such as `https://relay.example.org/base`, without a trailing slash.
fn base_url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&b));
    let fits = matches!(scheme, "http" | "https" | "ws" | "wss") && host(authority).is_some() && plain;
    fits.then(|| text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Listen, are_same, base_url, host, origin, proxy};

    #[test]
    fn two_listeners_are_the_same_where_one_takes_what_is_for_the_other() {
        let same = |one: &str, other: &str| {
            let tcp = |text: &str| Listen::Tcp(text.parse().expect("an address"));
            assert_eq!(are_same(&tcp(one), &tcp(other)), are_same(&tcp(other), &tcp(one)));
            are_same(&tcp(one), &tcp(other))
        };
        for (one, other) in [
            ("127.0.0.1:8001", "127.0.0.1:8001"),
            ("0.0.0.0:8001", "127.0.0.1:8001"),
            ("[::]:8001", "127.0.0.1:8001"),
            ("[::]:8001", "[::1]:8001"),
            ("[::]:8001", "0.0.0.0:8001"),
            ("[::ffff:127.0.0.1]:8001", "127.0.0.1:8001"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("127.0.0.1:8000", "127.0.0.1:8001"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("0.0.0.0:8001", "[::1]:8001"),
            ("127.0.0.1:8001", "[::1]:8001"),
            ("10.0.0.1:8001", "127.0.0.1:8001"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn origins_hosts_proxies_and_bases_are_told_from_lookalikes() {
        for good in ["https://a.example", "http://localhost:3000", "http://[::1]:3000", "capacitor://localhost"] {
            assert_eq!(origin(good).as_deref(), Some(good));
        }
        for bad in ["*", "a.example", "https://a.example/", "https://a.example:443", "http://a:80", "https://", "null"]
        {
            assert_eq!(origin(bad), None, "{bad}");
        }
        assert_eq!(host("Relay.Example:80").as_deref(), Some("relay.example:80"));
        for bad in
            ["", "a b", "http://a", "a:b", "[::1", "[::g]", "[::1]x", "*.a", "a:", "a:65536", "a:+80", "a,b", "[::1%a]"]
        {
            assert_eq!(host(bad), None, "{bad}");
        }
        assert_eq!(proxy("10.0.0.0/8").map(|(_, bits)| bits), Some(8));
        assert_eq!(proxy("::1").map(|(_, bits)| bits), Some(128));
        // Converted to IPv4, like the addresses that it is compared with. A network of all of IPv4 and more is surely a
        // mistake.
        assert_eq!(proxy("::ffff:10.0.0.7"), Some(([10, 0, 0, 7].into(), 32)));
        assert_eq!(proxy("::ffff:10.0.0.0/104"), Some(([10, 0, 0, 0].into(), 8)));
        for bad in ["10.0.0.0/33", "10.0.0/8", "proxy", "", "::ffff:10.0.0.0/95"] {
            assert_eq!(proxy(bad), None, "{bad}");
        }
        assert_eq!(base_url("https://a.example/x/").as_deref(), Some("https://a.example/x"));
        for bad in ["a.example", "ftp://a", "https://a?b", "https://a/x#y", "https:///x"] {
            assert_eq!(base_url(bad), None, "{bad}");
        }
    }
}
