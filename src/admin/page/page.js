"use strict";
// The status page: asks /api/status?detail=1 every two seconds and shows what it says. Whatever a client, a provider or the
// configuration named stands in text nodes only; nothing is ever read as markup.

const POLL_MS = 2000;
const ANSWER_MS_MAX = 10000;
const CHANGE_NEWS_MS = 600000;
const ROWS_KEPT_MAX = 500;
const ROWS_SHOWN_MAX = 100;

const $ = (id) => document.getElementById(id);
let last = null; // the last answer
let rows = []; // exchanges, newest first
let waiting = []; // those that came while the list stood still
let after = 0;
let missed = 0;
let isLive = true;
let lostSince = 0;
let lostWhy = "";
const open = new Set(); // ids of exchanges whose details are shown

// ---- making elements

const make = (tag, className, ...children) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
};
const soft = (text) => make("span", "soft", text);
const put = (element, ...children) => element.replaceChildren(...children.filter((child) => child !== null && child !== ""));
const setText = (element, text) => { if (element.textContent !== text) element.textContent = text; };

// ---- numbers and times

const locale = () => (choice.language === "zh" ? "zh-CN" : "en-GB");
const number = (value, digits = 0) => value.toLocaleString(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits });
const short = (value) => {
  if (value < 10000) return number(value);
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (value >= size) return (value / size).toLocaleString(locale(), { maximumFractionDigits: value / size < 100 ? 1 : 0 }) + unit;
  }
  return number(value);
};
const rate = (value) => (value === 0 ? "0" : number(value, value < 10 ? 2 : value < 100 ? 1 : 0));
const percent = (value) => (value === null ? "–" : value === 1 ? "100%" : `${number(Math.min(value * 100, 99.99), value > 0.99 ? 2 : 1)}%`);
const millis = (value) => (value === null || value === undefined ? "–" : value < 1000 ? `${number(value)} ms` : `${number(value / 1000, value < 10000 ? 2 : 1)} s`);
const dollars = (value) => {
  if (value === null || value === undefined) return "?";
  if (value > 0 && value < 0.0001) return "<$0.0001";
  return `$${value.toLocaleString(locale(), { minimumFractionDigits: Number.isInteger(value) ? 0 : 2, maximumFractionDigits: value < 0.1 ? 4 : 2 })}`;
};
const clock = (unixMs) => new Date(unixMs).toLocaleTimeString(locale(), { hour12: false });
const full = (unixMs) => new Date(unixMs).toLocaleString(locale(), { hour12: false });
const span = (seconds) => {
  const s = Math.max(0, Math.floor(seconds));
  const units = choice.language === "zh" ? [" 天", " 小时", " 分", " 秒"] : ["d", "h", "m", "s"];
  const parts = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60, s % 60];
  const from = parts.findIndex((part) => part > 0);
  if (from < 0) return `0${units[3]}`;
  return parts.slice(from, from + 2).map((part, at) => [part, units[from + at]]).filter(([part], at) => at === 0 || part > 0)
    .map(([part, unit]) => part + unit).join(" ");
};
const ago = (unixMs) => span((last.now_unix_ms - unixMs) / 1000);

// ---- tables: rows are kept by name, so that focus and selection outlive an answer

const table = (place, columns) => {
  const body = make("tbody");
  const head = make("tr");
  const empty = make("p", "empty");
  const whole = make("table", "", make("thead", "", head), body);
  $(place).append(whole, empty);
  const title = () => put(head, ...columns.map((column) => {
    const cell = make("th", column.kind, say(column.word));
    cell.scope = "col";
    if (column.help) cell.title = say(column.help);
    return cell;
  }));
  title();
  return {
    title,
    show(list, name, emptyText) {
      const old = new Map([...body.children].map((row) => [row.dataset.name, row]));
      const next = list.map((item) => {
        const row = old.get(name(item)) ?? make("tr");
        row.dataset.name = name(item);
        if (item.detailsOf) fillDetails(row, item.detailsOf, columns.length);
        else fill(row, item, columns);
        return row;
      });
      // Only what is out of place is moved: an element that is moved loses its focus.
      const keep = new Set(next);
      for (const row of [...body.children]) if (!keep.has(row)) row.remove();
      next.forEach((row, at) => { if (body.children[at] !== row) body.insertBefore(row, body.children[at] ?? null); });
      whole.hidden = list.length === 0;
      empty.hidden = list.length > 0;
      setText(empty, emptyText);
    },
  };
};

const fill = (row, item, columns) => {
  columns.forEach((column, at) => {
    const cell = row.children[at] ?? row.appendChild(document.createElement(at === 0 ? "th" : "td"));
    if (at === 0) cell.scope = "row";
    cell.className = column.kind ?? "";
    cell.dataset.label = say(column.word);
    const drawn = JSON.stringify([choice.language, column.says(item)]);
    if (cell.dataset.drawn === drawn) return;
    cell.dataset.drawn = drawn;
    put(cell, ...[column.draw(item)].flat());
    if (column.kind === "clip") cell.title = cell.textContent;
  });
};

// What is shown below a row of the table, over its whole width.
const fillDetails = (row, item, width) => {
  const cell = row.firstChild ?? row.appendChild(document.createElement("td"));
  row.className = "details";
  cell.colSpan = width;
  if (cell.dataset.drawn === choice.language) return;
  cell.dataset.drawn = choice.language;
  put(cell, details(item));
};

const column = (word, kind, draw, says = null, help = null) => ({ word, kind, draw, says: says ?? ((item) => shown(draw(item))), help });
const shown = (drawn) => [drawn].flat().map((node) => (node instanceof Node ? [node.textContent, node.title, node.className] : node));

// ---- parts

const dot = (kind, text) => make("span", `dot ${kind}`, text);
const meter = (label, used, limit, text, whose = "") => {
  const part = limit > 0 ? Math.min(1, Math.max(0, used / limit)) : 0;
  const fillBar = make("i", part >= 1 ? "full" : part >= 0.8 ? "high" : "");
  fillBar.style.width = `${Math.round(part * 100)}%`;
  const bar = make("span", "track", fillBar);
  bar.setAttribute("role", "meter");
  bar.setAttribute("aria-label", `${label} ${whose}: ${text}`);
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", String(limit));
  bar.setAttribute("aria-valuenow", String(Math.min(Math.max(used, 0), limit)));
  const whole = make("span", "meter", make("span", "label", label, whose ? make("span", "whose", whose) : ""), bar, make("span", "amount", text));
  return whole;
};

const seek = (text, value) => {
  const button = make("button", "seek", text);
  button.type = "button";
  button.addEventListener("click", () => {
    $("filter").value = value;
    $("problems").checked = false;
    showExchanges();
    $("exchanges").scrollIntoView();
    $("filter").focus({ preventScroll: true });
  });
  return button;
};

const stateKind = (row) => (row.state === "disabled" || row.state === "weight 0" || row.state === "canary 0%" ? "off" : !row.up ? "bad" : row.state === "half-open" ? "warn" : "good");
const left = (ms) => (ms ? ` ${span(Math.ceil(ms / 1000))}` : "");

// ---- the four tables

const channelsTable = () => table("channels-table", [
  column("channel", "name", (row) => [make("b", "", row.channel), " ", soft(row.type), ...(row.canary === null ? [] : [" ", dot("warn", say("canary", percent(row.canary)))])]),
  column("state", "", (row) => [dot(stateKind(row), saidOf("s_", row.state)), row.cooling_ms ? soft(left(row.cooling_ms)) : ""]),
  column("weight", "num", (row) => [soft(`${row.priority} / `), String(row.weight)]),
  column("attempts", "num", (row) => number(row.recent?.attempts ?? 0), null, "h_attempts"),
  column("success_c", "num", (row) => {
    const value = row.recent?.success ?? null;
    return make("span", value === null ? "soft" : value < 0.9 ? "text-bad" : value < 0.99 ? "text-warn" : "", percent(value));
  }, null, "h_success"),
  column("first_c", "num", (row) => {
    const first = row.recent?.first_token_ms;
    return first?.p50 == null ? soft("–") : [millis(first.p50), soft(` · ${millis(first.p95)}`)];
  }, null, "h_first"),
  column("speed_c", "num", (row) => (row.recent?.tokens_per_second == null ? soft("–") : rate(row.recent.tokens_per_second)), null, "h_speed"),
  column("inflight_c", "num", (row) => [number(row.inflight), row.queued ? soft(` + ${say("queued", number(row.queued))}`) : ""]),
  column("breaker", "", (row) => (row.breaker === "closed" ? soft(saidOf("b_", row.breaker)) : dot(row.breaker === "open" ? "bad" : "warn", saidOf("b_", row.breaker)))),
  column("last_error", "wide", (row) => {
    const error = row.last_error;
    if (!error) return soft(say("none"));
    const what = seek([error.status, error.code].filter(Boolean).join(" "), error.request_id);
    what.title = [error.said, error.request_id, full(error.unix_ms)].filter(Boolean).join("\n");
    return [what, soft(` ${say("ago", ago(error.unix_ms))}`)];
  }),
]);

// Most keys have these only because they follow from `rpm`: they are worth a line once they are used.
const FOLLOWING = ["count_tokens_rpm", "polls_rpm"];
const limitsOf = (row) => Object.entries(row.limits).filter(([name, limit]) => !FOLLOWING.includes(name) || limit.remaining < limit.limit).map(([name, limit]) =>
  meter(name, limit.limit - limit.remaining, limit.limit, `${short(limit.limit - limit.remaining)} / ${short(limit.limit)}`));
const quotasOf = (row) => row.quotas.flatMap((quota) => Object.entries(quota.units).map(([unit, amount]) => {
  const used = amount.used + amount.reserved;
  const show = (value) => (unit === "usd" ? dollars(value) : short(value));
  const whose = quota.scope === "key" ? "" : `${saidOf("q_", quota.scope)} ${quota.name}`;
  const one = meter(`${unit} ${saidOf("p_", quota.per)}`, used, amount.limit, `${show(used)} / ${show(amount.limit)}`, whose);
  if (quota.renews_unix) one.title = say("renews", full(quota.renews_unix * 1000));
  return one;
}));

const keysTable = () => table("keys-table", [
  column("key", "name", (row) => [
    make("b", row.enabled ? "" : "gone", row.key), " ", soft(`…${row.last4}`), " ",
    soft([row.group, row.owner, row.project].filter(Boolean).join(" · ")), row.enabled ? "" : dot("off", say("disabled")),
  ]),
  column("inflight_c", "num", (row) => number(row.inflight)),
  column("requests_c", "num", (row) => [number(row.recent?.exchanges ?? 0), row.recent?.refused ? soft(` · ${say("refused_n", number(row.recent.refused))}`) : ""]),
  column("tokens", "num", (row) => short(row.recent?.tokens ?? 0)),
  column("cost_c", "num", (row) => dollars(row.recent?.cost_usd ?? 0)),
  column("limits", "meters", (row) => { const all = limitsOf(row); return all.length ? all : soft(say("no_limits")); },
    (row) => row.limits),
  column("quotas", "meters quotas", (row) => { const all = quotasOf(row); return all.length ? all : soft(say("no_quotas")); },
    (row) => row.quotas),
]);

const sessionsTable = () => table("sessions-table", [
  column("session", "name", (row) => seek(row.trace_id, row.trace_id)),
  column("key", "", (row) => row.key ?? soft("–")),
  column("model", "clip", (row) => row.model ?? soft("–")),
  column("channels", "clip", (row) => row.channels.join(" → ") || soft("–")),
  column("requests_c", "num", (row) => [number(row.exchanges), row.failed ? make("span", "text-bad", ` · ${number(row.failed)}`) : ""]),
  column("tokens", "num", (row) => short(row.tokens)),
  column("cost_c", "num", (row) => dollars(row.cost_usd)),
  column("last", "num", (row) => say("ago", ago(row.last_unix_ms))),
]);

const isProblem = (row) => row.end !== "ok" || row.status >= 400 || row.attempts.length > 1;
const fateKind = (row) => (row.end === "client_closed" ? "off" : row.end === "refused" ? "warn" : row.end !== "ok" || row.status >= 500 ? "bad" : row.status >= 400 ? "warn" : "good");

const exchangesTable = () => table("exchanges-table", [
  column("time", "time", (row) => {
    const button = make("button", "toggle", clock(Date.parse(row.ts)));
    button.type = "button";
    button.setAttribute("aria-expanded", String(open.has(row.request_id)));
    button.setAttribute("aria-label", `${clock(Date.parse(row.ts))}, ${say("details", row.request_id)}`);
    button.addEventListener("click", () => {
      if (!open.delete(row.request_id)) open.add(row.request_id);
      button.setAttribute("aria-expanded", String(open.has(row.request_id)));
      showExchanges();
    });
    return button;
  }, (row) => row.ts),
  column("status", "", (row) => [dot(fateKind(row), String(row.status)), row.code ? soft(` ${row.code}`) : ""]),
  column("key", "clip", (row) => row.key ?? soft("–")),
  column("model", "clip", (row) => row.model_requested ?? soft("–")),
  column("channel", "clip", (row) => (row.attempts.length ? row.attempts.map((attempt) => attempt.channel).join(" → ") : soft("–"))),
  column("first_byte", "num", (row) => millis(row.ttfb_ms)),
  column("duration", "num", (row) => millis(row.duration_ms)),
  column("in_out", "num", (row) => `${short(row.tokens.input + row.tokens.cache_read + row.tokens.cache_write)} / ${short(row.tokens.output)}`),
  column("cost_c", "num", (row) => dollars(row.cost_usd)),
  column("id", "id", (row) => make("code", "", row.request_id)),
]);

const details = (row) => {
  const list = make("dl");
  const line = (title, ...text) => list.append(make("dt", "", title), make("dd", "", ...text));
  const said = [row.status, row.code, `end: ${row.end}`, row.limit_hit].filter(Boolean).join(" · ");
  line(say("id"), make("code", "", row.request_id));
  line(say("answered"), said);
  line(say("asked_by"), row.key ? `${row.key} (…${row.key_last4}) · ${[row.group, row.owner, row.project].filter(Boolean).join(" · ")}` : say("nobody"));
  line(say("asked_for"), [row.model_requested ?? "–", row.api, row.stream ? say("streamed") : "", row.profile].filter(Boolean).join(" · "));
  line(say("client"), [row.client_ip, row.user_agent].filter(Boolean).join(" · "));
  if (row.trace_id) line(say("session"), seek(row.trace_id, row.trace_id));
  row.attempts.forEach((attempt, at) => {
    const failed = attempt.code ? ` ${attempt.code} (${attempt.reason})` : "";
    line(say("tried", at + 1), dot(attempt.code ? "bad" : "good", attempt.channel),
      ` ${attempt.model_upstream ?? ""} · ${attempt.status ?? say("no_answer")}${failed} · ${millis(attempt.ms)}`);
  });
  if (!row.attempts.length) line(say("attempts"), say("nothing_sent"));
  if (row.upstream_error) line(say("said"), row.upstream_error);
  line(say("charged"), `${row.bill} · ${dollars(row.cost_usd)}`);
  return list;
};

// ---- what is shown of an answer

const fits = (row, wanted) => [row.request_id, row.key, row.group, row.owner, row.project, row.channel, row.model_requested, row.model_upstream, row.code,
  row.end, row.trace_id, row.client_ip, String(row.status), ...row.attempts.map((attempt) => attempt.channel)]
  .some((text) => text && text.toLowerCase().includes(wanted));

const showExchanges = () => {
  const wanted = $("filter").value.trim().toLowerCase();
  const found = rows.filter((row) => (!wanted || fits(row, wanted)) && (!$("problems").checked || isProblem(row)));
  const list = found.slice(0, ROWS_SHOWN_MAX);
  const where = last?.listen?.[0] ?? last?.tls?.[0] ?? "";
  const withDetails = list.flatMap((row) => (open.has(row.request_id) ? [row, { detailsOf: row }] : [row]));
  const name = (row) => (row.detailsOf ? `${row.detailsOf.request_id} details` : row.request_id);
  tables.exchanges.show(withDetails, name, rows.length ? say("empty_filter") : say("empty_exchanges", where));
  setText($("exchanges-count"), rows.length ? say("shown", number(list.length), number(rows.length)) : "");
  setText($("live"), isLive ? say("live") : waiting.length ? say("paused_n", number(waiting.length)) : say("paused"));
  $("live").setAttribute("aria-pressed", String(isLive));
};

const takeExchanges = (news) => {
  if (news.next < after) rows = []; // another process
  after = news.next;
  missed += news.missed;
  waiting = [...news.rows, ...waiting].slice(0, ROWS_KEPT_MAX);
  if (isLive) flow();
};
const flow = () => {
  const known = new Set(waiting.map((row) => row.request_id));
  rows = [...waiting, ...rows.filter((row) => !known.has(row.request_id))].slice(0, ROWS_KEPT_MAX);
  waiting = [];
  for (const id of open) if (!rows.some((row) => row.request_id === id)) open.delete(id);
};

const svg = (tag, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
};
const curve = (columns) => {
  const most = Math.max(1, ...columns.requests);
  const drawing = svg("svg", { viewBox: `0 0 ${columns.requests.length * 4} 24`, preserveAspectRatio: "none", class: "curve", "aria-hidden": "true" });
  columns.requests.forEach((count, at) => {
    const bar = (value, kind) => { if (value) drawing.append(svg("rect", { x: at * 4, width: 3, y: 24 - (value / most) * 24, height: (value / most) * 24, class: kind })); };
    bar(count, "all");
    bar(columns.failed[at], "failed");
  });
  return drawing;
};

const showTiles = () => {
  const traffic = last.traffic;
  const window = span(traffic.window_seconds);
  const grade = traffic.success === null || traffic.success >= 0.99 ? "" : traffic.success >= 0.95 ? "warn" : "bad";
  const tiles = [
    ["requests", [rate(traffic.per_second), make("span", "unit", say("per_second"))], say(traffic.refused ? "in_window_refused" : "in_window", short(traffic.exchanges), window, short(traffic.refused)), curve(traffic.columns)],
    ["inflight", number(last.inflight), say("inflight_sub", number(last.streams), number(last.queued))],
    ["success", percent(traffic.success), traffic.failed_over ? say("success_over", number(traffic.failed), number(traffic.failed_over))
      : say("success_sub", number(traffic.failed)), null, grade],
    ["first_token", millis(traffic.first_token_ms.p50), traffic.first_token_ms.p95 === null ? say("first_token_none") : say("first_token_sub", millis(traffic.first_token_ms.p95))],
    ["speed", [rate(traffic.output_tokens_per_second), make("span", "unit", say("per_second"))], say("speed_sub", short(traffic.tokens.input + traffic.tokens.cache_read), short(traffic.tokens.output))],
    ["cost", (traffic.unknown_cost && !traffic.cost_usd) ? "?" : dollars(traffic.cost_usd), traffic.unknown_cost ? say("cost_unknown", window, number(traffic.unknown_cost)) : say("cost_sub", window)],
  ];
  const place = $("tiles");
  tiles.forEach(([word, value, sub, extra, kind], at) => {
    const tile = place.children[at] ?? place.appendChild(make("div"));
    tile.className = `tile ${kind ?? ""}`;
    tile.dataset.tile = word;
    put(tile, make("span", "title", say(word)), make("span", "value", ...[value].flat()), make("span", "sub", sub), extra ?? "");
  });
};

const showState = () => {
  const [kind, word] = lostSince ? ["bad", "state_lost"] : !last ? ["off", "state_wait"] : last.draining ? ["warn", "state_draining"]
    : last.channels.usable === 0 ? ["bad", last.channels.configured ? "state_cooling" : "state_none"]
    : last.config.reload && !last.config.reload.successful ? ["warn", "state_refused"] : ["good", "state_ready"];
  $("state").className = `pill ${kind}`;
  setText($("state"), say(word));
};

const notices = () => {
  const list = [];
  const note = (kind, text, lines = []) => list.push([kind, text, lines]);
  if (lostSince) note("bad", lostWhy === "token" ? say("note_token") : say("note_lost", span((Date.now() - lostSince) / 1000)));
  if (!last) return list;
  const reload = last.config.reload;
  if (last.draining) note("warn", say("note_draining"));
  if (reload && !reload.successful) note("bad", say("note_refused"), reload.problems.slice(0, 20));
  if (reload?.changes.count && last.now_unix_ms - reload.last_success_unix_ms < CHANGE_NEWS_MS) {
    const { rows: changed, more } = reload.changes;
    const texts = changed.slice(0, 10).map((row) => row.text);
    if (changed.length + more > 10) texts.push(`… ${say("more", number(changed.length + more - 10))}`);
    note("", say("note_changed", number(reload.generation)), texts);
  }
  if (reload?.needs_restart.length) note("warn", say("note_restart", reload.needs_restart.join(", ")));
  if (last.credentials_away.length) {
    note("warn", say("note_away"), last.credentials_away.slice(0, 10).map((one) => `${one.channel} …${one.credential}: ${one.reason}${left(one.left_ms)}`));
  }
  const used = last.quotas.first_used_up.map((quota) => `${quota.scope} ${quota.name}`);
  if (last.quotas.used_up) note("warn", say("note_quota", used.join(", ")));
  if (missed) note("", say("missed", number(missed)));
  return list;
};

const showNotices = () => {
  const list = notices();
  const drawn = JSON.stringify([choice.language, list]);
  if ($("notices").dataset.drawn === drawn) return;
  $("notices").dataset.drawn = drawn;
  put($("notices"), ...list.map(([kind, text, lines]) =>
    make("div", `notice ${kind}`, make("p", "", text), lines.length ? make("ul", "", ...lines.map((line) => make("li", "", line))) : null)));
};

const showFacts = () => {
  setText($("version"), last.version);
  setText($("uptime"), span(last.uptime_seconds));
  $("uptime").title = full(last.started_unix_ms);
  setText($("hash"), last.config.hash.slice(0, 12));
  $("hash").title = last.config.hash;
  const reload = last.config.reload;
  setText($("generation"), reload ? say("generation", number(reload.generation)) : "");
  $("reload").title = reload ? reload.changes.rows.map((row) => row.text).join("\n") : "";
  setText($("reload"), !reload ? say("reload_none") : reload.successful ? say("reload_ok", ago(reload.last_success_unix_ms)) : say("reload_refused"));
  $("reload").className = reload && !reload.successful ? "text-bad" : "";
  setText($("listen"), [...last.listen, ...last.tls.map((one) => `${one} (TLS)`)].join(", "));
  setText($("window"), span(last.traffic.window_seconds));
};

const count = (id, shownCount, all) => setText($(id), shownCount < all ? say("first_n", number(shownCount), number(all)) : number(all));

const show = () => {
  showState();
  showNotices();
  document.body.classList.toggle("old", lostSince > 0);
  if (!last) return;
  showFacts();
  showTiles();
  const { channels, keys, sessions } = last.detail;
  tables.channels.show(channels, (row) => row.channel, say("empty_channels"));
  tables.keys.show(keys, (row) => row.key, say("empty_keys"));
  tables.sessions.show(sessions.rows, (row) => row.trace_id, say("empty_sessions"));
  count("channels-count", channels.length, last.channels.configured);
  count("keys-count", keys.length, last.keys);
  count("sessions-count", sessions.rows.length, sessions.count);
  showExchanges();
};

const showWords = () => {
  applyChoice();
  document.title = say("title");
  for (const element of document.querySelectorAll("[data-word]")) setText(element, say(element.dataset.word));
  for (const element of document.querySelectorAll("[data-label]:not(td, th)")) element.setAttribute("aria-label", say(element.dataset.label));
  setText($("language"), say("other_language"));
  $("language").lang = choice.language === "zh" ? "en" : "zh-Hans";
  setText($("theme-word"), say(`theme_${choice.theme}`));
  $("theme").setAttribute("aria-label", `${say("theme")}: ${say(`theme_${choice.theme}`)}`);
  $("theme").dataset.theme = choice.theme;
  $("filter").placeholder = say("filter");
  $("filter").setAttribute("aria-label", say("filter"));
  for (const one of Object.values(tables)) one.title();
};

// ---- asking

let asking = false;
const ask = async () => {
  if (asking) return;
  asking = true;
  try {
    const answer = await fetch(`api/status?detail=1&after=${after}`, { cache: "no-store", credentials: "same-origin", signal: AbortSignal.timeout(ANSWER_MS_MAX) });
    if (!answer.ok) throw new Error(answer.status === 401 ? "token" : `status ${answer.status}`);
    last = await answer.json();
    lostSince = 0;
    takeExchanges(last.detail.exchanges);
  } catch (error) {
    lostSince ||= Date.now();
    lostWhy = error.message;
  }
  asking = false;
  show();
};

// One question at a time, none while nobody looks.
const again = async () => {
  if (!document.hidden) await ask();
  setTimeout(again, POLL_MS);
};

const pause = () => {
  isLive = !isLive;
  if (isLive) flow();
  showExchanges();
};

const THEMES = { auto: "light", light: "dark", dark: "auto" };
$("theme").addEventListener("click", () => {
  choice.theme = THEMES[choice.theme];
  kept("theme", choice.theme);
  showWords();
});
$("language").addEventListener("click", () => {
  choice.language = choice.language === "zh" ? "en" : "zh";
  kept("language", choice.language);
  showWords();
  show();
});
$("live").addEventListener("click", pause);
$("filter").addEventListener("input", showExchanges);
$("problems").addEventListener("change", showExchanges);
$("filters").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target instanceof HTMLInputElement && event.target.type === "search";
  if (event.key === "Escape" && typing) {
    event.target.value = "";
    showExchanges();
    event.target.blur();
  } else if (event.key === "/" && !typing) {
    event.preventDefault();
    $("filter").focus();
  } else if (event.key === "p" && !typing) {
    pause();
  }
});

const tables = { channels: channelsTable(), keys: keysTable(), sessions: sessionsTable(), exchanges: exchangesTable() };
showWords();
show();
again();
