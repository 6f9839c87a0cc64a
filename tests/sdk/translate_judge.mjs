// The official SDKs for Node as judges of translation: every expected answer, stream and error of the cases in
// tests/fixtures/translate is served to the SDK of its protocol by a server of this process, and must be read as what it
// is. Their types are gone at run time, so what is held here is their behaviour: accumulation, helpers, errors.
//
// Part of `tests/sdk/run`; alone: copy it beside an installed `package.json` and name the folder of cases.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import Anthropic from "@anthropic-ai/sdk";
import { ApiError, GoogleGenAI } from "@google/genai";
import OpenAI from "openai";

const CASES = process.argv[2] ?? new URL("../fixtures/translate", import.meta.url).pathname;
// The SDK has no type for free text in pieces, which the API sends all the same.
const UNTYPED = ["responses/free_text/stream.chat.sse"];
const ENDS = ["Whole", "Failed", "Cut"];
// More than this many of each kind there are; fewer means that the folder was not found.
const JUDGED_MIN = { response: 100, stream: 100, error: 30 };

// Google's SDK remarks on answers that are not of text alone.
console.warn = () => {};

// What the server answers with, by the first segment of the path.
const served = new Map();
const server = createServer((request, response) => {
  const { status, type, body } = served.get(request.url.split("/")[1]);
  request.resume().on("end", () => response.writeHead(status, { "content-type": type }).end(body));
});

const retries = { apiKey: "x", maxRetries: 0 };
const openai = (baseURL) => new OpenAI({ ...retries, baseURL });
const anthropic = (baseURL) => new Anthropic({ ...retries, baseURL });
const gemini = (baseUrl) => new GoogleGenAI({ apiKey: "x", vertexai: false, httpOptions: { baseUrl } }).models;
const chatAsk = { model: "x", messages: [{ role: "user", content: "x" }] };
const anthropicAsk = { ...chatAsk, max_tokens: 1 };
const responsesAsk = { model: "x", input: "x" };
const geminiAsk = { model: "x", contents: "x" };

const plain = (value) => JSON.parse(JSON.stringify(value));
const events = (body) => body.split("\n").filter((line) => line.startsWith("data: {")).map((line) => JSON.parse(line.slice(6)));
const joined = (texts) => texts.filter((text) => text !== undefined && text !== null).join("");
// What is there must be there; what an SDK adds of its own is its own.
function holds(read, written, at = "") {
  if (written === null || typeof written !== "object") return assert.equal(read ?? null, written, at);
  for (const key of Object.keys(written)) holds(read?.[key], written[key], `${at}.${key}`);
}

const ANSWERS = {
  async chat(base, written) {
    const read = await openai(base).chat.completions.create(chatAsk);
    holds(plain(read), written);
  },
  async responses(base, written) {
    const read = await openai(base).responses.create(responsesAsk);
    const parts = written.output.flatMap((item) => (item.type === "message" ? item.content : []));
    assert.equal(read.output_text, joined(parts.map((part) => part.text)));
    holds(plain(read), written);
  },
  async anthropic(base, written) {
    holds(plain(await anthropic(base).messages.create(anthropicAsk)), written);
  },
  async gemini(base, written) {
    const read = await gemini(base).generateContent(geminiAsk);
    const parts = written.candidates?.[0]?.content?.parts ?? [];
    const said = joined(parts.filter((part) => !part.thought).map((part) => part.text));
    assert.equal(read.text ?? "", said);
    assert.equal(read.functionCalls?.length ?? 0, parts.filter((part) => part.functionCall).length);
    holds(plain(read.usageMetadata), written.usageMetadata);
    assert.equal(read.candidates[0].finishReason, written.candidates[0].finishReason);
  },
};

const STREAMS = {
  async chat(base, body) {
    const chunks = events(body);
    const deltas = chunks.flatMap((chunk) => chunk.choices).map((choice) => choice.delta);
    const stream = openai(base).chat.completions.stream(chatAsk);
    const read = await stream.finalChatCompletion();
    const { message } = read.choices[0];
    assert.equal(message.content ?? "", joined(deltas.map((delta) => delta.content)));
    assert.equal(message.refusal ?? "", joined(deltas.map((delta) => delta.refusal)));
    const calls = new Map();
    for (const call of deltas.flatMap((delta) => delta.tool_calls ?? [])) {
      const known = calls.get(call.index) ?? { id: call.id, name: call.function?.name, arguments: "" };
      known.arguments += call.function?.arguments ?? "";
      calls.set(call.index, known);
    }
    const found = (message.tool_calls ?? []).map((call) => ({ id: call.id, name: call.function.name, arguments: call.function.arguments }));
    assert.deepEqual(found, [...calls.values()]);
    // A call that was cut is cut.
    if (read.choices[0].finish_reason === "tool_calls") for (const call of found) JSON.parse(call.arguments);
    const usage = chunks.map((chunk) => chunk.usage).find((usage) => usage);
    if (usage) holds(plain(read.usage), usage);
  },
  async responses(base, body) {
    const stream = openai(base).responses.stream(responsesAsk);
    const seen = [];
    stream.on("event", (event) => seen.push(event.sequence_number));
    const read = plain(await stream.finalResponse());
    const last = events(body).at(-1).response;
    holds(read, last);
    assert.deepEqual(seen, seen.map((_, at) => at));
    // What was said on the way is what is repeated at the end.
    const deltas = events(body).filter((event) => event.type === "response.output_text.delta");
    const parts = last.output.flatMap((item) => (item.type === "message" ? item.content : []));
    assert.equal(joined(deltas.map((event) => event.delta)), joined(parts.map((part) => part.text)));
    const done = events(body).filter((event) => event.type === "response.output_item.done");
    assert.deepEqual(done.map((event) => event.item), last.output);
  },
  async anthropic(base, body) {
    const stream = anthropic(base).messages.stream(anthropicAsk);
    const read = await stream.finalMessage();
    const deltas = events(body).filter((event) => event.type === "content_block_delta").map((event) => event.delta);
    const said = (kind, member) => joined(deltas.filter((delta) => delta.type === kind).map((delta) => delta[member]));
    const blocks = (kind) => read.content.filter((block) => block.type === kind);
    assert.equal(joined(blocks("text").map((block) => block.text)), said("text_delta", "text"));
    assert.equal(joined(blocks("thinking").map((block) => block.thinking)), said("thinking_delta", "thinking"));
    assert.equal(joined(blocks("thinking").map((block) => block.signature)), said("signature_delta", "signature"));
    for (const block of blocks("tool_use")) assert.equal(typeof block.input, "object");
    const end = events(body).find((event) => event.type === "message_delta");
    assert.equal(read.stop_reason, end.delta.stop_reason);
    assert.equal(read.usage.output_tokens, end.usage.output_tokens);
  },
  async gemini(base, body) {
    const read = [];
    for await (const chunk of await gemini(base).generateContentStream(geminiAsk)) read.push(chunk);
    const parts = (chunks) => chunks.flatMap((chunk) => chunk.candidates?.[0]?.content?.parts ?? []);
    assert.deepEqual(plain(parts(read)), parts(events(body)));
    assert.equal(read.at(-1).candidates[0].finishReason, events(body).at(-1).candidates[0].finishReason);
  },
};

// The error that a call must end with: its status where it is an answer, its words in any case.
async function refused(kind, call, check) {
  const error = await call().then(() => assert.fail("it was read as an answer"), (error) => error);
  if (error instanceof assert.AssertionError) throw error;
  assert.ok(error instanceof kind, `${error?.constructor?.name}: ${error?.message}`);
  check(error);
}

const ASKED = {
  chat: (base) => openai(base).chat.completions.create(chatAsk),
  responses: (base) => openai(base).responses.create(responsesAsk),
  anthropic: (base) => anthropic(base).messages.create(anthropicAsk),
  gemini: (base) => gemini(base).generateContent(geminiAsk),
};
const KINDS = { chat: OpenAI.APIError, responses: OpenAI.APIError, anthropic: Anthropic.APIError, gemini: ApiError };

function error(protocol, base, written, status) {
  return refused(KINDS[protocol], () => ASKED[protocol](base), (error) => {
    assert.equal(error.status, status);
    const { message } = written.error;
    // Two of them put the whole body into the message.
    const quoted = protocol === "gemini" || protocol === "anthropic";
    assert.ok(error.message.includes(quoted ? JSON.stringify(message).slice(1, -1) : message), error.message);
    if (protocol === "anthropic") assert.deepEqual(error.error.error, written.error);
    if (protocol === "chat" || protocol === "responses") assert.deepEqual([error.code, error.type], [written.error.code, written.error.type]);
  });
}

const read = async (stream) => {
  for await (const _ of await stream);
};
// A stream that fails: the SDK throws, and says what the provider said.
const FAILED = {
  chat: (base) => read(openai(base).chat.completions.create({ ...chatAsk, stream: true })),
  responses: (base) => read(openai(base).responses.create({ ...responsesAsk, stream: true })),
  anthropic: (base) => read(anthropic(base).messages.create({ ...anthropicAsk, stream: true })),
  gemini: (base) => read(gemini(base).generateContentStream(geminiAsk)),
};

function failed(protocol, base, body) {
  const { error } = events(body).at(-1);
  return refused(KINDS[protocol], () => FAILED[protocol](base), (thrown) => {
    assert.ok(thrown.message.includes(protocol === "gemini" ? JSON.stringify(error.message).slice(1, -1) : error.message), thrown.message);
  });
}

// One expected file: its kind where it was judged.
async function judge(name, text) {
  const [kind, protocol] = name.split("/").at(-1).split(".");
  if (UNTYPED.includes(name)) return undefined;
  if (!ANSWERS[protocol] || !["response", "stream", "error"].includes(kind) || text.startsWith("// refused")) return undefined;
  const lines = text.split("\n");
  const body = lines.filter((line) => !line.startsWith("// ")).join("\n");
  const notes = lines.filter((line) => line.startsWith("// ")).map((line) => line.slice(3));
  const status = Number(notes.find((note) => note.startsWith("status "))?.slice(7) ?? 200);
  const base = await serve({ status, type: kind === "stream" ? "text/event-stream" : "application/json", body });
  if (status !== 200) {
    await error(protocol, base, JSON.parse(body), status);
    return "error";
  }
  if (kind === "response") await ANSWERS[protocol](base, JSON.parse(body));
  else if (notes.at(-1) === "Whole") await STREAMS[protocol](base, body);
  else if (notes.at(-1) === "Failed") await failed(protocol, base, body);
  else {
    // What was cut must not be read as whole: that is the gateway's to show, by cutting its own answer.
    assert.ok(ENDS.includes(notes.at(-1)), name);
    return undefined;
  }
  return kind;
}

async function serve(answer) {
  const path = String(served.size);
  served.set(path, answer);
  return `http://127.0.0.1:${server.address().port}/${path}`;
}

server.listen(0, "127.0.0.1");
await once(server, "listening");
const judged = {};
for (const entry of readdirSync(CASES, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())) {
  const path = join(entry.parentPath, entry.name);
  const name = path.slice(CASES.length + 1);
  try {
    const kind = await judge(name, readFileSync(path, "utf8"));
    if (kind) judged[kind] = (judged[kind] ?? 0) + 1;
  } catch (problem) {
    const said = String(problem?.message ?? problem).replace(/\s+/g, " ").slice(0, 400);
    console.log(`FAILED node translated ${name}: ${problem?.constructor?.name}: ${said}`);
    process.exitCode = 1;
  }
}
server.close();
server.closeAllConnections();
for (const [kind, least] of Object.entries(JUDGED_MIN)) {
  assert.ok(judged[kind] >= least, `${kind}: ${judged[kind]}`);
  console.log(`ok node translated: ${judged[kind]} of kind ${kind} are read as what they are`);
}
