//! What translation could not carry over, as the log and the client are told.

use super::Text;

/// Member names with what became of each, bounded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Losses {
    list: Vec<Text<LOSS_BYTES_MAX>>,
    more: usize,
}

impl Losses {
    /// Adds one; past [`LOSSES_MAX`] it is only counted.
    pub fn push(&mut self, field: &str, what: &str) {
        if self.list.len() < LOSSES_MAX {
            self.list.push(Text::new(&format!("{field}: {what}")));
        } else {
            self.more += 1;
        }
    }

    /// Forgets them all: what another attempt lost is no matter.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each in words, and how many more there were.
    pub fn words(&self) -> Vec<String> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        self.list.iter().map(|loss| loss.as_str().to_owned()).chain(more).collect()
    }
}

/// A list for people: a conversation can lose something in every turn.
pub const LOSSES_MAX: usize = 16;
const LOSS_BYTES_MAX: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_often_is_counted() {
        let mut losses = Losses::default();
        for turn in 0..LOSSES_MAX + 3 {
            losses.push(&format!("messages[{turn}].name"), "dropped");
        }
        let words = losses.words();
        assert_eq!(words.len(), LOSSES_MAX + 1);
        assert_eq!(
            (words[0].as_str(), words[LOSSES_MAX].as_str()),
            ("messages[0].name: dropped", "and 3 more")
        );
        losses.clear();
        assert!(losses.is_empty() && losses.words().is_empty());
    }
}
