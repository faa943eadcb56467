"use strict";
// Asks for the view again while the page is visible, one request after the other, and keeps what the reader has opened or typed.

const main = document.querySelector("main");
const [refresh, refreshed, status] = ["live", "refreshed", "status"].map((id) => document.getElementById(id));
refresh.checked = sessionStorage.getItem("refresh") !== "off";
refresh.addEventListener("change", () => sessionStorage.setItem("refresh", refresh.checked ? "on" : "off"));

async function part(address) {
  const answer = await fetch(address, { headers: { "x-part": "1" } });
  const html = await answer.text();
  if (!answer.ok) throw new Error(`the page answered ${answer.status}`);
  return new DOMParser().parseFromString(html, "text/html").body.childNodes;
}

/** Says something once to a screen reader. */
function say(text) {
  if (status.textContent !== text) status.textContent = text;
}

/** Loads the parts of the view that cost more, unless they are there already. */
function load(kept = []) {
  for (const section of main.querySelectorAll("[data-load]")) {
    const old = kept.find((other) => other.dataset.load === section.dataset.load);
    if (old) section.replaceWith(old);
    else part(section.dataset.load).then((nodes) => section.replaceChildren(...nodes), (error) => section.append(`Not loaded: ${error.message}`));
  }
}

/** Replaces the view, and restores opened details, the focus and what was scrolled. */
function replace(nodes) {
  const keys = "a, button, summary, .scroll";
  const key = (element) => [element.tagName, element.id, element.getAttribute("href"), element.getAttribute("aria-label")].join("|");
  const open = new Set([...main.querySelectorAll("details[open]")].map((details) => details.id));
  const scrolled = [...main.querySelectorAll(".scroll")].map((region) => region.scrollLeft);
  const kept = [...main.querySelectorAll("[data-load]")];
  const focused = document.activeElement;
  const focusKey = main.contains(focused) && focused !== main ? key(focused) : null;
  const place = focusKey && [...main.querySelectorAll(keys)].filter((other) => key(other) === focusKey).indexOf(focused);
  main.replaceChildren(...nodes);
  load(kept);
  for (const details of main.querySelectorAll("details")) if (open.has(details.id)) details.open = true;
  main.querySelectorAll(".scroll").forEach((region, number) => { region.scrollLeft = scrolled[number] ?? 0; });
  if (focusKey) [...main.querySelectorAll(keys)].filter((other) => key(other) === focusKey)[place]?.focus({ preventScroll: true });
  say(main.querySelector("[data-status]")?.textContent ?? "");
}

/** Why the view is not replaced now, because the reader would lose something. */
function pause() {
  const isChanged = (field) => field.tagName === "SELECT" ? [...field.options].some((option) => option.selected !== option.defaultSelected) : field.value !== field.defaultValue;
  const focused = document.activeElement;
  if ([...main.querySelectorAll("input, select, textarea")].some(isChanged)) return "Not refreshed while a field is changed";
  if (main.contains(focused) && ["INPUT", "SELECT", "TEXTAREA"].includes(focused.tagName)) return "Not refreshed while you type";
  if (!getSelection().isCollapsed) return "Not refreshed while text is selected";
  return "";
}

async function look() {
  const seconds = Number(main.querySelector("[data-every]")?.dataset.every);
  if (!seconds) return;
  await new Promise((done) => { setTimeout(done, seconds * 1000); });
  const why = pause();
  if (refresh.checked && !document.hidden && why) refreshed.textContent = why;
  if (refresh.checked && !document.hidden && !why) {
    try {
      const nodes = await part(location.href);
      if (refresh.checked && !pause()) {
        replace(nodes);
        refreshed.textContent = `Refreshed at ${new Date().toLocaleTimeString()}`;
      }
    } catch (error) {
      say(`Not refreshed: ${error.message}`);
    }
  }
  look();
}

// A second click would do it twice.
document.addEventListener("submit", (event) => setTimeout(() => { for (const button of event.target.querySelectorAll("button")) button.disabled = true; }));
addEventListener("pageshow", () => { for (const button of document.querySelectorAll("button:disabled")) button.disabled = false; });
load();
look();
