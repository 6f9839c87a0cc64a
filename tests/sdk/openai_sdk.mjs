// The official OpenAI SDK for Node.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import OpenAI, { toFile } from "openai";
import WebSocket from "ws";
import { GATEWAY, KEY, WRONG_KEY, check, checkFailover, collect, failOnce, providerText, raises, tightKey } from "./smoke.mjs";

const model = "gpt-4.1-mini";
const messages = [{ role: "user", content: "hi" }];
const text = await providerText();
const client = (base = "/v1", apiKey = KEY) =>
  new OpenAI({ baseURL: GATEWAY + base, apiKey, maxRetries: 0, timeout: 30_000 });

for (const base of ["/v1", "/v1/", "/api/v1", "/api/v1/", "/openai/v1"]) {
  const sdk = client(base);
  const checks = {
    models: async () => {
      const listed = (await collect(sdk.models.list())).map((item) => item.id);
      assert.ok(listed.includes(model), listed.join());
      assert.equal((await sdk.models.retrieve(model)).id, model);
    },
    chat: async () => {
      const answer = await sdk.chat.completions.create({ model, messages });
      assert.equal(answer.choices[0].message.content, text);
      assert.equal(answer.usage.completion_tokens, 17);
    },
    "chat stream": async () => {
      const chunks = await collect(await sdk.chat.completions.create({ model, messages, stream: true }));
      assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join(""), text);
    },
    responses: async () => {
      assert.equal((await sdk.responses.create({ model, input: "hi" })).output_text, text);
    },
    "responses stream": async () => {
      const answer = await sdk.responses.stream({ model, input: "hi" }).finalResponse();
      assert.equal(answer.output_text, text);
    },
    embeddings: async () => {
      // Without a wish the SDK asks for base64 and decodes it itself.
      const answer = await sdk.embeddings.create({ model: "text-embedding-3-small", input: ["a", "b"] });
      assert.equal(answer.data.length, 2);
      assert.equal(typeof answer.data[1].embedding[0], "number");
    },
  };
  for (const [name, body] of Object.entries(checks)) await check(`node openai ${base} ${name}`, body);
}

await check("node openai files", async () => {
  const content = Buffer.alloc(1 << 20, "tollgate ");
  const made = await client().files.create({ file: await toFile(content, "batch.bin"), purpose: "batch" });
  const back = await client().files.content(made.id);
  assert.ok(content.equals(Buffer.from(await back.arrayBuffer())));
  assert.ok((await client().files.delete(made.id)).deleted);
});

// The events of a session up to the end of its first answer, and the code it was closed with.
const conversation = (socket, send) =>
  new Promise((resolve, reject) => {
    const events = [];
    socket.on("error", reject);
    socket.on("message", (text) => {
      const event = JSON.parse(text);
      events.push(event);
      if (event.type === "session.created") send({ type: "response.create" });
      if (event.type === "response.done") socket.close(1000, "done");
    });
    socket.on("close", (code) => resolve({ code, events }));
  });

// The SDK's own class speaks through TLS only, whatever the base URL says: this opens what it opens, without.
const opened = (query) => {
  const url = `${GATEWAY.replace("http", "ws")}/v1/realtime?${query}`;
  return new WebSocket(url, { headers: { Authorization: `Bearer ${KEY}` } });
};

await check("node openai realtime", async () => {
  const socket = opened("model=my-voice");
  const { code, events } = await conversation(socket, (event) => socket.send(JSON.stringify(event)));
  assert.equal(events[0].session.model, "my-voice");
  assert.equal(events.at(-1).response.usage.output_tokens, 10);
  assert.equal(code, 1000);
});

await check("node openai realtime for transcription", async () => {
  const socket = opened("intent=transcription");
  const { code } = await conversation(socket, (event) => socket.send(JSON.stringify(event)));
  assert.equal(code, 1000);
});

await check("node realtime as browsers open it", async () => {
  const url = `${GATEWAY.replace("http", "ws")}/v1/realtime?model=gpt-realtime`;
  const socket = new WebSocket(url, ["realtime", `openai-insecure-api-key.${KEY}`]);
  const { code, events } = await conversation(socket, (event) => socket.send(JSON.stringify(event)));
  assert.equal(socket.protocol, "realtime");
  assert.equal(socket.extensions, "");
  assert.equal(events.at(-1).type, "response.done");
  assert.equal(code, 1000);
});

const content = Buffer.alloc(1 << 20, "tollgate ");
const digest = createHash("sha256").update(content).digest("hex");

await check("node openai images", async () => {
  const sdk = client();
  const made = await sdk.images.generate({ model: "gpt-image-1", prompt: "a tollgate" });
  assert.ok(Buffer.from(made.data[0].b64_json, "base64").length > 0);
  assert.equal(made.usage.output_tokens, 17);
  const image = await toFile(content, "a.png", { type: "image/png" });
  const edited = await sdk.images.edit({ model: "gpt-image-1", image, prompt: "wider" });
  assert.equal(edited.sha256, digest);
  const events = await collect(await sdk.images.generate({ model: "gpt-image-1", prompt: "a", stream: true }));
  assert.equal(events.at(-1).type, "image_generation.completed");
});

await check("node openai speech", async () => {
  const answer = await client().audio.speech.create({ model: "gpt-4o-mini-tts", voice: "alloy", input: "hi" });
  const path = join(process.env.HOME, "speech-node.mp3");
  await pipeline(answer.body, createWriteStream(path));
  const all = Buffer.from([...Array(256).keys()].reverse());
  assert.ok((await readFile(path)).equals(Buffer.concat(Array(16).fill(all))));
});

await check("node openai transcriptions", async () => {
  const sdk = client();
  const file = () => toFile(content, "a.wav");
  const heard = await sdk.audio.transcriptions.create({ model: "my-ears", file: await file() });
  assert.deepEqual([heard.text, heard.sha256], [text, digest]);
  const stream = await sdk.audio.transcriptions.create({ model: "my-ears", file: await file(), stream: true });
  assert.equal((await collect(stream)).at(-1).text, text);
});

await check("node openai videos", async () => {
  const sdk = client();
  const reference = await toFile(content, "a.png", { type: "image/png" });
  const made = await sdk.videos.create({ model: "my-film", prompt: "a", input_reference: reference });
  assert.deepEqual([made.status, made.model, made.input_reference_sha256], ["queued", "my-film", digest]);
  await sdk.videos.retrieve(made.id);
  const done = await sdk.videos.retrieve(made.id);
  assert.deepEqual([done.id, done.status], [made.id, "completed"]);
  const film = Buffer.from(await (await sdk.videos.downloadContent(made.id)).arrayBuffer());
  assert.equal(film.length, 65536);
  const part = await sdk.videos.downloadContent(made.id, {}, { headers: { range: "bytes=0-9" } });
  assert.ok(Buffer.from(await part.arrayBuffer()).equals(film.subarray(0, 10)));
  const remixed = await sdk.videos.remix(made.id, { prompt: "b" });
  assert.equal(remixed.remixed_from_video_id, made.id);
  assert.equal((await sdk.videos.delete(made.id)).id, made.id);
  assert.equal((await raises(OpenAI.NotFoundError, () => sdk.videos.retrieve(made.id))).status, 404);
});

await check("node openai moderations", async () => {
  const answer = await client().moderations.create({ model: "omni-moderation-latest", input: ["a", "b"] });
  assert.deepEqual(answer.results.map((result) => result.flagged), [false, false]);
});

await check("node openai wrong key", async () => {
  const ask = () => client("/v1", WRONG_KEY).chat.completions.create({ model, messages });
  const error = await raises(OpenAI.AuthenticationError, ask);
  assert.deepEqual([error.status, error.code], [401, "invalid_api_key"]);
});

await check("node openai unknown model", async () => {
  const ask = () => client().chat.completions.create({ model: "nobody-serves-this", messages });
  assert.equal((await raises(OpenAI.NotFoundError, ask)).code, "model_not_found");
});

await check("node openai exhausted rate", async () => {
  const ask = () => client("/v1", tightKey("node-openai")).chat.completions.create({ model, messages });
  await ask();
  const error = await raises(OpenAI.RateLimitError, ask);
  assert.equal(error.code, "rate_limit_exceeded");
  assert.ok(Number(error.headers.get("retry-after")) > 0);
});

await check("node openai failover", async () => {
  await failOnce("openai");
  const { data, response } = await client().chat.completions.create({ model, messages }).withResponse();
  assert.equal(data.choices[0].message.content, text);
  await checkFailover(response.headers.get("x-request-id"), "openai");
});
