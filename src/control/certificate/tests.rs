//! Certificates by their files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::own;
use super::*;
use crate::config::Settings;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("certificate-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn settings(certificate: &str, key: &str) -> Settings {
    let file = |name: &str| Some(PathBuf::from(DATA).join(name));
    let mut settings = Settings::default();
    (settings.cert_file, settings.key_file) = (file(certificate), file(key));
    settings
}

#[test]
fn a_certificate_of_our_own_is_made_once_and_kept_for_us_alone() {
    let folder = scratch("kept");
    let (made, files) = own::identity(&folder, &[[192, 0, 2, 1].into()]).unwrap();
    let files = files.unwrap();
    assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
    let (found, _) = own::identity(&folder, &[[192, 0, 2, 2].into()]).unwrap();
    assert_eq!(found.fingerprint(), made.fingerprint());
    // What somebody has broken is left as it is, and is not shown.
    fs::write(&files.certificate, "broken").unwrap();
    let (other, kept) = own::identity(&folder, &[]).unwrap();
    assert!(kept.is_none() && other.fingerprint() != made.fingerprint());
    assert_eq!(fs::read(&files.certificate).unwrap(), b"broken");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_certificate_that_cannot_be_kept_is_shown_all_the_same() {
    let folder = scratch("gone");
    fs::remove_dir_all(&folder).unwrap();
    let (_, files) = own::identity(&folder, &[]).unwrap();
    assert!(files.is_none());
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_setting() {
    let wrong = |certificate, key| Certificate::check(&settings(certificate, key)).unwrap_err().to_string();
    assert!(Certificate::check(&settings("p256-cert.pem", "p256-key.pem")).is_ok());
    let text = wrong("p256-cert.pem", "rsa-key-pkcs1.pem");
    assert!(
        text.starts_with("key_file, ") && text.ends_with("the key does not belong to the certificate"),
        "{text}"
    );
    let text = wrong("p256-key.pem", "p256-key.pem");
    assert!(text.starts_with("cert_file, ") && text.contains("no certificate in PEM form"), "{text}");
    let text = wrong("p256-cert.pem", "p256-cert.pem");
    assert!(text.starts_with("key_file, ") && text.contains("no private key in PEM form"), "{text}");
    let text = wrong("nowhere.pem", "p256-key.pem");
    assert!(text.starts_with("cert_file, ") && text.contains("nowhere.pem cannot be read: "), "{text}");
}
