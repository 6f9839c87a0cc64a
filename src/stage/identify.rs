//! Whose request is it? Decided from the head alone, before a body byte is read.
//!
//! Invariants: a credential is only ever compared by its SHA-256 digest; forwarded addresses are believed
//! from trusted proxies only; the messages echo nothing of the credential.

use crate::code::Code;
use crate::config::Snapshot;
use crate::config::snapshot::Key;
use crate::protocol::fields::{Fields, printable};
use crate::protocol::key_forms::{self, Presented};
use crate::refusal::Refusal;
use crate::secret::KeyDigest;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// Finds the key: of several presented credentials the first that is in the table counts.
pub fn identify(snapshot: &Snapshot, headers: &Fields, query_key: Option<&str>) -> Result<Arc<Key>, Refusal> {
    let known = |key: &str| snapshot.key(&KeyDigest::of(key)).map(Arc::clone);
    match key_forms::presented(headers, query_key, known) {
        Presented::Known(key) => Ok(key),
        Presented::Missing => Err(Refusal::new(
            Code::MissingApiKey,
            "No API key in this request. Send it as 'Authorization: Bearer sk-…' or 'x-api-key: sk-…'.",
        )),
        Presented::Malformed(what) => {
            Err(Refusal::new(Code::MalformedApiKey, format!("The API key is malformed. {what}")))
        }
        Presented::Unknown => Err(Refusal::new(
            Code::InvalidApiKey,
            "This API key is not known here. Check that it was copied whole, that it belongs to \
             this gateway, and that it has not been replaced.",
        )),
    }
}

/// Whether a known key may be used now, from this address.
pub fn vouch(key: &Key, ip: IpAddr, now_unix: u64) -> Result<(), Refusal> {
    if !key.enabled {
        return Err(Refusal::new(
            Code::DisabledApiKey,
            "This API key is disabled. Ask whoever issued it to enable it or to give you another.",
        ));
    }
    if key.expires_unix.is_some_and(|expires| expires <= now_unix) {
        return Err(Refusal::new(
            Code::ExpiredApiKey,
            "This API key has expired. Ask whoever issued it for a new one.",
        ));
    }
    if !key.allows_ip(ip) {
        return Err(Refusal::new(
            Code::IpNotAllowed,
            "This API key may not be used from your network address.",
        ));
    }
    Ok(())
}

/// The client's address: the peer's own, or, where the peer is a trusted proxy, the last address in
/// `X-Forwarded-For` that is not one itself.
pub fn client_ip(peer: IpAddr, headers: &Fields, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    let mut client = peer.to_canonical();
    if !is_trusted(&client) {
        return client;
    }
    let listed: Vec<&str> =
        headers.all("x-forwarded-for").filter_map(printable).flat_map(|value| value.split(',')).collect();
    for hop in listed.iter().rev().take(FORWARDED_HOPS_MAX) {
        let Some(ip) = forwarded_ip(hop.trim()) else { break };
        client = ip;
        if !is_trusted(&client) {
            break;
        }
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1` or `[2001:db8::1]:443`.
fn forwarded_ip(text: &str) -> Option<IpAddr> {
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().map(|address| address.ip()).ok());
    address.map(|ip| ip.to_canonical())
}

/// More proxies in a row than any real chain has.
const FORWARDED_HOPS_MAX: usize = 16;
