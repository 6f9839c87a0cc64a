//! `[upstream]`, and the same settings of a channel: how channels are reached and used.

use super::{At, Compiler};
use crate::config::file::{Channel as WrittenChannel, Upstream as Written, Wait};
use crate::config::snapshot::{
    Balance, ClientAbort, Conduct, ForeignThinking, HttpVersion, UpstreamTimeouts,
};
use std::time::Duration;

/// `[upstream]`, compiled: what a channel that says nothing gets.
pub(super) struct Upstream {
    pub(super) timeouts: UpstreamTimeouts,
    pub(super) conduct: Conduct,
    pub(super) attempts: usize,
    pub(super) retry_budget_permille: u32,
}

/// The settings of conduct as written in either place.
pub(super) struct WrittenConduct<'a> {
    balance: Option<&'a str>,
    queue: Option<u32>,
    queue_timeout: Option<&'a Wait>,
    ping_interval: Option<&'a Wait>,
    ping_before_first_event: Option<bool>,
    on_client_abort: Option<&'a str>,
    foreign_thinking: Option<&'a str>,
    include_usage: Option<bool>,
    http_version: Option<&'a str>,
}

macro_rules! conduct_of {
    ($from:ty) => {
        impl<'a> From<&'a $from> for WrittenConduct<'a> {
            fn from(written: &'a $from) -> Self {
                Self {
                    balance: written.balance.as_deref(),
                    queue: written.queue,
                    queue_timeout: written.queue_timeout.as_ref(),
                    ping_interval: written.ping_interval.as_ref(),
                    ping_before_first_event: written.ping_before_first_event,
                    on_client_abort: written.on_client_abort.as_deref(),
                    foreign_thinking: written.foreign_thinking.as_deref(),
                    include_usage: written.include_usage,
                    http_version: written.http_version.as_deref(),
                }
            }
        }
    };
}
conduct_of!(Written);
conduct_of!(WrittenChannel);

impl Compiler<'_, '_> {
    pub(super) fn upstream(&mut self, written: Option<&Written>) -> Upstream {
        let at = At::section(0, "upstream");
        let none = Written::default();
        let written = written.unwrap_or(&none);
        let seconds = Duration::from_secs;
        let timeouts = UpstreamTimeouts {
            connect: self.wait(&at.key("connect_timeout"), written.connect_timeout.as_ref(), seconds(3)),
            first_byte: self.wait(
                &at.key("first_byte_timeout"),
                written.first_byte_timeout.as_ref(),
                seconds(60),
            ),
            response: self.wait(&at.key("response_timeout"), written.response_timeout.as_ref(), seconds(600)),
            idle: self.wait(&at.key("idle_timeout"), written.idle_timeout.as_ref(), seconds(120)),
        };
        Upstream {
            timeouts,
            conduct: self.conduct(&at, &written.into(), &CONDUCT),
            attempts: usize::try_from(written.attempts.unwrap_or(ATTEMPTS)).unwrap_or(1),
            retry_budget_permille: permille(written.retry_budget.unwrap_or(RETRY_BUDGET)),
        }
    }

    /// What is written, else what is given; words that are not known the schema has refused.
    pub(super) fn conduct(&mut self, at: &At, written: &WrittenConduct<'_>, defaults: &Conduct) -> Conduct {
        Conduct {
            balance: match written.balance {
                Some("weighted") => Balance::Weighted,
                Some("least_latency") => Balance::LeastLatency,
                Some("least_busy") => Balance::LeastBusy,
                _ => defaults.balance,
            },
            queue: written.queue.map_or(defaults.queue, |places| usize::try_from(places).unwrap_or(0)),
            queue_timeout: self.wait(&at.key("queue_timeout"), written.queue_timeout, defaults.queue_timeout),
            ping_interval: self.wait_or_none(
                &at.key("ping_interval"),
                written.ping_interval,
                defaults.ping_interval,
            ),
            ping_before_first_event: written
                .ping_before_first_event
                .unwrap_or(defaults.ping_before_first_event),
            on_client_abort: match written.on_client_abort {
                Some("cancel") => ClientAbort::Cancel,
                Some("drain") => ClientAbort::Drain,
                _ => defaults.on_client_abort,
            },
            foreign_thinking: match written.foreign_thinking {
                Some("strip") => ForeignThinking::Strip,
                Some("refuse") => ForeignThinking::Refuse,
                _ => defaults.foreign_thinking,
            },
            include_usage: written.include_usage.unwrap_or(defaults.include_usage),
            http_version: match written.http_version {
                Some("auto") => HttpVersion::Auto,
                Some("1.1") => HttpVersion::Http1,
                Some("2") => HttpVersion::Http2,
                _ => defaults.http_version,
            },
        }
    }
}

/// The fraction in whole thousandths; the schema bounds it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the schema has 0 to 10")]
fn permille(fraction: f64) -> u32 {
    (fraction * 1000.0).round() as u32
}

/// How many channels an exchange tries where nothing else is said.
const ATTEMPTS: u32 = 3;

/// As linkerd has it: enough for a bad minute of one channel, too little to multiply an outage.
const RETRY_BUDGET: f64 = 0.2;

/// What holds where neither the channel nor `[upstream]` says otherwise.
const CONDUCT: Conduct = Conduct {
    balance: Balance::Weighted,
    queue: 0,
    queue_timeout: Duration::from_secs(10),
    ping_interval: Duration::from_secs(15),
    ping_before_first_event: false,
    on_client_abort: ClientAbort::Cancel,
    foreign_thinking: ForeignThinking::Strip,
    include_usage: true,
    http_version: HttpVersion::Auto,
};
