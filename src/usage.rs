//! Counted tokens of one answer.
//!
//! Invariant: the types are disjoint, input excludes cache reads and writes, except `reasoning`, which is
//! part of `output` (contract 7). Each protocol's own way of counting is converted where it is read. What is
//! counted beyond these types (an hour's cache writes, media) is part of one of them, and is kept because it
//! has a price of its own.

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
    /// The part of `cache_write` that is kept for an hour; the rest is kept for minutes.
    pub cache_write_1h: u64,
    /// The parts that were no text.
    pub media: Media,
    /// Searches of the web the provider did for the answer; no tokens.
    pub web_searches: u64,
    /// Seconds of sound, where a provider counts those; no tokens.
    pub audio_seconds: u64,
    /// Seconds of film that are made; no tokens.
    pub video_seconds: u64,
}

/// Tokens that were no text, each part of the type its name begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Media {
    /// Sound in the prompt.
    pub input_audio: u64,
    /// Pictures in the prompt.
    pub input_image: u64,
    /// Film in the prompt.
    pub input_video: u64,
    /// Sound read from the cache.
    pub cache_read_audio: u64,
    /// Pictures read from the cache.
    pub cache_read_image: u64,
    /// Sound in the answer.
    pub output_audio: u64,
    /// Pictures in the answer.
    pub output_image: u64,
    /// Film in the answer.
    pub output_video: u64,
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        let (a, b) = (self, other);
        let media = |part: fn(&Media) -> u64| part(&a.media).saturating_add(part(&b.media));
        Self {
            input: a.input.saturating_add(b.input),
            output: a.output.saturating_add(b.output),
            cache_read: a.cache_read.saturating_add(b.cache_read),
            cache_write: a.cache_write.saturating_add(b.cache_write),
            reasoning: a.reasoning.saturating_add(b.reasoning),
            cache_write_1h: a.cache_write_1h.saturating_add(b.cache_write_1h),
            media: Media {
                input_audio: media(|media| media.input_audio),
                input_image: media(|media| media.input_image),
                input_video: media(|media| media.input_video),
                cache_read_audio: media(|media| media.cache_read_audio),
                cache_read_image: media(|media| media.cache_read_image),
                output_audio: media(|media| media.output_audio),
                output_image: media(|media| media.output_image),
                output_video: media(|media| media.output_video),
            },
            web_searches: a.web_searches.saturating_add(b.web_searches),
            audio_seconds: a.audio_seconds.saturating_add(b.audio_seconds),
            video_seconds: a.video_seconds.saturating_add(b.video_seconds),
        }
    }

    /// All that was read, from a cache or not.
    pub fn input_total(&self) -> u64 {
        self.total().saturating_sub(self.output)
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

    /// All of them, each counted once: what a provider's own limit of tokens counts.
    pub fn total(&self) -> u64 {
        let parts = [self.input, self.output, self.cache_read, self.cache_write];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// What has a price of its own beside the types, by name.
    pub fn apart(&self) -> [(&'static str, u64); 12] {
        [
            ("cache_write_1h", self.cache_write_1h),
            ("input_audio", self.media.input_audio),
            ("input_image", self.media.input_image),
            ("input_video", self.media.input_video),
            ("cache_read_audio", self.media.cache_read_audio),
            ("cache_read_image", self.media.cache_read_image),
            ("output_audio", self.media.output_audio),
            ("output_image", self.media.output_image),
            ("output_video", self.media.output_video),
            ("web_searches", self.web_searches),
            ("audio_seconds", self.audio_seconds),
            ("video_seconds", self.video_seconds),
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
