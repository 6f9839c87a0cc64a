//! Upstreams that mean harm: whatever one answers, its own client gets a clean answer, no other client sees a byte of it, and
//! what the next one gets is its own.
//!
//! The rows are raw bytes over the real gateway (`untrusted/table.rs`), each asked for three ways: a whole answer, a stream, and
//! a file that goes through Pingora's own pipeline. `tests/it/matrix.rs` has the faults of providers that merely fail.

mod table;
mod upstream;

use self::table::{Row, Sees, rows};
use self::upstream::{End, Upstream};
use crate::support::client::{self, Answer, Ended};
use crate::support::{Gateway, KEY, StillWorld};
use std::sync::Arc;
use std::time::Duration;

/// How the upstream is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Whole,
    Stream,
    File,
}

impl Way {
    const ALL: [Self; 3] = [Self::Whole, Self::Stream, Self::File];

    /// The request of a client, which has its own word in it.
    fn request(self, word: &str) -> Vec<u8> {
        let bearer = format!("Bearer {KEY}");
        let headers = [("authorization", bearer.as_str()), ("x-word", word)];
        let stream = self == Self::Stream;
        let body =
            format!(r#"{{"model":"m","stream":{stream},"messages":[{{"role":"user","content":"{word}"}}]}}"#);
        match self {
            Self::File => client::request("GET", &format!("/v1/files/{word}/content"), &headers, b""),
            _ => client::request("POST", "/v1/chat/completions", &headers, body.as_bytes()),
        }
    }
}

struct House {
    upstream: Upstream,
    gateway: Gateway,
    world: Arc<StillWorld>,
    way: Way,
}

impl House {
    async fn build(way: Way, row: &Row) -> Self {
        let upstream = Upstream::start(way).await;
        // Where nothing is waited for it is only as long as the test may hang.
        let wait = if row.is_slow { "200ms" } else { "5s" };
        let patience = format!(
            "first_byte_timeout = \"{wait}\"\nresponse_timeout = \"{wait}\"\nidle_timeout = \"{wait}\"\n"
        );
        let text = format!(
            "[[channel]]\nname = \"main\"\ntype = \"openai\"\nbase_url = \"http://{}/v1\"\n\
             api_keys = [\"sk-upstream-0123456789\"]\n{patience}\n[[key]]\nname = \"alice\"\nsecret = \"{KEY}\"\n",
            upstream.addr
        );
        let world = StillWorld::new();
        let gateway = Gateway::in_world("", &text, Arc::<StillWorld>::clone(&world)).await;
        Self { upstream, gateway, world, way }
    }

    async fn ask(&self, word: &str) -> Answer {
        client::once(self.gateway.addr(), &self.way.request(word)).await
    }

    /// What is wrong with this row.
    async fn run(&self, row: &Row) -> Vec<String> {
        let mut wrong = Vec::new();
        // On a connection that was good before, as most are.
        let before = self.ask("word-before").await;
        if !is_own(&before, "word-before") {
            wrong.push(format!("before: {} {}", before.status, before.text()));
        }
        self.upstream.script((row.bytes)(self.way), row.end);
        let answer = self.ask("word-of-the-victim").await;
        wrong.extend(self.judge(row, &answer));
        let harmed = self.upstream.connections();
        // What rests after a failure is asked again; what waits to be said late is said.
        self.world.advance(Duration::from_secs(24 * 3600));
        self.upstream.say_late().await;
        for word in ["word-of-the-next", "word-of-another"] {
            let next = self.ask(word).await;
            if !is_own(&next, word) {
                wrong.push(format!("{word}: {} {:?} {}", next.status, next.ended, shown(&next)));
            }
        }
        if row.poisons && self.upstream.asked_again_on(harmed) {
            wrong.push("the connection served again".to_owned());
        }
        if self.gateway.count("tollgate_leases_open").await
            + self.gateway.count("tollgate_buffered_body_bytes").await
            > 0
        {
            wrong.push("something is still held".to_owned());
        }
        wrong
    }

    fn judge(&self, row: &Row, answer: &Answer) -> Vec<String> {
        let mut wrong = Vec::new();
        let told = match (row.sees)(self.way) {
            Sees::Own => answer.status == 200 && answer.ended == Ended::Whole,
            Sees::Status(status) => answer.status == status && answer.ended == Ended::Whole,
            Sees::Ours(status, code) => {
                answer.status == status && answer.ended == Ended::Whole && answer.text().contains(code)
            }
            Sees::Cut => answer.status == 200 && answer.ended == Ended::Cut,
        };
        if !told {
            wrong.push(format!("{} {:?} {}", answer.status, answer.ended, shown(answer)));
        }
        if answer.text().contains("EVIL") || answer.headers.iter().any(|(_, value)| value.contains("EVIL")) {
            wrong.push(format!("what is behind the answer reached the client: {}", shown(answer)));
        }
        wrong
    }
}

fn is_own(answer: &Answer, word: &str) -> bool {
    answer.status == 200
        && answer.ended == Ended::Whole
        && answer.text().contains(word)
        && !answer.text().contains("EVIL")
}

fn shown(answer: &Answer) -> String {
    answer.text().chars().take(200).collect()
}

async fn every_row(way: Way) {
    let mut wrong = Vec::new();
    for row in rows().into_iter().filter(|row| row.ways.contains(&way)) {
        let house = House::build(way, &row).await;
        wrong.extend(house.run(&row).await.into_iter().map(|what| format!("{}: {what}", row.name)));
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn no_answer_harms_anybody_else_where_it_is_whole() {
    every_row(Way::Whole).await;
}

#[tokio::test]
async fn no_answer_harms_anybody_else_where_it_is_a_stream() {
    every_row(Way::Stream).await;
}

#[tokio::test]
async fn no_answer_harms_anybody_else_where_it_is_a_file() {
    every_row(Way::File).await;
}

#[test]
fn there_are_enough_rows_and_each_has_a_name_of_its_own() {
    let mut names: Vec<_> = rows().iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() == rows().len() && names.len() >= 75, "{}", names.len());
    assert!(rows().iter().any(|row| matches!(row.end, End::Late)));
}

/// What describes the operator's account, the provider's edge or one connection stays here; what is the answer's passes.
#[tokio::test]
async fn headers_that_are_nobodys_business_never_reach_a_client() {
    const HIDDEN: &[&str] = &[
        "set-cookie: a=EVIL",
        "set-cookie2: a=EVIL",
        "openai-organization: EVIL",
        "openai-project: EVIL",
        "anthropic-organization-id: EVIL",
        "cf-ray: EVIL",
        "cf-cache-status: EVIL",
        "server: EVIL",
        "x-powered-by: EVIL",
        "alt-svc: h3=\"EVIL\"",
        "strict-transport-security: max-age=1; EVIL",
        "www-authenticate: EVIL",
        "report-to: EVIL",
        "reporting-endpoints: EVIL",
        "nel: EVIL",
        "x-ratelimit-limit-requests: EVIL",
        "x-ratelimit-remaining-tokens: EVIL",
        "anthropic-ratelimit-requests-limit: EVIL",
        "ratelimit: EVIL",
        "ratelimit-policy: EVIL",
        "ratelimit-remaining: EVIL",
        "x-request-id: EVIL",
        "request-id: EVIL",
        "via: EVIL",
        "access-control-allow-origin: EVIL",
        "x-accel-redirect: /EVIL",
        "x-sendfile: /EVIL",
        "clear-site-data: EVIL",
        "service-worker-allowed: /EVIL",
        "proxy-authenticate: EVIL",
        "keep-alive: EVIL",
        "connection: x-nominated",
        "x-nominated: EVIL",
        "upgrade: EVIL",
        "location: http://EVIL/",
        "refresh: 0; url=http://EVIL/",
        "public-key-pins: EVIL",
        "expect-ct: EVIL",
    ];
    for way in Way::ALL {
        for status in [200, 400] {
            let row = Row { is_slow: false, ..rows().remove(0) };
            let house = House::build(way, &row).await;
            let head = HIDDEN.join("\r\n") + "\r\nopenai-processing-ms: 7";
            house.upstream.script(table::answer(way, status, &head, "own words"), End::Open);
            let answer = house.ask("word").await;
            assert_eq!(answer.status, status, "{way:?} {}", answer.text());
            let seen: Vec<_> = answer.headers.iter().filter(|(_, value)| value.contains("EVIL")).collect();
            assert!(seen.is_empty(), "{way:?} {status}: {seen:?}");
            assert_eq!(answer.header("openai-processing-ms"), Some("7"), "{way:?} {status}");
        }
    }
}
