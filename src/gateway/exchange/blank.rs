//! A record before anything is known of its exchange.

use crate::id::ExchangeId;
use crate::protocol::Dialect;
use crate::record::{Cost, End, Labels, Losses, Overhead, Path, Record};
use crate::usage::{Usage, UsageSource};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// A record of which nothing is known yet.
pub(super) fn blank(id: ExchangeId, unix_ms: u64) -> Record {
    Record {
        ts_unix_ms: unix_ms,
        request_id: id,
        trace_id: None,
        client_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        user_agent: None,
        dialect: Dialect::OpenAi,
        operation: None,
        path: Path::default(),
        key: None,
        model_requested: None,
        model_upstream: None,
        channel: None,
        attempts: Vec::new(),
        stream: false,
        status: 0,
        code: None,
        limit_hit: None,
        bytes_in: 0,
        bytes_out: 0,
        duration: Duration::ZERO,
        ttfb: None,
        overhead: Overhead::default(),
        queued: None,
        usage: Usage::default(),
        usage_source: UsageSource::default(),
        cost: Cost::Nothing,
        charged: false,
        output_cap: None,
        session_id: None,
        labels: Labels::default(),
        end: End::Ok,
        upstream_error: None,
        losses: Losses::default(),
        sample_rate: crate::telemetry::sampling::WHOLE,
        span: None,
    }
}
