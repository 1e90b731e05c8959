// Photo and map: beside each other, over each other, or the photo alone; strength of the map; zoom.
const viewer = {
  of: (target) => target.closest?.(".viewer"),

  clicked(event) {
    const box = viewer.of(event.target), button = event.target.closest?.("button");
    if (!box || !button) return;
    if (button.dataset.show) viewer.show(box, button.dataset.show);
    if (button.dataset.zoom) viewer.zoom(box, Number(button.dataset.zoom));
  },

  show(box, how) {
    box.dataset.shown = how;
    for (const one of box.querySelectorAll("[data-show]")) {
      one.setAttribute("aria-pressed", String(one.dataset.show === how));
    }
  },

  // Zoom by a factor; 0 is the whole photo. Both pictures move together.
  zoom(box, by) {
    const before = Number(box.dataset.zoom ?? 1);
    const scale = by ? Math.min(8, Math.max(1, before * by)) : 1;
    box.dataset.zoom = scale;
    for (const pan of box.querySelectorAll(".pan")) {
      const x = (pan.scrollLeft + pan.clientWidth / 2) / before;
      const y = (pan.scrollTop + pan.clientHeight / 2) / before;
      pan.firstElementChild.style.width = `${100 * scale}%`;
      pan.scrollTo(x * scale - pan.clientWidth / 2, y * scale - pan.clientHeight / 2);
    }
  },

  moved(event) {
    const pan = event.target, box = viewer.of(pan);
    if (!box) return;
    for (const other of box.querySelectorAll(".pan")) {
      if (other === pan) continue;
      if (Math.abs(other.scrollLeft - pan.scrollLeft) > 1) other.scrollLeft = pan.scrollLeft;
      if (Math.abs(other.scrollTop - pan.scrollTop) > 1) other.scrollTop = pan.scrollTop;
    }
  },

  faded(event) {
    const box = event.target.matches?.(".strength") && viewer.of(event.target);
    for (const map of box ? box.querySelectorAll(".of-map") : []) {
      map.style.opacity = event.target.value / 100;
    }
  },

  pressed(event) {
    const box = viewer.of(event.target);
    if (!box || event.ctrlKey || event.metaKey || event.target.matches("input")) return;
    const by = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 0 }[event.key];
    if (by !== undefined) viewer.zoom(box, by);
    if (event.key === "m") viewer.show(box, box.dataset.shown === "photo" ? "over" : "photo");
    if (by !== undefined || event.key === "m") {
      event.preventDefault();
      event.stopPropagation();
    }
  },
};

document.addEventListener("click", viewer.clicked);
document.addEventListener("input", viewer.faded);
document.addEventListener("scroll", viewer.moved, true);
document.addEventListener("keydown", viewer.pressed, true);
