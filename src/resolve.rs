//! Names to addresses, in the background: no exchange ever waits for the resolver of a name it knows.
//!
//! The system's resolver (getaddrinfo: hosts file, search domains, whatever the machine is set up with) is asked, which says
//! nothing of a record's lifetime: a name is looked up every half minute, and at once where none of its addresses could be
//! connected to.
//! Invariants: a lookup never blocks a request thread and never panics; a name that stops resolving keeps its last addresses;
//! a resolver that hangs holds one thread per name, however long; names that no configuration uses any more are forgotten;
//! who asks for the addresses of a name that has some takes no lock.

use arc_swap::ArcSwap;
use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Asks for the addresses of names.
pub trait LookUp: Debug + Send + Sync {
    /// The addresses of one name, or why there are none.
    fn look_up(&self, host: String) -> Looking;
}

/// A lookup under way.
pub type Looking = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, String>> + Send>>;

/// The system's own resolver, on a thread that may block.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl LookUp for System {
    fn look_up(&self, host: String) -> Looking {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await.map_err(|error| error.to_string())?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// The first lookup is under way.
    Pending,
    /// It never resolved; the resolver's word, for the operator's log.
    Failed(String),
    /// Its addresses, the families in turn, the resolver's first choice first.
    Addresses(Arc<[IpAddr]>),
    /// The same, from before it stopped resolving.
    Stale(Arc<[IpAddr]>),
}

/// How many names are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Names {
    /// Resolved at their last lookup.
    pub ok: u64,
    /// Used with addresses from before.
    pub stale: u64,
    /// Without any address so far.
    pub failed: u64,
}

/// The names in use and what is known of them.
#[derive(Debug)]
pub struct Resolver {
    names: ArcSwap<HashMap<String, Name>>,
    /// Held while those in use are replaced.
    following: Mutex<()>,
    asks: Arc<dyn LookUp>,
}

#[derive(Debug, Clone)]
struct Name {
    known: watch::Sender<Known>,
    /// The addresses again, for who only reads: a look into the channel beside would lock it.
    addresses: Arc<ArcSwap<Option<Arc<[IpAddr]>>>>,
    suspected: Arc<Notify>,
}

impl Name {
    fn new() -> Self {
        let known = watch::Sender::new(Known::Pending);
        Self { known, addresses: Arc::default(), suspected: Arc::default() }
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::asking(Arc::new(System))
    }
}

impl Resolver {
    /// One that asks here.
    pub fn asking(asks: Arc<dyn LookUp>) -> Self {
        Self { names: ArcSwap::default(), following: Mutex::default(), asks }
    }

    /// Makes these the names in use, looks the new ones up, and forgets the others. Needs a runtime.
    pub fn follow<'a>(self: &Arc<Self>, hosts: impl Iterator<Item = &'a str>) {
        let hosts: HashSet<&str> = hosts.filter(|host| host.parse::<IpAddr>().is_err()).collect();
        let _following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = HashMap::clone(&self.names.load());
        names.retain(|host, _| hosts.contains(host.as_str()));
        for host in hosts {
            names.entry(host.to_owned()).or_insert_with(|| {
                let name = Name::new();
                tokio::spawn(keep(host.to_owned(), name.clone(), Arc::clone(&self.asks)));
                name
            });
        }
        self.names.store(Arc::new(names));
    }

    /// The addresses of a name in use; waits only where its very first lookup has not ended.
    pub async fn addresses(&self, host: &str) -> Result<Arc<[IpAddr]>, String> {
        if let Ok(literal) = host.parse::<IpAddr>() {
            return Ok(Arc::from([literal]));
        }
        let receiver = match self.names.load().get(host) {
            Some(name) => match &**name.addresses.load() {
                Some(addresses) => return Ok(Arc::clone(addresses)),
                None => Some(name.known.subscribe()),
            },
            None => None,
        };
        let Some(mut receiver) = receiver else {
            // A reload may have let the name go while an older exchange still needs it.
            let looked_up = tokio::time::timeout(LOOK_UP_MAX, self.asks.look_up(host.to_owned())).await;
            return sorted(looked_up.unwrap_or_else(|_| Err(no_answer())));
        };
        let known = receiver.wait_for(|known| *known != Known::Pending).await;
        match known.as_deref() {
            Ok(Known::Addresses(addresses) | Known::Stale(addresses)) => Ok(Arc::clone(addresses)),
            Ok(Known::Failed(why)) => Err(why.clone()),
            Ok(Known::Pending) | Err(_) => Err("the lookup was given up".to_owned()),
        }
    }

    /// None of the addresses could be connected to: they may have changed, so the next lookup is now.
    pub fn suspect(&self, host: &str) {
        if let Some(name) = self.names.load().get(host) {
            name.suspected.notify_one();
        }
    }

    /// How the names in use are.
    pub fn names(&self) -> Names {
        let mut names = Names::default();
        for name in self.names.load().values() {
            match *name.known.borrow() {
                Known::Addresses(_) => names.ok += 1,
                Known::Stale(_) => names.stale += 1,
                Known::Failed(_) | Known::Pending => names.failed += 1,
            }
        }
        names
    }
}

/// Keeps one name fresh until nobody else holds it.
async fn keep(host: String, name: Name, asks: Arc<dyn LookUp>) {
    loop {
        let mut looking = asks.look_up(host.clone());
        // One that hangs is told of and waited on: another one beside it would hang too, on a thread more.
        let found = loop {
            match tokio::time::timeout(LOOK_UP_MAX, &mut looking).await {
                Ok(found) => break sorted(found),
                Err(_) => learn(&host, &name, Err(no_answer())),
            }
            if name.known.sender_count() == 1 {
                return;
            }
        };
        let pause = if found.is_ok() { REFRESH_EVERY } else { RETRY_EVERY };
        learn(&host, &name, found);
        // However many fail to connect, there is a least time between two lookups.
        tokio::time::sleep(RETRY_EVERY).await;
        drop(tokio::time::timeout(pause.saturating_sub(RETRY_EVERY), name.suspected.notified()).await);
        if name.known.sender_count() == 1 {
            return;
        }
    }
}

fn learn(host: &str, name: &Name, found: Result<Arc<[IpAddr]>, String>) {
    if let Ok(addresses) = &found {
        name.addresses.store(Arc::new(Some(Arc::clone(addresses))));
    }
    name.known.send_modify(|known| match (found, &*known) {
        (Ok(addresses), _) => *known = Known::Addresses(addresses),
        (Err(why), Known::Addresses(last) | Known::Stale(last)) => {
            tracing::warn!(host, why, "name does not resolve now; its last addresses stay");
            *known = Known::Stale(Arc::clone(last));
        }
        (Err(why), _) => *known = Known::Failed(why),
    });
}

/// The families in turn (RFC 8305), so that one that leads nowhere here costs one try and not all of them.
fn sorted(found: Result<Vec<IpAddr>, String>) -> Result<Arc<[IpAddr]>, String> {
    let mut seen = HashSet::new();
    let found: Vec<IpAddr> = found?.into_iter().filter(|address| seen.insert(*address)).collect();
    let Some(first) = found.first() else { return Err("the name has no addresses".to_owned()) };
    let is_first = |address: &&IpAddr| address.is_ipv6() == first.is_ipv6();
    let (mut first, mut second) =
        (found.iter().filter(is_first), found.iter().filter(|other| !is_first(other)));
    let mut turns = Vec::with_capacity(found.len());
    while turns.len() < found.len().min(ADDRESSES_MAX) {
        turns.extend(first.next().into_iter().chain(second.next()));
    }
    turns.truncate(ADDRESSES_MAX);
    Ok(turns.into())
}

fn no_answer() -> String {
    format!("no answer from the resolver in {} s", LOOK_UP_MAX.as_secs())
}

/// Half a minute follows a failover soon enough, and is what most providers' records live for.
const REFRESH_EVERY: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_secs(2);
const LOOK_UP_MAX: Duration = Duration::from_secs(10);
/// More than any provider publishes.
const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
mod tests;
