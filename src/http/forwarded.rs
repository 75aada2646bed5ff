//! The caller's address when there are proxies in front.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use warp::http::HeaderMap;

/// The caller's address and whether it used TLS, as far as proxies are trusted.
///
/// It is the last address in `X-Forwarded-For` that is not a trusted proxy's. The peer of a Unix socket counts as the
/// loopback address.
pub fn peer(trusted: &[(IpAddr, u8)], link: Option<IpAddr>, headers: &HeaderMap) -> (IpAddr, bool) {
    let mut peer = link.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    if !is_trusted(trusted, peer) {
        return (peer, false);
    }
    // If there are several, the first is what the caller used.
    let first = headers.get("x-forwarded-proto").and_then(|proto| proto.to_str().ok()?.split(',').next());
    let secure = first.is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"));
    // As bytes: a caller may send some that are not text, and the hops further right are the proxy's all the same.
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    for hop in lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')) {
        // Everything further left was written by whoever wrote this invalid hop, and cannot be trusted.
        let Some(ip) = parse(hop.trim_ascii()) else { break };
        peer = ip;
        if !is_trusted(trusted, ip) {
            break;
        }
    }
    (peer, secure)
}

/// Parses one hop; some proxies add the port.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?;
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let ip = bare.parse().ok().or_else(|| hop.parse().ok().map(|address: SocketAddr| address.ip()))?;
    Some(IpAddr::to_canonical(&ip))
}

/// Whether the address is a trusted proxy's.
pub fn is_trusted(trusted: &[(IpAddr, u8)], ip: IpAddr) -> bool {
    trusted.iter().any(|(network, prefix)| match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => share(network.to_bits().into(), ip.to_bits().into(), 32, *prefix),
        (IpAddr::V6(network), IpAddr::V6(ip)) => share(network.to_bits(), ip.to_bits(), 128, *prefix),
        _ => false,
    })
}

/// Whether the first `prefix` of the lowest `width` bits are the same.
fn share(a: u128, b: u128, width: u32, prefix: u8) -> bool {
    (a ^ b).checked_shr(width.saturating_sub(prefix.into())).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use warp::http::{HeaderMap, HeaderValue};

    use super::peer;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let ip = |text: &str| text.parse::<IpAddr>().expect(text);
        let trusted = [(ip("10.0.0.0"), 8), (ip("127.0.0.1"), 32), (ip("fd00::"), 8)];
        // (peer, headers, caller's address)
        for (link, headers, expected) in [
            ("192.0.2.1", vec!["198.51.100.7"], "192.0.2.1"),
            ("10.1.1.1", vec![], "10.1.1.1"),
            ("10.1.1.1", vec!["198.51.100.7"], "198.51.100.7"),
            ("10.1.1.1", vec!["::ffff:198.51.100.7"], "198.51.100.7"),
            ("10.1.1.1", vec!["203.0.113.9, 198.51.100.7, 10.2.2.2"], "198.51.100.7"),
            ("10.1.1.1", vec!["203.0.113.9", "198.51.100.7,10.2.2.2"], "198.51.100.7"),
            ("10.1.1.1", vec!["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            ("10.1.1.1", vec!["198.51.100.7, unknown, 10.2.2.2"], "10.2.2.2"),
            ("10.1.1.1", vec!["198.51.100.7:4711"], "198.51.100.7"),
            ("fd00::1", vec!["[2001:db8::7]:4711"], "2001:db8::7"),
            ("fd00::1", vec!["[2001:db8::7]"], "2001:db8::7"),
        ] {
            let mut map = HeaderMap::new();
            for value in &headers {
                map.append("x-forwarded-for", value.parse().expect("a header value"));
            }
            assert_eq!(peer(&trusted, Some(ip(link)), &map).0, ip(expected), "{link} {headers:?}");
        }
        let mut https = HeaderMap::new();
        https.insert("x-forwarded-proto", "HTTPS, http".parse().expect("a header value"));
        assert!(peer(&trusted, None, &https).1, "a Unix socket counts as 127.0.0.1, which is trusted here");
        assert!(!peer(&[], None, &https).1);
        assert!(peer(&[(ip("0.0.0.0"), 0)], Some(ip("192.0.2.1")), &https).1, "a prefix of 0 is everybody");
    }

    /// A value with a byte beyond ASCII used to be skipped as a whole, even the proxy's own hop: the caller then
    /// counted as the proxy, or as an address that it had put into an earlier line.
    #[test]
    fn what_is_no_text_hides_no_hop() {
        let ip = |text: &str| text.parse::<IpAddr>().expect(text);
        for (lines, expected) in [
            (&[&b"\xe9, 203.0.113.5"[..]][..], "203.0.113.5"),
            (&[b"198.51.100.66", b"\xe9, 203.0.113.5"], "203.0.113.5"),
            (&[b"198.51.100.66", b"\xe9"], "127.0.0.1"),
            (&[b"198.51.100.66, 203.0.113.5\xe9"], "127.0.0.1"),
            (&[b"198.51.100.66", b""], "127.0.0.1"),
        ] {
            let mut map = HeaderMap::new();
            for line in lines {
                map.append("x-forwarded-for", HeaderValue::from_bytes(line).expect("a header value"));
            }
            let known = peer(&[(ip("127.0.0.1"), 32)], Some(ip("127.0.0.1")), &map).0;
            assert_eq!(known, ip(expected), "{map:?}");
        }
    }
}
