//! `[fleet]`: where replicas count their limits together.
//!
//! Invariant: the address is understood by the client library, so that starting with it can only fail at the network.

use super::secrets::Found;
use super::{At, Compiler};
use crate::config::file::{Fleet as Written, SecretText};
use crate::config::problem::shown;
use crate::config::snapshot::{Fleet, OnError};
use crate::secret::Secret;
use redis::IntoConnectionInfo as _;
use std::time::Duration;

impl Compiler<'_, '_> {
    /// What the entry file says about the fleet; `None`: this process counts alone.
    pub(super) fn fleet(&mut self, written: Option<&Written>) -> Option<Fleet> {
        let written = written?;
        let at = At::section(0, "fleet");
        let Some(redis) = &written.redis else {
            self.without_a_store(&at, written.replicas);
            return None;
        };
        let redis = self.store(&at.key("redis"), redis);
        let prefix = written.prefix.clone().unwrap_or_else(|| "tollgate:".to_owned());
        if prefix.len() > PREFIX_BYTES_MAX || !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            let what = format!("must be at most {PREFIX_BYTES_MAX} visible ASCII characters");
            self.problem(&at.key("prefix"), what, None);
        }
        let timeout = self.wait(&at.key("timeout"), written.timeout.as_ref(), TIMEOUT);
        if timeout > TIMEOUT_MAX {
            let what = format!("is longer than {} s, which requests would wait", TIMEOUT_MAX.as_secs());
            self.problem(&at.key("timeout"), what, None);
        }
        let on_error = match written.on_error.as_deref() {
            Some("deny") => OnError::Deny,
            Some("allow") => OnError::Allow,
            _ => OnError::Local,
        };
        let replicas = written.replicas.unwrap_or(1).max(1);
        Some(Fleet { redis: redis?, on_error, prefix, replicas, timeout })
    }

    fn without_a_store(&mut self, at: &At, replicas: Option<u32>) {
        match replicas {
            Some(replicas) if replicas > 1 => {
                let what = format!(
                    "{replicas} replicas without a store: each counts for itself, so together they admit up to \
                     {replicas} times every limit"
                );
                let hint = "redis = \"redis://…\" lets them count together".to_owned();
                self.warning(&at.key("replicas"), what, Some(hint));
            }
            _ => self.problem(at, "needs `redis`", Some("redis = \"redis://127.0.0.1:6379/0\"".to_owned())),
        }
    }

    fn store(&mut self, at: &At, written: &SecretText) -> Option<Secret> {
        let found = match written {
            // An address without a password is no secret.
            SecretText::Inline(text) if !text.contains('@') => self.custody(at, written, text),
            _ => self.secret(at, written),
        };
        let secret = match found {
            Found::Secret(secret) => secret,
            Found::Refused => return None,
            Found::Missing(what) => {
                self.problem(at, what, None);
                return None;
            }
        };
        let text = secret.expose();
        let is_tcp = text.starts_with("redis://") || text.starts_with("rediss://");
        if !is_tcp || text.into_connection_info().is_err() {
            let hint = "for example \"redis://user:password@host:6379/0\", or rediss:// with TLS".to_owned();
            let what = if text.contains('@') { "the address".to_owned() } else { shown(text) };
            self.problem(at, format!("{what} is no address of a Redis"), Some(hint));
            return None;
        }
        Some(secret)
    }
}

/// Part of the name of every key.
const PREFIX_BYTES_MAX: usize = 64;
/// Many times what a store in the same data centre takes, and little for somebody who waits for a model.
const TIMEOUT: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(5);
