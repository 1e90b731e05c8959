// Keep what was typed in the correction until it is saved: the session may end, or the network break.
for (const form of document.querySelectorAll("form[data-kept]")) {
  const name = `correction ${form.dataset.kept}`, saved = new URLSearchParams(location.search).has("said");
  const kept = saved ? null : JSON.parse(sessionStorage.getItem(name) ?? "null");
  if (saved) sessionStorage.removeItem(name);
  for (const field of kept ? form.elements : []) {
    if (field.type === "radio") field.checked = kept[field.name] === field.value;
    else if (field.name === "reason") field.value = kept.reason ?? "";
  }
  form.addEventListener("input", (event) => {
    // A kind of defect says that the part is bad.
    if (event.target.name === "defect" && event.target.value) form.elements.says.value = "bad";
    if (event.target.name === "says" && event.target.value === "good" && form.elements.defect) {
      form.elements.defect.value = "";
    }
    const { says, defect, reason } = Object.fromEntries(new FormData(form));
    sessionStorage.setItem(name, JSON.stringify({ says, defect, reason }));
  });
}
