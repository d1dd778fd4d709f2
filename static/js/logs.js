// Usage Logs: the live tail, times in the reader's own zone, and dates only where they are asked for.
(() => {
  const local = (text) => new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
  const localise = (part) => {
    for (const time of part.querySelectorAll("time[datetime]")) {
      if ("local" in time.dataset) time.textContent = local(time.dateTime);
      else if (!time.dataset.told) {
        time.dataset.told = "yes";
        time.title = `${time.title} · ${local(time.dateTime)}`;
      }
    }
  };
  localise(document);

  const between = document.querySelector("[data-between]");
  if (between) {
    const period = document.querySelector("[data-log-form]").elements.period;
    const toggle = () => {
      between.hidden = period.value !== "between";
    };
    period.addEventListener("change", toggle);
    toggle();
  }

  const button = document.querySelector("[data-tail]");
  const body = document.querySelector("[data-log-rows]");
  const line = document.querySelector("[data-live]");
  if (!button || !body || !line) return;
  const said = line.querySelector("[data-live-said]");
  let mark = button.dataset.mark;
  let timer = 0;
  let on = false;

  const say = (name) => {
    if (said.dataset.now === name) return;
    said.dataset.now = name;
    said.textContent = said.dataset[name];
  };
  const look = async () => {
    try {
      const join = button.dataset.tail.endsWith("?") ? "" : "&";
      const answer = await fetch(`${button.dataset.tail}${join}seen=${mark}`, { headers: { "X-Requested-With": "fetch" } });
      if (answer.redirected || (answer.status !== 200 && answer.status !== 204)) throw new Error(String(answer.status));
      if (answer.status === 200) {
        mark = answer.headers.get("X-Mark");
        const known = new Set([...body.children].map((row) => row.id));
        const part = document.createElement("tbody");
        part.innerHTML = await answer.text();
        for (const row of part.children) if (!known.has(row.id)) row.classList.add("is-new");
        localise(part);
        const focused = document.activeElement?.closest("tr")?.id;
        body.replaceChildren(...part.children);
        document.querySelector("[data-log-table]").hidden = !body.children.length;
        const empty = document.querySelector("[data-log-empty]");
        if (empty) empty.hidden = body.children.length > 0;
        if (focused) document.getElementById(focused)?.querySelector("a")?.focus();
      }
      if (on) say(document.hidden ? "off" : "on");
    } catch {
      say("failed");
    }
    plan();
  };
  const plan = () => {
    clearTimeout(timer);
    if (on && !document.hidden) timer = setTimeout(look, 3000);
  };
  button.addEventListener("click", () => {
    on = !on;
    button.setAttribute("aria-pressed", String(on));
    line.hidden = !on;
    if (on) {
      say("on");
      look();
    } else clearTimeout(timer);
  });
  document.addEventListener("visibilitychange", () => {
    if (!on) return;
    if (document.hidden) {
      clearTimeout(timer);
      say("off");
    } else look();
  });
})();
