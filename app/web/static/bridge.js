// What the pages do besides, where script is on: times in the reader's zone, live parts, keys, copying. They work without it.
"use strict";

document.documentElement.classList.add("scripted");

// The server draws charts and reads dates in the reader's time zone, which only the browser knows.
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
function keepCookie(name, value) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${name}=${encodeURIComponent(value)}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
}
function cookie(name) {
  const found = document.cookie.split("; ").find((one) => one.startsWith(`${name}=`));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}
const zoneIsNew = cookie("zone") !== ZONE;
if (zoneIsNew) keepCookie("zone", ZONE);

// Times in that zone, or in UTC where that was chosen. In lists they say how long ago; the whole time is in the title.
const SHOWN = cookie("times") === "utc" ? "UTC" : ZONE;
const DAY = new Intl.DateTimeFormat(undefined, { timeZone: SHOWN, dateStyle: "short" });
const CLOCK = new Intl.DateTimeFormat(undefined, { timeZone: SHOWN, hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DATE = new Intl.DateTimeFormat(undefined, { timeZone: SHOWN, day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const DATE_OF_YEAR = new Intl.DateTimeFormat(undefined, { timeZone: SHOWN, day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
const WHOLE = new Intl.DateTimeFormat(undefined, { timeZone: SHOWN, dateStyle: "medium", timeStyle: "long" });
const AGO = "td time, .remedy time";

function ago(moment) {
  const seconds = Math.round((Date.now() - moment.getTime()) / 1000), size = Math.abs(seconds);
  if (size >= 86400) return null;
  if (size < 45) return seconds < 0 ? "in a moment" : "just now";
  const text = size < 3570 ? `${Math.round(size / 60)} min` : `${Math.round(size / 3600)} h`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    const today = DAY.format(moment) === DAY.format(new Date());
    const near = Math.abs(Date.now() - moment.getTime()) < 300 * 86400000;
    const text = (time.matches(AGO) && ago(moment)) || (today ? CLOCK : near ? DATE : DATE_OF_YEAR).format(moment);
    if (time.textContent !== text) time.textContent = text;
    time.title = WHOLE.format(moment) + (SHOWN === "UTC" ? "" : ` (${time.dateTime.slice(0, 19).replace("T", " ")} UTC)`);
  }
}
setInterval(() => localTimes(document), 20000);
for (const name of document.querySelectorAll("[data-zone]")) name.textContent = SHOWN;

// Live: the page asks for itself again and takes over the parts marked data-live, if anything changed. It holds no connection.
const EVERY_MS = 2500, SLOWEST_MS = 30000, PATIENCE_MS = 15000;
// A page with nothing live of its own asks only how the whole bridge is: for its title, its icon and the counts in the navigation.
const isLive = document.querySelector("main [data-live]") !== null, PULSE_MS = 10000;
const asked = isLive ? location.href : document.querySelector("meta[name=pulse]")?.content;
let etag = null, wait = EVERY_MS, freshAt = new Date();
const shown = new Map();

function isBusy(part) {
  return part.contains(document.activeElement) && document.activeElement !== document.body
    || part.querySelector("input:checked") !== null
    || (String(getSelection()) !== "" && part.contains(getSelection().anchorNode));
}

// A page that cannot be refreshed says so, and since when; what it shows may have changed meanwhile.
function connected() {
  freshAt = new Date();
  wait = EVERY_MS;
  document.body.classList.remove("stale");
  document.querySelector("[data-lost]")?.remove();
}

function pulse(fresh) {
  const problems = fresh.querySelector("meta[name=problems]")?.content ?? "0";
  document.title = (problems === "0" ? "" : `(${problems}) `) + document.title.replace(/^\(\d+\) /, "");
  const icon = document.querySelector("link[rel=icon]"), next = fresh.querySelector("link[rel=icon]")?.getAttribute("href");
  if (next && icon.getAttribute("href") !== next) icon.setAttribute("href", next);
}

function lost(why) {
  wait = Math.min(wait * 2, SLOWEST_MS);
  if (!isLive) return;
  document.body.classList.add("stale");
  if (document.querySelector("[data-lost]")) return;
  const notice = document.createElement("p");
  notice.className = "notice bad";
  notice.dataset.lost = "";
  notice.setAttribute("role", "alert");
  notice.textContent = `${why} Showing data from ${freshAt.toLocaleTimeString(undefined, { timeZone: SHOWN, hour: "2-digit", minute: "2-digit" })}.`;
  document.querySelector("main").prepend(notice);
}

async function refresh() {
  if (!document.hidden) {
    try {
      const headers = { "X-Live": "1", ...(etag ? { "If-None-Match": etag } : {}) };
      const answer = await fetch(asked, { headers, cache: "no-store", redirect: "manual", credentials: "same-origin", signal: AbortSignal.timeout(PATIENCE_MS) });
      if (answer.type === "opaqueredirect") { if (isLive) location.reload(); return; }
      if (answer.status === 200) {
        connected();
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        pulse(fresh);
        let isWhole = true;
        for (const part of document.querySelectorAll("[data-live]")) {
          const name = part.dataset.live, next = fresh.querySelector(`[data-live="${CSS.escape(name)}"]`);
          if (!next || shown.get(name) === next.innerHTML) continue;
          if (isBusy(part)) { isWhole = false; continue; }
          shown.set(name, next.innerHTML);
          const open = [...part.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent);
          part.innerHTML = next.innerHTML;
          if (part.dataset.state !== next.dataset.state) {
            part.dataset.state = next.dataset.state;
            for (const flash of document.querySelectorAll("[data-flash]")) flash.remove(); // it was about the state before
          }
          for (const summary of part.querySelectorAll("details > summary")) summary.parentElement.open = open.includes(summary.textContent);
          ready(part);
        }
        etag = isWhole ? answer.headers.get("ETag") : null;
      } else if (answer.status === 304) {
        connected();
      } else {
        lost(`The bridge answers ${answer.status}.`);
      }
    } catch {
      lost("Connection lost.");
    }
  }
  setTimeout(refresh, isLive ? wait : Math.max(wait, PULSE_MS));
}

// Where the page is not on https, the browser gives no clipboard: what is selected is copied then.
async function copy(source) {
  if (navigator.clipboard) return navigator.clipboard.writeText(source.textContent);
  const range = document.createRange();
  range.selectNodeContents(source);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  document.execCommand("copy");
}

function copyButtons(root) {
  for (const source of root.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet copy";
    button.textContent = "Copy";
    if (source.dataset.copy) button.setAttribute("aria-label", `Copy ${source.dataset.copy}`);
    button.addEventListener("click", async () => {
      try {
        await copy(source);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not copied";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    if (source.tagName === "PRE") {
      const box = document.createElement("div");
      box.className = "copied-from";
      source.replaceWith(box);
      box.append(button, source);
    } else {
      source.after(button);
    }
  }
}

function tickAll(root) {
  for (const all of root.querySelectorAll("input[data-all]")) {
    all.hidden = false;
    all.addEventListener("change", () => {
      for (const one of all.closest("table").querySelectorAll("tbody input[type=checkbox]")) one.checked = all.checked;
    });
  }
}

// A chart says what the bar under the pointer stands for, in the line below it.
document.addEventListener("pointerover", (event) => {
  const title = event.target.closest(".plot a")?.querySelector("title");
  const line = event.target.closest(".plot")?.nextElementSibling;
  if (title && line?.matches("[data-readout]")) line.textContent = title.textContent;
});

function ready(root) {
  localTimes(root);
  copyButtons(root);
  tickAll(root);
}

// A row of a list opens what it is about, wherever it is clicked; its text can still be selected.
document.addEventListener("click", (event) => {
  const row = event.target.closest(".list tbody tr");
  if (!row || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || String(getSelection())) return;
  if (event.target.closest("a, button, input, label, select, summary, textarea")) return;
  const tick = event.target.closest("td.tick")?.querySelector("input");
  if (tick) tick.checked = !tick.checked;
  else row.querySelector(".c-id a, .groups .c-why a")?.click();
});

// Filters take no room on a phone until they are asked for.
for (const fold of document.querySelectorAll("details[data-fold]")) fold.open = !matchMedia("(max-width: 46rem)").matches;

for (const button of document.querySelectorAll("[data-copy-link]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const line = document.createElement("span");
    line.textContent = location.href;
    document.body.append(line);
    try {
      await copy(line);
      button.textContent = "Link copied";
    } catch {
      button.textContent = "Copy the address of this page";
    }
    line.remove();
  });
}

// Keys, which the dialog of ? lists. None of them changes anything without a question.
const keys = document.querySelector("dialog[data-keys]");
for (const button of document.querySelectorAll("[data-show-keys]")) {
  button.hidden = false;
  button.addEventListener("click", () => keys.showModal());
}

function moveRow(step) {
  const links = [...document.querySelectorAll("main .list tbody tr")].map((row) => row.querySelector(".c-id a, .c-why a, a")).filter(Boolean);
  const here = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
  links[here < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(Math.max(here + step, 0), links.length - 1)]?.focus();
}

function askReplay(form) {
  const verb = form.querySelector("button").firstChild.textContent.trim(), what = document.querySelector("h1").firstChild.textContent.trim();
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "ask");
  dialog.innerHTML = '<h2 id="ask"></h2><form method="dialog" class="actions"><button value="" autofocus>Cancel</button><button class="primary" value="yes"></button></form>';
  dialog.querySelector("h2").textContent = `${verb}: ${what.toLowerCase()}?`;
  dialog.querySelector(".primary").textContent = verb;
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (dialog.returnValue === "yes") form.requestSubmit();
  });
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog[open], [contenteditable]")) return;
  const replay = document.querySelector("form[data-replay]");
  if (event.key === "/") {
    const field = document.querySelector("[data-search]") || document.querySelector("[data-search-all]");
    if (field) { event.preventDefault(); field.focus(); field.select(); }
  } else if (event.key === "r" && replay) {
    event.preventDefault();
    askReplay(replay);
  } else if (event.key === "j" || event.key === "k") {
    moveRow(event.key === "j" ? 1 : -1);
  } else if (event.key === "?" && keys) {
    event.preventDefault();
    keys.showModal();
  }
});

// The playground shows the result while somebody types. Its button does the same without script.
const PREVIEW_MS = 700;
function preview(form) {
  const result = document.querySelector("[data-result]");
  let timer = null, asking = null;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      asking?.abort();
      asking = new AbortController();
      const fields = new FormData(form);
      fields.set("do", "map");
      try {
        const answer = await fetch(form.action, { method: "POST", body: fields, headers: { "X-Live": "1" }, credentials: "same-origin", redirect: "manual", signal: asking.signal });
        if (!answer.ok) return;
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-result]");
        if (!fresh) return;
        result.replaceChildren(...fresh.childNodes);
        ready(result);
      } catch (error) {
        if (error.name !== "AbortError") throw error;
      }
    }, PREVIEW_MS);
  });
}
for (const form of document.querySelectorAll("form[data-preview]")) preview(form);

ready(document);
// Work in batches goes on by itself; a moment's rest, so that it can be stopped.
const further = document.querySelector("form[data-go-on]");
if (further) setTimeout(() => further.requestSubmit(), 250);
if (asked) setTimeout(refresh, !isLive ? PULSE_MS : zoneIsNew ? 0 : EVERY_MS);
