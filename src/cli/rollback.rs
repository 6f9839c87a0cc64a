//! `tollgate config rollback`: keep what stands in the files, write what an entry held, reload, and say what that changed.
//!
//! Invariants: what is overwritten or removed was kept before; where the gateway refuses the outcome, everything is put back.

use super::history::{Found, RollbackArgs, called};
use super::online::{Admin, expect_ok, reloaded};
use super::{Failed, Format, complain, print};
use crate::config;
use crate::config::history::{Entry, Rollback, Steps};
use crate::config::snapshot::Server;
use crate::world::{System, World as _};
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn rollback(args: &RollbackArgs, explicit: Option<&Path>, config: &Path) -> Result<(), Failed> {
    let found = Found::look(&args.place, explicit, config)?;
    let kept = Rollback::target(&found.entries, args.number, found.files())?;
    if let Some(directory) = &args.output {
        let written = kept.write_out(directory)?;
        let lines = written.iter().map(|path| format!("wrote {}", path.display()));
        return print(&lines.collect::<Vec<_>>().join("\n"));
    }
    let rollback = Rollback::to(kept, config)?;
    let steps = rollback.steps()?;
    if steps.is_empty() {
        return say(args, kept, &["the files hold it already; nothing was done".to_owned()], &Value::Null);
    }
    let loaded = rollback.load();
    let refused = loaded.as_ref().err().map(ToString::to_string);
    let server = loaded.as_ref().ok().map(|loaded| &loaded.snapshot.server);
    if args.dry_run {
        warn(refused.as_deref());
        return say(args, kept, &[changes(&found, kept), steps.lines()].concat(), &Value::Null);
    }
    let gateway = running(args, (explicit, config), (kept, server))?;
    // Without a gateway to judge it, what never stood and does not stand now is not put in the place of anything.
    if let (None, false, Some(problems)) = (&gateway, kept.is_good, &refused) {
        return Err(format!("entry {} does not load; nothing was changed:\n{problems}", kept.number));
    }
    let aside = set_aside(&found, &steps)?;
    steps.take()?;
    let mut lines = vec![format!("what stood in the files is entry {aside}")];
    lines.extend(steps.lines());
    let Some(gateway) = gateway else {
        warn(refused.as_deref());
        lines.extend(changes(&found, kept));
        lines.push("no gateway runs with these files: nothing was reloaded".to_owned());
        return say(args, kept, &lines, &Value::Null);
    };
    let answer = reload(&gateway, &steps)?;
    lines.push(reloaded(&answer));
    say(args, kept, &lines, &answer)
}

/// Keeps what stands in the files; its number.
fn set_aside(found: &Found, steps: &Steps<'_>) -> Result<u64, Failed> {
    let mut aside = Entry::aside(steps.found(), System::start().unix_ms());
    (aside.is_good, aside.tree) = (found.now.is_good, found.now.tree.clone());
    // Any other good one may be the oldest, which goes when the outcome is kept.
    let newest = found.entries.iter().rev().find(|entry| entry.is_good).map(|entry| entry.number);
    let stays = |entry: &&Entry| !entry.is_good || Some(entry.number) == newest;
    if let Some(same) = found.entries.iter().rev().filter(stays).find(|entry| entry.holds(&aside.files)) {
        return Ok(same.number);
    }
    found.history.keep(aside).map_err(|why| format!("{why}; nothing was changed"))
}

/// Through the one way for a configuration to take effect; where that says no, everything is as it was.
fn reload(gateway: &Admin, steps: &Steps<'_>) -> Result<Value, Failed> {
    let asked = gateway.post("/-/reload");
    if let Ok((200, answer)) = asked {
        return Ok(answer);
    }
    let why = match asked {
        Ok((_, answer)) => {
            let lines = answer["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
            lines.chain(answer.as_str()).collect::<Vec<_>>().join("\n")
        }
        Err(why) => why,
    };
    let undone = match steps.undo() {
        Ok(()) => "the files are as they were".to_owned(),
        Err(why) => format!("the files could not be put back: {why}"),
    };
    // So that the gateway says of the files what is true of them now.
    drop(gateway.post("/-/reload"));
    Err(format!("the gateway refused it, {undone}:\n{why}"))
}

/// The gateway that runs with these files.
fn running(
    args: &RollbackArgs,
    (explicit, config): (Option<&Path>, &Path),
    (kept, server): (&Entry, Option<&Server>),
) -> Result<Option<Admin>, Failed> {
    let given = args.admin.admin.as_deref();
    let there = kept.tree.as_ref().and_then(|tree| tree["server"]["admin"].as_str());
    let admin = match (Admin::find(given, explicit), there) {
        (Ok(admin), _) => admin,
        (Err(_), Some(address)) => Admin::at(address),
        (Err(why), None) => return Err(why),
    };
    // A file that is broken does not say its token; what it goes back to may.
    let admin = match server {
        Some(server) => admin.with_token_of(server),
        None => admin,
    };
    let (status, answer) = match admin.get("/api/status") {
        Ok(answered) => answered,
        Err(why) if given.is_some() => return Err(format!("{why}; nothing was changed")),
        Err(_) => return Ok(None),
    };
    expect_ok(status, &answer).map_err(|why| format!("{why}; nothing was changed"))?;
    let file = answer["config"]["file"].as_str().map(Path::new);
    if given.is_none() && !file.is_some_and(|file| config::is_same_file(file, config)) {
        let whose = file.map_or("no file".to_owned(), |file| file.display().to_string());
        complain(&format!("the gateway that answers runs with {whose}: it is left alone"));
        return Ok(None);
    }
    Ok(Some(admin))
}

/// What it changes, where both sides say what they mean.
fn changes(found: &Found, kept: &Entry) -> Vec<String> {
    kept.since(&found.now).map(|changes| changes.lines()).unwrap_or_default()
}

/// What was good where it served need not load from here: its secrets may be in the service's environment only.
fn warn(refused: Option<&str>) {
    if let Some(problems) = refused {
        complain(&format!("warning: as far as can be told from here, it does not load:\n{problems}"));
    }
}

fn say(args: &RollbackArgs, kept: &Entry, lines: &[String], reload: &Value) -> Result<(), Failed> {
    if args.format == Format::Json {
        let done = json!({ "entry": kept.number, "dry_run": args.dry_run, "lines": lines, "reload": reload });
        return print(&format!("{done:#}"));
    }
    let heading = if args.dry_run { "would go back" } else { "back" };
    let lines = lines.iter().map(|line| format!("  {}", line.replace('\n', "\n  ")));
    let heading = format!("{heading} to {}:", called(kept));
    print(&std::iter::once(heading).chain(lines).collect::<Vec<_>>().join("\n"))
}
