//! Writes cert.pem and key.pem, for a server that is measured through TLS, into a directory: `certify DIRECTORY`.

#![expect(clippy::disallowed_macros, reason = "what it prints is for whoever runs it")]

use std::path::Path;
use std::process::ExitCode;

use relay_bench::load::tls;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("certify: say into which directory");
        return ExitCode::from(64);
    };
    match tls::certify(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("certify: {error}");
            ExitCode::FAILURE
        }
    }
}
