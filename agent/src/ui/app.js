// The page's frame: which view the address names, and one blocking query at a time that keeps it fresh.

import { el } from "/ui/dom.js";
import * as jobs from "/ui/jobs.js";
import * as cluster from "/ui/cluster.js";

const main = document.getElementById("main");
const live = document.getElementById("live");
const filter = document.getElementById("filter");

const ROUTES = [
  [/^#\/jobs$/, jobs.list],
  [/^#\/job\/(.+)$/, jobs.detail],
  [/^#\/allocations$/, jobs.allocations],
  [/^#\/allocation\/([^/]+)$/, jobs.allocation],
  [/^#\/nodes$/, cluster.nodes],
  [/^#\/node\/([^/]+)$/, cluster.node],
  [/^#\/services$/, cluster.services],
  [/^#\/service\/(.+)$/, cluster.service],
  [/^#\/routes$/, cluster.routes],
];

// `/ui/?still` shows the present and does not follow it: for pictures and for printing.
export const still = new URLSearchParams(location.search).has("still");

let current = new AbortController();

/// GET as JSON with its index; throws the server's own words.
export async function get(path, signal) {
  const answer = await fetch(path, { signal });
  if (!answer.ok) throw new Error((await answer.text()) || `${answer.status} ${path}`);
  const index = Number(answer.headers.get("X-Nomad-Index") ?? answer.headers.get("X-Consul-Index") ?? 0);
  return { value: await answer.json(), index };
}

/// Write, and show what the server says when it refuses.
export async function send(method, path, body) {
  const answer = await fetch(path, { method, body: body === undefined ? undefined : JSON.stringify(body) });
  if (!answer.ok) alert(await answer.text());
}

const pause = (ms, signal) => new Promise((done) => {
  const timer = setTimeout(done, ms);
  signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
});

const join = (path, query) => path + (path.includes("?") ? "&" : "?") + query;

/// Show a view and follow the endpoint it watches until the address changes.
async function follow(view, args, signal) {
  const page = view(...args);
  let index = 0;
  while (!signal.aborted) {
    try {
      const watched = await get(join(page.watch, `index=${index}&wait=30s`), signal);
      // An index that goes back means another log: begin anew.
      index = watched.index < index ? 0 : watched.index;
      const rest = await Promise.all((page.also ?? []).map((path) => get(path, signal).then((r) => r.value, () => null)));
      if (signal.aborted) return;
      live.className = "";
      live.textContent = "live";
      draw(page.render(watched.value, ...rest));
      if (still) return;
      if (index === 0) await pause(2000, signal);
    } catch (error) {
      if (signal.aborted) return;
      live.className = "off";
      live.textContent = "not connected";
      if (!main.querySelector("h1")) main.replaceChildren(el("div", { class: "error" }, String(error.message)));
      await pause(1500, signal);
    }
  }
}

/// Replace the page's content, keeping what the reader has open (logs) and where they are.
function draw(nodes) {
  const kept = new Map([...main.querySelectorAll("[data-keep]")].map((n) => [n.dataset.keep, n]));
  for (const node of nodes) {
    for (const fresh of [node, ...node.querySelectorAll("[data-keep]")]) {
      const old = fresh.dataset?.keep && kept.get(fresh.dataset.keep);
      if (old) fresh.replaceWith(old);
    }
  }
  const replaced = nodes.map((n) => (n.dataset?.keep && kept.get(n.dataset.keep)) || n);
  main.replaceChildren(...replaced);
  applyFilter();
}

function applyFilter() {
  const wanted = filter.value.toLowerCase();
  for (const row of main.querySelectorAll("tbody tr")) row.hidden = !row.textContent.toLowerCase().includes(wanted);
}

function show() {
  current.abort();
  current = new AbortController();
  const hash = location.hash || "#/jobs";
  for (const a of document.querySelectorAll("nav a")) {
    const here = hash.startsWith(a.getAttribute("href").replace(/s$/, ""));
    if (here) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  main.replaceChildren(el("p", { class: "soft" }, "Loading…"));
  for (const [pattern, view] of ROUTES) {
    const match = hash.match(pattern);
    if (match) {
      follow(view, [...match.slice(1).map(decodeURIComponent), current.signal], current.signal);
      return;
    }
  }
  main.replaceChildren(el("div", { class: "error" }, `There is no page ${hash}.`));
}

addEventListener("hashchange", () => { filter.value = ""; show(); });
filter.addEventListener("input", applyFilter);
addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== filter) {
    event.preventDefault();
    filter.focus();
  }
});
show();
