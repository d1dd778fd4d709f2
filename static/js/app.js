// What every page has: theme, copy buttons, confirm dialogs, menus that close, tabs, notices one can dismiss.
// Each is delegated or idempotent, so that it holds for content that htmx brings; every page works without it.
(() => {
  const root = document.documentElement;

  const store = (name, value) => {
    try {
      if (value === null) localStorage.removeItem(name);
      else localStorage.setItem(name, value);
    } catch {
      // Storage may be refused; the choice then holds for this page.
    }
  };
  const stored = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  };

  const showTheme = () => {
    const current = root.dataset.theme || "auto";
    for (const button of document.querySelectorAll("[data-theme-set]")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeSet === current));
    }
  };
  const setTheme = (theme) => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    store("theme", theme === "auto" ? null : theme);
    showTheme();
  };

  const copy = async (button) => {
    const from = button.dataset.copyFrom && document.querySelector(button.dataset.copyFrom);
    const text = from ? (from.value ?? from.textContent) : button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // No permission, or a page without TLS: the old way still works there.
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "visually-hidden";
      button.after(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.classList.add("copied");
    const said = button.querySelector("[data-copy-said]");
    if (said) said.textContent = button.dataset.done;
    setTimeout(() => {
      button.classList.remove("copied");
      if (said) said.textContent = button.dataset.label;
    }, 1800);
  };

  const confirmed = new WeakSet();
  const ask = (form, submitter) => {
    const dialog = document.getElementById("confirm");
    dialog.querySelector("[data-confirm-text]").textContent = (submitter ?? form).dataset.confirm ?? form.dataset.confirm;
    const yes = dialog.querySelector("[value=yes]");
    yes.textContent = submitter?.textContent.trim() || yes.dataset.label;
    dialog.returnValue = "";
    dialog.onclose = () => {
      if (dialog.returnValue !== "yes") return;
      confirmed.add(form);
      form.requestSubmit(submitter ?? undefined);
    };
    dialog.showModal();
  };

  const closeMenus = (except) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!except || !menu.contains(except)) menu.open = false;
    }
  };

  const makeTabs = (box) => {
    const panels = [...box.querySelectorAll(":scope > [data-tab]")];
    if (panels.length < 2 || box.dataset.ready) return;
    box.dataset.ready = "yes";
    const list = document.createElement("div");
    list.className = "tabs";
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", box.getAttribute("aria-label") || "");
    const group = `tab-${box.dataset.tabs}`;
    const tabs = panels.map((panel, at) => {
      const tab = document.createElement("button");
      tab.type = "button";
      tab.textContent = panel.dataset.tab;
      tab.setAttribute("role", "tab");
      panel.setAttribute("role", "tabpanel");
      panel.id ||= `panel-${Math.random().toString(36).slice(2)}`;
      tab.id = `${panel.id}-tab`;
      tab.setAttribute("aria-controls", panel.id);
      panel.setAttribute("aria-labelledby", tab.id);
      tab.addEventListener("click", () => select(at, true));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const next = (at + step + tabs.length) % tabs.length;
        select(next, true);
        tabs[next].focus();
      });
      list.append(tab);
      return tab;
    });
    const select = (chosen, remember) => {
      tabs.forEach((tab, at) => {
        tab.setAttribute("aria-selected", String(at === chosen));
        tab.tabIndex = at === chosen ? 0 : -1;
        panels[at].hidden = at !== chosen;
      });
      if (remember && box.dataset.tabs) store(group, panels[chosen].dataset.tab);
    };
    box.prepend(list);
    const last = box.dataset.tabs && panels.findIndex((panel) => panel.dataset.tab === stored(group));
    select(last > 0 ? last : 0, false);
  };

  // What scrolls can be scrolled with the keyboard.
  const widths = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
      if (scrolls) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });

  const prepare = (part) => {
    for (const box of part.querySelectorAll("[data-tabs]")) makeTabs(box);
    for (const box of part.querySelectorAll(".table-wrap, pre")) widths.observe(box);
    showTheme();
  };

  document.addEventListener("click", (event) => {
    const hit = (selector) => event.target.closest(selector);
    closeMenus(event.target);
    const theme = hit("[data-theme-set]");
    if (theme) setTheme(theme.dataset.themeSet);
    const button = hit("[data-copy], [data-copy-from]");
    if (button) copy(button);
    hit("[data-dismiss]")?.closest(".notice")?.remove();
    if (hit("[data-print]")) window.print();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      const open = document.querySelector("details.menu[open]");
      if (open) {
        open.open = false;
        open.querySelector("summary").focus();
      }
    }
    if (event.key === "/" && !event.target.closest("input, textarea, select, [contenteditable]")) {
      const search = document.querySelector("main input[type=search]");
      if (search) {
        event.preventDefault();
        search.focus();
      }
    }
  });
  // In the capture phase: it comes before htmx, which would send the form unasked.
  document.addEventListener(
    "submit",
    (event) => {
      const form = event.target;
      const asked = event.submitter?.dataset.confirm ?? form.dataset.confirm;
      if (!asked || confirmed.delete(form)) return;
      event.preventDefault();
      event.stopPropagation();
      ask(form, event.submitter);
    },
    true,
  );
  document.addEventListener("change", (event) => {
    if (event.target.closest("[data-autosubmit]")) event.target.form.requestSubmit();
  });
  // Filters that are not set stay out of the address.
  document.addEventListener("htmx:configRequest", (event) => {
    const { verb, parameters } = event.detail;
    if (verb !== "get") return;
    for (const [name, value] of Object.entries(parameters)) if (value === "") delete parameters[name];
  });
  document.addEventListener("htmx:load", (event) => prepare(event.detail.elt));
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => prepare(document));
  else prepare(document);
})();
