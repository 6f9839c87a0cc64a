// What the status page promises, checked one by one, and its pictures.

import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { Chromium, found } from "./chromium.mjs";
import { smaller } from "./png.mjs";
import { Gateway, Provider } from "./gateway.mjs";
import * as terminal from "./terminal.mjs";

const HOSTILE = '<img src=x onerror=alert(1)>"\'&amp;</script>';
const TOKEN = "an-admin-token-of-this-test";
const PICTURE_BYTES_MAX = 150 * 1024;
const [ALICE, BOB, CI, MALLORY] = ["sk-page-alice-0123456789", "sk-page-bob-0123456789", "sk-page-ci-0123456789", "sk-page-mallory-0123456789"];

export const run = async ([program, option]) => {
  if (!program || !existsSync(program)) {
    console.error("usage: tests/browser/run BINARY [--images]");
    return 2;
  }
  const browser = found();
  if (!browser) {
    console.log("skipped: no Chromium is installed (Debian: apt-get install chromium fonts-noto-cjk)");
    return 77;
  }
  const binary = resolve(program);
  const chromium = new Chromium(browser);
  const provider = await Provider.start(binary, "12ms");
  const context = { binary, chromium, provider };
  try {
    for (const [name, check] of Object.entries(CHECKS)) await one(name, () => check(context));
    if (option === "--images" && failures === 0) await one("pictures for the documents", () => pictures(context));
  } finally {
    await chromium.close();
    provider.stop();
  }
  console.log(`${passed} passed, ${failures} failed`);
  return failures ? 1 : 0;
};

let passed = 0;
let failures = 0;
const one = async (name, body) => {
  try {
    await body();
    passed += 1;
    console.log(`ok ${name}`);
  } catch (error) {
    failures += 1;
    console.log(`FAILED ${name}: ${error.stack}`);
  }
};

const equal = (found, expected, what = "") => {
  if (JSON.stringify(found) !== JSON.stringify(expected)) throw new Error(`${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`);
};
const ensure = (is, what) => { if (!is) throw new Error(what); };

// ---- configurations and traffic

const text = (value) => JSON.stringify(value); // a TOML string as well
const channel = (provider, name, type, credential, models, more = "") => `
[[channel]]
name = ${text(name)}
type = "${type}"
base_url = "${provider.url}${type === "openai" ? "/v1" : ""}"
api_keys = ["sk-upstream-${credential}"]
models = ${JSON.stringify(models)}
${more}`;
const key = (name, secret, more = "") => `\n[[key]]\nname = ${text(name)}\nsecret = "${secret}"\n${more}`;

const plain = (provider, more = "") => `${more}
[trace]
headers = ["x-session"]
${channel(provider, "openai-main", "openai", "main", ["gpt-4.1", "gpt-4.1-mini"], "priority = 0\nweight = 3")}
${channel(provider, "openai-backup", "openai", "backup", ["gpt-4.1", "gpt-4.1-mini"], "priority = 1")}
${channel(provider, "anthropic-main", "anthropic", "anthropic", ["claude-sonnet-4-5", "claude-haiku-4-5"], "weight = 2")}
${channel(provider, "gemini-eu", "gemini", "gemini", ["gemini-2.5-flash"], "enabled = false")}
[[group]]
name = "search"
quota = { usd = 500.0, per = "month" }
${key("alice-laptop", ALICE, 'owner = "alice"\ngroup = "search"\nlimits = { rpm = 90, tpm = 20000, concurrency = 8 }\nquota = { usd = 0.05, per = "day" }')}
${key("bob-notebook", BOB, 'owner = "bob"\ngroup = "search"\nlimits = { rpm = 240 }')}
${key("ci-nightly", CI, 'project = "evals"\nlimits = { rpm = 5 }')}
`;

const traffic = async ({ provider }, gateway) => {
  const session = (name) => ({ headers: { "x-session": name } });
  await Promise.all(["gpt-4.1", "gpt-4.1-mini", "gpt-4.1-mini"].map((model) => gateway.chat(ALICE, model, session("7f3c9a52-checkout-refactor"))));
  await Promise.all([1, 2, 3].map(() => gateway.message(BOB, "claude-sonnet-4-5", { "x-session": "b1d04e77-claude-code" })));
  await provider.fail("sk-upstream-main", { status: { status: 503, headers: [], body: '{"error":{"message":"The server is overloaded, try again later"}}' } });
  await gateway.chat(ALICE, "gpt-4.1", session("7f3c9a52-checkout-refactor"));
  await provider.fail("sk-upstream-anthropic", { cut: { after_events: 4, how: "fin" } });
  await gateway.message(BOB, "claude-haiku-4-5");
  for (let at = 0; at < 7; at += 1) await gateway.chat(CI, "gpt-4.1-mini", { stream: at % 2 === 0 });
  await gateway.chat(BOB, "gpt-unheard-of");
  await gateway.chat("sk-nobody-has-this-key", "gpt-4.1");
  await Promise.all([1, 2, 3, 4].map(() => gateway.message(BOB, "claude-sonnet-4-5", { "x-session": "b1d04e77-claude-code" })));
  await gateway.chat(ALICE, "gpt-4.1-mini", session("7f3c9a52-checkout-refactor"));
  return 22;
};

const ready = (page, exchanges) => page.until("the page shows the traffic", `rows.length >= ${exchanges} && document.querySelectorAll("#tiles .tile").length === 6`);

const shown = async ({ chromium }, gateway, exchanges, path = "/") => {
  const page = await chromium.page();
  await page.size(1280, 900);
  await page.colours("light");
  await page.open(gateway.admin + path);
  await ready(page, exchanges);
  return page;
};

/** Runs on a gateway of its own. */
const withGateway = async (context, configuration, body) => {
  const gateway = await Gateway.start(context.binary, configuration);
  try {
    await body(gateway);
  } finally {
    gateway.stop();
  }
};
const withTraffic = (body) => (context) => withGateway(context, plain(context.provider), async (gateway) => {
  const count = await traffic(context, gateway);
  await body(context, gateway, await shown(context, gateway, count), count);
});

const overflow = "document.documentElement.scrollWidth > innerWidth ? [...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5).slice(0, 3).map((one) => one.outerHTML.slice(0, 200)) : []";

// ---- the checks

const CHECKS = {
  "the page draws everything it was told, and complains of nothing": withTraffic(async (_, gateway, page, count) => {
    const told = await gateway.status();
    const tiles = await page.eval("Object.fromEntries([...document.querySelectorAll('.tile')].map((tile) => [tile.dataset.tile, tile.innerText]))");
    equal(Object.keys(tiles), ["requests", "inflight", "success", "first_token", "speed", "cost"]);
    equal(told.traffic.exchanges, count, "exchanges");
    ensure(tiles.requests.includes(`${count} in `) && tiles.requests.includes(`${told.traffic.refused} refused`), tiles.requests);
    ensure(tiles.inflight.includes("0\n0 streams"), tiles.inflight);
    ensure(tiles.success.includes(`${told.traffic.failed} failed · 1 failed over`), tiles.success);
    const success = Number.parseFloat(tiles.success.match(/([\d.]+)%/)[1]);
    ensure(Math.abs(success - told.traffic.success * 100) < 0.06, `${success} and ${told.traffic.success}`);
    ensure(Math.abs(Number.parseFloat(tiles.first_token.match(/(\d+) ms/)[1]) - told.traffic.first_token_ms.p50) < 1, tiles.first_token);
    const cells = (name) => page.eval(`[...document.querySelectorAll('#${name}-table tbody tr')].map((row) => [...row.children].map((cell) => cell.innerText))`);
    const channels = await cells("channels");
    equal(channels.map((row) => row[0].split(/\s/)[0]), ["openai-main", "openai-backup", "anthropic-main", "gemini-eu"]);
    ensure(channels[0][1] === "healthy" && channels[3][1] === "disabled", JSON.stringify(channels));
    ensure(channels[0][9].includes("503 upstream_overloaded") && channels[0][8] === "closed", channels[0].join());
    ensure(channels[2][9].includes("stream_truncated"), channels[2].join());
    const keys = await cells("keys");
    equal(keys.length, 3, "keys");
    ensure(keys.find((row) => row[0].startsWith("ci-nightly"))[5].includes("5 / 5"), JSON.stringify(keys));
    ensure(!JSON.stringify(keys).includes("polls_rpm"), "limits that only follow from another are shown when they are used");
    equal((await cells("sessions")).map((row) => row[0]).sort(), ["7f3c9a52-checkout-refactor", "b1d04e77-claude-code"]);
    const exchanges = await cells("exchanges");
    equal(exchanges.length, count);
    ensure(exchanges.some((row) => row[4] === "openai-main → openai-backup"), "the attempts of one that failed over");
    equal(await page.eval("document.getElementById('hash').textContent"), told.config.hash.slice(0, 12));
    equal(await page.eval("document.getElementById('state').textContent"), "ready");
    equal(page.complaints, [], "complaints");
    equal([...new Set(page.requests.map((url) => new URL(url).origin))], [gateway.admin], "nobody else is asked");
  }),

  "details of an exchange open by keyboard, and stay with their focus when news come": withTraffic(async (_, gateway, page) => {
    await page.eval("[...document.querySelectorAll('#exchanges-table tr')].find((row) => row.innerText.includes('openai-main → openai-backup')).querySelector('button').focus()");
    await page.press("Enter", "Enter", "\r");
    const opened = () => page.eval("document.querySelector('#exchanges-table tr.details')?.innerText");
    ensure((await opened()).match(/Attempt 1\s+openai-main gpt-4.1 · 503 upstream_overloaded \(overloaded\)/), await opened());
    ensure((await opened()).includes("Attempt 2"), await opened());
    const id = await gateway.chat(BOB, "gpt-4.1");
    await page.until("the new exchange shows up", `document.querySelector('#exchanges-table tbody tr').innerText.includes('${id}')`);
    equal(await page.eval("[document.activeElement.className, document.activeElement.getAttribute('aria-expanded')]"), ["toggle", "true"]);
    ensure((await opened()).includes("Attempt 2"), "it is still open");
    await page.press("Enter", "Enter", "\r");
    equal(await opened(), undefined);
  }),

  "everything that can be used is reached with Tab alone, and shows where it is": withTraffic(async (_, __, page) => {
    const wanted = await page.eval("[...document.querySelectorAll('a[href], button, input')].filter((one) => one.getClientRects().length).length");
    const seen = [];
    for (let at = 0; at < wanted; at += 1) {
      await page.press("Tab");
      seen.push(await page.eval(`(() => { const one = document.activeElement; const style = getComputedStyle(one);
        one.dataset.seen = "yes";
        return [one.innerText || one.id, style.outlineStyle !== "none" && style.outlineWidth !== "0px"]; })()`));
    }
    equal(await page.eval("[...document.querySelectorAll('a[href], button, input')].filter((one) => one.getClientRects().length && !one.dataset.seen).map((one) => one.outerHTML)"), [], "not reached");
    equal(seen[0], ["Skip to the content", true]);
    equal(seen.filter(([, outlined]) => !outlined), [], "no outline");
    await page.press("/", "Slash", "/");
    equal(await page.eval("document.activeElement.id"), "filter");
    await page.send("Input.insertText", { text: "gpt-unheard" });
    equal(await page.eval("document.querySelectorAll('#exchanges-table tbody tr').length"), 1);
    await page.press("Escape");
    ensure(await page.eval("document.querySelectorAll('#exchanges-table tbody tr').length > 10 && document.activeElement.id !== 'filter'"), "Escape ends the search");
    await page.eval("document.getElementById('problems').click()");
    const problems = await page.eval("[...document.querySelectorAll('#exchanges-table tbody tr')].map((row) => row.innerText)");
    ensure(problems.length >= 5 && problems.every((row) => /4\d\d|truncated|→/.test(row)), problems.join("\n"));
  }),

  "the live tail stands still while it is paused, and says what waits": withTraffic(async (_, gateway, page) => {
    await page.press("p", "KeyP", "p");
    equal(await page.eval("[document.getElementById('live').textContent, document.getElementById('live').getAttribute('aria-pressed')]"), ["Paused", "false"]);
    const first = await page.eval("document.querySelector('#exchanges-table tbody tr').innerText");
    const id = await gateway.chat(BOB, "gpt-4.1");
    await page.until("it counts the news", "document.getElementById('live').textContent === 'Paused, 1 new'");
    equal(await page.eval("document.querySelector('#exchanges-table tbody tr').innerText"), first);
    await page.press("p", "KeyP", "p");
    ensure((await page.eval("document.querySelector('#exchanges-table tbody tr').innerText")).includes(id), "it goes on");
  }),

  "whatever clients, providers and the configuration say is text, never markup": (context) => withGateway(context, `
[trace]
headers = ["x-session"]
${channel(context.provider, HOSTILE, "openai", "hostile", ["*"])}
[[group]]
name = ${text(HOSTILE)}
${key(HOSTILE, MALLORY, `owner = ${text(HOSTILE)}\nproject = ${text(HOSTILE)}\ngroup = ${text(HOSTILE)}\nquota = { usd = 1.0, per = "day" }`)}`, async (gateway) => {
    const headers = { "x-session": HOSTILE, "user-agent": HOSTILE };
    await gateway.chat(MALLORY, HOSTILE, { headers });
    await context.provider.fail("sk-upstream-hostile", { status: { status: 500, headers: [], body: HOSTILE } });
    await gateway.chat(MALLORY, HOSTILE, { headers });
    const page = await shown(context, gateway, 2);
    await page.eval("document.querySelectorAll('#exchanges-table .toggle').forEach((button) => button.click())");
    for (const place of ["channels", "keys", "sessions", "exchanges"]) {
      const seen = await page.eval(`document.getElementById('${place}-table').innerText`);
      ensure(seen.includes(HOSTILE), `${place} shows it as it is: ${seen}`);
    }
    equal(await page.eval("document.querySelectorAll('main img, main script, [onerror]').length"), 0);
    equal(page.complaints, []);
  }),

  "markup that got in all the same would be stopped by the policy": withTraffic(async (_, __, page) => {
    const stopped = await page.eval(`new Promise((resolve) => {
      const seen = [];
      document.addEventListener("securitypolicyviolation", (event) => { seen.push(event.effectiveDirective); if (seen.length === 4) resolve(seen.sort()); });
      const script = document.createElement("script"); script.textContent = "window.ran = true"; document.body.append(script);
      const style = document.createElement("style"); style.textContent = "body { display: none }"; document.body.append(style);
      const link = document.createElement("a"); link.setAttribute("onclick", "window.ran = true"); document.body.append(link); link.click();
      fetch("https://example.com/").catch(() => {});
      setTimeout(() => resolve(seen.sort()), 5000);
    })`);
    equal(stopped, ["connect-src", "script-src-attr", "script-src-elem", "style-src-elem"]);
    equal(await page.eval("window.ran === true"), false);
  }),

  "on a phone nothing is wider than the screen, in both languages": withTraffic(async (_, __, page) => {
    await page.eval("document.querySelectorAll('#exchanges-table .toggle').forEach((button, at) => { if (at % 5 === 0) button.click(); })");
    for (const width of [320, 390, 600, 1001, 1101, 1241, 1600]) {
      await page.size(width, 844, width < 600);
      for (const language of ["zh", "en"]) {
        await page.eval(`choice.language = "${language}"; showWords(); show();`);
        equal(await page.eval(overflow), [], `${width} ${language}`);
      }
    }
  }),

  "it is light or dark as the system is, until somebody chooses, which is kept": withTraffic(async (_, gateway, page, count) => {
    const ground = () => page.eval("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).reduce((a, b) => a + b)");
    ensure(await ground() > 700, "light");
    await page.colours("dark");
    ensure(await ground() < 100, "dark");
    await page.eval("document.getElementById('theme').click()");
    ensure(await ground() > 700, "light was chosen");
    await page.open(gateway.admin);
    await ready(page, count);
    ensure(await ground() > 700, "and kept");
    await page.eval("document.getElementById('theme').click()");
    await page.colours("light");
    ensure(await ground() < 100, "dark was chosen");
    const faint = await page.eval(`(() => {
      const light = (rgb) => rgb.match(/\\d+/g).slice(0, 3).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)).reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
      const behind = (one) => { for (let at = one; at; at = at.parentElement) { const c = getComputedStyle(at).backgroundColor; if (!c.endsWith(", 0)") && c !== "transparent") return c; } return "rgb(255, 255, 255)"; };
      const faint = () => [...document.querySelectorAll("body *")].filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()) && one.getClientRects().length)
        .map((one) => [one.className + " " + one.textContent.slice(0, 20), light(getComputedStyle(one).color), light(behind(one))])
        .filter(([, a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5).map(([what]) => what);
      const dark = faint();
      document.getElementById("theme").click(); document.getElementById("theme").click();
      return [dark, faint()];
    })()`);
    equal(faint, [[], []], "text that is too faint to read");
  }),

  "in Chinese every word is Chinese, and the choice is kept": withTraffic(async (_, gateway, page, count) => {
    equal(await page.eval("Object.keys(WORDS.zh).sort().join() === Object.keys(WORDS.en).sort().join()"), true, "both languages have the same words");
    await page.eval("document.getElementById('language').click()");
    const check = async () => {
      equal(await page.eval("[document.documentElement.lang, document.title, document.getElementById('state').textContent]"), ["zh-Hans", "Tollgate：状态", "就绪"]);
      const english = await page.eval("[...document.querySelectorAll('h2, thead th, dt, .tile .title, #live, nav a')].filter((one) => one.getClientRects().length).map((one) => one.innerText).filter((text) => !/[\\u4e00-\\u9fff]/.test(text))");
      equal(english.filter((one) => one !== "token"), [], "English words");
    };
    await check();
    await page.open(gateway.admin);
    await ready(page, count);
    await check();
  }),

  "a reload that was refused is said with its problems, until it is mended": withTraffic(async (_, gateway, page) => {
    const good = gateway.configuration();
    gateway.write(`${good}\nunheard_of = "setting"\n`);
    await page.until("the problem is shown", "document.querySelector('.notice.bad')?.innerText.includes('unheard_of')");
    equal(await page.eval("document.getElementById('state').textContent"), "reload refused");
    gateway.write(good);
    await page.until("it is gone", "!document.querySelector('.notice')");
    equal(await page.eval("document.getElementById('state').textContent"), "ready");
    gateway.write(good.replace("weight = 3", "weight = 4"));
    await page.until("what changed is shown", "document.querySelector('.notice')?.innerText.includes('channel openai-main: weight 3 → 4')");
  }),

  "when the gateway is gone the page says so, keeps what it knew, and finds its successor": withTraffic(async (_, gateway, page) => {
    gateway.child.kill("SIGKILL");
    await page.until("it says so", "document.getElementById('state').textContent === 'no answer' && document.querySelector('.notice.bad')");
    ensure(await page.eval("document.querySelectorAll('#channels-table tbody tr').length === 4 && document.body.classList.contains('old')"), "what was known stays");
    await gateway.again();
    const id = await gateway.chat(ALICE, "gpt-4.1");
    await page.until("the successor's exchange", `document.querySelector('#exchanges-table tbody tr')?.innerText.includes('${id}')`);
    equal(await page.eval("[document.getElementById('state').textContent, document.body.classList.contains('old'), document.querySelectorAll('.notice').length]"), ["ready", false, 0]);
  }),

  "where there is nothing yet it says what to do": (context) => withGateway(context, plain(context.provider), async (gateway) => {
    const page = await shown(context, gateway, 0);
    const said = await page.eval("[...document.querySelectorAll('.empty')].filter((one) => !one.hidden).map((one) => one.textContent)");
    equal(said.length, 2);
    ensure(said[1].includes(gateway.url.replace("http://", "")), said[1]);
    equal(page.complaints, []);
  }),

  "where a token is set the browser asks for it, and the page works with it": (context) => withGateway(context, plain(context.provider, `admin_token = "${TOKEN}"`), async (gateway) => {
    equal((await fetch(gateway.admin)).status, 401);
    await gateway.chat(ALICE, "gpt-4.1");
    const page = await context.chromium.page();
    await page.givePassword(TOKEN);
    await page.open(gateway.admin);
    await ready(page, 1);
    equal(page.complaints.filter((one) => !one.includes("401")), []);
  }),
};

// ---- pictures

const TRIAL = (provider) => channel(provider, "openai-trial", "openai", "trial", ["gpt-4.1", "gpt-4.1-mini"], 'canary = "5%"');

const keepPicture = (name, png) => {
  const path = `docs/images/${name}.png`;
  writeFileSync(path, smaller(png));
  ensure(statSync(path).size < PICTURE_BYTES_MAX, `${path} has ${statSync(path).size} bytes`);
};

const pictures = async (context) => withGateway(context, plain(context.provider, '[ledger]\npath = "ledger.db"') + TRIAL(context.provider), async (gateway) => {
  const models = [[ALICE, "gpt-4.1-mini", "7f3c9a52-checkout-refactor"], [BOB, "gpt-4.1", "e0a14d6b-release-notes"], [ALICE, "gpt-4.1", "7f3c9a52-checkout-refactor"]];
  for (let at = 0; at < 45; at += 1) {
    const [asking, model, session] = models[at % 3];
    const many = Array.from({ length: at % 7 === 0 ? 3 : 1 }, () => gateway.chat(asking, model, { headers: { "x-session": session } }));
    // Those without a session are drawn one by one, so that the trial gets some.
    await Promise.all([...many, gateway.chat(BOB, "gpt-4.1-mini"), at % 2 ? gateway.message(BOB, "claude-sonnet-4-5", { "x-session": "b1d04e77-claude-code" }) : null]);
  }
  await traffic(context, gateway);
  gateway.write(gateway.configuration().replace("weight = 3", "weight = 5") + key("dana-desktop", "sk-page-dana-0123456789", 'owner = "dana"\ngroup = "search"'));
  await context.provider.fail("sk-upstream-main", { status: { status: 503, headers: [], body: '{"error":{"message":"The server is overloaded, try again later"}}' } });
  const failedOver = await gateway.chat(BOB, "gpt-4.1", { headers: { "x-session": "e0a14d6b-release-notes" } });
  const page = await shown(context, gateway, 90);
  await page.until("what the reload changed", "document.querySelector('.notice')?.innerText.includes('weight 3 → 5')");
  mkdirSync("docs/images", { recursive: true });
  const keep = async (name) => keepPicture(name, await page.picture());
  await page.eval("[...document.querySelectorAll('#exchanges-table tr')].find((row) => row.innerText.includes('openai-main → openai-backup')).querySelector('button').click()");
  await page.eval("document.activeElement.blur()");
  const height = await page.eval("document.documentElement.scrollHeight");
  await page.size(1280, Math.min(height, 1360));
  await keep("status-page-light");
  await page.colours("dark");
  await keep("status-page-dark");
  await page.colours("light");
  await page.eval("document.getElementById('language').click(); document.activeElement.blur()");
  await keep("status-page-chinese");
  await page.eval("document.getElementById('language').click(); document.activeElement.blur()");
  await page.size(390, 844, true);
  await keep("status-page-narrow");
  await terminals(context, gateway, failedOver);
});

/** The commands' views: as text into the documents, and as pictures. `--admin` is not shown: the reader's gateway is the default one. */
const terminals = async ({ binary, chromium }, gateway, id) => {
  const views = {
    top: ["tollgate top --once", 110],
    tail: ["tollgate logs tail --no-follow -n 8", 110],
    status: ["tollgate status", 90],
    explain: ["tollgate explain --key alice-laptop --model gpt-4.1", 90],
    lookup: [`tollgate lookup ${id}`, 110],
    usage: ["tollgate usage --by key", 110],
  };
  const seen = {};
  for (const [name, [line, columns]] of Object.entries(views)) {
    const text = await terminal.recorded(binary, `${line} --admin ${gateway.admin}`, columns);
    seen[name] = [line, text];
    terminal.keep(line, text, name);
  }
  keepPicture("terminal-top", await terminal.picture(chromium, [seen.top]));
  keepPicture("terminal-status", await terminal.picture(chromium, [seen.status, seen.explain]));
  keepPicture("terminal-lookup", await terminal.picture(chromium, [seen.tail, seen.lookup, seen.usage]));
};
