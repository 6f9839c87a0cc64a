//! Certificates, keys and authorities by the files that name them.

use super::super::redact::redacted;
use super::super::testing::Memory;
use rcgen::{CertificateParams, KeyPair};

const REST: &str = "[[key]]\nname = 'k'\nhash = 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'\n\
    [[channel]]\nname = 'c'\ntype = 'openai'\napi_keys = [{ env = 'OPENAI_API_KEY' }]\n";

fn issue(name: &str, from: i32, until: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A directory with `c.pem` and `k.pem` that belong together, and a configuration beside it.
fn memory(text: &str) -> Memory {
    let mut memory = Memory::with(&[("conf/t.toml", text)]);
    let (cert, key) = issue("a.test", 2001, 2099);
    for (path, text) in [("conf/tls/c.pem", cert), ("conf/tls/k.pem", key)] {
        memory.files.insert(path.into(), text.into_bytes());
    }
    memory
}

/// The lines of a refused load.
fn refused(text: &str, expected: &[&str]) {
    let problems = match memory(text).load("conf/t.toml") {
        Ok(loaded) => panic!("should be refused: {text} {loaded:?}"),
        Err(problems) => problems.to_string(),
    };
    assert_eq!(problems.lines().collect::<Vec<_>>(), expected, "{text}");
}

#[test]
fn paths_are_relative_to_the_file_that_names_them_and_what_they_hold_counts() {
    let text = "[[server.tls]]\nlisten = '0.0.0.0:8443'\ncert = 'tls/c.pem'\nkey = 'tls/k.pem'\n\
        client_ca = 'tls/c.pem'\ncerts = [{ cert = 'tls/c.pem', key = 'tls/k.pem' }]\n";
    let channel = "ca = '../other/ca.pem'\nclient_cert = 'tls/c.pem'\nclient_key = 'tls/k.pem'\n";
    let mut memory = memory(&format!("{text}{REST}{channel}"));
    memory.files.insert("conf/../other/ca.pem".into(), issue("ca", 2001, 2099).0.into_bytes());
    let loaded = memory.load("conf/t.toml").unwrap();
    assert_eq!(loaded.warnings, []);
    let [listener] = &loaded.snapshot.server.tls[..] else { panic!("one listener") };
    assert_eq!(listener.tls.identities().len(), 2);
    assert!(loaded.snapshot.channels[0].tls.tls.roots().is_some());
    assert!(loaded.snapshot.channels[0].tls.tls.identity().is_some());
    let watched: Vec<_> = loaded.watched.files.keys().map(|path| path.display().to_string()).collect();
    assert_eq!(watched, ["conf/../other/ca.pem", "conf/t.toml", "conf/tls/c.pem", "conf/tls/k.pem"]);
    // A renewed certificate is another configuration.
    let (cert, key) = issue("a.test", 2001, 2098);
    memory.files.insert("conf/tls/c.pem".into(), cert.into_bytes());
    memory.files.insert("conf/tls/k.pem".into(), key.into_bytes());
    let renewed = memory.load("conf/t.toml").unwrap();
    assert_ne!(renewed.snapshot.hash, loaded.snapshot.hash);
    assert_ne!(renewed.snapshot.server.tls, loaded.snapshot.server.tls);
}

#[test]
fn a_dump_shows_files_names_and_expiry_and_nothing_of_a_key() {
    let text = "[[server.tls]]\nlisten = '0.0.0.0:8443'\ncert = 'tls/c.pem'\nkey = 'tls/k.pem'\n";
    let memory = memory(&format!("{text}{REST}client_cert = 'tls/c.pem'\nclient_key = 'tls/k.pem'\n"));
    let loaded = memory.load("conf/t.toml").unwrap();
    let dump = redacted(&loaded.snapshot);
    assert_eq!(
        dump["server"]["tls"],
        serde_json::json!([{
            "listen": "0.0.0.0:8443",
            "certs": [{
                "cert": "conf/tls/c.pem",
                "key": "conf/tls/k.pem",
                "names": ["a.test"],
                "expires_unix": 4_070_908_800_u64,
            }],
            "client_ca": null,
        }])
    );
    assert_eq!(dump["channel"][0]["tls"]["client_key"], "conf/tls/k.pem");
    let key = String::from_utf8(memory.files[std::path::Path::new("conf/tls/k.pem")].clone()).unwrap();
    let line = key.lines().nth(1).unwrap();
    for shown in [dump.to_string(), format!("{loaded:?}")] {
        assert!(!shown.contains(line));
    }
}

#[test]
fn what_is_wrong_with_a_listener_is_told_all_at_once() {
    refused(
        &format!(
            "[server]\nlisten = ['0.0.0.0:8443']\nadmin = '127.0.0.1:9443'\n\
             [[server.tls]]\nlisten = '0.0.0.0:8443'\ncert = 'tls/absent.pem'\nkey = 'tls/k.pem'\n\
             [[server.tls]]\nlisten = '0.0.0.0:9443'\ncert = 'tls/c.pem'\nkey = 'tls/c.pem'\nclient_ca = 'tls/k.pem'\n\
             [[server.tls]]\nlisten = 'nowhere'\ncert = 'tls/k.pem'\nkey = ' '\ncertificate = 'x'\n{REST}"
        ),
        &[
            "conf/t.toml:5: server.tls[0].listen: 0.0.0.0:8443 is listened on already",
            "conf/t.toml:6: server.tls[0].cert: file `tls/absent.pem` cannot be read: no such file",
            "conf/t.toml:11: server.tls[1].key: file `tls/c.pem` holds no private key (a PEM section `BEGIN PRIVATE KEY`)",
            "conf/t.toml:12: server.tls[1].client_ca: file `tls/k.pem` holds no certificate (a PEM section `BEGIN CERTIFICATE`)",
            "conf/t.toml:14: server.tls[2].listen: `nowhere` is no address with port; write for example \"0.0.0.0:8080\" or \"[::]:8080\"",
            "conf/t.toml:16: server.tls[2].key: must be the path of a file",
            "conf/t.toml:17: server.tls[2].certificate: unknown key",
        ],
    );
    refused(
        &format!("[[server.tls]]\nlisten = '127.0.0.1:9090'\ncert = 'tls/c.pem'\nkey = 'tls/k.pem'\n{REST}"),
        &["conf/t.toml:1: server.admin: needs an address of its own; 127.0.0.1:9090 is a public listener"],
    );
    refused(
        &format!("[[server.tls]]\nlisten = '127.0.0.1:9091'\ncert = 'tls/c.pem'\n{REST}"),
        &["conf/t.toml:1: server.tls[0]: `key` is missing"],
    );
}

#[test]
fn a_key_in_the_place_of_its_file_is_not_repeated() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let text =
        format!("[[server.tls]]\nlisten = '127.0.0.1:9091'\ncert = 'tls/c.pem'\nkey = '''{key}'''\n{REST}");
    refused(&text, &["conf/t.toml:4: server.tls[0].key: must be the path of a file"]);
}

#[test]
fn what_is_wrong_with_a_channel_is_told_all_at_once() {
    refused(
        &format!("{REST}ca = 'tls/absent.pem'\nclient_cert = 'tls/c.pem'\n"),
        &[
            "conf/t.toml:8: channel.c.ca: file `tls/absent.pem` cannot be read: no such file",
            "conf/t.toml:9: channel.c.client_cert: needs a `client_key`",
        ],
    );
    refused(
        &format!("{REST}client_key = 'tls/k.pem'\n"),
        &["conf/t.toml:8: channel.c.client_key: needs a `client_cert`"],
    );
    refused(
        &format!("{REST}base_url = 'http://10.0.0.1'\nca = 'tls/c.pem'\n"),
        &["conf/t.toml:9: channel.c.ca: has no effect, since `base_url` is without TLS"],
    );
    for host in ["https://", "https:///v1", "https://:443/v1"] {
        let text = format!("{REST}base_url = '{host}'\n");
        let problems = memory(&text).load("conf/t.toml").expect_err("it has no name").to_string();
        assert!(problems.starts_with("conf/t.toml:8: channel.c.base_url: "), "{problems}");
    }
}

#[test]
fn what_a_channel_that_is_off_lacks_does_not_matter_yet() {
    let text =
        format!("{REST}enabled = false\nca = 'absent.pem'\nclient_cert = 'absent'\nclient_key = 'absent'\n");
    let loaded = memory(&text).load("conf/t.toml").unwrap();
    assert!(loaded.watched.files.keys().any(|path| path.ends_with("absent.pem")), "it may come");
}

#[test]
fn a_certificate_out_of_its_time_is_a_warning() {
    for (from, until, said) in [
        (2001, 2002, "the certificate in `tls/c.pem` expired at 2002-01-01T00:00:00Z"),
        (2098, 2099, "the certificate in `tls/c.pem` is not valid before 2098-01-01T00:00:00Z"),
    ] {
        let text = format!(
            "[[server.tls]]\nlisten = '127.0.0.1:9091'\ncert = 'tls/c.pem'\nkey = 'tls/k.pem'\n{REST}"
        );
        let mut memory = memory(&text);
        let (cert, key) = issue("a.test", from, until);
        memory.files.insert("conf/tls/c.pem".into(), cert.into_bytes());
        memory.files.insert("conf/tls/k.pem".into(), key.into_bytes());
        let loaded = memory.load("conf/t.toml").unwrap();
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, [format!("conf/t.toml:3: server.tls[0].cert: {said}")]);
    }
}
