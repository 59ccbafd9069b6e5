// Conveniences: pages that reload when something has changed, buttons that copy, a few keys. All works without them.
"use strict";

const CHANGES = "/console/changes";
let stream = null;
let isLate = false; // something changed while the page could not be swapped
let isAsking = false;
let seenAt = Date.now(); // when this page's content came
let isLost = false; // the last attempt to reload it failed
let retry; // of the next attempt, after one that failed

// A process that has died changes no row; and "3 min ago" goes out of date.
const RELOAD_SECONDS = 15;
const RETRY_SECONDS = 3;
// Longer than any page takes; a connection that hangs is lost.
const PATIENCE_SECONDS = 10;

function main() {
  return document.getElementById("main");
}

// Selected text is about to be copied: a swap would take it away.
function isBeingRead() {
  const marked = document.getSelection();
  return marked !== null && !marked.isCollapsed && main().contains(marked.anchorNode);
}

async function refresh() {
  if (document.hidden || isAsking || isBeingRead()) {
    isLate = true;
    return;
  }
  isLate = false;
  isAsking = true;
  try {
    const answer = await fetch(location.href, {
      headers: { Accept: "text/html", "X-Repasse-Refresh": "1" }, // no person asks: an idle session ends all the same
      credentials: "same-origin",
      signal: AbortSignal.timeout(PATIENCE_SECONDS * 1000),
    });
    if (answer.redirected) {
      location.reload(); // the session is over
      return;
    }
    if (answer.ok) swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
    showLost(answer.ok ? null : "error");
  } catch {
    showLost("unreachable");
  } finally {
    isAsking = false;
  }
  if (isLost) askSoon();
  if (isLate) setTimeout(refresh, 500);
}

// Nothing that an old page says may be taken for how things are now, least of all that all is well.
// `why` is "unreachable" or "error"; null when the page is there again.
function showLost(why) {
  isLost = why !== null;
  const notice = document.getElementById("lost");
  notice.hidden = !isLost;
  if (!isLost) return;
  const says = notice.dataset[why]; // the page has the words, in its language
  if (notice.textContent !== says) notice.textContent = says; // said once by a screen reader, not every few seconds
  document.title = `${notice.dataset.title} · repasse`;
  const headline = document.querySelector(".headline");
  if (headline === null) return;
  headline.className = "headline bad";
  headline.querySelector("h1").textContent = notice.dataset.headline;
}

function askSoon() {
  clearTimeout(retry);
  retry = setTimeout(refresh, RETRY_SECONDS * 1000);
}

function showAge() {
  const passed = Math.round((Date.now() - seenAt) / 1000);
  const text = passed < 120 ? `${passed} s` : `${Math.floor(passed / 60)} min`;
  const age = document.getElementById("age");
  age?.replaceChildren(passed < 5 ? "" : ` · ${age.dataset.ago.replace("{}", text)}`);
}

function swap(page) {
  const fresh = page.getElementById("main");
  const nav = page.getElementById("nav");
  if (fresh === null || nav === null || isBeingRead()) return;
  document.title = page.title;
  seenAt = Date.now();
  document.getElementById("as-of")?.replaceChildren(...page.getElementById("as-of").childNodes);
  showAge();
  for (const next of [nav, fresh]) {
    const old = document.getElementById(next.id);
    if (old.innerHTML === next.innerHTML) continue;
    const kept = keep(old);
    const flash = old.querySelector("#flash"); // sent once, so the fresh page does not have it
    if (flash !== null && next.querySelector("#flash") === null) next.prepend(flash);
    old.replaceChildren(...next.childNodes);
    restore(old, kept);
  }
  showCopyButtons();
}

// The state of the page that a swap would lose: what is open, typed, scrolled and focused.
function keep(element) {
  const kept = { open: [], typed: [], scrolled: [], focus: null };
  for (const each of element.querySelectorAll("details[id][open]")) kept.open.push(each.id);
  for (const each of element.querySelectorAll("input[id], textarea[id], select[id]")) {
    if (each.value !== each.defaultValue) kept.typed.push([each.id, each.value]);
  }
  for (const each of element.querySelectorAll("[aria-label].scroll, pre, .tabs")) {
    if (each.scrollLeft || each.scrollTop) {
      kept.scrolled.push([each.getAttribute("aria-label"), each.scrollLeft, each.scrollTop]);
    }
  }
  const focused = document.activeElement;
  if (focused !== null && element.contains(focused) && focused !== element) {
    kept.focus = focused.id ? `#${CSS.escape(focused.id)}` : null;
    const address = focused.getAttribute("href");
    const label = focused.getAttribute("aria-label");
    if (kept.focus === null && address) kept.focus = `a[href="${CSS.escape(address)}"]`;
    if (kept.focus === null && label) kept.focus = `[aria-label="${CSS.escape(label)}"]`;
    if (kept.focus === null && focused.closest("details[id]")) {
      kept.focus = `#${CSS.escape(focused.closest("details[id]").id)} > summary`;
    }
    if (focused.selectionStart !== undefined) kept.caret = [focused.selectionStart, focused.selectionEnd];
  }
  return kept;
}

function restore(element, kept) {
  for (const id of kept.open) document.getElementById(id)?.setAttribute("open", "");
  for (const [id, value] of kept.typed) {
    const field = document.getElementById(id);
    if (field !== null) field.value = value;
  }
  for (const [label, left, top] of kept.scrolled) {
    if (label === null) continue;
    element.querySelector(`[aria-label="${CSS.escape(label)}"]`)?.scrollTo(left, top);
  }
  if (kept.focus !== null) {
    const field = element.querySelector(kept.focus);
    field?.focus({ preventScroll: true });
    if (kept.caret && field?.setSelectionRange && kept.caret[0] !== null) {
      try {
        field.setSelectionRange(...kept.caret);
      } catch {
        // a field of dates has no caret
      }
    }
  }
}

// Only the visible page listens: a browser has few connections for one host.
function listen() {
  if (document.hidden || !main().hasAttribute("data-live")) {
    stream?.close();
    stream = null;
    return;
  }
  if (stream !== null && stream.readyState !== EventSource.CLOSED) return;
  stream = new EventSource(CHANGES);
  stream.addEventListener("changed", refresh);
  // A stream ends every few minutes; only a page that cannot be had says that the connection is lost.
  stream.addEventListener("error", askSoon);
}

function showCopyButtons() {
  if (!navigator.clipboard) return; // plain http to another host
  for (const button of document.querySelectorAll("button.copy[hidden]")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target instanceof Element ? event.target.closest("button.copy") : null;
  if (button === null) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1500);
});
// "/" goes to the search; j and k go along the rows of a list, whose links Enter opens.
document.addEventListener("keydown", (event) => {
  const target = event.target;
  const isTyping = target instanceof Element && target.closest("input, textarea, select") !== null;
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    const field = document.getElementById("q");
    if (field === null) return;
    event.preventDefault();
    field.focus();
    field.select();
  } else if (event.key === "j" || event.key === "k") {
    const rows = [...main().querySelectorAll("tbody tr")].map((row) => row.querySelector("a[href]")).filter(Boolean);
    if (rows.length === 0) return;
    const place = rows.indexOf(document.activeElement?.closest("tr")?.querySelector("a[href]"));
    const next = place < 0 ? 0 : place + (event.key === "j" ? 1 : -1);
    rows[Math.min(Math.max(next, 0), rows.length - 1)].focus();
  }
});
document.addEventListener("selectionchange", () => {
  if (isLate && !isBeingRead()) refresh();
});
document.addEventListener("visibilitychange", () => {
  listen();
  if (!document.hidden && main().hasAttribute("data-live")) refresh();
});
// A refused stream is requested again.
setInterval(() => {
  listen();
  if (main().hasAttribute("data-live")) refresh();
}, RELOAD_SECONDS * 1000);
setInterval(showAge, 1000);
addEventListener("pagehide", () => stream?.close());
listen();
showCopyButtons();
