//! Loads what a document shows, without the files and the environment it names.

use crate::docs::page::read;
use crate::support::tls::Authority;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tollgate::config::{self, Source};

/// A text in the place of the entry file; the environment and the secret files it names have something in them.
struct Documented<'a> {
    text: &'a str,
    included: &'a str,
}

impl Source for Documented<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let name = path.to_string_lossy();
        let text = match name.rsplit('/').next().unwrap_or_default() {
            "entry.toml" | "entry.yaml" => self.text.to_owned(),
            "included.toml" => self.included.to_owned(),
            "channels.toml" => read("deploy/kustomize/base/channels.toml"),
            _ if path.extension().is_some_and(|ending| ending == "pem") => pem().to_owned(),
            _ if path.extension().is_some_and(|ending| ending == "json") => {
                read("tests/fixtures/cloud/service-account.json")
            }
            _ => format!("sk-file-{}\n", name.replace('/', "-")),
        };
        Ok(text.into_bytes())
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(if self.included.is_empty() { Vec::new() } else { vec![pattern.with_file_name("included.toml")] })
    }

    fn env(&self, name: &str) -> Option<String> {
        // OpenTelemetry's own variables count where no document names them.
        (!name.starts_with("OTEL_")).then(|| format!("sk-environment-{name}"))
    }

    fn is_world_readable(&self, _: &Path) -> bool {
        false
    }

    fn cores(&self) -> usize {
        1
    }
}

/// A certificate and its key in one file, which stands for every file of either.
fn pem() -> &'static str {
    static PEM: OnceLock<String> = OnceLock::new();
    PEM.get_or_init(|| {
        let issued = Authority::new().issue(&["gateway.example.com"]);
        issued.cert + &issued.key
    })
}

/// Loads a text, and says what is wrong with it, or what is odd about it beyond what an example may be.
pub(crate) fn check(entry: &str, text: &str, included: &str) -> Result<(), String> {
    let loaded = config::load(Path::new(entry), &Documented { text, included });
    let loaded = loaded.map_err(|problems| problems.to_string())?;
    let expected = ["published example key", "the secret is written into the configuration"];
    let odd: Vec<String> = loaded
        .warnings
        .iter()
        .filter(|warning| !expected.iter().any(|known| warning.what.contains(known)))
        .map(ToString::to_string)
        .collect();
    if odd.is_empty() { Ok(()) } else { Err(odd.join("\n")) }
}
