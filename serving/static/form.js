// The form of a page that takes files. No click is lost, and no verdict stays next to another photo.
const form = {
  taken: [],

  box: () => document.getElementById("form"),

  // A click on Inspect: remove the last verdict. Nobody can choose or click until it has ended.
  close(busy) {
    if (form.box().inert) return [];
    form.box().inert = true;
    return ["", { __type__: "update", value: busy, interactive: false }];
  },

  // Inspect what is in the boxes at the click.
  take(values) {
    form.taken = form.paths(values.slice(0, 2));
    return values;
  },

  // All taken files are inspected: only they leave the boxes. After a mistyped lot the photos stay.
  left(others, answers, files, snapshot) {
    if (answers.every((one) => others.includes(one.rule))) return [files, snapshot];
    const waiting = (files ?? []).filter((one) => !form.taken.includes(one.path));
    const kept = snapshot && !form.taken.includes(snapshot.path) ? snapshot : null;
    return [waiting.length ? waiting : null, kept];
  },

  open(label) {
    form.box().inert = false;
    if (document.activeElement === document.body) {
      setTimeout(() => document.getElementById("inspect").focus({ preventScroll: true }));
    }
    return { __type__: "update", value: label, interactive: true };
  },

  paths: (values) => values.flat().filter(Boolean).map((one) => one.path),

  // The user chose a file or started the camera: the last verdict is not about the new photo.
  begun(event) {
    const box = event.target.closest?.("#form");
    const chosen = event.type === "change" ? event.target.type === "file" : true;
    const camera = event.type !== "click" || event.target.closest("#snapshot");
    if (box && !box.inert && chosen && camera) document.getElementById("fresh").click();
  },
};

for (const kind of ["change", "drop", "click"]) document.addEventListener(kind, form.begun, true);
