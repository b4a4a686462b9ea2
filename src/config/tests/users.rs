//! Users, what they may do, and who may connect.

use proto::rtsp::digest::Algorithm;

use super::*;

const HASHES: [&str; 2] =
    ["939E7578ED9E3C518A452ACEE763BCE9", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"];

#[test]
fn whoever_asks_for_passwords_needs_a_user() {
    assert_eq!(
        error_of("<need_auth>1</need_auth>"),
        "rtspserver.xml:2:12: config/need_auth: 1 without a <user>; allowed: 0, or at least one <user>"
    );
    assert_eq!(
        error_of("<publish>auth</publish>"),
        "rtspserver.xml:2:10: config/publish: auth without a <user>; allowed: off, local, on, or at least one <user>"
    );
    let user = "<user><username>a</username><password>b</password></user>";
    let publishers = |elements: &str| settings_of(&format!("{elements}{user}")).may_publish();
    assert_eq!(publishers(""), Publish::On);
    assert_eq!(publishers("<need_auth>1</need_auth>"), Publish::Auth);
    assert_eq!(publishers("<need_auth>1</need_auth><publish>on</publish>"), Publish::On);
    assert_eq!(publishers("<publish>auth</publish>"), Publish::Auth);
    assert!(settings_of(&format!("<publish>auth</publish>{user}")).has_logins());
    assert!(!settings_of(user).has_logins());
}

#[test]
fn a_user_is_read_with_hashes_and_permissions() {
    let [md5, sha256] = HASHES;
    let settings = settings_of(&format!(
        "<user><username>a</username><password> b </password></user>
         <user><username>c</username><password_hash>{md5}</password_hash><password_hash>{sha256}</password_hash>
         <permission>play /live/*</permission><permission>publish,admin</permission></user>",
    ));
    let [plain, hashed] = &settings.users[..] else { panic!("two users") };
    assert_eq!(plain.password, Password::Plain("b".into()));
    assert_eq!(plain.secret(Algorithm::MD5, "r"), Some(Algorithm::MD5.secret("a", "r", "b")));
    assert!(plain.may(Action::Admin, "any") && plain.rights() == "everything");
    assert_eq!(hashed.secret(Algorithm::MD5, "r"), Some(md5.to_ascii_lowercase()));
    assert_eq!(hashed.secret(Algorithm::SHA_256, "r").as_deref(), Some(sha256));
    assert_eq!(hashed.rights(), "play /live/*; publish, admin");
    assert!(hashed.may(Action::Play, "live/a") && !hashed.may(Action::Play, "b"));
    assert!(hashed.may(Action::Publish, "b"));
    let shown = format!("{settings:?}");
    assert!(!shown.contains(sha256) && !shown.contains(&md5.to_ascii_lowercase()), "{shown}");
}

#[test]
fn a_wrong_user_is_refused_with_its_path() {
    let [md5, _] = HASHES;
    let permissions = "a permission; allowed: play, publish, admin, and paths that begin with /";
    let cases = [
        (
            "<user><username>a</username><password_hash>939e</password_hash></user>".to_owned(),
            "rtspserver.xml:2:44: config/user/password_hash: \"939e\" is not a hash of a password; \
             allowed: what rtspserver hash-password prints"
                .to_owned(),
        ),
        (
            format!(
                "<user><username>a</username><password>b</password>\n<password_hash>{md5}</password_hash></user>"
            ),
            "rtspserver.xml:2:39: config/user/password: beside a password_hash; allowed: one or the other"
                .to_owned(),
        ),
        (
            "<user><username>a</username><password>b</password>\n<permission>pulbish</permission></user>"
                .to_owned(),
            format!("rtspserver.xml:3:13: config/user/permission: \"pulbish\" is not {permissions}"),
        ),
    ];
    for (xml, expected) in cases {
        assert_eq!(error_of(&xml), expected);
    }
    let user = format!("<user><username>a</username><password_hash>{md5}</password_hash></user>");
    assert_eq!(
        warnings_of(&format!("<need_auth>1</need_auth><auth_algorithm>SHA-256, md5</auth_algorithm>{user}")),
        ["rtspserver.xml:2:70: config/user/password_hash: none for SHA-256, which auth_algorithm has: \
          who answers with it cannot log in as \"a\""]
    );
}

#[test]
fn lists_of_addresses_are_gathered_from_all_elements() {
    let xml =
        "<allow>192.0.2.0/24, ::1</allow>\n<allow>10.0.0.0/8</allow><deny>192.0.2.7</deny><deny></deny>";
    let settings = settings_of(xml);
    let shown = |key: &str| (keys().find(|other| other.name == key).unwrap().show)(&settings);
    assert_eq!(shown("allow"), "192.0.2.0/24 ::1 10.0.0.0/8");
    assert_eq!(shown("deny"), "192.0.2.7");
    assert_eq!(warnings_of(xml), Vec::<String>::new());
    let overrides = Overrides {
        environment: vec![("RINGCASTER_ALLOW".into(), "2001:db8::/32".into())],
        ..Overrides::default()
    };
    let settings = load_with(&inside(xml), &overrides).unwrap().settings;
    assert_eq!(settings.allow.len(), 1, "the environment takes the place of the file");
}
