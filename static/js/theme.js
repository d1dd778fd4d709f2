// Runs before the page is drawn, so that neither the theme nor what needs scripts flashes.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  let theme = null;
  try {
    theme = localStorage.getItem("theme");
  } catch {
    // Storage may be refused; then the system's theme holds.
  }
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
})();
