//! What stands in deploy/ belongs together: every file parses, every configuration loads, every path that a package or a
//! manifest names is there, every command that an image calls exists, and a drain has the time it needs. What another
//! program has to judge (systemd, kubectl, logrotate, promtool) is asked where it is installed, and skipped with a word.

use crate::docs::load::check;
use crate::docs::page::read;
use crate::support::process::{other, skipped, tollgate};
use crate::support::{KEY, repository, yaml};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is in the repository");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn documents(path: &str) -> Vec<Value> {
    yaml::documents(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is text"))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().map(|items| items.iter().map(text).collect()).unwrap_or_default()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

#[test]
fn every_yaml_file_parses() {
    let mut seen = 0;
    for path in files(&repository("deploy")) {
        if path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
            let text = std::fs::read_to_string(&path).expect("it is text");
            let documents = yaml::documents(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            assert!(documents.iter().all(Value::is_object), "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 15, "deploy has {seen}");
}

#[test]
fn every_configuration_loads() {
    let secret = read("deploy/kustomize/base/secret.example.yaml");
    let (_, keys) = secret.split_once("keys.toml: |\n").expect("the secret has a file of keys");
    let hash = tollgate::secret::KeyDigest::of(KEY).to_string();
    let keys = keys.replace("sha256:replace-me", &hash).replace("????", "3x9q");
    for path in [
        "deploy/kustomize/base/tollgate.toml",
        "deploy/kustomize/overlays/fleet/tollgate.toml",
        "deploy/deb/tollgate.toml",
        "deploy/compose/config/tollgate.toml",
    ] {
        let included = if read(path).contains("include = ") { keys.as_str() } else { "" };
        check("entry.toml", &read(path), included).unwrap_or_else(|why| panic!("{path}: {why}"));
    }
}

#[test]
fn the_fleet_s_configuration_is_the_base_s_and_a_store() {
    let code = |path: &str| -> Vec<String> {
        let text = read(path);
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.map(str::to_owned).collect()
    };
    let base = code("deploy/kustomize/base/tollgate.toml");
    let fleet = code("deploy/kustomize/overlays/fleet/tollgate.toml");
    assert_eq!(fleet[..base.len()], base[..]);
    assert_eq!(fleet[base.len()], "[fleet]");
}

#[test]
fn every_file_that_a_kustomization_names_is_there() {
    for path in files(&repository("deploy/kustomize")) {
        if path.file_name().is_none_or(|name| name != "kustomization.yaml") {
            continue;
        }
        let here = path.parent().expect("it is in a folder");
        let kustomization = yaml::documents(&std::fs::read_to_string(&path).expect("it is text"));
        let kustomization = kustomization.unwrap_or_else(|why| panic!("{}: {why}", path.display())).remove(0);
        let maps = kustomization["configMapGenerator"].as_array().cloned().unwrap_or_default();
        let named = texts(&kustomization["resources"]).into_iter().chain(texts(&kustomization["components"]));
        for name in named.chain(maps.iter().flat_map(|map| texts(&map["files"]))) {
            assert!(here.join(name).exists(), "{}: {name}", path.display());
        }
    }
}

#[test]
fn a_drain_has_the_time_it_needs_everywhere() {
    let base: toml::Table = read("deploy/kustomize/base/tollgate.toml").parse().expect("it is TOML");
    let seconds = |name: &str| {
        let text = base["server"]["timeouts"][name].as_str().expect("a duration");
        humantime::parse_duration(text).expect("a duration").as_secs()
    };
    let needed = seconds("drain_delay") + seconds("drain");
    let deployment = documents("deploy/kustomize/base/deployment.yaml").remove(0);
    let pod = &deployment["spec"]["template"]["spec"];
    assert!(pod["terminationGracePeriodSeconds"].as_u64().expect("a number") > needed);
    let unit = read("deploy/systemd/tollgate.service");
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("it has one");
    assert!(humantime::parse_duration(stop).expect("a duration").as_secs() > 600);
    let compose = documents("deploy/compose/compose.yaml").remove(0);
    let grace = text(&compose["services"]["tollgate"]["stop_grace_period"]);
    assert!(humantime::parse_duration(grace).expect("a duration").as_secs() > 600);
}

#[test]
fn what_an_image_or_a_manifest_calls_exists() {
    let dockerfile = read("deploy/Dockerfile");
    let called = dockerfile.lines().filter_map(|line| {
        let list = line.trim().trim_start_matches("RUN ").trim_start_matches("CMD ");
        serde_json::from_str::<Vec<String>>(list).ok()
    });
    let mut calls: Vec<Vec<String>> = called.collect();
    assert_eq!(calls.len(), 3, "a look at the version, the health check, and what runs: {calls:?}");
    let deployment = documents("deploy/kustomize/base/deployment.yaml").remove(0);
    let compose = documents("deploy/compose/compose.yaml").remove(0);
    for list in [
        &deployment["spec"]["template"]["spec"]["containers"][0]["args"],
        &compose["services"]["provider"]["command"],
    ] {
        calls.push(texts(list).into_iter().map(str::to_owned).collect());
    }
    let unit = read("deploy/systemd/tollgate.service");
    let started = unit.lines().filter_map(|line| line.split_once("=/usr/bin/tollgate "));
    calls.extend(started.map(|(_, rest)| rest.split(' ').map(str::to_owned).collect()));
    assert!(calls.len() >= 7, "{calls:?}");
    for call in calls {
        let words: Vec<&str> =
            call.iter().map(String::as_str).filter(|word| *word != "/usr/bin/tollgate").collect();
        let help = tollgate(&[words[0], "--help"]);
        assert_eq!(help.code, Some(0), "{call:?}: {}", help.stderr);
        for option in words.iter().filter(|word| word.starts_with('-')) {
            assert!(help.stdout.contains(option), "{call:?}: {option}");
        }
    }
}

#[test]
fn what_is_handed_out_is_built_with_its_profile() {
    let profile = std::fs::read(repository("deploy/release/tollgate.profdata.gz")).expect("it is committed");
    assert_eq!(profile[..2], [0x1f, 0x8b], "it is compressed by gzip");
    let build = read("deploy/release/build");
    assert!(build.contains("deploy/release/tollgate.profdata.gz"), "{build}");
    assert!(read("deploy/release/train").contains(">deploy/release/tollgate.profdata.gz"));
    assert!(build.ends_with("echo \"$target/release/tollgate\"\n"), "{build}");
    assert!(build.contains("}\")/tuned\n"), "{build}");
    for (file, binary) in [
        ("deploy/Dockerfile", "/src/target/tuned/release/tollgate"),
        ("deploy/deb/build", "$target/tuned/release/tollgate"),
    ] {
        let text = read(file);
        assert!(text.contains("deploy/release/build") && text.contains(binary), "{file}");
    }
}

#[test]
fn the_package_has_what_its_table_names() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("it is TOML");
    let deb = &manifest["package"]["metadata"]["deb"];
    let mut installed = BTreeSet::new();
    for asset in deb["assets"].as_array().expect("a list") {
        let part = |at: usize| asset[at].as_str().expect("text");
        let (from, to) = (part(0), part(1));
        let file = if to.ends_with('/') { from.rsplit('/').next().unwrap_or_default() } else { "" };
        installed.insert(format!("/{to}{file}"));
        let folder = from.rsplit_once("/*").map_or(from, |(folder, _)| folder);
        assert!(from.starts_with("target/deb/") || repository(folder).exists(), "{from}");
    }
    for file in deb["conf-files"].as_array().expect("a list") {
        let file = file.as_str().expect("text");
        assert!(installed.contains(file), "{file} is among {installed:?}");
    }
    let in_etc: Vec<&String> = installed.iter().filter(|file| file.starts_with("/etc/")).collect();
    assert_eq!(
        in_etc.len(),
        deb["conf-files"].as_array().map_or(0, Vec::len),
        "all of /etc is the administrator's"
    );
}

#[test]
fn systemd_likes_the_unit() {
    let folder = tempfile::tempdir().expect("a directory");
    let unit =
        read("deploy/systemd/tollgate.service").replace("/usr/bin/tollgate", env!("CARGO_BIN_EXE_tollgate"));
    let path = folder.path().join("tollgate.service");
    std::fs::write(&path, unit).expect("it is written");
    for arguments in [&["verify", "--man=no"][..], &["security", "--offline=true", "--threshold=20"]] {
        let Some(output) = other(Command::new("systemd-analyze").args(arguments).arg(&path)) else { return };
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        // What systemd itself would do on a machine of this kind, such as another unit's fault, is not ours.
        let ours = said(&output).lines().any(|line| line.contains("tollgate.service:"));
        assert!(arguments[0] == "security" || !ours, "{}", said(&output));
    }
}

#[test]
fn logrotate_understands_the_example() {
    let folder = tempfile::tempdir().expect("a directory");
    // Without the user of the service, which this machine need not have.
    let text = read("deploy/systemd/tollgate.logrotate").replace("    su tollgate tollgate\n", "");
    let path = folder.path().join("tollgate");
    std::fs::write(&path, text.replace("/var/log/tollgate", &folder.path().to_string_lossy()))
        .expect("it is written");
    let state = folder.path().join("state");
    let mut command = Command::new("logrotate");
    let Some(output) = other(command.arg("--debug").arg("--state").arg(&state).arg(&path)) else { return };
    assert!(output.status.success() && !said(&output).contains("error:"), "{}", said(&output));
}

#[test]
fn kustomize_renders_base_and_overlays() {
    let Some(output) = other(&mut Command::new(repository("deploy/kustomize/check"))) else { return };
    if output.status.code() == Some(77) {
        skipped(&said(&output));
        return;
    }
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn prometheus_reads_the_compose_file_s_configuration() {
    let path = repository("deploy/compose/prometheus.yml");
    let Some(output) = other(Command::new("promtool").args(["check", "config", "--syntax-only"]).arg(path))
    else {
        return;
    };
    assert!(output.status.success(), "{}", said(&output));
}
