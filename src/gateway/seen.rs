//! What is kept of an answer to be read whole: slices of what came, bounded.
//!
//! Of pictures, which may be many megabytes, only the count is kept.
//! Invariant: what is kept counts against the budget of buffered bytes, with what its handles cost.

use crate::protocol::skim::Skim;
use crate::protocol::splice::Pieces;
use crate::protocol::{Medium, Operation};
use crate::state::bodies::Share;
use bytes::{Bytes, BytesMut};

/// Slices of one answer.
#[derive(Debug)]
pub struct Seen {
    pieces: Pieces,
    bytes: usize,
    most: usize,
    open: bool,
    skim: Option<Box<Skim>>,
    share: Share,
}

impl Seen {
    /// What is to be read of an answer that passes; nothing of one that is no JSON.
    pub fn of(operation: Operation, is_json: bool, share: Share) -> Self {
        let is_skimmed = is_json && is_large(operation);
        let skim = is_skimmed.then(Box::default);
        Self { open: is_json, skim, ..Self::held(operation, share) }
    }

    /// What is held of an answer before any of it goes out.
    pub fn held(operation: Operation, share: Share) -> Self {
        let most = if is_large(operation) { LARGE_HELD_MAX } else { SEEN_MAX };
        Self { most, ..Self::new(share) }
    }

    /// Nothing yet, of any answer; what is kept counts against this share.
    pub fn new(share: Share) -> Self {
        Self { pieces: Pieces::new(), bytes: 0, most: SEEN_MAX, open: true, skim: None, share }
    }

    /// Keeps a slice; `false`: it would be too much, and this one is not kept.
    pub fn keep(&mut self, piece: &Bytes) -> bool {
        if let Some(skim) = &mut self.skim {
            skim.feed(piece);
            return true;
        }
        let cost = piece.len() + PIECE_OVERHEAD;
        self.open &= self.bytes + cost <= self.most && self.share.grow(cost);
        if self.open {
            self.bytes += cost;
            self.pieces.push(piece.clone());
        }
        self.open
    }

    /// Keeps nothing any more.
    pub fn forget(&mut self) {
        self.open = false;
        self.pieces = Pieces::new();
    }

    /// What was kept.
    pub fn into_pieces(self) -> Vec<Bytes> {
        self.pieces.into_vec()
    }

    /// The whole, where all of it was kept, or an object that says of it what was looked for; once.
    pub fn take(&mut self) -> Option<Bytes> {
        if !std::mem::take(&mut self.open) {
            return None;
        }
        if let Some(skim) = &self.skim {
            let usage = skim.usage().unwrap_or(b"null");
            return Some(Bytes::from([b"{\"usage\":", usage, b"}"].concat()));
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

fn is_large(operation: Operation) -> bool {
    operation.medium() == Some(Medium::Images)
}

/// A larger JSON answer is relayed unread: its usage is missing and its model keeps the provider's name.
pub const SEEN_MAX: usize = 32 * 1024 * 1024;
/// A list of addresses of pictures; one that holds the pictures themselves passes under the provider's name for the
/// model, which official answers of this kind do not give.
const LARGE_HELD_MAX: usize = 256 * 1024;
/// What keeping a slice costs beside its bytes.
pub const PIECE_OVERHEAD: usize = 64;
