//! `tollgate import`: reads another gateway's file, writes ours, lists what is not the same.
//!
//! Invariant: no file that is there is written over, and what is written may hold credentials, so only its owner can read it.

use super::{Failed, Format, ImportArgs, ImportOrigin, complain, print};
use crate::import::{self, Imported, Origin, Remark};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

pub(super) fn import(args: &ImportArgs) -> Result<(), Failed> {
    let origin = match args.origin {
        ImportOrigin::LiteLlm => Origin::LiteLlm,
        ImportOrigin::OneApi => Origin::OneApi,
        ImportOrigin::AxonHub => Origin::AxonHub,
    };
    let text = source(&args.file)?;
    let imported = import::import(origin, &text).map_err(|why| format!("{}: {why}", args.file.display()))?;
    if let Some(path) = &args.output {
        write(path, &imported.config)?;
    }
    if args.format == Format::Json {
        return print(&as_json(&imported, args.output.is_none()).to_string());
    }
    for remark in &imported.remarks {
        complain(&remark.to_string());
    }
    if args.output.is_none() { print(&imported.config) } else { Ok(()) }
}

/// The file's text, or that of standard input.
fn source(path: &Path) -> Result<String, Failed> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    if bytes.len() as u64 > SOURCE_BYTES_MAX {
        return Err(format!("{}: is larger than any configuration", path.display()));
    }
    String::from_utf8(bytes).map_err(|_| format!("{}: is not text in UTF-8", path.display()))
}

/// A dump of tables with thousands of users fits; a wrong file of gigabytes is not read to its end.
const SOURCE_BYTES_MAX: u64 = 256 << 20;

fn write(path: &Path, config: &str) -> Result<(), Failed> {
    let file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path);
    let written = file.and_then(|mut file| file.write_all(config.as_bytes()));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

const OWNER_ONLY: u32 = 0o600;

fn as_json(imported: &Imported, with_config: bool) -> Value {
    let remarks: Vec<Value> = imported.remarks.iter().map(Remark::as_json).collect();
    if with_config {
        json!({ "config": imported.config, "remarks": remarks })
    } else {
        json!({ "remarks": remarks })
    }
}
