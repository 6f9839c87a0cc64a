//! The watcher against a real directory. Each test waits for the watcher's own signal, bounded by a deadline
//! that only a failing run reaches.

use super::super::{FsSource, Loaded, Watched, Watcher, load};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const TEXT: &str = "[[channel]]\nname = 'c'\ntype = 'openai'\napi_keys = [{ file = 'c.key' }]\n\
                    [[key]]\nname = 'k'\nsecret = 'sk-client-0123456789'\n";

fn loaded(entry: &Path) -> Loaded {
    load(entry, &FsSource).unwrap_or_else(|problems| panic!("{problems}"))
}

fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let entry = directory.path().join("t.toml");
    fs::write(&entry, TEXT).unwrap();
    fs::write(directory.path().join("c.key"), "sk-up-1").unwrap();
    (directory, entry)
}

/// Far above the promised second, far below a test runner's patience.
const DEADLINE: Duration = Duration::from_secs(20);

async fn change_is_noticed(watcher: &Watcher) {
    tokio::time::timeout(DEADLINE, watcher.changed()).await.expect("the change is noticed");
}

#[tokio::test]
async fn a_write_a_rename_and_a_rotated_secret_are_noticed() {
    let (directory, entry) = directory();
    let watcher = Watcher::new().unwrap();
    watcher.follow(&loaded(&entry).watched);

    fs::write(&entry, format!("{TEXT}# in place\n")).unwrap();
    change_is_noticed(&watcher).await;
    watcher.follow(&loaded(&entry).watched);

    let aside = directory.path().join("t.toml.new");
    fs::write(&aside, format!("{TEXT}# renamed over\n")).unwrap();
    fs::rename(&aside, &entry).unwrap();
    change_is_noticed(&watcher).await;
    watcher.follow(&loaded(&entry).watched);

    fs::write(directory.path().join("c.key"), "sk-up-2").unwrap();
    change_is_noticed(&watcher).await;
}

#[tokio::test]
async fn a_half_written_file_is_looked_at_again_when_it_is_complete() {
    let (_directory, entry) = directory();
    let watcher = Watcher::new().unwrap();
    watcher.follow(&loaded(&entry).watched);
    fs::write(&entry, &TEXT[..TEXT.len() - 5]).unwrap();
    change_is_noticed(&watcher).await;
    let problems = load(&entry, &FsSource).unwrap_err();
    watcher.follow(problems.watched());
    fs::write(&entry, TEXT).unwrap();
    change_is_noticed(&watcher).await;
    loaded(&entry);
}

#[cfg(unix)]
#[tokio::test]
async fn the_data_swap_of_a_mounted_volume_is_noticed() {
    use std::os::unix::fs::symlink;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for (version, comment) in [("..v1", "# one\n"), ("..v2", "# two\n")] {
        fs::create_dir(root.join(version)).unwrap();
        fs::write(root.join(version).join("t.toml"), format!("{TEXT}{comment}")).unwrap();
        fs::write(root.join(version).join("c.key"), "sk-up-1").unwrap();
    }
    symlink("..v1", root.join("..data")).unwrap();
    symlink("..data/t.toml", root.join("t.toml")).unwrap();
    symlink("..data/c.key", root.join("c.key")).unwrap();
    let entry = root.join("t.toml");
    let watcher = Watcher::new().unwrap();
    watcher.follow(&loaded(&entry).watched);
    symlink("..v2", root.join("..data_tmp")).unwrap();
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    change_is_noticed(&watcher).await;
}

#[tokio::test]
async fn a_new_file_of_a_pattern_and_one_that_was_missing_are_noticed() {
    let (directory, entry) = directory();
    fs::write(&entry, format!("include = ['keys.d/*.toml', 'more.toml']\n{TEXT}")).unwrap();
    let watcher = Watcher::new().unwrap();
    let problems = load(&entry, &FsSource).unwrap_err();
    watcher.follow(problems.watched());
    fs::write(directory.path().join("more.toml"), "[[group]]\nname = 'g'\n").unwrap();
    change_is_noticed(&watcher).await;
    watcher.follow(&loaded(&entry).watched);
    fs::create_dir(directory.path().join("keys.d")).unwrap();
    fs::write(directory.path().join("keys.d/a.toml"), "[[group]]\nname = 'h'\n").unwrap();
    change_is_noticed(&watcher).await;
    assert_eq!(loaded(&entry).snapshot.groups.len(), 3);
}

#[tokio::test]
async fn a_change_between_a_load_and_following_it_is_noticed() {
    let (_directory, entry) = directory();
    let watcher = Watcher::new().unwrap();
    let before = loaded(&entry).watched;
    fs::write(&entry, format!("{TEXT}# meanwhile\n")).unwrap();
    watcher.follow(&before);
    change_is_noticed(&watcher).await;
}

#[test]
fn a_touch_without_a_change_is_none() {
    let (_directory, entry) = directory();
    let seen = loaded(&entry).watched;
    fs::write(&entry, TEXT).unwrap();
    assert_eq!(seen.look_again(&FsSource), seen);
    fs::write(&entry, "").unwrap();
    assert_ne!(seen.look_again(&FsSource), seen);
    assert_eq!(Watched::default().look_again(&FsSource), Watched::default());
}
