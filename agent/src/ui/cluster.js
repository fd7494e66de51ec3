// Nodes, services and routes.

import { send } from "/ui/app.js";
import { ago, el, facts, link, short, squares, status, table } from "/ui/dom.js";

const nodeState = (n) => (n.Status !== "ready" ? n.Status : n.Drain || n.DrainStrategy ? "draining" : n.SchedulingEligibility === "ineligible" ? "ineligible" : n.Status);

export function nodes() {
  return {
    watch: "/v1/nodes?resources=true",
    also: ["/v1/allocations"],
    render: (all, allocs) => [
      el("h1", {}, "Nodes"),
      table(["Node", "Datacenter", "Address", "State", "Drivers", "Allocations"], all.map((n) => [
        link(`#/node/${n.ID}`, n.Name),
        n.Datacenter,
        el("code", {}, n.Address),
        status(nodeState(n)),
        Object.entries(n.Drivers ?? {}).filter(([, d]) => d.Healthy).map(([name]) => el("span", { class: "tag" }, name)),
        squares((allocs ?? []).filter((a) => a.NodeID === n.ID && a.ClientStatus === "running")),
      ]), "No client node has joined."),
    ],
  };
}

const meter = (used, total, unit) => el("span", {},
  el("span", { class: "meter" }, el("i", { style: `width:${total ? Math.min(100, (100 * used) / total) : 0}%` })), `${used} / ${total} ${unit}`);

export function node(id) {
  return {
    watch: `/v1/node/${id}`,
    also: [`/v1/node/${id}/allocations`],
    render: (n, allocs) => {
      const live = (allocs ?? []).filter((a) => a.ClientStatus === "running" || a.ClientStatus === "pending");
      const tasks = live.flatMap((a) => Object.values(a.AllocatedResources?.Tasks ?? {}));
      const cpu = tasks.reduce((sum, t) => sum + (t.Cpu?.CpuShares ?? 0), 0);
      const memory = tasks.reduce((sum, t) => sum + (t.Memory?.MemoryMB ?? 0), 0);
      const eligible = n.SchedulingEligibility === "eligible";
      return [
        el("h1", {}, n.Name, status(nodeState(n)), el("span", { class: "actions" },
          el("button", { onclick: () => send("PUT", `/v1/node/${id}/eligibility`, { Eligibility: eligible ? "ineligible" : "eligible" }) }, eligible ? "Take no new work" : "Take new work again"))),
        facts([
          ["ID", el("code", {}, n.ID)], ["Datacenter", n.Datacenter], ["Class", n.NodeClass || ""],
          ["CPU given", meter(cpu, n.NodeResources?.Cpu?.CpuShares ?? 0, "MHz")], ["Memory given", meter(memory, n.NodeResources?.Memory?.MemoryMB ?? 0, "MiB")],
        ]),
        el("h2", {}, "Allocations"),
        table(["Allocation", "Name", "Job", "State", "Created"], live.map((a) => [
          link(`#/allocation/${a.ID}`, el("code", {}, short(a.ID))), a.Name, link(`#/job/${encodeURIComponent(a.JobID)}`, a.JobID), status(a.ClientStatus), ago(a.CreateTime),
        ]), "Nothing runs here."),
        el("h2", {}, "Drivers"),
        table(["Driver", "State", "Description"], Object.entries(n.Drivers ?? {}).map(([name, d]) => [name, status(d.Healthy ? "healthy" : d.Detected ? "unhealthy" : "not found", d.Healthy ? "good" : d.Detected ? "bad" : ""), d.HealthDescription]), "No driver."),
        el("h2", {}, "Events"),
        table(["When", "Subsystem", "Message"], [...(n.Events ?? [])].reverse().map((e) => [ago(e.Timestamp), e.Subsystem, e.Message]), "No events."),
      ];
    },
  };
}

const worst = (instances) => (instances.length === 0 ? "critical" : instances.every((i) => i.Status === "passing") ? "passing" : instances.some((i) => i.Status === "passing") ? "warning" : "critical");

export function services() {
  return {
    watch: "/ui/api/services",
    render: (all) => [
      el("h1", {}, "Services"),
      table(["Service", "Health", "#Instances", "Tags"], all.map((s) => [
        link(`#/service/${encodeURIComponent(s.Name)}`, s.Name),
        status(worst(s.Instances)),
        `${s.Instances.filter((i) => i.Status === "passing").length} of ${s.Instances.length}`,
        [...new Set(s.Instances.flatMap((i) => i.Tags))].map((t) => el("span", { class: "tag" }, t)),
      ]), "No service is registered."),
    ],
  };
}

export function service(name) {
  return {
    watch: "/ui/api/services",
    render: (all) => {
      const found = all.find((s) => s.Name === name);
      if (!found) return [el("h1", {}, name), el("div", { class: "card empty" }, "No instance is registered.")];
      return [
        el("h1", {}, name, status(worst(found.Instances))),
        el("p", { class: "soft" }, "In DNS: ", el("code", {}, `${name}.service.consul`)),
        table(["Address", "Node", "Health", "Allocation", "Checks"], found.Instances.map((i) => [
          el("code", {}, `${i.Address}:${i.Port}`), i.Node, status(i.Status),
          i.AllocID ? link(`#/allocation/${i.AllocID}`, el("code", {}, short(i.AllocID))) : "registered through the API",
          i.Checks.map((c) => el("div", {}, status(c.Status), ` ${c.Name} `, el("span", { class: "soft" }, c.Output))),
        ]), "No instance."),
      ];
    },
  };
}

export function routes() {
  return {
    watch: "/ui/api/routes",
    render: (answer) => [
      el("h1", {}, "Routes"),
      ...(answer.Problem ? [el("div", { class: "error" }, answer.Problem)] : [
        el("p", { class: "soft" }, "Traffic comes in at ", el("code", {}, answer.Listen), "; more at ", el("a", { href: `http://${location.hostname}:${answer.AdminPort}/` }, "the load balancer's own page"), "."),
        table(["Route", "Service", "Target", "#Weight", "Options"], answer.Routes.map((r) => [
          r.src?.startsWith("/") || !r.src?.includes("/") ? el("a", { href: `http://${location.hostname}:${answer.Port}${r.src?.startsWith("/") ? r.src : "/"}` }, r.src) : el("code", {}, r.src),
          link(`#/service/${encodeURIComponent(r.service)}`, r.service), el("code", {}, r.dst), `${(100 * (r.weight ?? 0)).toFixed(1)} %`, r.opts || "",
        ]), "No route. A service gets one with a tag such as urlprefix-/path."),
      ]),
    ],
  };
}
