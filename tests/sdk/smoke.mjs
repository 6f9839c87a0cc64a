// What every Node part of the smoke test shares: where things are, and one line per check. The same as smoke.py.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";

export const GATEWAY = process.env.SMOKE_GATEWAY;
export const PROVIDER = process.env.SMOKE_PROVIDER;
export const KEY = process.env.SMOKE_KEY;
export const WRONG_KEY = "sk-smoke-nobody-has-this-key";
const LINE_MS_MAX = 10_000;

// Runs one check and says how it went; a failure never stops the ones after it.
export async function check(name, body) {
  try {
    await body();
    console.log(`ok ${name}`);
  } catch (error) {
    const reason = String(error?.message ?? error).replace(/\s+/g, " ").slice(0, 400);
    console.log(`FAILED ${name}: ${error?.constructor?.name}: ${reason}`);
  }
}

// The error of this kind, and of no other, that a call must end with.
export async function raises(kind, call) {
  try {
    await call();
  } catch (error) {
    assert.ok(error instanceof kind, `${error?.constructor?.name} instead of ${kind.name}: ${error?.message}`);
    return error;
  }
  assert.fail(`no ${kind.name}`);
}

// A key of this part's own that one request a minute exhausts.
export const tightKey = (part) => process.env[`SMOKE_TIGHT_KEY_${part.toUpperCase().replaceAll("-", "_")}`];

// The next request that reaches this channel gets a 500.
export const failOnce = (channel) =>
  post(`${PROVIDER}/__fake/script`, {
    selector: { credential: `upstream-${channel}` },
    faults: [{ status: { status: 500 } }],
  });

// The first channel failed, its twin answered, and the access line tells both.
export async function checkFailover(requestId, channel) {
  const { attempts } = await record(requestId);
  assert.deepEqual(attempts.map((attempt) => attempt.channel), [channel, `${channel}-twin`]);
  assert.deepEqual(attempts.map((attempt) => attempt.status), [500, 200]);
}

// The access line of an exchange, which is written just after its answer has ended.
async function record(requestId) {
  const deadline = Date.now() + LINE_MS_MAX;
  while (Date.now() < deadline) {
    const lines = readFileSync(process.env.SMOKE_ACCESS_LOG, "utf8").split("\n").slice(0, -1).map((line) => JSON.parse(line));
    const found = lines.find((line) => line.request_id === requestId);
    if (found) return found;
    await pause(20);
  }
  assert.fail(`no access line for ${requestId}`);
}

async function post(url, body) {
  const headers = { "content-type": "application/json", authorization: "Bearer smoke" };
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  assert.equal(answer.status, 200);
  return answer.json();
}

// The text of every answer of the provider, asked without the gateway.
export async function providerText() {
  const messages = [{ role: "user", content: "hi" }];
  const answer = await post(`${PROVIDER}/v1/chat/completions`, { model: "gpt-4.1-mini", messages });
  return answer.choices[0].message.content;
}

export async function collect(stream) {
  const all = [];
  for await (const item of stream) all.push(item);
  return all;
}
