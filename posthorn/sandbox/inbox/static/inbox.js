// The page works without this. It says what is new, keeps states fresh, and lets the keyboard move about.
"use strict";

const live = document.getElementById("live");
const rows = document.getElementById("rows");
const fresh = document.getElementById("new");

function say(count) {
  fresh.hidden = count < 1;
  fresh.firstElementChild.textContent = count.toLocaleString("en");
}

async function refresh() {
  if (document.hidden) return;
  const answer = await fetch(`${live.dataset.now}&part=rows`);
  if (!answer.ok) return;
  const focused = document.activeElement?.dataset?.key;
  const text = await answer.text();
  if (text === refresh.last) return;
  refresh.last = text;
  // From this server only, where it was escaped.
  rows.replaceChildren(...new DOMParser().parseFromString(text, "text/html").body.childNodes);
  if (focused) rows.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

if (live) {
  new EventSource(`/_sandbox/events?upto=${encodeURIComponent(live.dataset.upto)}`).onmessage = (event) => {
    const news = JSON.parse(event.data);
    if (news.total < Number(live.dataset.total)) location.assign(live.dataset.newest);
    else say(news.new);
  };
  setInterval(() => refresh().catch(() => undefined), 3000);
}

function move(step) {
  const all = [...document.querySelectorAll(".row")];
  const at = all.indexOf(document.activeElement);
  all[Math.min(Math.max(at + step, 0), all.length - 1)]?.focus();
}

const keys = {
  "/": () => document.getElementById("q")?.focus(),
  j: () => move(1),
  k: () => move(-1),
  n: () => live && !fresh.hidden && fresh.click(),
  Escape: () => document.querySelector("[data-back]")?.click(),
};

addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});

for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!confirm(form.dataset.confirm)) event.preventDefault();
  });
}
