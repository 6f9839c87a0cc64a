//! Signatures as AWS publishes them, and what is wrong with a credential.

use super::*;
use std::collections::BTreeMap;

fn keys(session: Option<&str>) -> Account {
    let text = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned();
    Account::parse(&(text + &session.map(|session| format!(":{session}")).unwrap_or_default())).unwrap()
}

fn signed(account: &Account, signed: &Signed<'_>) -> BTreeMap<String, String> {
    let scope = Scope { region: "us-east-1".to_owned(), service: "service" };
    let headers = account.sign(signed, &scope, 1_440_938_160).unwrap();
    headers.into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect()
}

const AUTHORITY: &str = "example.amazonaws.com";

#[test]
fn a_signature_is_the_one_that_aws_publishes() {
    // get-vanilla and post-vanilla of AWS's test suite for Signature Version 4.
    for (method, signature) in [
        ("GET", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ] {
        let request = Signed {
            method,
            authority: AUTHORITY,
            target: "/",
            content_type: None,
            body: &[],
            anthropics: false,
        };
        let headers = signed(&keys(None), &request);
        let scope = "20150830/us-east-1/service/aws4_request";
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
        );
        assert_eq!(headers["authorization"], expected, "{method}");
        assert_eq!(headers["x-amz-date"], "20150830T123600Z");
        assert_eq!(headers.len(), 2);
    }
}

#[test]
fn a_body_in_pieces_is_signed_like_the_whole_and_a_session_goes_with_it() {
    let pieces = [Bytes::from_static(b"Param1="), Bytes::from_static(b"value1")];
    let whole = [Bytes::from_static(b"Param1=value1")];
    let of = |body| Signed {
        method: "POST",
        authority: AUTHORITY,
        target: "/",
        content_type: Some("x/y"),
        body,
        anthropics: false,
    };
    let account = keys(Some("SESSION"));
    let headers = signed(&account, &of(&pieces));
    assert_eq!(headers, signed(&account, &of(&whole)));
    assert_eq!(headers["x-amz-security-token"], "SESSION");
    assert!(
        headers["authorization"].contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token")
    );
    assert_ne!(headers, signed(&account, &of(&[])));
}

#[test]
fn credentials_are_read_in_each_of_their_forms_and_shown_in_none() {
    for (text, name, secrets) in [
        ("ABSKs3cr3t0123456789", "ABSKs3cr3t0123456789", 1),
        ("AKIAEXAMPLE:s3cr3t/+=", "AKIAEXAMPLE", 1),
        ("ASIAEXAMPLE:s3cr3t/+=:s3ss10n", "ASIAEXAMPLE", 2),
        (r#"{"Version":1,"AccessKeyId":"AKIAEXAMPLE","SecretAccessKey":"s3cr3t"}"#, "AKIAEXAMPLE", 1),
        (
            r#"{"Credentials":{"AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"s3cr3t","SessionToken":"s3ss10n","Expiration":"x"}}"#,
            "ASIAEXAMPLE",
            2,
        ),
    ] {
        let account = Account::parse(text).unwrap();
        assert_eq!((account.name().expose(), account.secrets().len()), (name, secrets), "{text}");
        let debug = format!("{account:?}");
        assert!(!debug.contains("s3cr3t") && !debug.contains("s3ss10n"), "{debug}");
    }
    for (text, what) in [
        ("", "is empty"),
        ("a:b:c:d", "has more than two colons"),
        (":b", "has an empty access key id"),
        ("A:", "has an empty secret access key"),
        ("A:b:", "has an empty session token"),
        ("A/B:c", "has an access key id that is none"),
        ("a b", "contains characters that a header cannot carry"),
        ("{\"AccessKeyId\":\"A\"}", "has no \"SecretAccessKey\""),
        ("{\"secret", "is no credential of AWS's (line 1, column 8)"),
    ] {
        assert_eq!(Account::parse(text).unwrap_err(), what);
    }
}
