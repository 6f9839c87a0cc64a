//! Where an event names its model, known from the event before.
//!
//! The events of a stream begin alike: the answer's id, its time, its model. Where the bytes up to the model's end are those of the
//! last event that was read through, they mean the same, and the event need not be read through for it.
//! Invariant: what is remembered is from the beginning of an event's data to the end of the model's value on its first level, and
//! no more than [`LEAD_BYTES_MAX`].

use std::ops::Range;

/// The beginning that the events of a stream have in common.
#[derive(Debug, Default)]
pub(super) struct Lead {
    bytes: Vec<u8>,
    model: Range<usize>,
}

impl Lead {
    /// Where `data` names its model, if it begins as the event did that is remembered.
    pub(super) fn of(&self, data: &[u8]) -> Option<Range<usize>> {
        (!self.bytes.is_empty() && data.starts_with(&self.bytes)).then(|| self.model.clone())
    }

    /// Remembers an event that names its model there.
    pub(super) fn learn(&mut self, data: &[u8], model: Range<usize>) {
        if let Some(lead) = data.get(..model.end).filter(|lead| lead.len() <= LEAD_BYTES_MAX) {
            self.bytes.clear();
            self.bytes.extend_from_slice(lead);
            self.model = model;
        }
    }
}

/// Four times what providers write.
const LEAD_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_event_that_begins_alike_names_its_model_there() {
        let mut lead = Lead::default();
        assert_eq!(lead.of(b""), None);
        lead.learn(br#"{"id":"a","model":"m","choices":[1]}"#, 18..21);
        assert_eq!(lead.of(br#"{"id":"a","model":"m","choices":[2]}"#), Some(18..21));
        assert_eq!(lead.of(br#"{"id":"b","model":"m","choices":[2]}"#), None);
        assert_eq!(lead.of(br#"{"id":"a","model":"m2"}"#), None);
        assert_eq!(lead.of(br#"{"id":"a","#), None);
    }

    #[test]
    fn a_long_beginning_is_not_kept() {
        let mut lead = Lead::default();
        let long = [b' '; LEAD_BYTES_MAX + 1];
        lead.learn(&long, 0..LEAD_BYTES_MAX + 1);
        assert_eq!(lead.of(&long), None);
        lead.learn(&long, 0..LEAD_BYTES_MAX);
        assert_eq!(lead.of(&long), Some(0..LEAD_BYTES_MAX));
        lead.learn(b"short", 0..9);
        assert_eq!(
            lead.of(&long),
            Some(0..LEAD_BYTES_MAX),
            "an end beyond the data is nothing to learn from"
        );
    }
}
