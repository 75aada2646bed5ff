//! The headers that say who calls and whether a publish is a retry: `Authorization` and `Idempotency-Key`.

use warp::http::{HeaderMap, HeaderName, header};

use crate::http::headers::one;
use crate::plugin::MAX_KEY;
use crate::problem::Refusal;

/// The header that carries an idempotency key.
pub static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The bearer (RFC 6750, section 2.1).
///
/// An `Authorization` of another scheme counts as an empty bearer, which no token has: a wrong credential never becomes
/// an anonymous caller.
///
/// # Errors
/// 400 when there are two.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let value = one(headers, &header::AUTHORIZATION)?;
    Ok(value.map(|value| match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => "",
    }))
}

/// Whether an `Authorization` has the scheme Bearer, even without a token.
pub fn says_bearer(headers: &HeaderMap) -> bool {
    let scheme = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().get(..6));
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
}

/// The `Idempotency-Key`: a string (RFC 8941, section 3.3.3) or an unquoted token.
///
/// # Errors
/// 400 when there are two, or it is empty, too long or not one of these.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<Box<str>>, Refusal> {
    let Some(value) = one(headers, &IDEMPOTENCY_KEY)? else {
        return Ok(None);
    };
    let key = match value.trim().strip_prefix('"') {
        Some(rest) => unquote(rest).ok_or_else(|| bad("it begins with a quote but is not a valid quoted string"))?,
        None if value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b',' | b';')) => value.into(),
        None => return Err(bad("it has characters that need quotes: write it as a quoted string")),
    };
    check_key(&key)?;
    Ok(Some(key.into()))
}

/// Whether a text can be an idempotency key.
///
/// # Errors
/// 400 when it is empty or too long.
pub fn check_key(key: &str) -> Result<(), Refusal> {
    match key.len() {
        0 => Err(bad("it is empty")),
        1..=MAX_KEY => Ok(()),
        n => Err(bad(&format!("it is {n} bytes long, at most {MAX_KEY} are allowed"))),
    }
}

fn bad(detail: &str) -> Refusal {
    Refusal::BadRequest(format!("the idempotency key is not usable: {detail}"))
}

/// The text up to the closing quote, unescaped; `rest` starts after the opening one.
fn unquote(rest: &str) -> Option<String> {
    let mut text = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(text),
            '\\' => text.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use warp::http::HeaderMap;

    use super::{bearer, idempotency_key};

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().expect("a name"), value.parse().expect("a value"))])
    }

    #[test]
    fn a_bearer_is_what_follows_the_scheme() {
        for (value, expected) in
            [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", ""), ("abc", ""), ("Bearer ", "")]
        {
            assert_eq!(bearer(&headers("authorization", value)), Ok(Some(expected)), "{value}");
        }
        assert_eq!(bearer(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn a_key_is_a_string_or_a_token() {
        for (value, expected) in [("abc", "abc"), (r#""a b""#, "a b"), (r#""a\"\\""#, r#"a"\"#), ("k/1:2=", "k/1:2=")] {
            assert_eq!(idempotency_key(&headers("idempotency-key", value)), Ok(Some(expected.into())), "{value}");
        }
        let long = "k".repeat(256);
        for (value, expected) in [
            ("", "it is empty"),
            (r#""""#, "it is empty"),
            (r#""abc"#, "it begins with a quote but is not a valid quoted string"),
            (r#""abc"x"#, "it begins with a quote but is not a valid quoted string"),
            ("a b", "it has characters that need quotes: write it as a quoted string"),
            (long.as_str(), "it is 256 bytes long, at most 255 are allowed"),
        ] {
            let refusal = idempotency_key(&headers("idempotency-key", value)).expect_err(value);
            assert_eq!(refusal.to_string(), format!("the idempotency key is not usable: {expected}"));
        }
    }
}
