// Keys of the review: 1 good, 2 bad, 0 skip. A click on the photo enlarges it.
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  document.querySelector(`[data-key="${CSS.escape(event.key)}"]`)?.click();
});
document.getElementById("zoom").addEventListener("click", (event) => {
  const zoom = event.currentTarget;
  zoom.setAttribute("aria-pressed", String(zoom.getAttribute("aria-pressed") !== "true"));
});
