//! Keys in every form they come in, what is wrong with a pair of files, and words for failed handshakes.

use super::identity::Fault;
use super::word::Word;
use super::{ClientTls, Identity, Roots, ServerTls};
use rcgen::{CertificateParams, KeyPair};
use std::collections::BTreeSet;
use std::sync::Arc;

const RSA: (&str, &str) = (include_str!("tests/rsa.cert.pem"), include_str!("tests/rsa.key.pem"));
const SEC1: (&str, &str) = (include_str!("tests/sec1.cert.pem"), include_str!("tests/sec1.key.pem"));

fn issue(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn read(pair: (&str, &str)) -> Result<Identity, Fault> {
    Identity::from_pem(pair.0.as_bytes(), pair.1.as_bytes())
}

#[test]
fn keys_are_read_in_each_form_that_programs_write() {
    assert!(RSA.1.contains("BEGIN RSA PRIVATE KEY") && SEC1.1.contains("BEGIN EC PRIVATE KEY"));
    let rsa = read(RSA).unwrap();
    assert_eq!((rsa.names(), rsa.label()), (&["rsa.test".to_owned()][..], "rsa.test"));
    assert_eq!(read(SEC1).unwrap().label(), "ec only", "without names, what the subject is called");
    let (cert, key) = issue(&["Upper.TEST", "*.wild.test"]);
    let pkcs8 = read((&cert, &key)).unwrap();
    assert_eq!(pkcs8.names(), ["upper.test", "*.wild.test"]);
    // As HAProxy has it: both in one file, in either order, with text and parameters between.
    for both in [format!("{cert}\n{key}"), format!("a comment\n{key}{cert}")] {
        assert_eq!(read((&both, &both)).unwrap().digest(), pkcs8.digest());
    }
    let params = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    assert!(read((SEC1.0, &format!("{params}{}", SEC1.1))).is_ok());
}

#[test]
fn what_cannot_work_is_refused_with_the_file_that_is_to_blame() {
    let (cert, key) = issue(&["a.test"]);
    let (other, _) = issue(&["b.test"]);
    let cut = &key[..key.len() / 2];
    let wrong_order = format!("{other}{cert}");
    let garbled = cert.replace("MII", "!!!");
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let old =
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let dsa = key.replace("MIG", "MIH");
    for (pair, in_key, said) in [
        ((&*other, &*key), true, "does not belong to the certificate"),
        ((&wrong_order, &key), true, "must be the first one"),
        (("", &key), false, "holds no certificate"),
        ((&key, &key), false, "holds no certificate"),
        ((&garbled, &key), false, "is not valid PEM: a section is not Base64"),
        ((no_certificate, &key), false, "holds a certificate that cannot be read"),
        ((&cert, ""), true, "holds no private key"),
        ((&cert, &cert), true, "holds no private key"),
        ((&cert, cut), true, "is not valid PEM: a section has no end"),
        ((&cert, &encrypted), true, "is encrypted"),
        ((&cert, old), true, "is encrypted"),
        ((&cert, &dsa), true, "not supported"),
    ] {
        let fault = read(pair).expect_err(said);
        let (what, is_key) = match &fault {
            Fault::Key(what) => (what, true),
            Fault::Certificate(what) => (what, false),
        };
        assert_eq!(is_key, in_key, "{said}: {what}");
        assert!(what.contains(said), "{said}: {what}");
        let line = key.lines().nth(1).unwrap();
        assert!(!what.contains(line), "nothing of the key is repeated");
    }
}

#[test]
fn nothing_shows_a_key() {
    let (cert, key) = issue(&["a.test"]);
    let identity = Arc::new(read((&cert, &key)).unwrap());
    let bytes = format!("{:?}", &identity.expose_key()[40..60]);
    let server = ServerTls::new(vec![Arc::clone(&identity)], None).unwrap();
    let client = ClientTls::new(None, Some(Arc::clone(&identity)));
    for shown in [format!("{identity:?}"), format!("{server:?}"), format!("{client:?}")] {
        assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
        assert!(!shown.contains(key.lines().nth(1).unwrap()), "{shown}");
    }
}

#[test]
fn settings_are_told_apart_by_everything_they_depend_on() {
    let ((cert, key), (other_cert, other_key)) = (issue(&["a.test"]), issue(&["a.test"]));
    let one = Arc::new(read((&cert, &key)).unwrap());
    let other = Arc::new(read((&other_cert, &other_key)).unwrap());
    let chained = Arc::new(read((&format!("{cert}{other_cert}"), &key)).unwrap());
    let roots = Arc::new(Roots::from_pem(cert.as_bytes()).unwrap());
    let both = Arc::new(Roots::from_pem(format!("{cert}{other_cert}").as_bytes()).unwrap());
    let own = |identity: &Arc<Identity>| Some(Arc::clone(identity));
    let clients = [
        ClientTls::default(),
        ClientTls::new(None, own(&one)),
        ClientTls::new(None, own(&other)),
        ClientTls::new(None, own(&chained)),
        ClientTls::new(Some(Arc::clone(&roots)), None),
        ClientTls::new(Some(Arc::clone(&both)), None),
        ClientTls::new(Some(Arc::clone(&roots)), own(&one)),
    ];
    assert_eq!(clients.iter().map(|client| *client.digest()).collect::<BTreeSet<_>>().len(), clients.len());
    assert_eq!(ClientTls::new(None, own(&one)).digest(), clients[1].digest());
    let server = |identities: &[&Arc<Identity>], roots: Option<&Roots>| {
        ServerTls::new(identities.iter().map(|one| Arc::clone(one)).collect(), roots).unwrap()
    };
    let servers = [
        server(&[&one], None),
        server(&[&one, &other], None),
        server(&[&other, &one], None),
        server(&[&one], Some(&roots)),
        server(&[&one], Some(&both)),
    ];
    assert_eq!(servers.iter().map(|server| *server.digest()).collect::<BTreeSet<_>>().len(), servers.len());
    assert_eq!(server(&[&one], None), servers[0]);
}

#[test]
fn a_bundle_needs_certificates_and_nothing_else() {
    let (cert, key) = issue(&["a.test"]);
    let roots = Roots::from_pem(format!("# whose this is\n{cert}{cert}").as_bytes()).unwrap();
    assert_eq!((roots.certificates().len(), roots.store().len()), (2, 2));
    assert!(Roots::from_pem(key.as_bytes()).unwrap_err().contains("holds no certificate"));
}

#[test]
fn every_reason_has_a_word_of_its_own() {
    let words: BTreeSet<&str> = Word::ALL.iter().map(|word| word.text()).collect();
    assert_eq!(words.len(), Word::ALL.len());
    let closed = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    assert_eq!(Word::of(&closed), Word::Closed);
    let tls = std::io::Error::new(std::io::ErrorKind::InvalidData, rustls::Error::NoApplicationProtocol);
    assert_eq!(Word::of(&tls), Word::Alpn);
}
