"use strict";
// Asks for the view again while the page is visible, one request after the other, and keeps what the reader has opened.

const main = document.querySelector("main");
const status = document.getElementById("status");
const live = document.getElementById("live");

/** Replaces the content of an element, and restores opened details, the focus, and what was typed or scrolled. */
function replace(element, html) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  const open = new Set([...element.querySelectorAll("details[open]")].map((details) => details.id));
  const scrolled = [...element.querySelectorAll(".scroll")].map((region) => region.scrollLeft);
  const focused = document.activeElement;
  const isInside = element.contains(focused) && focused !== element;
  const key = isInside && [focused.tagName, focused.id, focused.getAttribute("href"), focused.textContent].join("|");
  const kept = [...element.querySelectorAll("[data-load]")];
  element.replaceChildren(...parsed.body.childNodes);
  for (const section of element.querySelectorAll("[data-load]")) {
    const old = kept.find((other) => other.dataset.load === section.dataset.load);
    if (old) section.replaceWith(old);
  }
  for (const details of element.querySelectorAll("details")) if (open.has(details.id)) details.open = true;
  element.querySelectorAll(".scroll").forEach((region, place) => { region.scrollLeft = scrolled[place] ?? 0; });
  if (isInside) {
    const same = [...element.querySelectorAll("a, button, summary, .scroll")];
    same.find((other) => [other.tagName, other.id, other.getAttribute("href"), other.textContent].join("|") === key)?.focus();
  }
}

async function part(address) {
  const answer = await fetch(address, { headers: { "x-part": "1" } });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.text();
}

/** True while the reader types or selects something that a new view would take away. */
function isBusy() {
  const focused = document.activeElement;
  return main.contains(focused) && ["INPUT", "SELECT", "TEXTAREA"].includes(focused.tagName) || !getSelection().isCollapsed;
}

async function look() {
  const seconds = Number(main.dataset.every);
  if (live?.checked && !document.hidden && !isBusy()) {
    try {
      const html = await part(location.href);
      if (live.checked && !isBusy()) replace(main, html);
      if (status.textContent) status.textContent = "";
      if (main.querySelector("[data-ended]")) return;
    } catch (error) {
      status.textContent = `Not refreshed: ${error.message}`;
    }
  }
  setTimeout(look, seconds * 1000);
}

for (const section of main.querySelectorAll("[data-load]")) {
  part(section.dataset.load).then((html) => { section.innerHTML = html; }, () => {});
}
if (main.dataset.every) setTimeout(look, Number(main.dataset.every) * 1000);
