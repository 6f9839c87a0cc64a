//! What is kept of an answer to be read whole: slices of what came, bounded.
//!
//! Invariant: what is kept counts against the budget of buffered bytes, with what its handles cost.

use crate::state::bodies::Share;
use bytes::{Bytes, BytesMut};

/// Slices of one answer.
#[derive(Debug)]
pub struct Seen {
    pieces: Vec<Bytes>,
    bytes: usize,
    open: bool,
    share: Share,
}

impl Seen {
    /// Nothing yet; what is kept counts against this share.
    pub fn new(share: Share) -> Self {
        Self { pieces: Vec::new(), bytes: 0, open: true, share }
    }

    /// Keeps nothing, ever.
    pub fn nothing(share: Share) -> Self {
        Self { open: false, ..Self::new(share) }
    }

    /// Keeps a slice; `false`: it would be too much, and this one is not kept.
    pub fn keep(&mut self, piece: &Bytes) -> bool {
        let cost = piece.len() + PIECE_OVERHEAD;
        self.open &= self.bytes + cost <= SEEN_MAX && self.share.grow(cost);
        if self.open {
            self.bytes += cost;
            self.pieces.push(piece.clone());
        }
        self.open
    }

    /// Keeps nothing any more.
    pub fn forget(&mut self) {
        self.open = false;
        self.pieces = Vec::new();
    }

    /// What was kept.
    pub fn into_pieces(self) -> Vec<Bytes> {
        self.pieces
    }

    /// The whole, where all of it was kept; once.
    pub fn take(&mut self) -> Option<Bytes> {
        if !std::mem::take(&mut self.open) {
            return None;
        }
        let pieces = std::mem::take(&mut self.pieces);
        if let [only] = pieces.as_slice() {
            return Some(only.clone());
        }
        let mut joined = BytesMut::with_capacity(self.bytes);
        for piece in pieces {
            joined.extend_from_slice(&piece);
        }
        Some(joined.freeze())
    }
}

/// A larger JSON answer is relayed unread: its usage is missing and its model keeps the provider's name.
pub const SEEN_MAX: usize = 32 * 1024 * 1024;
/// What keeping a slice costs beside its bytes.
pub const PIECE_OVERHEAD: usize = 64;
