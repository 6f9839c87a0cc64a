//! The moment from which on nobody waits for a client any more.
//!
//! Invariant: who asks whether it has come is woken when it does; a connection that has no such moment pays nothing for it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A moment that may never come.
#[derive(Default)]
pub(super) enum End {
    #[default]
    Never,
    At(Pin<Box<dyn Future<Output = ()> + Send + Sync>>),
    Come,
}

impl End {
    /// When this is done.
    pub(super) fn with(end: impl Future<Output = ()> + Send + Sync + 'static) -> Self {
        Self::At(Box::pin(end))
    }

    /// Whether it has come; else it wakes when it does.
    pub(super) fn has_come(&mut self, context: &mut Context<'_>) -> bool {
        if let Self::At(end) = self
            && let Poll::Ready(()) = end.as_mut().poll(context)
        {
            *self = Self::Come;
        }
        matches!(self, Self::Come)
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "Never",
            Self::At(_) => "At",
            Self::Come => "Come",
        })
    }
}
