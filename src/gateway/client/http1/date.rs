//! The `date` of answers (RFC 9110 section 6.6.1): one text for all of a second.
//!
//! The time comes from the exchange, so that nobody reads a clock for it.

use httpdate::HttpDate;
use std::cell::Cell;
use std::time::{Duration, UNIX_EPOCH};

/// What such a date takes: `Sun, 06 Nov 1994 08:49:37 GMT`.
type Text = [u8; 29];

/// The date of this second since the Unix epoch.
pub(super) fn of(unix: u64) -> Text {
    let (second, known) = LAST.get();
    if second == unix {
        return known;
    }
    let text = written(unix);
    LAST.set((unix, text));
    text
}

fn written(unix: u64) -> Text {
    // What lies behind the last second that the format can say is no clock's.
    let since = Duration::from_secs(unix.min(LATEST));
    let text = HttpDate::from(UNIX_EPOCH + since).to_string();
    text.as_bytes().try_into().unwrap_or(*EPOCH)
}

thread_local! {
    static LAST: Cell<(u64, Text)> = const { Cell::new((0, *EPOCH)) };
}

const EPOCH: &Text = b"Thu, 01 Jan 1970 00:00:00 GMT";
/// The end of the year 9999.
const LATEST: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_date() {
        for (unix, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_778, "Sun, 06 Nov 1994 08:49:38 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(std::str::from_utf8(&of(unix)), Ok(date));
        }
    }
}
