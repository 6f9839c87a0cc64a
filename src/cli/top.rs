//! `tollgate top`: what a running gateway does now, again and again.
//!
//! Invariant: it only asks `/api/status?detail=1`, as the status page does; what it shows is that and nothing else.

mod frame;

pub(super) use frame::{clock, fate, problems};

use super::online::Admin;
use super::terminal::{Screen, Terminal, Woken, put, rest};
use super::{AdminArg, Failed, Format};
use clap::Args;
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// Time between two looks, such as 5s.
    #[arg(long, value_name = "TIME", value_parser = interval, default_value = "2s")]
    interval: Duration,
    /// Look once and leave.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    admin: AdminArg,
    /// JSON: a line for each look.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn top(args: &TopArgs, config: Option<&Path>) -> Result<(), Failed> {
    let admin = Admin::find(args.admin.admin.as_deref(), config)?;
    let first = look(&admin)?;
    let terminal = Terminal::look();
    if args.format == Format::Json || args.once || !terminal.is_one {
        return stream(&admin, args, first);
    }
    let screen = Screen::enter();
    let left = live(&admin, args.interval, first, screen.is_some());
    drop(screen);
    left
}

/// One look below the other, for files, pipes and programs.
fn stream(admin: &Admin, args: &TopArgs, first: Value) -> Result<(), Failed> {
    let mut seen = first;
    loop {
        let text = match args.format {
            Format::Json => format!("{seen}\n"),
            Format::Text => {
                let terminal = Terminal::look();
                let width = terminal.width.unwrap_or(WIDTH_USUAL);
                frame::frame(&seen, width, None, terminal.colour).join("\n") + "\n"
            }
        };
        if put(&text)?.is_break() || args.once {
            return Ok(());
        }
        if args.format == Format::Text && put("\n")?.is_break() {
            return Ok(());
        }
        rest(args.interval);
        seen = look(admin)?;
    }
}

/// The same place again and again. Where nobody answers it says so, shows what was, and asks on.
fn live(admin: &Admin, interval: Duration, first: Value, has_keys: bool) -> Result<(), Failed> {
    let mut seen = first;
    let mut nobody: Option<Failed> = None;
    loop {
        let terminal = Terminal::look();
        let width = terminal.width.unwrap_or(WIDTH_USUAL);
        let height = terminal.height.map(|height| height.saturating_sub(usize::from(nobody.is_some())));
        let mut lines = frame::frame(&seen, width, height, terminal.colour);
        if let Some(why) = &nobody {
            lines.insert(0, frame::lost(why, width, terminal.colour));
        }
        if Screen::draw(&lines)? == ControlFlow::Break(()) {
            return Ok(());
        }
        if !has_keys {
            rest(interval);
        } else if Screen::wait(interval) == Woken::Quit {
            return Ok(());
        }
        match look(admin) {
            Ok(now) => (seen, nobody) = (now, None),
            Err(why) => nobody = Some(why),
        }
    }
}

fn look(admin: &Admin) -> Result<Value, Failed> {
    let (status, answer) = admin.get(&format!("/api/status?detail=1&limit={EXCHANGES_MAX}"))?;
    super::online::expect_ok(status, &answer)?;
    if answer["detail"].is_null() {
        return Err("this gateway does not say what top shows (an earlier version?)".to_owned());
    }
    Ok(answer)
}

fn interval(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if length < INTERVAL_LEAST { Err("200ms is the least".to_owned()) } else { Ok(length) }
}

/// As many as the tallest terminals show.
const EXCHANGES_MAX: usize = 100;
const INTERVAL_LEAST: Duration = Duration::from_millis(200);
/// Where nobody says how wide.
const WIDTH_USUAL: usize = 100;
