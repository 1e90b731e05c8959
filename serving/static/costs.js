// While a cost is typed, show what it does. Without this script the button shows it.
"use strict";
const form = document.getElementById("move");
let waiting = 0;
let newest = 0;
form.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    if (!form.checkValidity()) return;
    const mine = ++newest;
    const answer = await fetch(`${form.action}?${new URLSearchParams(new FormData(form))}`);
    if (!answer.ok || mine !== newest) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const shown = page.getElementById("expected");
    if (shown) document.getElementById("expected").replaceWith(shown);
  }, 250);
});
