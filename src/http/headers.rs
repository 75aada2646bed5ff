//! Headers that may appear once.

use warp::http::header::TRANSFER_ENCODING;
use warp::http::{HeaderMap, HeaderName};

use crate::problem::Refusal;

/// The value of a header that may appear once.
///
/// # Errors
/// 400 when it appears twice or is not visible ASCII.
pub fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    // Usually nothing appears twice, which the map knows.
    if headers.len() > headers.keys_len() && headers.get_all(name).iter().nth(1).is_some() {
        return Err(Refusal::BadRequest(format!("the header `{name}` appears twice: send it once")));
    }
    let text = value.to_str();
    text.map(Some)
        .map_err(|_| Refusal::BadRequest(format!("the header `{name}` contains characters other than visible ASCII")))
}

/// Whether the end of the body is unambiguous: a proxy in front may have believed the other of two indications (RFC
/// 9112, section 6.3).
///
/// If there is a length beside `chunked`, hyper drops the length and closes after the answer.
pub fn is_framed(headers: &HeaderMap) -> bool {
    let coding = one(headers, &TRANSFER_ENCODING);
    coding.is_ok_and(|coding| coding.is_none_or(|coding| coding.eq_ignore_ascii_case("chunked")))
}
