//! `relay token new`

use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{complain, print};
use crate::config::model::TokenConfig;
use crate::diagnostic::{Diagnostic, Sources, TokenFact, render};
use crate::hex::hex;

/// The exit code for unusable arguments, the same as clap's own.
const USAGE: u8 = 2;

/// Generates a secret and prints it, with the lines for relay.toml on standard error: `> FILE` keeps the secret alone.
pub(super) fn new(name: &str) -> ExitCode {
    if !TokenConfig::may_be_called(name) {
        let fact = TokenFact::BadName { name: name.to_owned() };
        complain(&render::human(&[Diagnostic::new(fact, None)], &Sources::default(), false));
        return ExitCode::from(USAGE);
    }
    let mut random = [0; 32];
    if let Err(error) = getrandom::fill(&mut random) {
        complain(&format!("relay: the system has no random bytes to give: {error}\n"));
        return ExitCode::FAILURE;
    }
    let secret = URL_SAFE_NO_PAD.encode(random);
    let digest = hex(&Sha256::digest(&secret));
    complain("The secret, for the caller; it goes to standard output this once and is kept nowhere:\n\n");
    let code = print(&format!("{secret}\n"));
    if code != ExitCode::SUCCESS {
        return code;
    }
    complain(&format!(
        "\n\
         The caller sends it as `Authorization: Bearer <secret>`.\n\n\
         For relay.toml, which needs only its digest; add what the token may do:\n\n\
         [tokens.{}]\n\
         sha256    = \"{digest}\"\n\
         publish   = []\n\
         subscribe = []\n\
         register  = []\n",
        key(name)
    ));
    ExitCode::SUCCESS
}

/// The name as a TOML key.
fn key(name: &str) -> String {
    // A dot would begin a nested table.
    if name.contains('.') { format!("{name:?}") } else { name.to_owned() }
}
