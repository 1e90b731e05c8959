// The form of a page that takes files. No click is lost, and no verdict stands beside another photo.
const form = {
  taken: [],

  box: () => document.getElementById("form"),

  // A click on Judge: until it has ended nobody can choose or click; the last verdict leaves.
  close(busy) {
    if (form.box().inert) return [];
    form.box().inert = true;
    return ["", { __type__: "update", value: busy, interactive: false }];
  },

  // What was in the boxes at the click goes to be judged.
  take(values) {
    form.taken = form.paths(values.slice(0, 2));
    return values;
  },

  // All was judged that was taken: only that leaves the boxes. A mistyped lot leaves the photos.
  left(unjudged, answers, files, snapshot) {
    if (answers.every((one) => unjudged.includes(one.rule))) return [files, snapshot];
    const waiting = (files ?? []).filter((one) => !form.taken.includes(one.path));
    const kept = snapshot && !form.taken.includes(snapshot.path) ? snapshot : null;
    return [waiting.length ? waiting : null, kept];
  },

  open(label) {
    form.box().inert = false;
    if (document.activeElement === document.body) {
      setTimeout(() => document.getElementById("judge").focus({ preventScroll: true }));
    }
    return { __type__: "update", value: label, interactive: true };
  },

  paths: (values) => values.flat().filter(Boolean).map((one) => one.path),

  // Somebody has chosen a file, or begins with the camera: the last verdict is not about that.
  begun(event) {
    const box = event.target.closest?.("#form");
    const chosen = event.type === "change" ? event.target.type === "file" : true;
    const camera = event.type !== "click" || event.target.closest("#snapshot");
    if (box && !box.inert && chosen && camera) document.getElementById("fresh").click();
  },
};

for (const kind of ["change", "drop", "click"]) document.addEventListener(kind, form.begun, true);
