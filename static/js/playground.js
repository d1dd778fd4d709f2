// The playground. It talks to the relay as any client does: with a key, streaming, never with cookies. The key lives for
// minutes and only in this page's memory. What a model says becomes text nodes, never markup.
(() => {
  const form = document.getElementById("playground");
  if (!form) return;
  const { models, urls, errors, words } = JSON.parse(document.getElementById("playground-data").textContent);
  const at = (id) => document.getElementById(id);
  const say = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const SPARE = 30_000; // a key is renewed this long before it expires, in milliseconds
  const STALE_KEY = new Set(["invalid_api_key", "key_expired", "key_disabled"]);

  const make = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const usd = (amount) => {
    const [whole, rest] = amount.toFixed(9).split(".");
    return `$${whole}.${rest.replace(/0+$/, "").padEnd(2, "0")}`;
  };
  const span = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

  class Fault extends Error {
    constructor(title, text, { code = "", request = "" } = {}) {
      super(title);
      Object.assign(this, { title, text, code, request });
    }
  }

  // The key

  let held = null;
  let making = null;
  const newKey = async (group) => {
    const body = new URLSearchParams({ group, csrfmiddlewaretoken: form.csrfmiddlewaretoken.value });
    const asked = Date.now();
    const answer = await fetch(urls.key, { method: "POST", body });
    if (answer.redirected || answer.status === 403) throw new Fault(words.no_key, words.signed_out);
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Fault(words.no_key, said.error || "");
    held = { secret: said.key, group, until: asked + said.seconds * 1000 };
    return held.secret;
  };
  const keyFor = (group) => {
    if (held && held.group === group && held.until - Date.now() > SPARE) return held.secret;
    // Two panes that ask at once share one.
    making ||= newKey(group).finally(() => {
      making = null;
    });
    return making;
  };

  // One request

  const failure = async (answer) => {
    const said = await answer.json().catch(() => ({}));
    const error = said.error || {};
    const code = String(error.code || "");
    const title = errors[code] || words.failed;
    return new Fault(title, error.message || "", { code, request: answer.headers.get("x-request-id") });
  };

  const post = async (body, signal, group) => {
    for (let tries = 0; ; tries += 1) {
      const key = await keyFor(group);
      const answer = await fetch(urls.chat, {
        method: "POST",
        credentials: "omit",
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        body: JSON.stringify(body),
        signal,
      });
      if (answer.ok) return answer;
      const fault = await failure(answer);
      if (tries || !STALE_KEY.has(fault.code)) throw fault;
      held = null;
    }
  };

  // Yields the data of server-sent events, however the bytes are cut.
  async function* events(answer) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      const lines = (rest + (value || "")).split(/\r?\n/);
      rest = done ? "" : lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) yield line.slice(5).trim();
      }
      if (done) return;
    }
  }

  // What is seen of an answer

  const codeBlock = (lang, text) => {
    const box = make("div", "code");
    const head = make("div", "code-head");
    const button = make("button", "btn btn-quiet btn-small copy");
    button.type = "button";
    Object.assign(button.dataset, { copy: text, label: words.copy, done: words.copied });
    const label = make("span", "", words.copy);
    label.dataset.copySaid = "";
    button.append(label);
    head.append(make("span", "", lang), button);
    const pre = make("pre");
    pre.tabIndex = 0;
    pre.append(make("code", "", text));
    box.append(head, pre);
    return box;
  };

  // Fenced code becomes blocks once the answer is whole; everything else stays as it was written.
  const paint = (place, text) => {
    place.replaceChildren();
    const parts = text.split(/^```([^\n`]*)\n([\s\S]*?)(?:\n```[ \t]*$|$(?![\s\S]))/m);
    for (let index = 0; index < parts.length; index += 3) {
      const plain = parts[index].replace(/^\n+|\n+$/g, "");
      if (plain) place.append(make("p", "said", plain));
      if (index + 1 < parts.length) place.append(codeBlock(parts[index + 1].trim(), parts[index + 2]));
    }
  };

  const logLink = (request) => {
    const link = make("a", "", words.log);
    link.href = urls.log.replace("REQUEST", encodeURIComponent(request));
    return link;
  };

  let spent = 0;
  const addSpent = (cost) => {
    spent += cost;
    at("total").textContent = say(words.total, { cost: usd(spent) });
  };

  class Pane {
    constructor(section) {
      this.section = section;
      this.select = section.querySelector("[data-model]");
      this.thread = section.querySelector("[data-thread]");
      this.history = [];
      this.abort = null;
      this.nothing = this.thread.firstElementChild;
    }

    get shown() {
      return !this.section.hidden;
    }

    clear() {
      this.stop();
      this.history = [];
      this.thread.replaceChildren(this.nothing);
    }

    stop() {
      this.abort?.abort();
    }

    bubble(kind, who) {
      this.nothing.remove();
      const box = make("article", `turn turn-${kind}`);
      box.setAttribute("aria-label", who);
      box.append(make("p", "turn-who", who));
      this.thread.append(box);
      return box;
    }

    ask(text) {
      this.history.push({ role: "user", content: text });
      this.bubble("user", words.you).append(make("p", "said", text));
      return this.answer();
    }

    // Follows the end unless the reader has scrolled up.
    follow(change) {
      const { scrollTop, scrollHeight, clientHeight } = this.thread;
      const atEnd = scrollHeight - scrollTop - clientHeight < 60;
      change();
      if (atEnd) this.thread.scrollTop = this.thread.scrollHeight;
    }

    async answer() {
      const model = this.select.value;
      const box = this.bubble("model", model);
      const place = make("div", "turn-text");
      const waiting = make("p", "muted waiting", words.waiting);
      place.append(waiting);
      box.append(place);
      this.thread.scrollTop = this.thread.scrollHeight;
      box.scrollIntoView({ block: "nearest" });
      this.thread.setAttribute("aria-busy", "true");
      this.abort = new AbortController();
      const seen = { text: "", reasoning: "", usage: null, request: "", first: null, ended: false };
      const began = performance.now();
      try {
        await this.read(model, place, seen, began);
        if (seen.text) paint(place, seen.text);
        else place.replaceChildren(make("p", "muted", seen.ended ? words.empty : words.cut));
        if (seen.text && !seen.ended) place.append(make("p", "muted", words.cut));
      } catch (error) {
        const stopped = error.name === "AbortError";
        if (seen.text) paint(place, seen.text);
        else place.replaceChildren();
        if (stopped) place.append(make("p", "muted", words.stopped));
        else this.complain(place, error, seen);
      } finally {
        this.abort = null;
        this.thread.setAttribute("aria-busy", "false");
      }
      if (seen.text) this.history.push({ role: "assistant", content: seen.text });
      if (seen.request) this.follow(() => box.append(this.figures(seen, performance.now() - began)));
    }

    async read(model, place, seen, began) {
      const answer = await post(this.body(model), this.abort.signal, at("group").value);
      seen.request = answer.headers.get("x-request-id") || "";
      const live = make("p", "said");
      const thought = make("p", "said");
      for await (const data of events(answer)) {
        if (data === "[DONE]") continue;
        const chunk = JSON.parse(data);
        if (chunk.error) {
          const title = errors[chunk.error.code] || words.failed;
          throw new Fault(title, chunk.error.message || "", { request: seen.request });
        }
        if (chunk.usage) seen.usage = chunk.usage;
        const choice = chunk.choices?.[0];
        if (choice?.finish_reason) seen.ended = true;
        const text = choice?.delta?.content || "";
        const reasoning = choice?.delta?.reasoning_content || choice?.delta?.reasoning || "";
        if (!text && !reasoning) continue;
        this.follow(() => {
          if (seen.first === null) {
            seen.first = performance.now() - began;
            place.replaceChildren(live);
          }
          if (reasoning && !seen.reasoning) {
            const details = make("details", "more turn-thought");
            details.append(make("summary", "", words.reasoning), thought);
            place.before(details);
          }
          if (reasoning) thought.append(reasoning);
          if (text) live.append(text);
        });
        seen.text += text;
        seen.reasoning += reasoning;
      }
    }

    body(model) {
      const system = at("system").value.trim();
      const body = {
        model,
        messages: [...(system ? [{ role: "system", content: system }] : []), ...this.history],
        stream: true,
        stream_options: { include_usage: true },
      };
      const temperature = at("temperature").valueAsNumber;
      const cap = at("cap").valueAsNumber;
      if (!Number.isNaN(temperature)) body.temperature = temperature;
      if (cap > 0) body[models.find((row) => row.name === model).cap] = cap;
      return body;
    }

    complain(place, error, seen) {
      const fault = error instanceof Fault ? error : new Fault(words.failed, words.offline);
      if (fault.request) seen.request = fault.request;
      const notice = make("div", "notice notice-bad");
      notice.setAttribute("role", "alert");
      const inside = make("div");
      inside.append(make("strong", "", fault.title), make("p", "", fault.text));
      const again = make("button", "btn btn-small", words.retry);
      again.type = "button";
      again.addEventListener("click", () => {
        if (busy()) return;
        place.closest(".turn").remove();
        // Half an answer is not part of what is asked again.
        if (this.history.at(-1)?.role === "assistant") this.history.pop();
        run([this.answer()]);
      });
      inside.append(again);
      notice.append(inside);
      place.append(notice);
    }

    figures(seen, ms) {
      const line = make("p", "turn-figures");
      const { usage } = seen;
      const parts = [];
      if (usage) {
        const values = { input: usage.prompt_tokens.toLocaleString(), output: usage.completion_tokens.toLocaleString() };
        const tokens = make("span", "", say(words.tokens, values));
        tokens.title = words.tokens_title;
        parts.push(tokens);
        if (typeof usage.cost === "number") {
          parts.push(make("strong", "", usd(usage.cost)));
          addSpent(usage.cost);
        }
      }
      if (seen.first !== null) parts.push(make("span", "", say(words.first_byte, { time: span(seen.first) })));
      parts.push(make("span", "", span(ms)), logLink(seen.request));
      line.append(...parts);
      return line;
    }
  }

  const panes = [...form.querySelectorAll("[data-pane]")].map((section) => new Pane(section));
  const busy = () => panes.some((pane) => pane.abort);
  const prompt = at("prompt");

  const showBusy = (is) => {
    at("send").hidden = is;
    at("stop").hidden = !is;
  };
  const run = async (answers) => {
    showBusy(true);
    await Promise.allSettled(answers);
    showBusy(false);
    prompt.focus();
  };

  // Only models of the chosen group can be chosen; a choice that is not there any more falls to the first that is.
  const offerModels = () => {
    const group = at("group").value;
    const names = models.filter((row) => row.groups.includes(group)).map((row) => row.name);
    for (const pane of panes) {
      const before = pane.select.value;
      pane.select.replaceChildren(...names.map((name) => new Option(name, name)));
      pane.select.value = names.includes(before) ? before : names[0];
    }
  };
  const showPanes = () => {
    const two = at("compare").checked;
    const [first, second] = panes;
    second.section.hidden = !two;
    form.classList.toggle("two-panes", two);
    if (!two) second.clear();
    else if (second.select.value === first.select.value) {
      const other = [...second.select.options].find((option) => option.value !== first.select.value);
      if (other) second.select.value = other.value;
    }
  };

  // The first pane's conversation as a request to paste.

  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const asCurl = ({ stream, stream_options, ...body }) =>
    [
      `curl ${urls.base}${urls.chat} \\`,
      '  -H "Authorization: Bearer YOUR_KEY" \\',
      '  -H "Content-Type: application/json" \\',
      `  -d ${quoted(JSON.stringify(body, null, 2))}`,
    ].join("\n");
  const asPython = ({ stream, stream_options, ...rest }) => {
    const given = Object.entries(rest).map(
      ([name, value]) => `    ${name}=${JSON.stringify(value, null, 4).replaceAll("\n", "\n    ")},`,
    );
    return [
      "from openai import OpenAI",
      "",
      `client = OpenAI(base_url="${urls.base}/v1", api_key="YOUR_KEY")`,
      "answer = client.chat.completions.create(",
      ...given,
      ")",
      "print(answer.choices[0].message.content)",
      'print(answer.usage.cost, "USD")',
    ].join("\n");
  };
  const showCode = () => {
    const body = panes[0].body(panes[0].select.value);
    const text = prompt.value.trim();
    if (text) body.messages.push({ role: "user", content: text });
    if (!body.messages.length) body.messages.push({ role: "user", content: words.hello });
    at("code-blocks").replaceChildren(codeBlock("Python", asPython(body)), codeBlock("curl", asCurl(body)));
    at("code-dialog").showModal();
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = prompt.value.trim();
    if (!text || busy() || !form.reportValidity()) return;
    prompt.value = "";
    run(panes.filter((pane) => pane.shown).map((pane) => pane.ask(text)));
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  at("stop").addEventListener("click", () => panes.forEach((pane) => pane.stop()));
  at("clear").addEventListener("click", () => {
    panes.forEach((pane) => pane.clear());
    prompt.focus();
  });
  at("code").addEventListener("click", showCode);
  at("compare").addEventListener("change", showPanes);
  at("group").addEventListener("change", offerModels);
  form.querySelector(".play-more").addEventListener("toggle", (event) => {
    at("options").hidden = !event.target.open;
  });
  offerModels();
  showPanes();
})();
