// A gateway and the fake provider behind it, as an operator starts them, and clients that ask.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const START_MS_MAX = 20000;

const announced = (child, pattern, what) => new Promise((resolve, reject) => {
  let text = "";
  const late = setTimeout(() => reject(new Error(`${what} does not start: ${text}`)), START_MS_MAX);
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (part) => {
      text += part;
      const match = text.match(pattern);
      if (match) { clearTimeout(late); resolve(match); }
    });
  }
  child.on("exit", () => { clearTimeout(late); reject(new Error(`${what} ended: ${text}`)); });
});

export class Provider {
  static async start(binary, pace) {
    const child = spawn(binary, ["mock", "--listen", "127.0.0.1:0", "--pace", pace], { stdio: ["ignore", "pipe", "pipe"] });
    const [, url] = await announced(child, /fake provider: (http\S+)/, "the fake provider");
    return Object.assign(new Provider(), { child, url });
  }

  /** The next requests with this credential meet these faults. */
  async fail(credential, ...faults) {
    const answer = await fetch(`${this.url}/__fake/script`, { method: "POST", body: JSON.stringify({ selector: { credential }, faults }) });
    if (!answer.ok) throw new Error(`script: ${await answer.text()}`);
  }

  stop() { this.child.kill("SIGKILL"); }
}

export class Gateway {
  /** `configuration` stands after `[server]` with its addresses. */
  static async start(binary, configuration) {
    const folder = mkdtempSync(join(tmpdir(), "tollgate-page-"));
    const own = Object.assign(new Gateway(), { binary, folder, file: join(folder, "tollgate.toml") });
    own.write(configuration);
    await own.run();
    return own;
  }

  async run() {
    this.child = spawn(this.binary, ["run", "-c", this.file], { stdio: ["ignore", "pipe", "pipe"] });
    const [, listen, admin] = await announced(this.child, /tollgate is up.*listen="?([\d.:]+).*admin="?([\d.:]+)/, "the gateway");
    Object.assign(this, { url: `http://${listen}`, admin: `http://${admin}` });
  }

  /** Another process in the place of the one that was killed. */
  async again() {
    const configuration = this.configuration();
    this.adminAt = this.admin.replace("http://", "");
    this.write(configuration);
    await this.run();
  }

  write(configuration) {
    writeFileSync(`${this.file}.next`, `[server]\nlisten = ["127.0.0.1:0"]\nadmin = "${this.adminAt ?? "127.0.0.1:0"}"\n${configuration}`);
    renameSync(`${this.file}.next`, this.file);
  }

  configuration() { return readFileSync(this.file, "utf8").split("\n").slice(3).join("\n"); }

  /** Asks for a chat and reads it to its end; the exchange's id. */
  async chat(key, model, { stream = true, headers = {} } = {}) {
    const answer = await fetch(`${this.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
      body: JSON.stringify({ model, stream, messages: [{ role: "user", content: "Say hello" }] }),
    });
    await answer.text().catch(() => ""); // a stream that was cut is one of the things to see
    return answer.headers.get("x-request-id");
  }

  async message(key, model, headers = {}) {
    const answer = await fetch(`${this.url}/v1/messages`, {
      method: "POST",
      headers: { "x-api-key": key, "anthropic-version": "2023-06-01", "content-type": "application/json", ...headers },
      body: JSON.stringify({ model, stream: true, max_tokens: 512, messages: [{ role: "user", content: "Say hello" }] }),
    });
    await answer.text().catch(() => "");
    return answer.headers.get("request-id");
  }

  async status() { return (await fetch(`${this.admin}/api/status?detail=1`)).json(); }

  stop() {
    this.child.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}
