//! `tollgate usage` and `tollgate lookup` from the shell.

use super::{SERVER, three_keys, usage, written};
use crate::support::ask::Speaks;
use crate::support::process::{Done, Run, tollgate, until};
use crate::support::{KEY, provider};

/// A tool, without holding up the test's own provider.
async fn tool(arguments: &[&str]) -> Done {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let run = move || tollgate(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.expect("it runs")
}

const TABLE: &str = "\
group  requests  input  output  cache_read  cache_write  reasoning  cost_usd  unknown_cost
a             3     96      51          30            0         15  0.000424             1
b             1     32      17          10            0          5  0.000212             0
total         4    128      68          40            0         20  0.000636             1
";

const CSV: &str = "\
project,requests,input,output,cache_read,cache_write,reasoning,cost_usd,unknown_cost
,2,64,34,20,0,10,0.000424,0
p,2,64,34,20,0,10,0.000212,1
";

const JSON: &str = r#"[
  {"name": "three", "requests": 1, "input": 32, "output": 17, "cache_read": 10, "cache_write": 0, "reasoning": 5, "cost_usd": 0.000212, "unknown_cost": 0},
  {"name": "two", "requests": 1, "input": 32, "output": 17, "cache_read": 10, "cache_write": 0, "reasoning": 5, "cost_usd": 0.000212, "unknown_cost": 0},
  {"name": "one", "requests": 2, "input": 64, "output": 34, "cache_read": 20, "cache_write": 0, "reasoning": 10, "cost_usd": 0.000212, "unknown_cost": 1}
]
"#;

#[tokio::test]
async fn usage_is_the_same_from_a_running_gateway_and_from_its_file() {
    let upstream = provider().await;
    let (_dir, config) = written(&three_keys(&upstream));
    let run = Run::start(&config).await;
    for (key, model) in [(KEY, "m"), (KEY, "free"), ("sk-two-0123456789", "m"), ("sk-three-0123456789", "m")]
    {
        assert_eq!(Speaks::OpenAi.ask(run.addr, key, model).await.status, 200);
    }
    until("all are booked", || async { usage(run.admin, "key").await["total"]["requests"] == 4 }).await;
    let (admin, file) = (run.admin_url(), config.to_str().expect("a plain path").to_owned());
    let said = |by: &'static str, format: &'static str, place: [String; 2]| async move {
        let done = tool(&["usage", "--by", by, "--format", format, &place[0], &place[1]]).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(done.stderr.contains("the cost of 1 exchanges is not known"), "{done:?}");
        (done.stdout, done.stderr)
    };
    let mut running = Some(run);
    for place in [["--admin".to_owned(), admin], ["-c".to_owned(), file]] {
        assert_eq!(said("group", "table", place.clone()).await.0, TABLE);
        assert_eq!(said("project", "csv", place.clone()).await.0, CSV);
        let mut rows: Vec<String> = said("key", "json", place).await.0.lines().map(str::to_owned).collect();
        rows.sort();
        let mut expected: Vec<&str> = JSON.lines().collect();
        expected.sort_unstable();
        assert_eq!(rows.len(), expected.len());
        for (row, expected) in rows.iter().zip(expected) {
            assert_eq!(row.trim_end_matches(','), expected.trim_end_matches(','));
        }
        // Then the file alone, as a killed gateway leaves it; port 0 of its configuration is nobody's.
        drop(running.take());
    }
}

#[tokio::test]
async fn a_file_is_read_where_nobody_answers_and_otherwise_it_is_said_what_is_missing() {
    let upstream = provider().await;
    let (_dir, config) = written(&three_keys(&upstream));
    let config = config.to_str().expect("a plain path").to_owned();
    let fails = async |arguments: &[&str], code: i32, said: &str| {
        let done = tool(arguments).await;
        assert_eq!((done.code, done.stdout.as_str()), (Some(code), ""), "{arguments:?}: {done:?}");
        assert!(done.stderr.contains(said), "{arguments:?}: {}", done.stderr);
    };
    fails(&["usage", "-c", &config], 1, "ledger.db cannot be opened").await;
    fails(&["usage", "--admin", "http://127.0.0.1:9"], 1, "no gateway answers at http://127.0.0.1:9").await;
    fails(&["usage", "--by", "nobody"], 2, "possible values").await;
    fails(&["usage", "--format", "xml"], 2, "possible values").await;
    fails(&["lookup"], 2, "REQUEST_ID").await;
    fails(&["lookup", "req_x", "--admin", "http://127.0.0.1:9"], 1, "no gateway answers").await;
    let mut run = Run::start(config.as_ref()).await;
    fails(&["usage", "--admin", &run.admin_url(), "--since", "never"], 1, "is no time").await;
    fails(&["lookup", "req_x", "--admin", &run.admin_url()], 1, "no such exchange").await;
    let empty = tool(&["usage", "--admin", &run.admin_url(), "--format", "json"]).await;
    assert_eq!(empty.stdout, "[]\n");
    let answer = Speaks::OpenAi.ask(run.addr, KEY, "m").await;
    let id = answer.header("x-request-id").expect("an id").to_owned();
    run.process.signal("TERM");
    assert_eq!(run.process.ended().await, Some(0));
    let told = tool(&["lookup", &id, "-c", &config]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stderr.contains("no gateway answers; read from"), "{}", told.stderr);
    assert!(told.stdout.contains("charged    yes: 0.000212 USD"), "{}", told.stdout);
    assert!(told.stdout.contains("this is what the ledger has of it"), "{}", told.stdout);
    fails(&["lookup", "req_x", "-c", &config], 1, "has no exchange req_x").await;
    fails(&["usage", "-c", &config, "--since", "never"], 1, "is no time").await;
    let (_dir, without) = without_ledger(&three_keys(&upstream));
    let run = Run::start(without.as_ref()).await;
    fails(&["usage", "--admin", &run.admin_url()], 1, "there is no ledger").await;
    drop(run);
    fails(&["usage", "-c", &without], 1, "no gateway answers").await;
}

fn without_ledger(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tollgate.toml");
    std::fs::write(&path, SERVER.to_owned() + text).expect("it is written");
    let path = path.to_str().expect("a plain path").to_owned();
    (dir, path)
}
