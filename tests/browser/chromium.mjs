// A Chromium without a window, spoken to in its own protocol over two pipes: no package, no port, no driver.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const NAMES = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
const ANSWER_MS_MAX = 30000;

/** The browser's program, where there is one. */
export const found = () => [process.env.CHROMIUM, ...NAMES].filter(Boolean).find((name) => spawnSync(name, ["--version"]).status === 0);

/** A running browser. */
export class Chromium {
  #child;
  #folder = mkdtempSync(join(tmpdir(), "tollgate-browser-"));
  #last = 0;
  #asked = new Map();
  #heard = [];

  constructor(program) {
    this.#child = spawn(program, ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-lcd-text", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
      "--force-color-profile=srgb", "--font-render-hinting=none", "--lang=en-GB", "--disable-background-networking", "--disable-component-update",
      `--user-data-dir=${this.#folder}`, "--remote-debugging-pipe", "about:blank"], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    let rest = "";
    this.#child.stdio[4].setEncoding("utf8").on("data", (text) => {
      const parts = (rest + text).split("\0");
      rest = parts.pop();
      for (const part of parts) this.#take(JSON.parse(part));
    });
  }

  /** A page of its own, with nothing remembered from the others. */
  async page() {
    const { browserContextId } = await this.send("Target.createBrowserContext");
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank", browserContextId });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, sessionId);
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await page.send(`${domain}.enable`);
    return page;
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.#last;
    this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`Chromium does not answer to ${method}`)), ANSWER_MS_MAX);
      this.#asked.set(id, { resolve, reject, late, method });
    });
  }

  onEvent(listener) { this.#heard.push(listener); }

  async close() {
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    await this.send("Browser.close").catch(() => this.#child.kill("SIGKILL"));
    await gone;
    try {
      rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    } catch {
      // A helper of the browser's may still write there: a temporary folder stays, nothing else.
    }
  }

  #take(message) {
    if (message.id === undefined) {
      for (const listener of this.#heard) listener(message);
      return;
    }
    const { resolve, reject, late, method } = this.#asked.get(message.id);
    this.#asked.delete(message.id);
    clearTimeout(late);
    if (message.error) reject(new Error(`${method}: ${message.error.message}`));
    else resolve(message.result);
  }
}

/** One page: what it complains about is kept. */
export class Page {
  complaints = [];
  requests = [];
  #browser;
  #session;
  #password = null;

  constructor(browser, session) {
    this.#browser = browser;
    this.#session = session;
    browser.onEvent(({ sessionId, method, params }) => {
      if (sessionId !== session) return;
      if (method === "Log.entryAdded") this.complaints.push(`${params.entry.source}: ${params.entry.text} ${params.entry.url ?? ""}`);
      if (method === "Runtime.exceptionThrown") this.complaints.push(`exception: ${params.exceptionDetails.exception?.description ?? params.exceptionDetails.text}`);
      if (method === "Runtime.consoleAPICalled") this.complaints.push(`console.${params.type}: ${params.args.map((one) => one.value).join(" ")}`);
      if (method === "Page.javascriptDialogOpening") {
        this.complaints.push(`dialog: ${params.message}`);
        this.#reply("Page.handleJavaScriptDialog", { accept: false });
      }
      if (method === "Network.requestWillBeSent") this.requests.push(params.request.url);
      if (method === "Fetch.requestPaused") this.#reply("Fetch.continueRequest", { requestId: params.requestId });
      if (method === "Fetch.authRequired") {
        const answer = this.#password === null ? { response: "CancelAuth" } : { response: "ProvideCredentials", username: "operator", password: this.#password };
        this.#reply("Fetch.continueWithAuth", { requestId: params.requestId, authChallengeResponse: answer });
      }
    });
  }

  send(method, params) { return this.#browser.send(method, params, this.#session); }

  /** Answers an event. A page that is closed meanwhile needs none; one that is there complains. */
  #reply(method, params) { this.send(method, params).catch((problem) => this.complaints.push(problem.message)); }

  /** Answers when the browser asks its user for a password. */
  async givePassword(password) {
    this.#password = password;
    await this.send("Fetch.enable", { handleAuthRequests: true });
  }

  async open(url) {
    await this.send("Page.navigate", { url });
    await this.until("the page is loaded", "document.readyState === 'complete'");
  }

  async eval(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value;
  }

  /** Looks again and again until it is so. */
  async until(what, expression, ms = 15000) {
    const end = Date.now() + ms;
    while (Date.now() < end) {
      if (await this.eval(expression).catch(() => false)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`never: ${what}`);
  }

  async press(key, code = key, text = undefined, modifiers = 0) {
    const virtual = { Tab: 9, Enter: 13, Escape: 27 }[key] ?? key.toUpperCase().charCodeAt(0);
    const common = { key, code, windowsVirtualKeyCode: virtual, modifiers };
    await this.send("Input.dispatchKeyEvent", { ...common, type: text === undefined ? "rawKeyDown" : "keyDown", text });
    await this.send("Input.dispatchKeyEvent", { ...common, type: "keyUp" });
  }

  async size(width, height, mobile = false) {
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile });
  }

  async colours(scheme) {
    await this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }, { name: "prefers-reduced-motion", value: "reduce" }] });
  }

  async picture() {
    const { data } = await this.send("Page.captureScreenshot", { format: "png", optimizeForSpeed: false });
    return Buffer.from(data, "base64");
  }
}
