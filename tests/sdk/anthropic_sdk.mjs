// The official Anthropic SDK for Node.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { GATEWAY, KEY, WRONG_KEY, check, checkFailover, collect, failOnce, providerText, raises, tightKey } from "./smoke.mjs";

const model = "claude-sonnet-4-5";
const messages = [{ role: "user", content: "hi" }];
const asked = { model, max_tokens: 64, messages };
const text = await providerText();
const client = (base = "", apiKey = KEY) =>
  new Anthropic({ baseURL: GATEWAY + base, apiKey, maxRetries: 0, timeout: 30_000 });

for (const base of ["", "/", "/anthropic", "/api"]) {
  const sdk = client(base);
  const checks = {
    messages: async () => {
      const answer = await sdk.messages.create(asked);
      assert.deepEqual([answer.content[0].text, answer.model], [text, model]);
    },
    "messages stream": async () => {
      const answer = await sdk.messages.stream(asked).finalMessage();
      assert.deepEqual([answer.content[0].text, answer.stop_reason], [text, "end_turn"]);
    },
    "count tokens": async () => {
      assert.equal((await sdk.messages.countTokens({ model, messages })).input_tokens, 42);
    },
    models: async () => {
      const listed = (await collect(sdk.models.list())).map((item) => item.id);
      assert.ok(listed.includes(model), listed.join());
    },
  };
  for (const [name, body] of Object.entries(checks)) await check(`node anthropic '${base}' ${name}`, body);
}

await check("node anthropic wrong key", async () => {
  const error = await raises(Anthropic.AuthenticationError, () => client("", WRONG_KEY).messages.create(asked));
  assert.equal(error.error.error.code, "invalid_api_key");
});

await check("node anthropic unknown model", async () => {
  const ask = () => client().messages.create({ ...asked, model: "nobody-serves-this" });
  assert.equal((await raises(Anthropic.NotFoundError, ask)).error.error.code, "model_not_found");
});

await check("node anthropic exhausted rate", async () => {
  const ask = () => client("", tightKey("node-anthropic")).messages.create(asked);
  await ask();
  const error = await raises(Anthropic.RateLimitError, ask);
  assert.ok(Number(error.headers.get("retry-after")) > 0);
});

await check("node anthropic failover", async () => {
  await failOnce("anthropic");
  const { data, response } = await client().messages.create(asked).withResponse();
  assert.equal(data.content[0].text, text);
  await checkFailover(response.headers.get("request-id"), "anthropic");
});
