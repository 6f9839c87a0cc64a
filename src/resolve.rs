//! Names to addresses, in the background: no exchange ever waits for the resolver of a name it knows.
//!
//! Invariants: a lookup never blocks a request thread and never panics; a name that stops resolving keeps
//! its last addresses; names that no configuration uses any more are forgotten.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// The first lookup is under way.
    Pending,
    /// It never resolved; the resolver's word, for the operator's log.
    Failed(String),
    /// Its addresses, in the resolver's order.
    Addresses(Arc<[IpAddr]>),
}

/// The names in use and what is known of them.
#[derive(Debug, Default)]
pub struct Resolver {
    names: Mutex<HashMap<String, watch::Sender<Known>>>,
}

impl Resolver {
    /// Makes these the names in use, looks the new ones up, and forgets the others. Needs a runtime.
    pub fn follow<'a>(self: &Arc<Self>, hosts: impl Iterator<Item = &'a str>) {
        let hosts: HashSet<&str> = hosts.filter(|host| host.parse::<IpAddr>().is_err()).collect();
        let mut names = self.lock();
        names.retain(|host, _| hosts.contains(host.as_str()));
        for host in hosts {
            if !names.contains_key(host) {
                let sender = watch::Sender::new(Known::Pending);
                tokio::spawn(keep(host.to_owned(), sender.clone()));
                names.insert(host.to_owned(), sender);
            }
        }
    }

    /// The addresses of a name in use; waits only where its very first lookup has not ended.
    pub async fn addresses(&self, host: &str) -> Result<Arc<[IpAddr]>, String> {
        if let Ok(literal) = host.parse::<IpAddr>() {
            return Ok(Arc::from([literal]));
        }
        let receiver = self.lock().get(host).map(watch::Sender::subscribe);
        // A reload may have let the name go while an older exchange still needs it.
        let Some(mut receiver) = receiver else { return look_up(host).await };
        let known = receiver.wait_for(|known| *known != Known::Pending).await;
        match known.as_deref() {
            Ok(Known::Addresses(addresses)) => Ok(Arc::clone(addresses)),
            Ok(Known::Failed(why)) => Err(why.clone()),
            Ok(Known::Pending) | Err(_) => Err("the lookup was given up".to_owned()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, watch::Sender<Known>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one name fresh until nobody else holds it.
async fn keep(host: String, sender: watch::Sender<Known>) {
    loop {
        let found = look_up(&host).await;
        let failed = found.is_err();
        sender.send_modify(|known| match found {
            Ok(addresses) => *known = Known::Addresses(addresses),
            Err(why) if !matches!(known, Known::Addresses(_)) => *known = Known::Failed(why),
            Err(why) => tracing::warn!(host, why, "name does not resolve now; its last addresses stay"),
        });
        tokio::time::sleep(if failed { RETRY_EVERY } else { REFRESH_EVERY }).await;
        if sender.sender_count() == 1 {
            return;
        }
    }
}

async fn look_up(host: &str) -> Result<Arc<[IpAddr]>, String> {
    let found = tokio::time::timeout(LOOK_UP_MAX, tokio::net::lookup_host((host, 0))).await;
    let addresses: Vec<IpAddr> = match found {
        Ok(Ok(found)) => found.map(|address| address.ip()).take(ADDRESSES_MAX).collect(),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("no answer from the resolver in {} s", LOOK_UP_MAX.as_secs())),
    };
    if addresses.is_empty() { Err("the name has no addresses".to_owned()) } else { Ok(addresses.into()) }
}

/// The system's resolver says nothing of a record's lifetime; half a minute follows a failover soon enough.
const REFRESH_EVERY: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_secs(2);
const LOOK_UP_MAX: Duration = Duration::from_secs(10);
/// More than any provider publishes.
const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn literals_need_no_lookup_and_names_that_nobody_has_are_refused() {
        let resolver = Arc::new(Resolver::default());
        let literal = resolver.addresses("127.0.0.1").await;
        assert_eq!(literal.as_deref(), Ok(&[IpAddr::from([127, 0, 0, 1])][..]));
        assert!(resolver.addresses("nobody-asked.invalid").await.is_err());
    }

    #[tokio::test]
    async fn names_in_use_resolve_and_forgotten_ones_still_do_for_who_needs_them() {
        let resolver = Arc::new(Resolver::default());
        resolver.follow(["localhost", "127.0.0.1"].into_iter());
        let addresses = resolver.addresses("localhost").await.expect("localhost resolves everywhere");
        assert!(addresses.iter().all(IpAddr::is_loopback));
        resolver.follow(std::iter::empty());
        assert_eq!(resolver.addresses("localhost").await, Ok(addresses));
    }
}
