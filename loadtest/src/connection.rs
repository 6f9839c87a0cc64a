//! One accepted connection: the faults that come before any byte, and which protocol it speaks.
//!
//! Invariant: an open connection is counted exactly as long as it is open.

use crate::exchange::Shared;
use crate::faults::Fault;
use crate::http::Wire;
use crate::record::Log;
use crate::script::Known;
use crate::walk::Holding;
use crate::{over_http1, over_http2};
use std::sync::Arc;
use tokio::net::TcpStream;

/// Serves one connection until either side closes it.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let _open = Open::new(&shared.log);
    let number = shared.next_connection();
    let at_once = |fault: &Fault| matches!(fault, Fault::Refuse | Fault::SilentOnAccept);
    let fault = shared.scripts.take(Known::default(), at_once);
    // Every event must leave when it is written; where the option fails the peer is gone already.
    stream.set_nodelay(true).unwrap_or_default();
    let mut wire = Wire::new(stream);
    match fault {
        None => {}
        Some(Fault::SilentOnAccept) => {
            let _holding = Holding::new(&shared.log);
            wire.stop_reading();
            wire.gone().await;
            return;
        }
        Some(_) => return,
    }
    match wire.speaks_http2().await {
        Ok(true) => over_http2::serve(&shared, wire, number).await,
        Ok(false) => over_http1::serve(&shared, wire, number).await,
        Err(_) => {}
    }
}

/// Counts an open connection for as long as it lives.
struct Open<'a>(&'a Log);

impl<'a> Open<'a> {
    fn new(log: &'a Log) -> Self {
        log.count(|counts| {
            counts.open += 1;
            counts.total += 1;
        });
        Self(log)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.count(|counts| counts.open -= 1);
    }
}
