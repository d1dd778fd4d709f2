// The API docs: instant filters, sections that open for their links, the reader's key and model in the snippets.
// Everything is on the page without it; a key never leaves the page but to ask which models it may use.
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Filters

  const form = document.querySelector("[data-ref-filter]");
  if (form) {
    const entries = all("[data-entry]").map((element) => ({
      element,
      text: [
        element.id.replace("api-", ""),
        element.querySelector("summary").textContent,
        ...all("p:first-child, .pairs dd, .ref-params th[scope=row]", element).map((part) => part.textContent),
      ]
        .join(" ")
        .toLowerCase(),
    }));
    const said = document.querySelector("[data-found]");
    const before = said.textContent;
    const none = document.querySelector("[data-none]");
    const apply = () => {
      const wanted = Object.fromEntries(new FormData(form));
      const words = wanted.q.toLowerCase().split(/\s+/).filter(Boolean);
      let found = 0;
      for (const { element, text } of entries) {
        const fits =
          (!wanted.method || element.dataset.method === wanted.method) &&
          (!wanted.category || element.dataset.category === wanted.category) &&
          (!wanted.provider || element.dataset.provider.split(", ").includes(wanted.provider)) &&
          words.every((word) => text.includes(word));
        element.hidden = !fits;
        found += fits;
      }
      for (const group of all("[data-group]")) group.hidden = !group.querySelector("[data-entry]:not([hidden])");
      for (const link of all("[data-nav]")) {
        const target = document.getElementById(link.dataset.nav);
        link.parentElement.hidden = !target || target.hidden;
      }
      none.hidden = found > 0;
      const narrowed = words.length || wanted.method || wanted.category || wanted.provider;
      said.textContent = narrowed ? `${found} ${said.dataset.many}.` : before;
    };
    // A page that came narrowed down holds only what was found: its filters go to the server again.
    if (!/[?&](q|method|category|provider)=[^&]/.test(location.search)) {
      form.addEventListener("input", apply);
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        apply();
      });
      document.querySelector("[data-clear]").addEventListener("click", (event) => {
        event.preventDefault();
        form.reset();
        apply();
        form.elements.q.focus();
      });
    } else {
      form.addEventListener("change", () => form.requestSubmit());
    }
  }

  // Links to a section

  const openTarget = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target || target.tagName !== "DETAILS") return;
    target.hidden = false;
    target.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", openTarget);
  openTarget();
  const nav = document.querySelector("[data-ref-nav]");
  nav?.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link) return;
    if (link.hash === location.hash) openTarget();
    if (nav.matches(":popover-open")) nav.hidePopover();
  });

  // A language that is chosen once is chosen everywhere on the page.

  document.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    const box = tab?.closest("[data-tabs=snippet]");
    if (!box || !event.isTrusted) return;
    const top = tab.getBoundingClientRect().top;
    for (const other of all("[data-tabs=snippet] > .tabs > [role=tab]")) {
      if (other.textContent === tab.textContent && other.getAttribute("aria-selected") !== "true") other.click();
    }
    scrollBy({ top: tab.getBoundingClientRect().top - top, behavior: "instant" });
  });

  // The reader's key and model

  const box = document.querySelector("[data-ref-key]");
  if (!box) return;
  const PLACEHOLDER = "sk-xxxx";
  const keyInput = document.getElementById("ref-key");
  const modelInput = document.getElementById("ref-model");
  const list = document.getElementById("ref-models");
  const saidModels = box.querySelector("[data-models-said]");
  const made = box.dataset.key;
  // What a snippet calls its model: what the server put there, else the endpoint's own example.
  const asServed = modelInput.dataset.shown === "gpt-4o" ? "" : modelInput.dataset.shown;
  const modelIn = (code) => {
    const example = code.closest("[data-model]")?.dataset.model;
    return example && (asServed || example);
  };
  const codes = all("[data-fill]").map((code) => ({
    code,
    text: made ? code.textContent.replaceAll(made, PLACEHOLDER) : code.textContent,
    model: modelIn(code),
  }));
  const isKey = (text) => /^sk-[A-Za-z0-9]{48}$/.test(text);
  const fill = () => {
    const typed = keyInput?.value.trim() ?? "";
    const key = made || (isKey(typed) ? typed : PLACEHOLDER);
    const model = /^[A-Za-z0-9._:/@+-]{1,100}$/.test(modelInput.value.trim()) ? modelInput.value.trim() : "";
    for (const { code, text, model: example } of codes) {
      const named = example && model ? text.replaceAll(example, model) : text;
      code.textContent = named.replaceAll(PLACEHOLDER, key);
    }
  };
  const askModels = async (key) => {
    let models;
    try {
      const answer = await fetch("/v1/models", { headers: { authorization: `Bearer ${key}` } });
      if (!answer.ok) return;
      models = (await answer.json()).data;
    } catch {
      return; // The page is as good without.
    }
    const talking = models.filter((model) => model.pricing?.completion !== undefined).map((model) => model.id);
    list.replaceChildren(...talking.map((name) => Object.assign(document.createElement("option"), { value: name })));
    saidModels.textContent = `${talking.length} ${saidModels.dataset.said}`;
    if (!modelInput.value && talking.length && !talking.includes(modelInput.placeholder)) {
      modelInput.value = talking[0];
      fill();
    }
  };
  let asked = "";
  const consider = (key) => {
    if (!isKey(key) || key === asked) return;
    asked = key;
    askModels(key);
  };
  keyInput?.addEventListener("input", () => {
    fill();
    consider(keyInput.value.trim());
  });
  modelInput.addEventListener("input", fill);
  if (made) {
    // Reloading the page shall not make another key.
    history.replaceState(null, "", location.pathname.replace(/key\/$/, ""));
    consider(made);
  }
})();
