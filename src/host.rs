//! The name by which the server is addressed: a host, perhaps with a port (RFC 9110, section 7.2).
//!
//! Every request has one, so it is not copied. A name (RFC 3986, section 3.2.2) is checked for its characters only;
//! whether it is served is decided by the lists of hosts.

use std::fmt;
use std::net::Ipv6Addr;

/// A host, with its port if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host<'a> {
    whole: &'a str,
    name: &'a str,
}

impl<'a> Host<'a> {
    /// Parses a host and port; `None` if it is not one. User information in front is not accepted.
    pub fn parse(whole: &'a str) -> Option<Self> {
        let bytes = whole.as_bytes();
        let end = match bytes.first()? {
            b'[' => bytes.iter().position(|byte| *byte == b']')? + 1,
            _ => bytes.iter().position(|byte| *byte == b':').unwrap_or(bytes.len()),
        };
        let (name, port) = whole.split_at(end);
        let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_name = match inner {
            Some(address) => is_address(address),
            None => !name.is_empty() && name.bytes().all(is_registered),
        };
        let is_port = port.is_empty() || port.starts_with(':') && port[1..].bytes().all(|byte| byte.is_ascii_digit());
        (is_name && is_port).then_some(Self { whole, name })
    }

    /// Host and port, as written.
    pub fn as_str(&self) -> &'a str {
        self.whole
    }

    /// The host without the port.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// As in the origin of a page with this scheme (RFC 6454, section 6.2): without the scheme's default port.
    pub fn in_origin(&self, scheme: &str) -> &'a str {
        match (scheme, self.port()) {
            (_, Some("")) | ("http", Some("80")) | ("https", Some("443")) => self.name,
            _ => self.whole,
        }
    }

    /// The text after the colon: digits, or nothing.
    pub fn port(&self) -> Option<&'a str> {
        self.whole[self.name.len()..].strip_prefix(':')
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.whole)
    }
}

/// Some clients do not remove the zone of a link-local address.
fn is_address(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, ""));
    address.parse::<Ipv6Addr>().is_ok() && zone.bytes().all(is_registered)
}

/// Unreserved characters and sub-delimiters. Host names of the web have no percent signs.
fn is_registered(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;
    use warp::http::uri::Authority;

    use super::Host;

    #[test]
    fn a_host_is_a_name_and_perhaps_a_port() {
        for (text, name) in [
            ("localhost", "localhost"),
            ("127.0.0.1:8080", "127.0.0.1"),
            ("[::1]:8080", "[::1]"),
            ("[::ffff:10.0.0.1]", "[::ffff:10.0.0.1]"),
            ("[fe80::1%eth0]:8080", "[fe80::1%eth0]"),
            ("relay.example:", "relay.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            let host = Host::parse(text).expect(text);
            assert_eq!((host.name(), host.as_str()), (name, text));
        }
        for text in [
            "", ":80", "a b", "a:b", "a:80:80", "user@a", "a/b", "a?b", "[::1", "::1", "[]", "[::1]8", "[1]", "[v1.a]",
            "a%41", "ä", "a]",
        ] {
            assert_eq!(Host::parse(text), None, "{text}");
        }
    }

    proptest! {
        /// Compares with the library's authority, which accepts more: a user, any text for a port, an empty name, any
        /// address.
        #[test]
        fn it_is_an_authority_of_the_same_name(name in "[a-c._~!0-9/% -]{0,8}|\\[[a-c:.0-9%]{0,9}\\]", rest in "|@a|:[0-9a]{0,3}") {
            let text = format!("{name}{rest}");
            match (Host::parse(&text), text.parse::<Authority>()) {
                (Some(host), authority) => assert_eq!(Ok(host.name()), authority.as_ref().map(|a| a.host()).map_err(|_| ())),
                (None, Ok(_)) => {
                    let takes_more = rest.contains(['@', 'a']) || name.is_empty() || name.starts_with('[');
                    assert!(takes_more, "{text}");
                }
                (None, Err(_)) => {}
            }
        }
    }
}
