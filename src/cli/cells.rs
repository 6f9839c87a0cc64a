//! Text for a terminal: numbers as people read them, and tables that fit the width.
//!
//! Invariant: no line is wider than it was asked to be; control characters and marks that turn a line's direction, which
//! a client or a provider wrote, reach no terminal; colour only underlines what a word says already.

/// How a cell is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Soft,
    Good,
    Warn,
    Bad,
}

/// A text with its tone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell(String, Tone);

impl Cell {
    pub(super) fn new(text: &str, tone: Tone) -> Self {
        Self(visible(text), tone)
    }

    pub(super) fn plain(text: impl AsRef<str>) -> Self {
        Self::new(text.as_ref(), Tone::Plain)
    }

    pub(super) fn soft(text: impl AsRef<str>) -> Self {
        Self::new(text.as_ref(), Tone::Soft)
    }

    /// So wide, and no wider.
    fn drawn(&self, width: usize, right: bool, colour: bool) -> String {
        let text = fitted(&self.0, width);
        let blank = " ".repeat(width - columns(&text));
        let text = painted(&text, self.1, colour);
        if right { blank + &text } else { text + &blank }
    }
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Numbers stand to the right.
    pub(super) right: bool,
    /// So much of it is worth more than the columns that can go: of numbers and ids, which are worth nothing cut, all.
    worth: usize,
    /// The first to go where there is no room is the one with the highest number; 0 stays.
    pub(super) spare: u8,
}

impl Column {
    pub(super) const fn name(title: &'static str, spare: u8) -> Self {
        Self { title, right: false, worth: TEXT_LEAST, spare }
    }

    /// A text of which others make room for so much.
    pub(super) const fn worth(mut self, columns: usize) -> Self {
        self.worth = columns;
        self
    }

    pub(super) const fn number(title: &'static str, spare: u8) -> Self {
        Self { title, right: true, worth: usize::MAX, spare }
    }

    pub(super) const fn id(title: &'static str, spare: u8) -> Self {
        Self { title, right: false, worth: usize::MAX, spare }
    }
}

/// Rows below a heading, so wide at the most. What does not fit goes by `spare`, then the widest texts are cut.
pub(super) fn table(columns: &[Column], rows: &[Vec<Cell>], width: usize, colour: bool) -> Vec<String> {
    let natural: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            rows.iter().map(|row| self::columns(&row[at].0)).chain([column.title.len()]).max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    let worth = |at: usize| natural[at].min(columns[at].worth);
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let needs =
        |kept: &[usize]| kept.iter().map(|at| worth(*at)).sum::<usize>() + GAP * kept.len().saturating_sub(1);
    while needs(&kept) > width {
        let spare = kept.iter().copied().filter(|at| columns[*at].spare > 0);
        let Some(most) = spare.max_by_key(|at| columns[*at].spare) else { break };
        kept.retain(|at| *at != most);
    }
    let has_room = needs(&kept) <= width;
    let least = |at: usize| {
        let is_whole = has_room || columns[at].worth == usize::MAX;
        if is_whole { worth(at) } else { natural[at].min(TEXT_LEAST) }
    };
    let bounds: Vec<(usize, usize)> = kept.iter().map(|at| (natural[*at], least(*at))).collect();
    let widths = shrunk(&bounds, width);
    let line = |cell: &dyn Fn(usize) -> Cell| {
        let drawn =
            kept.iter().zip(&widths).map(|(at, width)| cell(*at).drawn(*width, columns[*at].right, colour));
        drawn.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
    };
    let mut lines = vec![line(&|at| Cell::soft(columns[at].title))];
    lines.extend(rows.iter().map(|row| line(&|at| row[at].clone())));
    lines
}

/// Takes from the widest until all fit, from nobody more than to its least.
fn shrunk(columns: &[(usize, usize)], width: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|(natural, _)| *natural).collect();
    let room = width.saturating_sub(GAP * widths.len().saturating_sub(1));
    while widths.iter().sum::<usize>() > room {
        let giving = (0..widths.len()).filter(|at| widths[*at] > columns[*at].1);
        let Some(widest) = giving.max_by_key(|at| widths[*at]) else { break };
        widths[widest] -= 1;
    }
    widths
}

/// A line of cells with gaps between, empty ones left out, cut where the width ends.
pub(super) fn row(cells: &[Cell], width: usize, colour: bool) -> String {
    let mut left = width;
    let mut line = String::new();
    for cell in cells.iter().filter(|cell| !cell.0.is_empty()) {
        let gap = if line.is_empty() { 0 } else { GAP };
        if left <= gap {
            break;
        }
        let wide = columns(&cell.0).min(left - gap);
        line += &" ".repeat(gap);
        line += &cell.drawn(wide, false, colour);
        left -= gap + wide;
    }
    line
}

/// A cell of a fixed width.
pub(super) fn fixed(cell: &Cell, width: usize, right: bool, colour: bool) -> String {
    cell.drawn(width, right, colour)
}

/// A label, and beside it (that many columns in) what it is about, in as many lines as that needs.
pub(super) fn labelled(
    (label, beside): (&str, usize),
    cell: &Cell,
    width: usize,
    colour: bool,
) -> Vec<String> {
    let label = painted(&format!("{label:<beside$}"), Tone::Soft, colour);
    let parts = wrapped(&cell.0, width.saturating_sub(beside).max(1)).into_iter().enumerate();
    let line = |(at, part): (usize, String)| {
        let before = if at == 0 { label.clone() } else { " ".repeat(beside) };
        before + &painted(&part, cell.1, colour)
    };
    parts.map(line).collect()
}

/// A text in lines so wide at the most, broken between words where that goes.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut left) = (Vec::new(), String::new(), width);
    for word in text.split_inclusive(' ') {
        if columns(word.trim_end()) > left && left < width {
            lines.push(std::mem::take(&mut line));
            left = width;
        }
        for c in word.chars() {
            if wide(c) > left && c != ' ' {
                lines.push(std::mem::take(&mut line));
                left = width;
            }
            line.push(c);
            left = left.saturating_sub(wide(c));
        }
    }
    lines.push(line);
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

fn painted(text: &str, tone: Tone, colour: bool) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Strong => "1",
        Tone::Soft => "2",
        Tone::Good => "32",
        Tone::Warn => "33",
        Tone::Bad => "31",
    };
    if colour && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// What fits into so many columns; a cut is marked.
fn fitted(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut taken = 0;
    let fits = |c: &char| {
        taken += wide(*c);
        taken < width
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    if width > 0 {
        cut.push('…');
    }
    cut
}

/// How many columns of a terminal a text takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(wide).sum()
}

/// Characters of East Asian scripts and pictures take two, marks that stand on others none.
fn wide(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x2_0000..=0x3_fffd => 2,
        _ => 1,
    }
}

/// Without what would move a terminal's cursor or turn the direction of a line.
pub(super) fn visible(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect()
}

/// A count in at most five characters.
pub(super) fn short(count: f64) -> String {
    for (unit, size) in [("G", 1e9), ("M", 1e6), ("k", 1e3)] {
        if count >= size * 10.0 || (count >= size && unit != "k") {
            let digits = usize::from(count < size * 100.0);
            return format!("{:.digits$}{unit}", count / size);
        }
    }
    format!("{count:.0}")
}

/// A rate: the smaller, the more digits.
pub(super) fn rate(value: f64) -> String {
    let digits = if value <= 0.0 || value >= 100.0 { 0 } else { 1 + usize::from(value < 10.0) };
    format!("{value:.digits$}")
}

/// Milliseconds, as seconds where they are many.
pub(super) fn millis(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 1000.0 => format!("{value:.0}ms"),
        Some(value) if value < 100_000.0 => format!("{:.1}s", value / 1000.0),
        Some(value) => format!("{:.0}s", value / 1000.0),
    }
}

/// A part of one; never 100 % where something is missing.
pub(super) fn percent(part: Option<f64>) -> String {
    match part {
        None => "-".to_owned(),
        Some(1.0) => "100%".to_owned(),
        Some(part) => format!("{:.1}%", (part * 100.0).min(99.9)),
    }
}

/// Dollars; not known is something else than nothing.
pub(super) fn dollars(value: Option<f64>) -> String {
    match value {
        None => "?".to_owned(),
        Some(0.0) => "$0".to_owned(),
        Some(value) if value < 0.0001 => "<$0.0001".to_owned(),
        Some(value) if value < 0.1 => format!("${value:.4}"),
        Some(value) => format!("${value:.2}"),
    }
}

/// A length of time in its two largest units.
pub(super) fn span(seconds: u64) -> String {
    let parts =
        [("d", seconds / 86_400), ("h", seconds / 3_600 % 24), ("m", seconds / 60 % 60), ("s", seconds % 60)];
    let from = parts.iter().position(|(_, count)| *count > 0).unwrap_or(parts.len() - 1);
    let shown = parts.iter().skip(from).take(2).enumerate().filter(|(at, (_, count))| *at == 0 || *count > 0);
    shown.map(|(_, (unit, count))| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
}

const GAP: usize = 2;
/// A name with fewer columns than this tells nothing.
const TEXT_LEAST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::name("CHANNEL", 0),
        Column::number("TRIES", 0),
        Column::name("MODEL", 1),
        Column::name("LAST ERROR", 2),
    ];

    fn rows() -> Vec<Vec<Cell>> {
        let row = |name: &str, tries: &str| {
            vec![
                Cell::plain(name),
                Cell::plain(tries),
                Cell::plain("gpt-4.1-mini"),
                Cell::new("none", Tone::Good),
            ]
        };
        vec![row("openai-main-account", "12"), row("渠道一", "12345")]
    }

    #[test]
    fn a_table_is_never_wider_than_asked_and_gives_up_its_least_first() {
        for width in [20, 30, 40, 60, 80, 120] {
            for line in table(&COLUMNS, &rows(), width, false) {
                assert!(columns(&line) <= width, "{width}: {line}");
            }
        }
        assert_eq!(
            table(&COLUMNS, &rows(), 80, false),
            [
                "CHANNEL              TRIES  MODEL         LAST ERROR",
                "openai-main-account     12  gpt-4.1-mini  none",
                "渠道一               12345  gpt-4.1-mini  none",
            ]
        );
        assert_eq!(
            table(&COLUMNS, &rows(), 20, false),
            ["CHANNEL        TRIES", "openai-main-…     12", "渠道一         12345"]
        );
    }

    #[test]
    fn colour_changes_no_width_and_is_only_there_where_it_is_wanted() {
        let painted = table(&COLUMNS, &rows(), 80, true).join("\n");
        assert!(painted.contains("\u{1b}[32mnone\u{1b}[0m"), "{painted}");
        assert!(!table(&COLUMNS, &rows(), 80, false).join("\n").contains('\u{1b}'));
        assert_eq!(row(&[Cell::plain("渠道"), Cell::plain("abcdef")], 9, false), "渠道  ab…");
        assert_eq!(row(&[Cell::plain("abc"), Cell::plain("def")], 4, false), "abc");
    }

    #[test]
    fn what_stands_beside_a_label_goes_on_below_itself() {
        let cell = Cell::plain("yes: 0.5 USD by the provider's own count, billed");
        let told = labelled(("charged", 9), &cell, 30, false);
        assert_eq!(
            told,
            ["charged  yes: 0.5 USD by the", "         provider's own count,", "         billed"]
        );
        assert_eq!(labelled(("charged", 9), &cell, usize::MAX, false).len(), 1);
        for width in 12..60 {
            let long = Cell::plain(format!("{} {}", "密钥".repeat(9), "x".repeat(70)));
            let lines = labelled(("said", 9), &long, width, false);
            assert!(lines.iter().all(|line| columns(line) <= width), "{width}: {lines:?}");
            let text: String = lines.concat().replace("said", "").split_whitespace().collect();
            assert_eq!(text.chars().count(), 88, "nothing is lost");
        }
        assert!(labelled(("charged", 9), &cell, 30, true)[0].starts_with("\u{1b}[2mcharged  \u{1b}[0myes"));
    }

    #[test]
    fn what_others_wrote_moves_no_cursor_and_turns_no_line() {
        assert_eq!(Cell::plain("a\u{1b}[2J\u{202e}b\n").0, "a\u{fffd}[2J\u{fffd}b\u{fffd}");
    }

    #[test]
    fn numbers_are_short_and_honest() {
        let counts = [0.0, 999.0, 9_999.0, 10_000.0, 123_456.0, 1_234_567.0, 5e9];
        assert_eq!(counts.map(short), ["0", "999", "9999", "10.0k", "123k", "1.2M", "5.0G"]);
        assert_eq!([0.0, 0.25, 12.34, 250.0].map(rate), ["0", "0.25", "12.3", "250"]);
        assert_eq!(
            [Some(1.0), Some(0.999_99), Some(0.5), None].map(percent),
            ["100%", "99.9%", "50.0%", "-"]
        );
        assert_eq!(
            [Some(12.4), Some(1_250.0), Some(600_000.0), None].map(millis),
            ["12ms", "1.2s", "600s", "-"]
        );
        let amounts = [Some(0.0), Some(1e-9), Some(0.012), Some(12.5), None];
        assert_eq!(amounts.map(dollars), ["$0", "<$0.0001", "$0.0120", "$12.50", "?"]);
        assert_eq!([0, 59, 3_600, 3_700, 90_000].map(span), ["0s", "59s", "1h", "1h 1m", "1d 1h"]);
    }
}
