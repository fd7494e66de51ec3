// Jobs, allocations and their logs.

import { send, still } from "/ui/app.js";
import { ago, allocState, el, facts, link, short, squares, status, table } from "/ui/dom.js";

const path = (id) => encodeURIComponent(id);

export function list() {
  return {
    watch: "/v1/jobs",
    also: ["/v1/allocations"],
    render: (jobs, allocs) => [
      el("h1", {}, "Jobs"),
      table(["Job", "Type", "Status", "Allocations", "#Priority", "Submitted"], jobs.map((j) => [
        link(`#/job/${path(j.ID)}`, j.ID),
        j.Type,
        status(j.Stop ? "stopped" : j.Status),
        squares((allocs ?? []).filter((a) => a.JobID === j.ID && (a.DesiredStatus === "run" || a.ClientStatus === "running"))),
        String(j.Priority),
        ago(j.SubmitTime),
      ]), "No job is registered. Try: trine job run jobs/echo-simple.hcl"),
    ],
  };
}

export function detail(id) {
  const base = `/v1/job/${path(id)}`;
  return {
    watch: `${base}/allocations`,
    also: [base, `${base}/deployment`, `${base}/evaluations`],
    render: (allocs, job, deployment, evals) => {
      if (!job) return [el("h1", {}, id), el("div", { class: "error" }, "This job does not exist any more.")];
      const open = allocs.filter((a) => a.DesiredStatus === "run" || a.ClientStatus === "running");
      return [
        el("h1", {}, job.ID, status(job.Stop ? "stopped" : job.Status), actions(job)),
        facts([["Type", job.Type], ["Version", String(job.Version)], ["Priority", String(job.Priority)], ["Datacenters", (job.Datacenters ?? []).join(", ")], ["Submitted", ago(job.SubmitTime)]]),
        ...failures(evals ?? []),
        ...rollout(deployment),
        el("h2", {}, "Now"),
        open.length ? el("div", { class: "card pad" }, squares(open)) : el("div", { class: "card empty" }, "No allocation runs."),
        el("h2", {}, "Allocations"),
        allocTable(allocs),
      ];
    },
  };
}

function actions(job) {
  const stop = () => confirm(`Stop ${job.ID}?`) && send("DELETE", `/v1/job/${path(job.ID)}`);
  const scale = (group, by) => send("PUT", `/v1/job/${path(job.ID)}/scale`, { Count: Math.max(0, group.Count + by), Target: { Group: group.Name } });
  const groups = job.Stop || job.Type === "system" ? [] : (job.TaskGroups ?? []).map((g) => el("span", {},
    el("button", { onclick: () => scale(g, -1), "aria-label": `one ${g.Name} less` }, "−"), ` ${g.Name}: ${g.Count} `,
    el("button", { onclick: () => scale(g, 1), "aria-label": `one ${g.Name} more` }, "+")));
  return el("span", { class: "actions" }, groups, job.Stop ? null : el("button", { class: "danger", onclick: stop }, "Stop"));
}

function rollout(d) {
  if (!d) return [];
  const waits = Object.values(d.TaskGroups ?? {}).some((g) => g.DesiredCanaries > 0 && !g.Promoted) && d.Status === "running";
  const buttons = d.Status !== "running" ? null : el("span", { class: "actions" },
    waits ? el("button", { class: "main", onclick: () => send("PUT", `/v1/deployment/promote/${d.ID}`, { DeploymentID: d.ID, All: true }) }, "Promote canaries") : null,
    el("button", { class: "danger", onclick: () => send("PUT", `/v1/deployment/fail/${d.ID}`, {}) }, "Fail"));
  return [
    el("h2", {}, "Latest deployment"),
    el("div", { class: "card" },
      el("div", { class: "bar" }, el("code", {}, short(d.ID)), status(d.Status), el("span", { class: "soft" }, d.StatusDescription), buttons),
      el("table", {}, el("thead", {}, el("tr", {}, ["Group", "Desired", "Canaries", "Placed", "Healthy", "Unhealthy", "Promoted"].map((c) => el("th", {}, c)))),
        el("tbody", {}, Object.entries(d.TaskGroups ?? {}).map(([name, g]) => el("tr", {}, [name, g.DesiredTotal, g.DesiredCanaries, g.PlacedAllocs, g.HealthyAllocs, g.UnhealthyAllocs, g.DesiredCanaries ? (g.Promoted ? "yes" : "no") : "–"].map((v) => el("td", {}, String(v)))))))),
  ];
}

/// Why the newest evaluation could not place everything, node by node.
function failures(evals) {
  const open = evals.filter((e) => e.Status === "blocked" && e.FailedTGAllocs && Object.keys(e.FailedTGAllocs).length);
  return open.flatMap((e) => Object.entries(e.FailedTGAllocs).map(([group, m]) => {
    const reasons = [
      ...Object.entries(m.ConstraintFiltered ?? {}).map(([what, n]) => `${what}: ${n} node(s) excluded`),
      ...Object.entries(m.DimensionExhausted ?? {}).map(([what, n]) => `${what}: exhausted on ${n} node(s)`),
      ...(m.Refusals ?? []).map((r) => `${r.NodeName ?? short(r.NodeID)}: ${r.Reason}`),
    ];
    return el("div", { class: "error" }, el("strong", {}, `Group "${group}" cannot be placed whole. `), reasons.length ? [...new Set(reasons)].join("; ") : "No node is available.");
  }));
}

function allocTable(allocs) {
  const newest = [...allocs].sort((a, b) => b.CreateIndex - a.CreateIndex);
  return table(["Allocation", "Name", "Node", "#Version", "State", "Created", ""], newest.map((a) => [
    link(`#/allocation/${a.ID}`, el("code", {}, short(a.ID))),
    a.Name,
    link(`#/node/${a.NodeID}`, a.NodeName),
    String(a.JobVersion),
    el("span", {}, status(allocState(a)), a.DeploymentStatus?.Canary ? status("canary", "new") : null),
    ago(a.CreateTime),
    link(`#/allocation/${a.ID}`, "logs"),
  ]), "No allocation yet.");
}

export function allocations() {
  return { watch: "/v1/allocations", render: (allocs) => [el("h1", {}, "Allocations"), allocTable(allocs)] };
}

export function allocation(id, signal) {
  return {
    watch: `/v1/allocation/${id}`,
    render: (a) => {
      const tasks = Object.entries(a.TaskStates ?? {});
      const ports = a.AllocatedResources?.Shared?.Ports ?? [];
      return [
        el("h1", {}, a.Name, status(allocState(a)), el("span", { class: "actions" },
          el("button", { onclick: () => send("PUT", `/v1/client/allocation/${a.ID}/restart`, {}) }, "Restart"),
          el("button", { class: "danger", onclick: () => confirm("Stop this allocation? The job will replace it.") && send("PUT", `/v1/allocation/${a.ID}/stop`) }, "Stop"))),
        facts([
          ["ID", el("code", {}, a.ID)], ["Job", link(`#/job/${path(a.JobID)}`, a.JobID)], ["Node", link(`#/node/${a.NodeID}`, a.NodeName || short(a.NodeID))],
          ["Version", String(a.JobVersion ?? a.Job?.Version ?? "")], ["Created", ago(a.CreateTime)],
          ["Addresses", ports.length ? ports.map((p) => `${p.Label} ${p.HostIP}:${p.Value}`).join(", ") : ""],
          ["Description", a.ClientDescription || a.DesiredDescription || ""],
        ]),
        ...tasks.flatMap(([name, t]) => [
          el("h2", {}, `Task ${name} `, status(t.Failed ? "failed" : t.State)),
          table(["When", "What", "Message"], [...(t.Events ?? [])].reverse().map((e) => [ago(e.Time), e.Type, e.DisplayMessage || e.Message || ""]), "Nothing has happened yet."),
        ]),
        ...(tasks.length ? [el("h2", {}, "Logs"), logs(id, tasks.map(([n]) => n), signal)] : []),
      ];
    },
  };
}

/// The live log of a task: sticks to the bottom only while the reader is there.
function logs(id, tasks, signal) {
  const text = el("pre", { class: "logs", tabindex: "0", "aria-label": "log" });
  const task = el("select", { "aria-label": "task" }, tasks.map((t) => el("option", { value: t }, t)));
  const stream = el("select", { "aria-label": "stream" }, el("option", { value: "stdout" }, "stdout"), el("option", { value: "stderr" }, "stderr"));
  const box = el("div", { class: "card", "data-keep": `logs-${id}` }, el("div", { class: "bar" }, task, stream), text);
  let running = new AbortController();
  const start = () => {
    running.abort();
    running = new AbortController();
    text.textContent = "";
    pour(`/v1/client/fs/logs/${id}?task=${encodeURIComponent(task.value)}&type=${stream.value}&follow=${!still}&plain=true&origin=end&offset=50000`, text, AbortSignal.any([running.signal, signal]));
  };
  task.addEventListener("change", start);
  stream.addEventListener("change", start);
  queueMicrotask(() => { if (box.isConnected) start(); else setTimeout(() => box.isConnected && start()); });
  return box;
}

const LONGEST_LOG = 500_000;

async function pour(url, into, signal) {
  try {
    const answer = await fetch(url, { signal });
    if (!answer.ok) { into.textContent = await answer.text(); return; }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const bottom = into.scrollHeight - into.scrollTop - into.clientHeight < 30;
      into.append(value);
      if (into.textContent.length > LONGEST_LOG) into.textContent = into.textContent.slice(-LONGEST_LOG / 2);
      if (bottom) into.scrollTop = into.scrollHeight;
    }
  } catch (error) {
    if (!signal.aborted) into.append(`\n[the log stream ended: ${error.message}]\n`);
  }
}
