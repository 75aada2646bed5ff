//! The query of a request: names and values; an unknown name is refused.

use warp::http::Uri;

use crate::close::Close;
use crate::message::BadPosition;
use crate::name::Pattern;
use crate::notice::After;
use crate::problem::Refusal;
use crate::spelling::quoted;

/// Names under which other servers take a credential.
const CREDENTIALS: [&str; 5] = ["token", "access_token", "auth", "authorization", "jwt"];

/// Items in an answer by default.
const USUAL: u64 = 100;
/// Items in an answer at most.
const MOST: u64 = 1_000;

/// The parameters of one request.
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Splits a target's query; a parameter that is not one of `known` is refused rather than ignored.
    ///
    /// # Errors
    /// 400
    pub fn parse(uri: &Uri, known: &[&str]) -> Result<Self, Refusal> {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect::<Vec<_>>();
        for (name, _) in &pairs {
            if is_credential(name) {
                let detail = "a credential in a URL ends up in logs: send `Authorization: Bearer <token>`, or let a \
                              server call `/register` for a URL that a browser can use";
                return Err(Refusal::BadRequest(detail.into()));
            }
            if !known.contains(&name.as_str()) {
                let known = match known {
                    [] => "this call takes no parameters".to_owned(),
                    known => format!("this call takes `{}`", known.join("`, `")),
                };
                return Err(Refusal::BadRequest(format!("unknown parameter {}: {known}", quoted(name))));
            }
        }
        Ok(Self(pairs))
    }

    /// Refuses any query, for a call without parameters: whoever sends one believes that it counts.
    ///
    /// # Errors
    /// 400
    pub fn none(uri: &Uri) -> Result<(), Refusal> {
        if uri.query().is_none() {
            return Ok(());
        }
        Self::parse(uri, &[]).map(drop)
    }

    /// The close for a WebSocket with a query: its page cannot see the status of a refused upgrade, but it can read the
    /// reason of a close.
    pub fn of_socket(uri: &Uri) -> Option<Close> {
        let mut names = form_urlencoded::parse(uri.query()?.as_bytes()).map(|(name, _)| name).peekable();
        names.peek()?;
        Some(if names.any(|name| is_credential(&name)) { Close::CredentialInUrl } else { Close::ParameterInUrl })
    }

    /// Every value of a parameter, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may appear once.
    ///
    /// # Errors
    /// 400 when it appears twice.
    pub fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, Refusal> {
        let mut values = self.all(name);
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(Refusal::BadRequest(format!("the parameter `{name}` appears twice: send it once"))),
        }
    }

    /// Where to start: the parameter `after`.
    ///
    /// # Errors
    /// 400 when it is not a position.
    pub fn after(&self) -> Result<Option<After>, Refusal> {
        let Some(text) = self.one("after")? else { return Ok(None) };
        let refused = |error: BadPosition| Refusal::BadRequest(format!("{} in `after`: {error}", quoted(text)));
        text.parse().map(Some).map_err(refused)
    }

    /// How many items are asked for: the parameter `limit`, from 1 to [`MOST`].
    ///
    /// # Errors
    /// 400 when it is none.
    pub fn limit(&self) -> Result<usize, Refusal> {
        let limit = self.number("limit", 1, MOST)?.unwrap_or(USUAL);
        Ok(usize::try_from(limit).expect("a thousand fits"))
    }

    /// A number in a range.
    ///
    /// # Errors
    /// 400 when it is none.
    pub fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Refusal> {
        let value = self.one(name)?.map(|text| {
            text.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
                Refusal::BadRequest(format!("the parameter `{name}` must be a whole number from {least} to {most}"))
            })
        });
        value.transpose()
    }
}

fn is_credential(name: &str) -> bool {
    CREDENTIALS.contains(&name)
}

/// Parses the name of the requested topics.
///
/// # Errors
/// 400 when it is none.
pub fn topics(text: &str) -> Result<Pattern, Refusal> {
    Pattern::parse(text).map_err(|error| Refusal::BadRequest(format!("{} is not a topic: {error}", quoted(text))))
}

#[cfg(test)]
mod tests {
    use super::Params;
    use crate::message::{Epoch, Position};
    use crate::notice::After;

    fn parse(query: &str) -> Result<Params, String> {
        let uri = format!("/events?{query}").parse().expect("a target");
        Params::parse(&uri, &["topic", "after", "limit"]).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_query_is_read_strictly() {
        let query = parse("topic=orders.%2A&topic=a&after=9f3c21aa-42&limit=7").expect("a query");
        assert_eq!(query.all("topic").collect::<Vec<_>>(), ["orders.*", "a"]);
        assert_eq!(query.after(), Ok(Some(After::Position(Position { epoch: Epoch(0x9f3c_21aa), seq: 42 }))));
        assert_eq!(query.number("limit", 1, 10), Ok(Some(7)));
        assert_eq!(
            query.number("topic", 1, 10).map_err(|r| r.to_string()).err().as_deref(),
            Some("the parameter `topic` appears twice: send it once")
        );
        assert_eq!(
            parse("afer=1").err().as_deref(),
            Some("unknown parameter `afer`: this call takes `topic`, `after`, `limit`")
        );
        assert!(parse("token=x").is_err_and(|e| e.starts_with("a credential in a URL ends up in logs")));
        let query = parse("after=yesterday&limit=11").expect("a query");
        assert_eq!(
            query.after().map_err(|r| r.to_string()).err().as_deref(),
            Some(
                "`yesterday` in `after`: not a position: write `<epoch>-<seq>` as in the `id` of a message, for example \
                 `9f3c21aa-42`, or `earliest`"
            )
        );
        assert_eq!(
            query.number("limit", 1, 10).map_err(|r| r.to_string()).err().as_deref(),
            Some("the parameter `limit` must be a whole number from 1 to 10")
        );
    }
}
