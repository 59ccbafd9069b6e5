// Keeps the live parts of the page fresh: fetches the same page and swaps what changed.
"use strict";

const EVERY_MS = 1500;

async function refresh() {
  if (document.hidden || !document.querySelector("[data-live]")) return;
  if (String(getSelection())) return; // text is being selected to copy
  const answer = await fetch(location.pathname + location.search, { cache: "no-store" });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of document.querySelectorAll("[data-live]")) {
    const part = fresh.getElementById(old.id);
    const busy = old.contains(document.activeElement) && document.activeElement.matches("input, select");
    if (part && !busy && part.innerHTML !== old.innerHTML) old.innerHTML = part.innerHTML;
  }
  document.body.classList.remove("stale");
}

setInterval(() => refresh().catch(() => document.body.classList.add("stale")), EVERY_MS);
