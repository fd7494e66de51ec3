// Building blocks of the page: elements, words and colours for states. Text never becomes markup.

export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "class") node.className = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

const GOOD = new Set(["running", "ready", "successful", "passing", "eligible", "complete", "healthy"]);
const WARN = new Set(["pending", "warning", "paused", "initializing", "draining", "blocked", "leaving"]);
const BAD = new Set(["failed", "lost", "down", "critical", "disconnected", "dead task", "unhealthy"]);

export const tone = (word) => (GOOD.has(word) ? "good" : WARN.has(word) ? "warn" : BAD.has(word) ? "bad" : "");
export const status = (word, look = tone(word)) => el("span", { class: `status ${look}` }, word);
export const short = (id) => (id || "").slice(0, 8);
export const link = (hash, ...children) => el("a", { href: hash }, ...children);

export function table(columns, rows, empty) {
  if (rows.length === 0) return el("div", { class: "card empty" }, empty);
  const head = el("tr", {}, columns.map((c) => el("th", { class: c.startsWith("#") ? "num" : "" }, c.replace("#", ""))));
  const body = rows.map((cells) => el("tr", {}, cells.map((cell, n) => el("td", { class: columns[n].startsWith("#") ? "num" : "" }, cell ?? ""))));
  return el("div", { class: "card" }, el("table", {}, el("thead", {}, head), el("tbody", {}, body)));
}

export function facts(pairs) {
  return el("div", { class: "card pad facts" }, pairs.map(([name, value]) => el("div", {}, el("span", {}, name), value === "" || value === undefined ? "–" : value)));
}

/// Nanoseconds since the epoch (or a date's text), as words.
export function ago(when) {
  const ms = typeof when === "number" ? when / 1e6 : Date.parse(when);
  if (!ms || ms < 0) return "–";
  const s = Math.max(0, Math.round((Date.now() - ms) / 1000));
  const text = s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` : s < 86400 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
  return el("time", { title: new Date(ms).toLocaleString() }, `${text} ago`);
}

/// What an allocation is, in one word.
export function allocState(a) {
  if (a.DesiredStatus !== "run" && a.ClientStatus === "running") return "leaving";
  return a.ClientStatus;
}

export function squares(allocs) {
  return el("div", { class: "squares" }, allocs.map((a) => {
    const state = allocState(a);
    const look = a.DeploymentStatus?.Canary ? "new" : tone(state);
    return el("a", { href: `#/allocation/${a.ID}`, class: look, title: `${a.Name} ${state} v${a.JobVersion}`, "aria-label": `${a.Name} ${state}` });
  }));
}
