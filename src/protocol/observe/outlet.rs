//! What goes out of one chunk: slices of it, copies only of what came before it.

use bytes::Bytes;
use std::ops::Range;

/// Collects what goes out; neighbouring parts of the chunk become one slice.
pub(super) struct Outlet<'a> {
    chunk: &'a Bytes,
    span: Range<usize>,
    out: &'a mut Vec<Bytes>,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(chunk: &'a Bytes, out: &'a mut Vec<Bytes>) -> Self {
        Self { chunk, span: 0..0, out }
    }

    pub(super) fn chunk_len(&self) -> usize {
        self.chunk.len()
    }

    /// One event, or a part of one: its bytes from earlier chunks, its place in this chunk, and which of
    /// all these bytes, counted from the first, are replaced.
    pub(super) fn event(
        &mut self,
        early: &[u8],
        part: Range<usize>,
        replace: Option<(Range<usize>, &Bytes)>,
    ) {
        let length = early.len() + part.len();
        match replace {
            Some((range, value)) if range.end <= length => {
                self.piece(early, &part, 0..range.start);
                self.insert(value.clone());
                self.piece(early, &part, range.end..length);
            }
            _ => self.piece(early, &part, 0..length),
        }
    }

    fn piece(&mut self, early: &[u8], part: &Range<usize>, piece: Range<usize>) {
        let split = early.len();
        if piece.start < split {
            self.insert(Bytes::copy_from_slice(&early[piece.start..piece.end.min(split)]));
        }
        let in_chunk = |offset: usize| part.start + offset.saturating_sub(split);
        self.keep(in_chunk(piece.start)..in_chunk(piece.end));
    }

    fn keep(&mut self, span: Range<usize>) {
        if span.start == self.span.end {
            self.span.end = span.end;
        } else if !span.is_empty() {
            self.flush();
            self.span = span;
        }
    }

    fn insert(&mut self, bytes: Bytes) {
        self.flush();
        if !bytes.is_empty() {
            self.out.push(bytes);
        }
    }

    fn flush(&mut self) {
        if !self.span.is_empty() {
            self.out.push(self.chunk.slice(self.span.clone()));
        }
        self.span = self.span.end..self.span.end;
    }
}

impl Drop for Outlet<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}
