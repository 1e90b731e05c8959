// The pages that take files. Each file waits in a queue, goes to the server by itself, and its answer
// replaces its own place in the list: no file is lost, and no verdict stands beside another photo.
const intake = {
  items: [], sending: 0, uploading: null, lots: new Map(),
  AT_ONCE: 3, STALLED: 60000, AGAIN: 5000,
  RANK: { bad: 0, needs_human: 1, refused: 2, waiting: 3, good: 4 },
  stage: new URLSearchParams(location.search).get("stage"),
  $: (id) => document.getElementById(id),
  text: (name, known = {}) =>
    intake.form.dataset[name].replace(/\{(\w+)\}/g, (all, key) => known[key] ?? all),

  // The address for the stage that this page was opened for, whatever another tab has chosen since.
  at(address) {
    const there = new URL(address, location.href);
    if (intake.stage) there.searchParams.set("stage", intake.stage);
    return there.href;
  },

  start() {
    intake.form = intake.$("intake");
    intake.lot = intake.$("lot");
    camera.start();
    for (const id of ["files", "capture"]) intake.changed({ target: intake.$(id) });  // Chosen already.
    const earlier = intake.form.dataset.earlier;
    if (earlier) intake.load(intake.at(earlier), intake.$("earlier")).then(lots.start);
  },

  // Take files: they are inspected at once. What has its verdict leaves the place of now.
  add(files) {
    const now = intake.$("now");
    if (!intake.items.length) {
      now.querySelectorAll("details").forEach((one) => (one.open = false));
      intake.$("earlier").prepend(...now.children);
    }
    for (const file of files) {
      const item = { file, key: intake.key(), lot: intake.lot?.value.trim() ?? "", state: "waiting" };
      item.place = intake.waiting(item);
      intake.items.push(item);
      intake.put(now, item.place);
    }
    intake.count();
    intake.look();
    intake.run();
  },

  // Bring the place of now to the eye: on a phone the form may fill the screen.
  look() {
    const now = intake.$("now"), top = now.getBoundingClientRect().top;
    if (top < 0 || top > innerHeight / 3) now.scrollIntoView({ block: "start" });
  },

  key() {  // crypto.randomUUID needs https.
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("");
  },

  waiting(item) {
    const place = intake.$("waiting").content.firstElementChild.cloneNode(true);
    const thumb = place.querySelector("img");
    item.url = thumb ? URL.createObjectURL(item.file) : "";
    if (thumb) thumb.src = item.url;
    place.querySelector(".name").textContent = item.file.name;
    return place;
  },

  // Put a place into the list, the bad ones first.
  put(list, place) {
    const rank = (one) => intake.RANK[one.dataset.state] ?? 3;
    const after = [...list.children].find((one) => one !== place && rank(one) > rank(place));
    list.insertBefore(place, after ?? null);
  },

  // One file is uploaded at a time, so that the first verdict is soon there on a slow network.
  run() {
    const next = intake.items.find((one) => one.state === "waiting");
    if (!next || intake.uploading || intake.sending >= intake.AT_ONCE) return;
    intake.uploading = next;
    intake.sending += 1;
    next.state = "sending";
    next.place.querySelector(".state").textContent = intake.text("busy");
    intake.send(next);
  },

  send(item) {
    const body = new FormData(), request = new XMLHttpRequest();
    body.append("lot", item.lot);
    body.append("key", item.key);
    body.append("files", item.file, item.file.name);
    let timer;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => request.abort(), intake.STALLED);
    };
    const uploaded = () => {
      if (intake.uploading === item) intake.uploading = null;
      intake.run();
    };
    const ended = (done) => () => {
      clearTimeout(timer);
      intake.sending -= 1;
      done();
      uploaded();
    };
    request.upload.onprogress = (at) => {
      alive();
      item.place.querySelector("progress").value = at.lengthComputable ? at.loaded / at.total : 0;
    };
    request.upload.onload = uploaded;
    request.onload = ended(() => intake.answered(item, request));
    request.onerror = request.onabort = ended(() => intake.hold(item, "network"));
    request.open("POST", intake.at(intake.form.dataset.to));
    request.setRequestHeader("Accept", "application/json");
    alive();
    request.send(body);
  },

  answered(item, request) {
    let answer = {};
    try {
      answer = JSON.parse(request.response);
    } catch {}
    if (answer.html) intake.done(item, answer);
    else if (request.status === 401) intake.hold(item, "session");
    else if (answer.rule === "lot") intake.hold(item, "lot");
    else if (request.status >= 500) intake.hold(item, "network");
    else intake.refuse(item, answer.detail ?? String(request.status));
  },

  done(item, answer) {
    const box = document.createElement("div");
    box.innerHTML = answer.html;
    const place = box.firstElementChild, list = item.place.parentElement;
    intake.own(place, item.url);
    item.place.replaceWith(place);
    intake.forget(item, answer.said);
    intake.put(list, place);
    const details = place.querySelector("details");
    if (details) details.open = list.id === "now" && list.children.length === 1;
    if (list.id === "now") intake.look();
  },

  // Show the file that was sent: it is here already.
  own(place, url) {
    for (const image of url ? place.querySelectorAll("img.of-photo") : []) {
      const stored = image.src;
      image.onerror = () => { image.onerror = null; image.src = stored; };
      image.src = url;
    }
  },

  refuse(item, said) {
    item.place.dataset.state = "refused";
    item.place.classList.add("refused");
    item.place.querySelector(".state").textContent = said;
    item.place.querySelector("progress").remove();
    intake.forget(item, said);
  },

  forget(item, said) {
    intake.items = intake.items.filter((one) => one !== item);
    intake.$("live").textContent = `${item.file.name}: ${said}`;
    intake.notice();
    intake.count();
  },

  // Keep a file that cannot be sent now, and say why.
  hold(item, why) {
    item.state = "held";
    item.why = why;
    item.place.querySelector(".state").textContent = intake.text("waiting");
    item.place.querySelector("progress").value = 0;
    if (why === "network") setTimeout(() => intake.again("network"), intake.AGAIN);
    intake.notice();
  },

  again(...why) {
    for (const item of intake.items.filter((one) => one.state === "held" && why.includes(one.why))) {
      item.state = "waiting";
      if (item.why === "lot") item.lot = intake.lot.value.trim();
    }
    intake.run();
  },

  notice() {
    const box = intake.$("notice"), held = intake.items.filter((one) => one.why);
    const why = ["session", "lot", "network"].find((one) => held.some((item) => item.why === one));
    box.hidden = !why;
    if (!why) return;
    box.querySelector("p").textContent = intake.text(why, { count: held.length });
    box.querySelector("a").hidden = why !== "session";
    intake.lot?.setAttribute("aria-invalid", String(why === "lot"));
    if (why === "lot") intake.lot.focus();
  },

  count() {
    const places = [...intake.$("now").children], box = intake.$("counts");
    box.hidden = places.length < 2 || !intake.form.dataset.counts;
    if (box.hidden) return;
    const of = (state) => places.filter((one) => one.dataset.state === state).length;
    const known = { all: places.length, bad: of("bad"), needs_human: of("needs_human") };
    Object.assign(known, { good: of("good"), refused: of("refused") });
    known.done = known.all - of("waiting");
    box.querySelector("span").textContent = intake.text("counts", known)
      + (known.refused ? intake.text("refused", known) : "")
      + (known.done < known.all ? intake.text("progress", known) : "");
    Object.assign(box.querySelector("progress"), { max: known.all, value: known.done });
  },

  async load(address, box) {
    const answer = await fetch(address, { headers: { Accept: "application/json" } }).catch(() => null);
    if (!answer?.ok) return;
    const found = await answer.json();
    intake.stage ||= found.stage ?? "";
    box.insertAdjacentHTML("beforeend", found.html);
  },

  // The next photo: by the camera if it is on, else choose one.
  next() {
    if (camera.on()) camera.shoot();
    else intake.$("files").click();
  },

  clicked(event) {
    const act = event.target.closest?.("[data-act]")?.dataset.act;
    if (act === "next") intake.next();
    if (act === "take") intake.$("capture").click();
    if (act === "camera") camera.turn();
    if (act === "again") intake.again("session", "network", "lot");
  },

  changed(event) {
    if (!["files", "capture"].includes(event.target?.id) || !event.target.files.length) return;
    intake.add([...event.target.files]);
    event.target.value = "";
  },

  dropped(event) {
    event.preventDefault();
    const files = [...(event.dataTransfer ?? event.clipboardData).files];
    if (files.length) intake.add(files);
  },

  // Space: the next photo. Other characters are a lot that a scanner sends.
  pressed(event) {
    const free = event.target === document.body || event.target.tagName === "SUMMARY";
    if (event.target === intake.lot && event.key === "Enter") {
      event.preventDefault();
      intake.lot.select();
      if (intake.items.some((one) => one.why === "lot")) intake.again("lot");
      else intake.next();
    } else if (event.target === document.body && event.key === " ") {
      event.preventDefault();
      intake.next();
    } else if (free && intake.lot && /^[\w:/.-]$/.test(event.key) && !event.ctrlKey && !event.metaKey) {
      intake.lot.focus();
      intake.lot.select();
    }
  },

  // Load what an earlier photo's place shows when it is opened.
  opened(event) {
    const body = event.target.open && event.target.querySelector(":scope > [data-load]");
    if (!body) return;
    const address = body.dataset.load;
    delete body.dataset.load;
    intake.load(address, body);
  },
};

const lots = {
  start() {
    intake.lot.value = sessionStorage.getItem("lot") ?? "";
    intake.lot.oninput = lots.typed;
    lots.typed();
  },

  typed() {
    sessionStorage.setItem("lot", intake.lot.value);
    lots.check();
  },

  // Offer the day's lots, and warn of one that is not there.
  async check() {
    const text = intake.lot.value.trim(), at = text.lastIndexOf("/");
    const day = at < 0 ? "" : text.slice(0, at);
    const found = await lots.of(day);
    if (intake.lot.value.trim() !== text) return;
    const before = day ? `${day}/` : "";
    const offered = found?.lots.map((name) => Object.assign(document.createElement("option"), { value: before + name }));
    intake.$("lots").replaceChildren(...(offered ?? []));
    const missing = text && found && !found.lots.includes(text.slice(at + 1));
    const hint = intake.$("lot-hint"), known = { lot: text.slice(at + 1), day: found?.day };
    hint.textContent = missing ? intake.text("missing", known) : found ? intake.text("day", known) : "";
    hint.classList.toggle("warning", Boolean(missing));
  },

  async of(day) {
    if (day && !/^\d{4}-\d\d-\d\d$/.test(day)) return null;
    if (!intake.lots.has(day)) {
      const answer = await fetch(intake.at(`${intake.form.dataset.lots}${day && `?day=${day}`}`)).catch(() => null);
      if (!answer?.ok) return null;
      intake.lots.set(day, await answer.json());
    }
    return intake.lots.get(day);
  },
};

const camera = {
  start() {
    const button = document.querySelector("[data-act=camera]");
    if (button) button.hidden = !navigator.mediaDevices?.getUserMedia;
  },

  video: () => intake.$("video"),
  on: () => Boolean(camera.video()?.srcObject),

  async turn() {
    const video = camera.video(), box = intake.$("live-camera"), on = camera.on();
    if (on) {
      video.srcObject.getTracks().forEach((track) => track.stop());
      video.srcObject = null;
    } else {
      const how = { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1080 } };
      try {
        video.srcObject = await navigator.mediaDevices.getUserMedia({ video: how });
      } catch {
        intake.$("live").textContent = intake.$("camera-fault").textContent = intake.text("camera");
      }
    }
    box.hidden = !camera.on();
    document.querySelector("[data-act=camera]").setAttribute("aria-pressed", String(camera.on()));
  },

  // The camera stays on for the next photo.
  shoot() {
    const video = camera.video(), canvas = document.createElement("canvas");
    if (!video.videoWidth) return;
    Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    const at = new Date().toTimeString().slice(0, 8).replaceAll(":", "");
    canvas.toBlob((blob) => intake.add([new File([blob], `camera-${at}.jpg`)]), "image/jpeg", 0.95);
  },
};

const here = (act) => (event) => intake.form && act(event);
document.addEventListener("click", here(intake.clicked));
document.addEventListener("change", here(intake.changed));
document.addEventListener("keydown", here(intake.pressed));
document.addEventListener("toggle", here(intake.opened), true);
document.addEventListener("dragover", here((event) => event.preventDefault()));
document.addEventListener("drop", here(intake.dropped));
document.addEventListener("paste", here((event) => event.clipboardData.files.length && intake.dropped(event)));
window.addEventListener("focus", here(() => intake.again("session", "network")));
window.addEventListener("online", here(() => intake.again("network")));
window.addEventListener("beforeunload", here((event) => intake.items.length && event.preventDefault()));
new MutationObserver((_, watch) => {
  if (!document.getElementById("intake")) return;
  watch.disconnect();
  intake.start();
}).observe(document, { childList: true, subtree: true });
