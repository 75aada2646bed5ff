use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd};
use secrecy::SecretSlice;

use super::{build, expires, validity_warning};
use crate::config::model::{Span, Tls};
use crate::time::Time;

/// 2026-01-01 and 2027-01-01, in milliseconds.
const FROM: i64 = 1_767_225_600_000;
const UNTIL: i64 = 1_798_761_600_000;

/// The parameters of a certificate for these names, valid in 2026.
fn parameters(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).expect("names");
    parameters.not_before = date_time_ymd(2026, 1, 1);
    parameters.not_after = date_time_ymd(2027, 1, 1);
    parameters
}

fn authority() -> CertificateParams {
    let mut parameters = parameters(&[]);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters
}

fn tls(cert_pem: &str, key: &KeyPair) -> Tls {
    let tls = Tls {
        cert: "cert.pem".into(),
        key: "key.pem".into(),
        cert_pem: Arc::from(cert_pem.as_bytes()),
        key_pem: Arc::new(SecretSlice::from(key.serialize_pem().into_bytes())),
        cert_span: Span { file: 0, bytes: 0..0 },
        key_span: Span { file: 0, bytes: 0..0 },
    };
    build(&tls).expect("it can be shown");
    tls
}

fn signed_by_itself(parameters: &CertificateParams) -> Tls {
    let key = KeyPair::generate().expect("a key");
    tls(&parameters.self_signed(&key).expect("a certificate").pem(), &key)
}

/// Signed by `authority`, whose own certificate follows in the chain if `whole`.
fn signed_by(authority: CertificateParams, parameters: &CertificateParams, whole: bool) -> Tls {
    let (key, above) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let its = if whole { authority.self_signed(&above).expect("a certificate").pem() } else { String::new() };
    let own = parameters.signed_by(&key, &Issuer::new(authority, above)).expect("a certificate").pem();
    tls(&(own + &its), &key)
}

fn said(tls: &Tls, now: i64) -> Option<String> {
    validity_warning(tls, Time(now)).map(|fact| fact.to_string())
}

#[test]
fn a_certificate_is_told_of_only_when_it_is_not_valid_now() {
    let mut for_clients = parameters(&["localhost"]);
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let mut long_gone = authority();
    long_gone.not_before = date_time_ymd(2019, 1, 1);
    long_gone.not_after = date_time_ymd(2020, 1, 1);
    let over = "the certificate in `cert.pem` has expired: it was valid until 2027-01-01T00:00:00.000Z";
    let early = "the certificate in `cert.pem` is not valid before 2026-01-01T00:00:00.000Z";
    for (what, tls) in [
        ("of itself", signed_by_itself(&parameters(&["localhost"]))),
        ("of itself, without a name", signed_by_itself(&parameters(&[]))),
        ("of itself, marked as an authority", signed_by_itself(&authority())),
        ("for another purpose", signed_by_itself(&for_clients)),
        ("of an authority", signed_by(authority(), &parameters(&["localhost", "127.0.0.1"]), true)),
        ("of an authority that is not sent", signed_by(authority(), &parameters(&["relay.example.org"]), false)),
        ("of an authority, without a name", signed_by(authority(), &parameters(&[]), true)),
        ("of an authority that has expired", signed_by(long_gone, &parameters(&["localhost"]), true)),
    ] {
        assert_eq!(expires(&tls), Some(Time(UNTIL)), "{what}");
        for (now, expected) in [
            (0, Some(early)),
            (FROM - 1, Some(early)),
            (FROM, None),
            ((FROM + UNTIL) / 2, None),
            (UNTIL, None),
            (UNTIL + 1_000, Some(over)),
            (i64::MAX, Some(over)),
        ] {
            assert_eq!(said(&tls, now).as_deref(), expected, "{what}, at {now}");
        }
    }
}
