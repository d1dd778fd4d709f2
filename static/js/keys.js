// A key's form: the models of the chosen group, searched; the date only where it is asked for; one send a form.
(() => {
  for (const form of document.querySelectorAll("[data-key-form]")) {
    const group = form.elements.group;
    const list = form.querySelector("[data-models]");
    if (list && group) {
      const search = list.querySelector("[data-models-search]");
      const none = list.querySelector("[data-models-none]");
      const said = list.querySelector("[data-models-count]");
      const labels = [...list.querySelectorAll("[data-model]")];
      const show = () => {
        const wanted = search.value.trim().toLowerCase();
        let seen = 0;
        const chosen = [];
        for (const label of labels) {
          const box = label.querySelector("input");
          const inGroup = label.dataset.groups.split(" ").includes(group.value);
          if (box.checked) chosen.push(label.dataset.model);
          // What is chosen stays in sight: the group may lack it, and then it must be taken out.
          label.hidden = !(box.checked || (inGroup && label.dataset.model.toLowerCase().includes(wanted)));
          label.classList.toggle("elsewhere", !inGroup);
          seen += label.hidden ? 0 : 1;
        }
        none.hidden = seen > 0;
        said.textContent = chosen.length ? `${said.dataset.some} ${chosen.join(", ")}` : said.dataset.all;
      };
      search.addEventListener("input", show);
      search.addEventListener("keydown", (event) => {
        if (event.key === "Enter") event.preventDefault();
      });
      list.addEventListener("change", show);
      group.addEventListener("change", show);
      show();
    }
    const expiry = form.elements.expiry;
    const date = form.querySelector("[data-expiry-date]");
    if (expiry && date) {
      const toggle = () => {
        date.hidden = expiry.value !== "on";
      };
      expiry.addEventListener("change", toggle);
      toggle();
    }
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "yes";
    });
  }
  // Back from the next page, a form that the browser kept may be sent again: the server knows it was.
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("[data-key-form]")) delete form.dataset.sent;
  });
})();
