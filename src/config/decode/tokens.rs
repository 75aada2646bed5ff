//! `[tokens.*]`, and the grants of `[anonymous]`

use sha2::{Digest, Sha256};

use super::{Context, Names};
use crate::config::files::{Access, MAX_FILE};
use crate::config::model::{Span, TokenConfig};
use crate::config::place;
use crate::config::section::Section;
use crate::diagnostic::TokenFact;
use crate::hex::from_hex;
use crate::name::{Pattern, UserId};
use crate::principal::{Grants, UserPattern};

/// The fewest bits that a secret should have.
const ENOUGH_BITS: f64 = 128.0;
/// The longest secret, in bytes. It must fit into a header of the smallest `limits.header`, beside the rest.
const MAX_SECRET: usize = 4 << 10;

/// Decodes a token; `None` if its name or its secret cannot be used.
pub(super) fn token(
    name: &str,
    span: Span,
    section: &Section<'_>,
    context: &Context<'_>,
    names: &mut Names,
) -> Option<TokenConfig> {
    let owned = || name.to_owned();
    let good_name = TokenConfig::may_be_called(name);
    if !good_name {
        section.findings.report(TokenFact::BadName { name: owned() }, &span);
    }
    let digest = secret_digest(name, &span, section, context);
    let grants = grants(section, names);
    // If something was written but could not be read, that has been reported.
    if grants.is_empty() && ["publish", "subscribe", "register"].iter().all(|key| section.is_blank(key)) {
        section.findings.report(TokenFact::NoGrants { name: owned() }, &span);
    }
    let user = section.text("user").and_then(|(text, span)| match UserId::parse(text) {
        Ok(user) => Some(user),
        Err(error) => {
            let fact = TokenFact::BadUser { user: text.to_owned(), why: error.to_string() };
            section.findings.report(fact, &span);
            None
        }
    });
    let not_after = section.time("not_after").map(|(time, span)| {
        if time <= context.now {
            section.findings.report(TokenFact::Expired { name: owned(), since: time.to_string() }, &span);
        }
        time
    });
    let digest = digest?;
    good_name.then(|| TokenConfig { name: name.into(), span, digest, grants, user, not_after })
}

/// SHA-256 of the token's secret, from whichever source it has.
fn secret_digest(name: &str, span: &Span, section: &Section<'_>, context: &Context<'_>) -> Option<[u8; 32]> {
    let owned = || name.to_owned();
    match (section.has("sha256"), section.has("secret")) {
        (false, false) => section.findings.report(TokenFact::NoSecret { name: owned() }, span),
        (true, true) => section.findings.report(TokenFact::TwoSecrets { name: owned() }, span),
        (true, false) => {
            let (text, span) = section.text("sha256")?;
            let digest = from_hex(text);
            if digest.is_none() {
                let fact = TokenFact::BadDigest { name: owned(), length: text.chars().count() };
                section.findings.report(fact, &span);
            }
            return digest;
        }
        (false, true) => {
            if let Some(span) = section.place("secret").filter(|_| section.is_text("secret")) {
                section.findings.report(TokenFact::PlainSecret { name: owned() }, &span);
                return None;
            }
            return secret(name, &section.table("secret"), context);
        }
    }
    None
}

fn secret(name: &str, section: &Section<'_>, context: &Context<'_>) -> Option<[u8; 32]> {
    let findings = section.findings;
    let (env, file) = (section.text("env"), section.text("file"));
    let (bytes, source, span) = match (env, file) {
        (Some((variable, span)), None) if !section.has("file") => match context.reading.env(variable) {
            Some(value) => (value.into_bytes(), variable, span),
            None => {
                let variable = place::is_variable(variable).then(|| variable.to_owned());
                findings.report(TokenFact::EnvUnset { variable }, &span);
                return None;
            }
        },
        (None, Some((path, span))) if !section.has("env") => {
            match context.reading.read(Access::Anywhere, path, MAX_FILE) {
                Ok(bytes) => (bytes.to_vec(), path, span),
                Err(error) => {
                    let path = place::is_path(path).then(|| path.to_owned());
                    let fact = TokenFact::SecretUnreadable { path, cause: error.to_string() };
                    findings.report(fact, &span);
                    return None;
                }
            }
        }
        _ => {
            // A value of the wrong type has been reported already.
            if section.has("env") == section.has("file") {
                findings.report(TokenFact::BadSecretSource, &section.span);
            }
            return None;
        }
    };
    let secret = bytes.strip_suffix(b"\n").map_or(&*bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
    if secret.is_empty() {
        findings.report(TokenFact::EmptySecret { source: source.to_owned() }, &span);
        return None;
    }
    if !secret.iter().all(u8::is_ascii_graphic) {
        findings.report(TokenFact::UnusableSecret { source: source.to_owned() }, &span);
        return None;
    }
    if secret.len() > MAX_SECRET {
        let fact = TokenFact::LongSecret { source: source.to_owned(), bytes: secret.len(), most: MAX_SECRET };
        findings.report(fact, &span);
        return None;
    }
    if bits(secret) < ENOUGH_BITS {
        findings.report(TokenFact::WeakSecret { name: name.to_owned() }, &span);
    }
    Some(Sha256::digest(secret).into())
}

/// An upper bound on a secret's bits, as if each character were drawn from the smallest common alphabet that has them
/// all.
fn bits(secret: &[u8]) -> f64 {
    let drawn = secret.iter().filter(|b| !b"-_".contains(*b));
    let all = |fits: fn(&u8) -> bool| drawn.clone().all(fits);
    let each = if all(u8::is_ascii_digit) {
        f64::log2(10.0)
    } else if all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
        || all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(b))
    {
        4.0
    } else if all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        || all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
    {
        f64::log2(36.0)
    } else if all(u8::is_ascii_alphanumeric) {
        6.0
    } else {
        f64::log2(94.0)
    };
    drawn.count() as f64 * each
}

/// The grants of a token or of anonymous callers.
pub(super) fn grants(section: &Section<'_>, names: &mut Names) -> Grants {
    let mut topics = |key| patterns(section, key, names);
    let (publish, subscribe) = (topics("publish").into(), topics("subscribe").into());
    Grants { publish, subscribe, register: users(section) }
}

/// Patterns over topics. Invalid ones are reported and left out.
fn patterns(section: &Section<'_>, name: &'static str, names: &mut Names) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for (text, span) in section.texts(name).unwrap_or_default() {
        let why = match Pattern::parse(text) {
            Ok(_) if text.contains('{') => "in grants a segment that varies is written `*`".to_owned(),
            Ok(pattern) => {
                names.grants.push((pattern.clone(), span));
                patterns.push(pattern);
                continue;
            }
            Err(error) => error.to_string(),
        };
        section.findings.report(TokenFact::BadPattern { pattern: text.to_owned(), why }, &span);
    }
    patterns
}

/// Patterns over users, in `register`.
fn users(section: &Section<'_>) -> Vec<UserPattern> {
    let mut users = Vec::new();
    for (text, span) in section.texts("register").unwrap_or_default() {
        let parsed = match text.strip_suffix('*') {
            Some("") => Ok(UserPattern::Any),
            Some(prefix) => literal(prefix).map(|prefix| UserPattern::Prefix(prefix.as_str().into())),
            None => literal(text).map(UserPattern::One),
        };
        match parsed {
            Ok(user) => users.push(user),
            Err(why) => section.findings.report(TokenFact::BadUser { user: text.to_owned(), why }, &span),
        }
    }
    users
}

/// A user id without `*`. Ids may have one, but whoever writes it in a grant means a pattern.
fn literal(text: &str) -> Result<UserId, String> {
    if text.contains('*') {
        return Err("only its last character may be `*`".to_owned());
    }
    UserId::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{ENOUGH_BITS, bits};

    #[test]
    fn a_secret_is_weak_under_128_bits() {
        for weak in ["hunter2", "0123456789abcdef", "123456789012345678901234567890123456", "aB3aB3aB3aB3aB3aB3aB3"] {
            assert!(bits(weak.as_bytes()) < ENOUGH_BITS, "{weak}");
        }
        for strong in
            ["0123456789abcdef0123456789abcdef", "2c5ea4c0-4067-11e9-8bad-9b1deb4d3b7d", "kQ9xkQ9xkQ9xkQ9xkQ9xkQ"]
        {
            assert!(bits(strong.as_bytes()) >= ENOUGH_BITS, "{strong}");
        }
    }
}
