// Light or dark as the user chose. Gradio's pages are made once for all users: they ask here.
(() => {
  const chosen = document.cookie.match(/(?:^|; )platelake_theme=(light|dark)/)?.[1];
  if (!chosen) return;
  document.documentElement.dataset.theme = chosen;
  const here = new URL(location.href);
  if (here.searchParams.get("__theme") === chosen) return;
  here.searchParams.set("__theme", chosen);
  history.replaceState(history.state, "", here);
})();
