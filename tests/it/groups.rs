//! A key in several groups: the first that lets an exchange in and can serve it bears it, and nobody else does.

use crate::support::client::{self, Answer};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, StillWorld, channel, provider};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tollgate_loadtest::{Fault, Provider, Selector};

/// Two groups, each with a channel of its own, and a key in both.
struct House {
    vip: Provider,
    common: Provider,
    world: Arc<StillWorld>,
    gateway: Gateway,
    asked: usize,
}

impl House {
    /// `of_vip` and `of_common` are further lines of the groups, `more` stands before everything.
    async fn build(more: &str, (of_vip, of_common): (&str, &str)) -> Self {
        let (vip, common, world) = (provider().await, provider().await, StillWorld::new());
        let text = format!(
            "{more}\n{}{}[[group]]\nname = \"vip\"\n{of_vip}\n[[group]]\nname = \"common\"\n{of_common}\n\
             [[key]]\nname = \"alice\"\nsecret = \"{KEY}\"\ngroups = [\"vip\", \"common\"]\nlimits = {{ rpm = 100 }}\n",
            channel("first", "openai", &vip, "groups = [\"vip\"]\npriority = 0"),
            channel("second", "openai", &common, "groups = [\"common\"]\npriority = 1"),
        );
        let gateway = Gateway::in_world("", &text, Arc::clone(&world) as _).await;
        Self { vip, common, world, gateway, asked: 0 }
    }

    /// The answer and its line in the log.
    async fn ask(&mut self) -> (Answer, Value) {
        let answer = Speech::Chat.ask(self.gateway.addr(), MODEL, false).await;
        self.asked += 1;
        let line = self.gateway.log.lines(self.asked).await[self.asked - 1].clone();
        (answer, line)
    }

    async fn metric(&self, name: &str) -> f64 {
        self.gateway.metric(name).await
    }

    async fn nothing_is_held(&self) {
        assert_eq!(self.metric("tollgate_leases_open").await, 0.0);
        for quota in quotas(&self.gateway).await {
            assert_eq!(quota["units"]["requests"]["reserved"], json!(0), "{quota}");
        }
    }
}

async fn quotas(gateway: &Gateway) -> Vec<Value> {
    let shown = client::get(gateway.running.admin, "/api/quotas").await.json();
    shown.as_array().expect("a list").clone()
}

/// Group and channel of a line, and how many attempts it took.
fn served(line: &Value) -> (&str, &str, usize) {
    let word = |name: &str| line[name].as_str().unwrap_or("none");
    (word("group"), word("channel"), line["attempts"].as_array().map_or(0, Vec::len))
}

#[tokio::test]
async fn the_first_group_bears_what_it_can() {
    let mut house = House::build("", ("", "")).await;
    let (answer, line) = house.ask().await;
    assert_eq!((answer.status, served(&line)), (200, ("vip", "first", 1)));
    assert_eq!((house.vip.request_count(), house.common.request_count()), (1, 0));
    house.nothing_is_held().await;
}

#[tokio::test]
async fn a_group_whose_limit_or_quota_is_used_up_is_passed_by() {
    for of_vip in ["limits = { rpm = 1 }", "quota = { requests = 1, per = \"day\" }", "limits = { tpm = 1 }"]
    {
        let mut house = House::build("", (of_vip, "limits = { rpm = 1 }")).await;
        let (first, line) = house.ask().await;
        assert_eq!((first.status, served(&line)), (200, ("vip", "first", 1)), "{of_vip}");
        let (second, line) = house.ask().await;
        assert_eq!((second.status, served(&line)), (200, ("common", "second", 1)), "{of_vip}");
        // Neither has room: what the first group says is told, and nothing is taken for it.
        let (third, line) = house.ask().await;
        assert_eq!(
            (third.status, line["attempts"].as_array().map(Vec::len)),
            (429, Some(0)),
            "{of_vip} {line}"
        );
        assert_eq!(line["group"], "vip", "{of_vip}");
        house.nothing_is_held().await;
        let left = house.metric("tollgate_key_limit_remaining{key=\"alice\",limit=\"rpm\"}").await;
        assert_eq!(left, 98.0, "{of_vip}: two were served");
    }
}

#[tokio::test]
async fn what_fails_in_one_group_goes_on_in_the_next_which_bears_it() {
    let quota = "quota = { requests = 5, per = \"day\" }";
    let mut house = House::build("", (quota, quota)).await;
    house.vip.script(Selector::Any, vec![Fault::Status { status: 500, headers: Vec::new(), body: None }]);
    let (answer, line) = house.ask().await;
    assert_eq!((answer.status, served(&line)), (200, ("common", "second", 2)), "{line}");
    assert_eq!(line["attempts"][0]["channel"], "first");
    house.nothing_is_held().await;
    let used = |shown: &[Value], name: &str| {
        let quota = shown.iter().find(|quota| quota["name"] == name).expect("the group's quota");
        quota["units"]["requests"]["used"].clone()
    };
    let shown = quotas(&house.gateway).await;
    assert_eq!((used(&shown, "vip"), used(&shown, "common")), (json!(0), json!(1)));
    let cost = |group: &str| format!("tollgate_group_cost_usd_total{{group=\"{group}\"}}");
    assert!(
        !house
            .gateway
            .metrics()
            .await
            .lines()
            .any(|line| line.starts_with(&cost("vip")) && !line.ends_with(" 0"))
    );
    let left = house.metric("tollgate_key_limit_remaining{key=\"alice\",limit=\"rpm\"}").await;
    assert_eq!(left, 99.0, "one exchange is one request of the key's");
}

#[tokio::test]
async fn attempts_are_counted_over_all_groups() {
    let mut house = House::build("[upstream]\nattempts = 1", ("", "")).await;
    house.vip.script(Selector::Any, vec![Fault::Status { status: 500, headers: Vec::new(), body: None }]);
    let (answer, line) = house.ask().await;
    assert_eq!((answer.status, served(&line)), (502, ("vip", "first", 1)));
    assert_eq!(house.common.request_count(), 0);
    house.nothing_is_held().await;
}

#[tokio::test]
async fn when_every_group_fails_the_last_failure_is_told() {
    let mut house = House::build("", ("", "")).await;
    let failed = |status| Fault::Status { status, headers: Vec::new(), body: None };
    house.vip.script(Selector::Any, vec![failed(500)]);
    house.common.script(Selector::Any, vec![failed(503)]);
    let (answer, line) = house.ask().await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "upstream_overloaded"));
    assert_eq!(served(&line), ("common", "second", 2));
    house.nothing_is_held().await;
}

#[tokio::test]
async fn a_group_whose_channels_rest_is_passed_by_until_they_are_back() {
    let mut house = House::build("", ("", "")).await;
    let limited =
        Fault::Status { status: 429, headers: vec![("retry-after".to_owned(), "30".to_owned())], body: None };
    house.vip.script(Selector::Any, vec![limited]);
    let (answer, line) = house.ask().await;
    assert_eq!((answer.status, served(&line)), (200, ("common", "second", 2)));
    let (_, line) = house.ask().await;
    assert_eq!(served(&line), ("common", "second", 1), "the first group's channel rests");
    house.world.advance(Duration::from_secs(31));
    let (_, line) = house.ask().await;
    assert_eq!(served(&line), ("vip", "first", 1));
}

#[tokio::test]
async fn a_channel_of_both_groups_is_asked_once() {
    let (upstream, world) = (provider().await, StillWorld::new());
    upstream.script_forever(Selector::Any, Fault::Status { status: 500, headers: Vec::new(), body: None });
    let text = format!(
        "{}[[group]]\nname = \"vip\"\n[[key]]\nname = \"alice\"\nsecret = \"{KEY}\"\ngroups = [\"vip\", \"default\"]\n",
        channel("shared", "openai", &upstream, "")
    );
    let gateway = Gateway::in_world("", &text, world as _).await;
    let answer = Speech::Chat.ask(gateway.addr(), MODEL, false).await;
    assert_eq!((answer.status, upstream.request_count()), (502, 1));
    let line = gateway.log.line().await;
    assert_eq!(served(&line), ("vip", "shared", 1), "nobody else bore it");
    assert_eq!(gateway.metric("tollgate_leases_open").await, 0.0);
}

#[tokio::test]
async fn a_model_that_only_a_later_group_reaches_is_borne_by_that_one() {
    let (vip, common) = (provider().await, provider().await);
    let text = format!(
        "{}{}[[group]]\nname = \"vip\"\n[[key]]\nname = \"alice\"\nsecret = \"{KEY}\"\ngroups = [\"vip\", \"default\"]\n",
        channel("first", "openai", &vip, "groups = [\"vip\"]\nmodels = [\"m\"]"),
        channel("second", "openai", &common, "groups = [\"default\"]\nmodels = [\"n\"]"),
    );
    let gateway = Gateway::start(&text).await;
    for (number, (model, group)) in [("m", "vip"), ("n", "default"), ("x", "vip")].into_iter().enumerate() {
        let answer = Speech::Chat.ask(gateway.addr(), model, false).await;
        assert_eq!(answer.status, if model == "x" { 404 } else { 200 }, "{model}: {}", answer.text());
        assert_eq!(gateway.log.lines(number + 1).await[number]["group"], group, "{model}");
        let told = format!("/api/explain?key=alice&model={model}");
        let told = client::get(gateway.running.admin, &told).await.json();
        assert_eq!((&told["group"], &told["groups"]), (&json!(group), &json!(["vip", "default"])), "{model}");
    }
    let request = format!("GET /v1/models HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n\r\n");
    let mut connection = client::Connection::open(gateway.addr()).await;
    connection.send(request.as_bytes()).await;
    let list = connection.answer().await.expect("a list").json();
    let names: Vec<_> = list["data"].as_array().expect("models").iter().map(|model| &model["id"]).collect();
    assert_eq!(names, ["m", "n"]);
}
