// Google's official Gen AI SDK for Node.
import assert from "node:assert/strict";
import { ApiError, GoogleGenAI } from "@google/genai";
import { GATEWAY, KEY, WRONG_KEY, check, collect, providerText, raises } from "./smoke.mjs";

const model = "gemini-2.5-flash";
const text = await providerText();
const client = (baseUrl, apiKey = KEY) => new GoogleGenAI({ apiKey, vertexai: false, httpOptions: { baseUrl, timeout: 30_000 } });

for (const base of ["", "/", "/gemini"]) {
  const sdk = client(GATEWAY + base);
  const checks = {
    generateContent: async () => {
      assert.equal((await sdk.models.generateContent({ model, contents: "hi" })).text, text);
    },
    generateContentStream: async () => {
      const parts = await collect(await sdk.models.generateContentStream({ model, contents: "hi" }));
      assert.equal(parts.map((part) => part.text ?? "").join(""), text);
    },
    models: async () => {
      const listed = (await collect(await sdk.models.list())).map((item) => item.name);
      assert.ok(listed.includes(`models/${model}`), listed.join());
    },
    countTokens: async () => {
      assert.equal((await sdk.models.countTokens({ model, contents: "hi" })).totalTokens, 42);
    },
  };
  for (const [name, body] of Object.entries(checks)) await check(`node google-genai '${base}' ${name}`, body);
}

await check("node google-genai wrong key", async () => {
  const ask = () => client(GATEWAY, WRONG_KEY).models.generateContent({ model, contents: "hi" });
  const error = await raises(ApiError, ask);
  assert.equal(error.status, 401);
});
