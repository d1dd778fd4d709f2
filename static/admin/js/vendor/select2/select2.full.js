// unfold asks for Select2 in full where Django's own fields ask for it minified: one is enough, and the small one.
(() => {
  const jQuery = window.django?.jQuery ?? window.jQuery;
  if (!jQuery?.fn.select2) {
    const small = document.currentScript.src.replace(/select2\.full\.js/, "select2.full.min.js");
    document.write(`<script src="${small}"></script>`);
  }
})();
