//! Batches on their way to the collector, one after another.
//!
//! As OTLP over HTTP has it: protobuf, and what the collector says may be tried again is, with growing pauses, for
//! [`TRIES_MAX`] times. Invariant: every batch is counted, as taken or as dropped; trouble is logged once when it begins and once
//! when it is over, not once for each batch.

use crate::config::snapshot::Otlp;
use crate::gateway::forward::{Link, retry_after};
use crate::gateway::peer::Upstream;
use crate::gateway::wire::Wire;
use crate::process::Shared;
use crate::protocol::fields::{Fields, names};
use crate::stage::rewrite::Outgoing;
use crate::telemetry::otlp::rejected;
use bytes::Bytes;
use http::{Method, StatusCode};
use smallvec::smallvec;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// Spans.
    Traces,
    /// Histograms.
    Metrics,
}

impl Signal {
    /// Its label, and the end of its path.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }
}

/// One message for the collector.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) signal: Signal,
    /// How many spans, or one.
    pub(super) count: u64,
    pub(super) body: Bytes,
}

/// Why a batch was not taken.
enum Trouble {
    /// Another try may go better, after that time if the collector says one.
    Passing(String, Option<Duration>),
    /// It will not.
    Final(String),
}

/// The sending side.
pub(super) struct Post {
    otlp: Arc<Otlp>,
    upstream: Upstream,
    shared: Shared,
    failing: bool,
}

impl Post {
    pub(super) fn new(otlp: Arc<Otlp>, upstream: Upstream, shared: Shared) -> Self {
        Self { otlp, upstream, shared, failing: false }
    }

    /// Sends what comes until nothing more can.
    pub(super) async fn deliver(mut self, mut batches: mpsc::Receiver<Batch>) {
        while let Some(batch) = batches.recv().await {
            let sent = self.send(&batch).await;
            self.book(&batch, sent);
        }
    }

    /// As often as it may help; how much of it was not taken.
    async fn send(&self, batch: &Batch) -> Result<u64, Trouble> {
        let mut pause = PAUSE;
        for _ in 1..TRIES_MAX {
            match self.once(batch).await {
                Err(Trouble::Passing(_, told)) => sleep(told.unwrap_or(pause).min(PAUSE_MAX)).await,
                ended => return ended,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        self.once(batch).await
    }

    async fn once(&self, batch: &Batch) -> Result<u64, Trouble> {
        let work = self.exchange(batch);
        let late = |_| Trouble::Passing("no answer in time".to_owned(), None);
        timeout(self.otlp.timeout, work).await.map_err(late)?
    }

    async fn exchange(&self, batch: &Batch) -> Result<u64, Trouble> {
        let collector = &*self.otlp.collector;
        let lost = |detail: String| Trouble::Passing(detail, None);
        let mut link = Link::default();
        let wire = self.upstream.connect((collector, &collector.credentials[0]), &mut link).await;
        let mut wire = wire.map_err(|failure| lost(failure.detail))?;
        wire.begin(&self.outgoing(batch)).map_err(|problem| Trouble::Final(problem.detail))?;
        let head = match wire.sent_or_answered().await.map_err(|problem| lost(problem.detail))? {
            Some(head) => head,
            None => wire.head().await.map_err(|problem| lost(problem.detail))?,
        };
        let told = retry_after(&head.headers, self.shared.world.unix_ms() / 1000);
        let answer = read(wire).await.map_err(lost)?;
        match head.status {
            status if status.is_success() => Ok(Self::refused_of(batch, &answer)),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(Trouble::Passing(format!("status {}", head.status), told)),
            status => Err(Trouble::Final(format!("status {status}"))),
        }
    }

    fn outgoing(&self, batch: &Batch) -> Outgoing {
        let endpoint = &self.otlp.collector.endpoint;
        let mut headers = Fields::default();
        for (name, value) in &self.otlp.headers {
            headers.replace(name.as_str(), value.expose());
        }
        headers.set(names::HOST, &endpoint.authority);
        headers.set(names::CONTENT_TYPE, "application/x-protobuf");
        headers.set_number(names::CONTENT_LENGTH, batch.body.len());
        headers.set_if_missing(names::USER_AGENT, AGENT);
        let version = endpoint.version.as_deref().filter(|version| *version != "v1");
        let version = version.map(|version| format!("/{version}")).unwrap_or_default();
        let target = format!("{}{version}/v1/{}", endpoint.base_path, batch.signal.word());
        Outgoing { method: Method::POST, target, headers, body: smallvec![batch.body.clone()] }
    }

    /// Of a batch that was taken, what the collector says it did not take after all.
    fn refused_of(batch: &Batch, answer: &[u8]) -> u64 {
        let Some(rejected) = rejected(answer) else { return 0 };
        let why: String = rejected.message.chars().take(WORDS_MAX).collect();
        tracing::debug!(
            signal = batch.signal.word(),
            rejected = rejected.count,
            why,
            "the OTLP collector says"
        );
        let count = u64::try_from(rejected.count).unwrap_or(0);
        // Of metrics points are refused, and exports are counted.
        if batch.signal == Signal::Metrics { count.min(1) } else { count.min(batch.count) }
    }

    fn book(&mut self, batch: &Batch, sent: Result<u64, Trouble>) {
        let (metrics, signal) = (&self.shared.telemetry.metrics, batch.signal.word());
        let trouble = match sent {
            Ok(refused) => {
                metrics.otlp_exported(signal, batch.count - refused);
                if refused > 0 {
                    metrics.otlp_dropped(signal, "refused", refused);
                }
                None
            }
            Err(Trouble::Passing(why, _)) => Some(("unreachable", why)),
            Err(Trouble::Final(why)) => Some(("refused", why)),
        };
        let was_failing = std::mem::replace(&mut self.failing, trouble.is_some());
        let endpoint = self.otlp.collector.endpoint.base_url();
        match trouble {
            Some((reason, why)) => {
                self.shared.telemetry.metrics.otlp_dropped(signal, reason, batch.count);
                if !was_failing {
                    tracing::warn!(
                        endpoint,
                        signal,
                        why,
                        "the OTLP collector takes nothing; what it misses is dropped"
                    );
                }
            }
            None if was_failing => tracing::info!(endpoint, "the OTLP collector takes what it is sent again"),
            None => {}
        }
    }
}

/// The answer's body as far as it is of interest; a whole one gives the connection back.
async fn read(mut wire: Wire) -> Result<Vec<u8>, String> {
    let mut answer = Vec::new();
    while let Some(bytes) = wire.read().await.map_err(|lost| lost.detail)? {
        answer.extend_from_slice(&bytes);
        if answer.len() > ANSWER_BYTES_MAX {
            return Ok(Vec::new());
        }
    }
    wire.release();
    Ok(answer)
}

const AGENT: &str = concat!("OTel-OTLP-Exporter-Tollgate/", env!("CARGO_PKG_VERSION"));
/// With the pauses, some 15 seconds of a collector that is being restarted.
const TRIES_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// What it says of a batch is a sentence.
const ANSWER_BYTES_MAX: usize = 64 << 10;
const WORDS_MAX: usize = 300;
