//! How the events of a stream begin, known from one before.
//!
//! They begin alike: the answer's id, its time, its model. Where the bytes up to the model's end are those of an event that was read
//! through, they mean the same, and need not be looked at again: neither for the model nor for what else an event may say.
//! Invariants: what is remembered is from the beginning of an event's data, which was an object, to the end of the model's value on
//! its first level, and no more than [`LEAD_BYTES_MAX`]; it says nothing that an event would be read through for.

use super::words::{ERROR, USAGE, says};
use std::ops::Range;

/// The beginning that the events of a stream have in common.
#[derive(Debug, Default)]
pub(super) struct Lead {
    bytes: Vec<u8>,
    model: Range<usize>,
    /// Bytes of text that stand before the model.
    said: u64,
    /// How many events were read through for it alone.
    tries: u8,
}

impl Lead {
    /// Where `data` names its model, and how many bytes of text stand before that, if it begins as the event did that is remembered.
    pub(super) fn of(&self, data: &[u8]) -> Option<(Range<usize>, u64)> {
        (!self.bytes.is_empty() && data.starts_with(&self.bytes)).then(|| (self.model.clone(), self.said))
    }

    /// Whether an event shall be read through for this alone.
    pub(super) fn is_wanted(&mut self) -> bool {
        let wanted = self.bytes.is_empty() && self.tries < TRIES_MAX;
        self.tries += u8::from(wanted);
        wanted
    }

    /// Remembers an event that names its model there; `said` counts the bytes of text.
    pub(super) fn learn(&mut self, data: &[u8], model: Range<usize>, said: impl FnOnce(&[u8]) -> u64) {
        let Some(lead) = data.get(..model.end).filter(|lead| lead.len() <= LEAD_BYTES_MAX) else { return };
        if says(lead, &ERROR) || says(lead, &USAGE) {
            return;
        }
        self.said = said(&lead[..model.start.min(lead.len())]);
        self.bytes.clear();
        self.bytes.extend_from_slice(lead);
        self.model = model;
    }
}

/// Four times what providers write.
const LEAD_BYTES_MAX: usize = 512;
/// The first event of some streams names no model, or not in the place of the others.
const TRIES_MAX: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(lead: &mut Lead, data: &[u8], model: Range<usize>) {
        lead.learn(data, model, |before| before.len() as u64);
    }

    #[test]
    fn only_an_event_that_begins_alike_names_its_model_there() {
        let mut lead = Lead::default();
        assert_eq!(lead.of(b""), None);
        learned(&mut lead, br#"{"id":"a","model":"m","choices":[1]}"#, 18..21);
        assert_eq!(lead.of(br#"{"id":"a","model":"m","choices":[2]}"#), Some((18..21, 18)));
        assert_eq!(lead.of(br#"{"id":"b","model":"m","choices":[2]}"#), None);
        assert_eq!(lead.of(br#"{"id":"a","model":"m2"}"#), None);
        assert_eq!(lead.of(br#"{"id":"a","#), None);
    }

    #[test]
    fn what_an_event_is_read_through_for_is_no_beginning_to_remember() {
        let mut lead = Lead::default();
        for (data, kept) in [
            (r#"{"usage":{},"model":"m"}"#, false),
            (r#"{"error":1,"model":"m"}"#, false),
            (r#"{"model":"error"}"#, false),
            (r#"{"usage":null,"model":"m"}"#, true),
        ] {
            learned(&mut lead, data.as_bytes(), data.len() - 4..data.len() - 1);
            assert_eq!(lead.of(data.as_bytes()).is_some(), kept, "{data}");
        }
    }

    #[test]
    fn a_long_beginning_is_not_kept() {
        let mut lead = Lead::default();
        let long = [b' '; LEAD_BYTES_MAX + 1];
        learned(&mut lead, &long, 0..LEAD_BYTES_MAX + 1);
        assert_eq!(lead.of(&long), None);
        learned(&mut lead, &long, 0..LEAD_BYTES_MAX);
        assert_eq!(lead.of(&long), Some((0..LEAD_BYTES_MAX, 0)));
        learned(&mut lead, b"short", 0..9);
        assert_eq!(
            lead.of(&long),
            Some((0..LEAD_BYTES_MAX, 0)),
            "an end beyond the data is nothing to learn from"
        );
    }

    #[test]
    fn where_no_event_can_be_remembered_a_few_are_read_for_it_and_no_more() {
        let mut lead = Lead::default();
        assert_eq!((0..9).filter(|_| lead.is_wanted()).count(), usize::from(TRIES_MAX));
        let mut lead = Lead::default();
        assert!(lead.is_wanted());
        learned(&mut lead, br#"{"model":"m"}"#, 9..12);
        assert!(!lead.is_wanted());
    }
}
