//! What a credential of Google's asks with, and what is wrong with one.

use super::*;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;

/// A key made for these tests, of an account that does not exist.
const SERVICE: &str = include_str!("../../../tests/fixtures/cloud/service-account.json");
const USER: &str = r#"{"type":"authorized_user","client_id":"id.apps","client_secret":"a secret/+","refresh_token":"1//refresh-0123456789","quota_project_id":"q"}"#;

#[test]
fn a_service_account_asks_with_an_assertion_that_its_own_key_signed() {
    let account = Account::parse(SERVICE).unwrap();
    assert_eq!(account.project.as_deref(), Some("tests-only"));
    assert_eq!(format!("{account:?}").matches("PRIVATE").count(), 0);
    assert_eq!(account.name.last4(), "4567");
    let grant = account.grant(1_700_000_000).unwrap();
    assert_eq!((grant.method, grant.header), (Method::POST, FORM));
    let body = grant.body.expose().to_owned();
    let begin = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    let token = body.strip_prefix(begin).unwrap_or_else(|| panic!("{body}"));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let parts: Vec<Value> = signed
        .split('.')
        .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    let kid = "0123456789abcdef0123456789abcdef01234567";
    assert_eq!(parts[0], json!({ "alg": "RS256", "typ": "JWT", "kid": kid }));
    assert_eq!(
        parts[1],
        json!({
            "iss": "gateway@tests-only.iam.gserviceaccount.com",
            "scope": "https://www.googleapis.com/auth/cloud-platform",
            "aud": "https://oauth2.googleapis.com/token",
            "iat": 1_700_000_000,
            "exp": 1_700_003_600,
        })
    );
    let Proof::Service { key, .. } = &account.proof else { panic!("{account:?}") };
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    public.verify(signed.as_bytes(), &signature).unwrap();
    assert!(public.verify(b"another", &signature).is_err());
}

#[test]
fn a_user_asks_with_a_refresh_token_and_a_machine_with_a_header() {
    let account = Account::parse(USER).unwrap();
    let grant = account.grant(0).unwrap();
    let form = "grant_type=refresh_token&client_id=id.apps&client_secret=a%20secret%2F%2B&refresh_token=1%2F%2Frefresh-0123456789";
    assert_eq!(grant.body.expose(), form);
    assert_eq!((account.token_uri.as_str(), account.project.as_deref()), (TOKEN_URI, Some("q")));
    let debug = format!("{account:?}");
    assert!(!debug.contains("a secret") && !debug.contains("refresh-0"), "{debug}");
    let grant = Account::of_machine().grant(0).unwrap();
    assert_eq!((grant.method, grant.header, grant.body.expose()), (Method::GET, FLAVOR, ""));
}

#[test]
fn what_is_wrong_with_a_credential_is_said_without_a_word_of_it() {
    let without = |name: &str| {
        let mut value: Value = serde_json::from_str(SERVICE).unwrap();
        value.as_object_mut().unwrap().remove(name);
        value.to_string()
    };
    let with_key = |key: &str| {
        let mut value: Value = serde_json::from_str(SERVICE).unwrap();
        value["private_key"] = json!(key);
        value.to_string()
    };
    for (json, what) in [
        ("{\"type\":\"secret-thing", "is not valid JSON (line 1, column 21)".to_owned()),
        ("AIzaSecretThing", "is not valid JSON (line 1, column 1)".to_owned()),
        ("{\"type\":5,\"x\":\"secret-thing\"}", "is no credential of Google's (line 1, column 9)".to_owned()),
        ("{}", "has no \"type\"".to_owned()),
        (
            "{\"type\":\"external_account\"}",
            "has a \"type\" other than service_account and authorized_user".to_owned(),
        ),
        (&without("client_email"), "has no \"client_email\"".to_owned()),
        (&without("private_key"), "has no \"private_key\"".to_owned()),
        (&without("token_uri"), "has no \"token_uri\"".to_owned()),
        (
            &with_key("-----BEGIN RSA PRIVATE KEY-----"),
            "has a \"private_key\" that is no RSA key in PEM (PKCS#8)".to_owned(),
        ),
        (
            &with_key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "has a \"private_key\" that is no RSA key in PEM (PKCS#8): InvalidEncoding".to_owned(),
        ),
        (
            "{\"type\":\"authorized_user\",\"client_id\":\"x\",\"client_secret\":\"\"}",
            "has no \"client_secret\"".to_owned(),
        ),
    ] {
        assert_eq!(Account::parse(json).unwrap_err(), what);
    }
}

#[test]
fn an_answer_is_a_token_with_its_lifetime_or_the_words_of_the_issuer() {
    let token = issued(br#"{"access_token":"ya29.abc","expires_in":3599,"token_type":"Bearer"}"#).unwrap();
    assert_eq!((token.token.expose(), token.lifetime), ("ya29.abc", Duration::from_secs(3599)));
    assert_eq!(issued(br#"{"access_token":"t"}"#).unwrap().lifetime, LIFETIME_UNKNOWN);
    assert_eq!(issued(br#"{"access_token":"t","expires_in":999999}"#).unwrap().lifetime, LIFETIME_MAX);
    for (body, words) in [
        (
            &br#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#[..],
            "invalid_grant: Invalid JWT Signature.",
        ),
        (br#"{"error":"invalid_client"}"#, "invalid_client"),
        (b"<html>", "what came is no token"),
        (b"{}", "what came is no token"),
        (br#"{"access_token":"a b"}"#, "what came is no token"),
    ] {
        assert_eq!(issued(body).unwrap_err(), words);
    }
}
