// The management API's page: instant search, and a form under each operation that sends it from here, by the console's
// session or with a token that never leaves the page but in that request. Everything else is there without it.
(() => {
  const root = document.querySelector("[data-api-docs]");
  if (!root) return;
  const entries = [...root.querySelectorAll("[data-entry]")];
  const template = document.querySelector("[data-api-form]");
  const token = root.querySelector("[data-api-token]");

  // Search

  const search = root.querySelector("[data-api-search]");
  const said = root.querySelector("[data-api-found]");
  const texts = new Map(entries.map((entry) => [entry, `${entry.id} ${entry.querySelector("summary").textContent}`.toLowerCase()]));
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const [entry, text] of texts) {
      entry.hidden = !words.every((word) => text.includes(word));
      found += !entry.hidden;
    }
    for (const group of root.querySelectorAll("[data-group]")) group.hidden = !group.querySelector("[data-entry]:not([hidden])");
    said.textContent = words.length ? `${said.dataset.many} ${found}` : "";
  });

  root.querySelector("[data-api-tools]").addEventListener("submit", (event) => event.preventDefault());

  // A link to an operation opens it.
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target?.matches("[data-entry]")) {
      target.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", open);
  open();

  // Send

  const build = (entry) => {
    const form = template.content.cloneNode(true).querySelector("form");
    const fields = form.querySelector("[data-fields]");
    for (const row of entry.querySelectorAll("[data-param]")) {
      const id = `${entry.id}-try-${row.dataset.param}`;
      const label = document.createElement("label");
      label.htmlFor = id;
      label.textContent = row.dataset.param;
      const input = document.createElement(row.dataset.values ? "select" : "input");
      if (row.dataset.values) input.append(...["", ...row.dataset.values.split(",")].map((value) => new Option(value)));
      Object.assign(input, { id, name: row.dataset.param, autocomplete: "off", required: "required" in row.dataset });
      input.dataset.place = row.dataset.place;
      const field = document.createElement("div");
      field.className = "field";
      field.append(label, input);
      fields.append(field);
    }
    fields.hidden = !fields.children.length;
    const example = entry.querySelector(`[id="${entry.id}-body"]`);
    if (example) {
      const box = form.querySelector("[data-body]");
      const area = box.querySelector("textarea");
      area.id = `${entry.id}-try-body`;
      box.querySelector("label").htmlFor = area.id;
      area.value = example.textContent;
      box.hidden = false;
    }
    form.querySelector("[data-changes]").hidden = entry.dataset.method === "GET";
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      send(entry, form);
    });
    entry.querySelector(".ref-body").append(form);
  };

  const send = async (entry, form) => {
    const status = form.querySelector("[data-status]");
    const answer = form.querySelector("[data-answer]");
    const button = form.querySelector("button");
    let path = entry.dataset.path;
    const query = new URLSearchParams();
    for (const input of form.querySelectorAll("[data-place]")) {
      if (input.dataset.place === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.set(input.name, input.value);
    }
    const headers = {};
    const options = { method: entry.dataset.method, headers, credentials: "omit" };
    if (token.value.trim()) {
      headers.Authorization = `Bearer ${token.value.trim()}`;
    } else {
      options.credentials = "same-origin";
      if (root.dataset.csrf) headers["X-CSRFToken"] = root.dataset.csrf;
    }
    const area = form.querySelector("textarea");
    if (!form.querySelector("[data-body]").hidden) {
      headers["Content-Type"] = "application/json";
      options.body = area.value;
    }
    button.disabled = true;
    status.textContent = status.dataset.sending;
    try {
      const began = performance.now();
      const response = await fetch(`${path}${query.size ? `?${query}` : ""}`, options);
      const text = await response.text();
      status.textContent = `${response.status} ${response.statusText} · ${Math.round(performance.now() - began)} ms`;
      try {
        answer.textContent = JSON.stringify(JSON.parse(text), null, 2);
      } catch {
        answer.textContent = text;
      }
      answer.hidden = !text;
    } catch {
      status.textContent = status.dataset.failed;
      answer.hidden = true;
    } finally {
      button.disabled = false;
    }
  };

  root.addEventListener(
    "toggle",
    (event) => {
      const entry = event.target;
      if (entry.open && entry.matches("[data-entry]") && !entry.querySelector(".api-try")) build(entry);
    },
    true,
  );
  for (const entry of entries) if (entry.open) build(entry);
})();
