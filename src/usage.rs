//! Counted tokens of one answer.
//!
//! Invariant: the types are disjoint, input excludes cache reads and writes, except `reasoning`, which is
//! part of `output` (contract 7). Each protocol's own way of counting is converted where it is read.

/// Tokens by type, as the provider reported them, or as they are estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Prompt tokens that were neither read from nor written to a cache.
    pub input: u64,
    /// Completion tokens, reasoning included.
    pub output: u64,
    /// Prompt tokens read from the provider's cache.
    pub cache_read: u64,
    /// Prompt tokens written to the provider's cache.
    pub cache_write: u64,
    /// The part of `output` that was reasoning.
    pub reasoning: u64,
}

impl Usage {
    /// All of them, each counted once: what a provider's own limit of tokens counts.
    pub fn total(&self) -> u64 {
        let parts = [self.input, self.output, self.cache_read, self.cache_write];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// The types by name, in the order they are shown everywhere.
    pub fn by_type(&self) -> [(&'static str, u64); 5] {
        [
            ("input", self.input),
            ("output", self.output),
            ("cache_read", self.cache_read),
            ("cache_write", self.cache_write),
            ("reasoning", self.reasoning),
        ]
    }
}

/// Where the counts of an exchange come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UsageSource {
    /// The provider said so.
    Reported,
    /// The provider did not say, or not all of it; what is missing is estimated from the bytes.
    Estimated,
    /// Nobody said: nothing was answered, or nothing that is counted.
    #[default]
    None,
}

impl UsageSource {
    /// The word in the access log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Estimated => "estimated",
            Self::None => "none",
        }
    }
}
