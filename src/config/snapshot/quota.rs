//! How much may be spent, as configured.

/// How much may be spent in a window; at least one of the three is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Nano-dollars.
    pub nano_usd: Option<u64>,
    /// Tokens, read and written, from a cache or not.
    pub tokens: Option<u64>,
    /// Exchanges that were served.
    pub requests: Option<u64>,
    /// The window.
    pub per: Per,
}

/// What a quota is given for; windows of the calendar in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// A day.
    Day,
    /// A week, from Monday.
    Week,
    /// A month.
    Month,
    /// For good.
    Total,
}

impl Per {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Day, Self::Week, Self::Month, Self::Total];

    /// Its word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }
}

/// Keys that share a quota by what they are for, across groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its name, as keys give it in `project`.
    pub name: String,
    /// The quota of all its keys together.
    pub quota: Quota,
}
