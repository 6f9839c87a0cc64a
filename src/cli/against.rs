//! `tollgate check --against-running`: what the files have otherwise than the gateway that runs.
//!
//! Invariant: nothing is changed. Compared are the settings that both understood, secrets by what is shown of them.

use super::online::{Admin, change_lines, expect_ok};
use super::{Failed, complain, print};
use crate::config::{self, FsSource, differences, redacted};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

/// Where the files and the gateway differ: neither done nor failed, so that a script can tell.
pub(super) const DIFFERENT: u8 = 3;

/// Compares, says it, and gives the exit code.
pub(super) fn check(config: &Path, admin: &Admin, as_json: bool) -> Result<ExitCode, Failed> {
    let loaded = config::load(config, &FsSource)
        .map_err(|problems| format!("the configuration has problems:\n{problems}"))?;
    for warning in &loaded.warnings {
        complain(&format!("warning: {warning}"));
    }
    let (code, there) = admin.get("/api/config")?;
    expect_ok(code, &there)?;
    let (code, status) = admin.get("/api/status")?;
    expect_ok(code, &status)?;
    let mut here = redacted(&loaded.snapshot);
    same_paths(&mut here, &there);
    let changes = differences(&there, &here);
    let restart = needs_restart(&here, &there, &status);
    let same = changes.is_empty() && restart.is_empty();
    let same_bytes = there["hash"] == here["hash"];
    if as_json {
        let answer = json!({
            "same": same,
            "same_bytes": same_bytes,
            "hash": { "files": here["hash"], "running": there["hash"] },
            "version": { "here": env!("CARGO_PKG_VERSION"), "running": status["version"] },
            "changes": changes.value(),
            "needs_restart": restart,
        });
        print(&format!("{answer:#}"))?;
    } else {
        print(&told(&changes.value(), &restart, same_bytes))?;
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

fn told(changes: &Value, restart: &BTreeSet<String>, same_bytes: bool) -> String {
    let lines = change_lines(changes);
    let mut said = vec![match (lines.is_empty(), same_bytes) {
        (true, true) => "the gateway runs this configuration".to_owned(),
        (true, false) => {
            "the gateway runs these settings; what differs is comments, layout, or a secret that looks \
                          the same"
                .to_owned()
        }
        (false, _) => "the gateway would change:".to_owned(),
    }];
    said.extend(lines.into_iter().map(|line| format!("  {line}")));
    if !restart.is_empty() {
        let restart: Vec<&str> = restart.iter().map(String::as_str).collect();
        said.push(format!("needs a restart: {}", restart.join(", ")));
    }
    said.join("\n")
}

/// What a reload could not change, and what an earlier one could not.
fn needs_restart(here: &Value, there: &Value, status: &Value) -> BTreeSet<String> {
    let (here, there) = (&here["server"], &there["server"]);
    let addresses = |server: &Value| -> Vec<Value> {
        let listeners = server["tls"].as_array().into_iter().flatten();
        listeners.map(|listener| listener["listen"].clone()).collect()
    };
    let settings = [
        ("server.listen", here["listen"] != there["listen"]),
        ("server.tls", addresses(here) != addresses(there)),
        ("server.admin", here["admin"] != there["admin"]),
        ("server.threads", here["threads"] != there["threads"]),
    ];
    let waiting = status["config"]["reload"]["needs_restart"].as_array().into_iter().flatten();
    let new = settings.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned());
    new.chain(waiting.filter_map(Value::as_str).map(str::to_owned)).collect()
}

/// The gateway may have been started from another directory: a path that is relative for one of the two and the end of
/// the other's is the same path.
fn same_paths(here: &mut Value, there: &Value) {
    match (here, there) {
        (Value::Object(here), Value::Object(there)) => {
            for (name, value) in here {
                there.get(name).into_iter().for_each(|other| same_paths(value, other));
            }
        }
        (Value::Array(here), Value::Array(there)) => {
            here.iter_mut().zip(there).for_each(|(value, other)| same_paths(value, other));
        }
        (Value::String(here), Value::String(there)) => {
            let (one, other) = (Path::new(here.as_str()), Path::new(there.as_str()));
            let is_end = |whole: &Path, end: &Path| {
                whole.is_absolute() && end.components().count() > 1 && whole.ends_with(end)
            };
            if is_end(one, other) || is_end(other, one) {
                here.clone_from(there);
            }
        }
        _ => {}
    }
}
