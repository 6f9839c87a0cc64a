//! What has to be true of a cell: the client's bytes, what every upstream saw, what was recorded.

use super::house::{Cell, House, Place, Plot, Role, Traces};
use super::table::{Reads, Sees, reads, status_of};
use crate::support::client::Ended;
use crate::support::speech::Speech;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use tollgate_loadtest::Outcome;

/// Why a cell is wrong.
type Checked = Result<(), String>;

fn same<T: PartialEq + Copy + std::fmt::Debug>(what: &str, found: T, expected: T) -> Checked {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found:?}, not {expected:?}")) }
}

fn same_text(what: &str, found: &str, expected: &str) -> Checked {
    if found == expected {
        return Ok(());
    }
    let at = found.bytes().zip(expected.bytes()).take_while(|(one, other)| one == other).count();
    let from = |text: &str| {
        let bytes = &text.as_bytes()[at.saturating_sub(20)..text.len().min(at + 120)];
        String::from_utf8_lossy(bytes).into_owned()
    };
    let (lengths, found, expected) = ((found.len(), expected.len()), from(found), from(expected));
    Err(format!("{what} differs at {at} (lengths {lengths:?}): {found:?}, not {expected:?}"))
}

/// How the exchange ends when the odd upstream has been asked.
enum Outcomes {
    /// The odd one's answer is the client's.
    Relayed,
    /// The next candidate's is.
    NextAnswers,
    /// Ours is, with this code.
    Refused(&'static str),
}

fn outcome(plot: Plot, cell: &Cell) -> Outcomes {
    match (cell.sees, plot.place) {
        (Sees::Next(_, "upstream_rate_limited"), Place::LastOfThree) => Outcomes::Refused("upstream_error"),
        (Sees::Next(_, code), Place::Only | Place::LastOfThree) => Outcomes::Refused(code),
        (Sees::Next(..), _) => Outcomes::NextAnswers,
        _ => Outcomes::Relayed,
    }
}

fn held(plot: Plot) -> bool {
    plot.rename && !plot.asked.stream
}

/// Position of the odd one.
fn odd_at(place: Place) -> usize {
    place.roles().iter().position(|role| *role == Role::Odd).expect("there is one")
}

/// Whether the upstream never ends by itself, so that the gateway has to let it go.
pub(super) fn is_given_up(cell: &Cell) -> bool {
    matches!(cell.sees, Sees::Idle | Sees::Next(_, "upstream_timeout"))
}

pub(super) fn cell(plot: Plot, cell: &Cell, traces: &Traces<'_>) -> Checked {
    if traces.line.is_null() {
        return Err("it has no access line".to_owned());
    }
    seen_by_the_client(plot, cell, traces)?;
    seen_by_upstreams(plot, cell, traces)?;
    recorded(plot, cell, traces)
}

fn seen_by_the_client(plot: Plot, cell: &Cell, traces: &Traces<'_>) -> Checked {
    let answer = traces.answer;
    let text = normal(&answer.text());
    let mut own = normal(&cell.shown(&traces.own.body));
    if plot.rename {
        // The fake's failed response names no model at all.
        own = own.replace("\"model\":\"\"", &format!("\"model\":\"{}\"", cell.model()));
    }
    match outcome(plot, cell) {
        Outcomes::Refused(code) => {
            let context = text.chars().take(300).collect::<String>();
            same("the status", answer.status, status_of(code)).map_err(|why| format!("{why}: {context}"))?;
            same("the end", answer.ended, Ended::Whole)?;
            same("the code", answer.code().as_str(), code)?;
            same("x-should-retry", answer.header("x-should-retry"), None)?;
            let told = answer.header("retry-after").is_some();
            return same("a retry-after", told, matches!(answer.status, 429 | 503));
        }
        Outcomes::NextAnswers => {
            let good = normal(&cell.shown(&traces.good.body));
            same("the status", answer.status, 200)?;
            same("the end", answer.ended, Ended::Whole)?;
            return same_text("the answer", &text, &good);
        }
        Outcomes::Relayed => {}
    }
    let mut expected = if cell.sees == Sees::Good { normal(&cell.shown(&traces.good.body)) } else { own };
    if held(plot) && serde_json::from_str::<Value>(&expected).is_err() {
        // What cannot be read cannot be renamed.
        expected = expected.replace(&cell.model(), &cell.model_upstream(true));
    }
    same("the status", answer.status, traces.own.status)?;
    if plot.asked.stream && answer.status == 200 {
        same("content-length", answer.header("content-length"), None)?;
        same("cache-control", answer.header("cache-control"), Some("no-cache, no-transform"))?;
    }
    match cell.sees {
        Sees::Cut if plot.asked.stream => broken_stream(plot, traces, &expected, "stream_truncated"),
        Sees::Idle if plot.asked.stream => broken_stream(plot, traces, &expected, "stream_idle_timeout"),
        Sees::Cut | Sees::Idle => {
            same("the end", answer.ended, Ended::Cut)?;
            // A reset of an HTTP/2 stream overtakes what waits to be sent on it. What the provider said before it went
            // silent had all the time there is.
            let overtaken = plot.client_http2 && cell.sees == Sees::Cut && expected.starts_with(&text);
            if overtaken { Ok(()) } else { same_text("the answer", &text, &expected) }
        }
        _ => {
            same("the end", answer.ended, Ended::Whole)?;
            same_text("the answer", &text, &expected)
        }
    }
}

/// The bytes so far, then exactly one error event of the dialect with this code, and no invented end.
fn broken_stream(plot: Plot, traces: &Traces<'_>, said: &str, code: &str) -> Checked {
    let speech = plot.asked.speech;
    let text = normal(&traces.answer.text());
    same("the end", traces.answer.ended, Ended::Whole)?;
    // A renamed event waits until it is whole; the beginning of one is of no use to anybody.
    let said = if plot.rename { complete(said) } else { said };
    let Some(rest) = text.strip_prefix(said) else {
        return same_text("the answer", &text, said);
    };
    let in_event = complete(said).len() != said.len();
    let event = if in_event { rest.strip_prefix("\n\n") } else { Some(rest) };
    let event =
        event.and_then(|event| event.strip_suffix("\n\n")).ok_or_else(|| format!("the end is {rest:?}"))?;
    let data = match speech {
        Speech::Messages | Speech::Responses => event.strip_prefix("event: error\ndata: "),
        Speech::Chat | Speech::Gemini => event.strip_prefix("data: "),
    };
    let data = data.ok_or_else(|| format!("the error event is {event:?}"))?;
    let error: Value = serde_json::from_str(data).map_err(|error| format!("{error} in {data:?}"))?;
    let shown = if speech == Speech::Gemini {
        &error["error"]["details"][0]["reason"]
    } else {
        &error["error"]["code"]
    };
    same("the code", shown, &json!(code))
}

/// The part of a stream that is whole events.
fn complete(said: &str) -> &str {
    let ends = ["\n\n", "\r\n\r\n"].map(|blank| said.rfind(blank).map_or(0, |at| at + blank.len()));
    &said[..ends.into_iter().max().unwrap_or(0)]
}

/// The fake numbers its answers.
fn normal(text: &str) -> String {
    let mut parts = text.split("req_fake_");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("req_fake_");
        out.push_str(part.get(8..).unwrap_or_default());
    }
    out
}

/// Which candidates were asked.
fn asked(plot: Plot, cell: &Cell) -> usize {
    let odd = odd_at(plot.place);
    if matches!(outcome(plot, cell), Outcomes::NextAnswers) { odd + 2 } else { odd + 1 }
}

fn seen_by_upstreams(plot: Plot, cell: &Cell, traces: &Traces<'_>) -> Checked {
    let sent = plot.asked.speech.body(&cell.model_upstream(plot.rename), plot.asked.stream);
    for (at, (seen, role)) in traces.seen.iter().zip(plot.place.roles()).enumerate() {
        let read = match role {
            _ if at >= asked(plot, cell) => Reads::Nothing,
            Role::Odd => reads(&cell.fault),
            Role::Bad | Role::Good => Reads::Whole,
        };
        let what = format!("what candidate {at} was asked");
        same(&what, seen.len(), usize::from(read != Reads::Nothing))?;
        for request in seen {
            match read {
                Reads::Beginning if sent.as_bytes().starts_with(&request.body) => {}
                _ => same_text(&what, &String::from_utf8_lossy(&request.body), &sent)?,
            }
            if read == Reads::Whole {
                let digest: [u8; 32] = Sha256::digest(sent.as_bytes()).into();
                same("its digest", request.body_sha256, digest)?;
            }
            same(
                "its target",
                &request.target,
                &plot.asked.speech.path(&cell.model_upstream(plot.rename), plot.asked.stream),
            )?;
            if *role == Role::Odd && is_given_up(cell) && !request.outcome.is_aborted() {
                return Err(format!("the silent upstream was not let go: {:?}", request.outcome));
            }
            if *role != Role::Odd {
                same("the outcome at a sound upstream", request.outcome, Outcome::Completed)?;
            }
        }
    }
    Ok(())
}

/// The attempts there have to be: status and code.
fn attempts(plot: Plot, cell: &Cell, own_status: u16) -> Vec<(Value, Value)> {
    let failed = (json!(500), json!("upstream_error"));
    let mut attempts = vec![failed; odd_at(plot.place)];
    attempts.push(match cell.sees {
        Sees::Next(status, code) => (json!(status), json!(code)),
        _ => (json!(own_status), Value::Null),
    });
    if matches!(outcome(plot, cell), Outcomes::NextAnswers) {
        attempts.push((json!(200), Value::Null));
    }
    attempts
}

/// How it has to be recorded: `end` and `code`.
fn end(plot: Plot, cell: &Cell) -> (&'static str, Option<&'static str>) {
    match outcome(plot, cell) {
        Outcomes::Refused(code) => return ("failed", Some(code)),
        Outcomes::NextAnswers => return ("ok", None),
        Outcomes::Relayed => {}
    }
    match cell.sees {
        Sees::Cut => ("stream_truncated", Some("stream_truncated")),
        Sees::Idle => ("stream_idle_timeout", Some("stream_idle_timeout")),
        // `response.failed` is what that grammar ends a stream with, like any other end.
        Sees::OwnError if plot.asked.speech == Speech::Responses => ("ok", None),
        Sees::OwnError => ("failed", Some("upstream_error")),
        _ => ("ok", None),
    }
}

fn recorded(plot: Plot, cell: &Cell, traces: &Traces<'_>) -> Checked {
    let (line, answer) = (traces.line, traces.answer);
    let (end, code) = end(plot, cell);
    same("the recorded end", &line["end"], &json!(end)).map_err(|why| format!("{why} in {line}"))?;
    same("the recorded code", &line["code"], &json!(code))?;
    same("the recorded status", &line["status"], &json!(answer.status))?;
    same("the recorded stream", &line["stream"], &json!(plot.asked.stream))?;
    let list = line["attempts"].as_array().ok_or("no attempts")?;
    let found: Vec<_> =
        list.iter().map(|attempt| (attempt["status"].clone(), attempt["code"].clone())).collect();
    same("the attempts", &found, &attempts(plot, cell, traces.own.status))?;
    for (at, attempt) in list.iter().enumerate() {
        same("an attempt's channel", &attempt["channel"], &json!(cell.channel(at)))?;
    }
    same("the channel", &line["channel"], &json!(cell.channel(list.len() - 1)))?;
    // A whole that breaks off while it is held was an answer for its provider.
    let broke_off = !plot.asked.stream && found.iter().any(|(status, code)| *status == 200 && is_cut(code));
    same("charged", &line["charged"], &json!(answer.status == 200 || broke_off))?;
    if answer.ended == Ended::Whole {
        same("bytes_out", &line["bytes_out"], &json!(answer.body.len()))?;
    }
    let (source, found) = (&line["usage_source"], &line["tokens"]);
    match usage(plot, cell, traces) {
        Said::Whole(tokens) => {
            same("usage_source", source, &json!("reported"))?;
            same("the tokens", found, &tokens)
        }
        // What was said stays; what was not is added by its length, and told apart.
        Said::Begun(tokens) => {
            // Where no text followed, there is nothing to add.
            let spoken = ["reported", "estimated"].map(|word| json!(word)).contains(source);
            same("whether usage is known", spoken, true)?;
            for kind in ["input", "cache_read", "cache_write"] {
                same(kind, &found[kind], &tokens[kind])?;
            }
            let grown = found["output"].as_u64() >= tokens["output"].as_u64();
            if grown { Ok(()) } else { Err(format!("fewer tokens than were said: {found}")) }
        }
        Said::Nothing => {
            let billed = line["charged"] == json!(true);
            // A whole may have said all before its framing broke.
            same("whether usage is known", *source != json!("none"), billed)?;
            let counted = found["input"].as_u64() > Some(0);
            same("whether tokens are counted", counted, billed)
        }
    }
}

fn is_cut(code: &Value) -> bool {
    ["upstream_unreachable", "upstream_timeout"].iter().any(|word| code == word)
}

/// What the bytes that passed say about usage.
enum Said {
    Whole(Value),
    Begun(Value),
    Nothing,
}

/// What the bytes that passed say about usage; the numbers are the fake's defaults.
fn usage(plot: Plot, cell: &Cell, traces: &Traces<'_>) -> Said {
    let (speech, answer) = (plot.asked.speech, traces.answer);
    let (text, own) = (answer.text(), cell.shown(&traces.own.body));
    let in_pieces = plot.asked.stream && matches!(cell.sees, Sees::Cut | Sees::Idle);
    let tail = own[complete(&own).len()..].rsplit_once("data: ").map_or("", |(_, data)| data);
    // An event that lacks only its blank line says what it says.
    let all = !in_pieces || serde_json::from_str::<Value>(tail).is_ok();
    let said = match (in_pieces, all) {
        (false, _) => &text,
        (true, true) => &own,
        (true, false) => complete(&own),
    };
    let broken = answer.ended == Ended::Cut || answer.status != 200;
    let readable = plot.asked.stream || serde_json::from_str::<Value>(said).is_ok();
    let tokens = |input: u64, output: u64, read: u64, write: u64, reasoning: u64| json!({"input": input, "output": output, "cache_read": read, "cache_write": write, "reasoning": reasoning});
    if broken || !readable {
        return Said::Nothing;
    }
    let (full, begun) = match speech {
        Speech::Chat => ("\"prompt_tokens\"", None),
        Speech::Responses if plot.asked.stream => ("event: response.completed", None),
        Speech::Messages if plot.asked.stream => {
            ("event: message_delta", Some(("event: message_start", tokens(25, 1, 10, 7, 0))))
        }
        Speech::Responses | Speech::Messages => ("\"input_tokens\"", None),
        Speech::Gemini => ("candidatesTokenCount", Some(("promptTokenCount", tokens(42, 0, 0, 0, 0)))),
    };
    let written = if speech == Speech::Messages { 7 } else { 0 };
    if said.contains(full) {
        return Said::Whole(tokens(32 - written, 17, 10, written, 5));
    }
    match begun {
        Some((word, tokens)) if said.contains(word) => Said::Begun(tokens),
        _ => Said::Nothing,
    }
}

/// The sums in the metrics are those of the cells.
pub(super) async fn sums(house: &House, lines: &[Value], cells: &[Cell]) -> Vec<String> {
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    let mut add = |series: String| *expected.entry(series).or_default() += 1;
    let mut failovers = 0;
    let by_model = |cell: &Cell| lines.iter().find(|line| line["model_requested"] == json!(cell.model()));
    for cell in cells {
        let (_, code) = end(house.plot, cell);
        if let Some(code) = code {
            add(format!("errors_total code={code}"));
        }
        let status = by_model(cell).map_or(Value::Null, |line| line["status"].clone());
        add(format!("requests_total code={status}"));
        let own = match cell.sees {
            Sees::Word | Sees::Own => status.as_u64().unwrap_or_default(),
            _ => 200,
        };
        let attempts = attempts(house.plot, cell, u16::try_from(own).unwrap_or_default());
        failovers += attempts.len() - 1;
        for (at, (status, _)) in attempts.iter().enumerate() {
            let code = if status.is_null() { "none".to_owned() } else { status.to_string() };
            add(format!("upstream_requests_total channel={} code={code}", cell.channel(at)));
        }
    }
    if failovers > 0 {
        expected.insert("failovers_total".to_owned(), failovers as u64);
    }
    let text = house.gateway.metrics().await;
    let mut wrong = Vec::new();
    for gauge in ["leases_open", "buffered_body_bytes", "active_streams", "inflight_requests"] {
        if !text.contains(&format!("\ntollgate_{gauge} 0\n")) {
            wrong.push(format!("{:?} {gauge} is not 0 when all is over", house.plot));
        }
    }
    let found = counted(&text);
    for series in expected.keys().chain(found.keys()) {
        let (found, expected) = (found.get(series).copied(), expected.get(series).copied());
        if found.unwrap_or(0) != expected.unwrap_or(0) {
            wrong.push(format!("{:?} {series} is {found:?}, not {expected:?}", house.plot));
        }
    }
    wrong.dedup();
    wrong
}

/// The families that count outcomes, by what the cells can predict.
fn counted(text: &str) -> BTreeMap<String, u64> {
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("tollgate_") else { continue };
        let Some((family, rest)) = rest.split_once('{') else { continue };
        let Some((labels, value)) = rest.rsplit_once("} ") else { continue };
        let label = |name: &str| {
            let labels = labels.split(',').filter_map(|label| label.split_once('='));
            labels.filter(|(known, _)| *known == name).map(|(_, value)| value.trim_matches('"')).next()
        };
        let series = match family {
            "errors_total" | "requests_total" => {
                format!("{family} code={}", label("code").unwrap_or_default())
            }
            "failovers_total" => family.to_owned(),
            "upstream_requests_total" => format!(
                "{family} channel={} code={}",
                label("channel").unwrap_or_default(),
                label("code").unwrap_or_default()
            ),
            _ => continue,
        };
        *found.entry(series).or_default() += value.parse::<u64>().unwrap_or_default();
    }
    found
}
