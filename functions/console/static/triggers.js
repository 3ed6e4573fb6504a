// The list of triggers.

import { all, get, meaning, post } from "./api.js";
import { Selection, button, count, dialog, each, field, h, many, say, syncRows, table } from "./dom.js";
import { when } from "./time.js";
import { sources, states, statuses } from "./words.js";

const pageSize = 25;

// The answers for single triggers cost a request each. They are asked for again after slow
// milliseconds, and at each refresh for soon milliseconds after a trigger was to run.
const slow = 30000, soon = 15000;

// The search, the filters and the order stay while the user looks at other views.
const kept = { search: "", source: "", state: "", container: "", order: "created_at", page: 0 };

// stateOf tells the state of a trigger as one word and, if there is more to say, in words.
export function stateOf(trigger) {
  return trigger.status === "ready" && trigger.paused_at ? "paused" : trigger.status;
}

// badge shows a state as a coloured word.
export function badge(state) {
  return h("span", { class: `badge ${state}` }, state === "paused" ? state : statuses[state] ?? states[state] ?? state);
}

export function what(trigger) {
  if (trigger.cron_config) return [h("code", {}, trigger.cron_config.schedule)];
  return [h("code", {}, trigger.sqs_config ? trigger.sqs_config.queue_url || trigger.sqs_config.endpoint : trigger.nats_config.subject)];
}

export function runLink(run) {
  return h("a", { href: `#/runs/${encodeURIComponent(run.id)}` }, badge(run.state));
}

const orders = {
  created_at: ["newest first", (a, b) => b.created_at.localeCompare(a.created_at)],
  name: ["by name", (a, b) => a.name.localeCompare(b.name)],
  next_run_at: ["next run first", (a, b) => (a.next_run_at ?? "~").localeCompare(b.next_run_at ?? "~")],
};

function matches(trigger) {
  const text = [trigger.name, trigger.description, trigger.id, ...trigger.tags].join("\n").toLowerCase();
  return text.includes(kept.search.toLowerCase()) && (!kept.source || trigger.source_type === kept.source) &&
    (!kept.state || stateOf(trigger) === kept.state) && (!kept.container || trigger.container_id === kept.container);
}

function choice(label, name, options, changed) {
  const select = h("select", { onchange: (event) => { kept[name] = event.target.value; kept.page = 0; changed(); } },
    options.map(([value, text]) => h("option", { value, selected: kept[name] === value }, text)));
  return h("label", {}, label, " ", select);
}

export async function triggers() {
  let found = [], containers = new Map();
  const details = new Map(); // what only the answers for single triggers have
  const actions = [];
  const selection = new Selection((count) => actions.forEach((action) => { action.disabled = count === 0; }));
  const { body, node } = table("Triggers", [selection.all(), "State", "Name", "Source", "Next run", "Last run"]);
  const empty = h("p", { class: "empty" }), pages = h("p", { class: "buttons" });

  const cells = ({ trigger, last, words }) => [
    h("td", {}, selection.box(trigger.id, trigger.name)),
    h("td", {}, badge(stateOf(trigger)), trigger.error_message && h("small", {}, trigger.error_message)),
    h("th", { scope: "row" }, h("a", { href: `#/triggers/${trigger.id}` }, trigger.name),
      h("small", {}, containers.get(trigger.container_id)?.name ?? trigger.container_id)),
    h("td", {}, sources[trigger.source_type], " ", what(trigger), words && h("small", {}, words)),
    h("td", {}, when(trigger.next_run_at)),
    h("td", {}, last ? [runLink(last), " ", when(last.terminated_at)] : "–"),
  ];

  function render() {
    const matching = found.filter(matches).sort(orders[kept.order][1]);
    kept.page = Math.max(0, Math.min(kept.page, Math.ceil(matching.length / pageSize) - 1));
    const visible = matching.slice(kept.page * pageSize, (kept.page + 1) * pageSize);
    syncRows(body, visible.map((trigger) => {
      const { last, words } = details.get(trigger.id) ?? {};
      return { id: trigger.id, trigger, last, words };
    }), cells);
    node.hidden = visible.length === 0;
    empty.hidden = visible.length > 0;
    empty.replaceChildren(...(found.length ? ["No trigger matches."] :
      containers.size ? ["There is no trigger yet. ", h("a", { href: "#/triggers/new" }, "Create one"), "."] :
        ["A trigger calls a container, and there is none yet. ", h("a", { href: "#/containers/new" }, "Register a container"), " first."]));
    pages.hidden = matching.length <= pageSize;
    pages.replaceChildren(
      h("button", { type: "button", disabled: kept.page === 0, onclick: () => turn(-1) }, "Previous"),
      `${kept.page * pageSize + 1}–${kept.page * pageSize + visible.length} of ${matching.length}`,
      h("button", { type: "button", disabled: (kept.page + 1) * pageSize >= matching.length, onclick: () => turn(1) }, "Next"));
    return visible;
  }

  async function look() {
    const now = Date.now();
    const due = render().filter(({ id, next_run_at }) => {
      const known = details.get(id);
      if (known && known.next !== next_run_at) Object.assign(known, { next: next_run_at, until: now + soon });
      return !known || now < known.until || now > known.at + slow;
    });
    await each(due, async (trigger) => {
      const [read, words] = await Promise.all([
        get(`/triggers/${trigger.id}`),
        trigger.cron_config && meaning(trigger.cron_config.schedule, trigger.cron_config.timezone),
      ]);
      details.set(trigger.id, { until: 0, ...details.get(trigger.id), last: read.last_run, words, at: now, next: trigger.next_run_at });
    });
    render();
  }

  // filter shows other rows. What is not shown is not chosen.
  function filter() {
    selection.clear(body);
    body.replaceChildren();
    return look().catch((error) => say(error.message));
  }

  async function turn(pages) {
    kept.page += pages;
    await filter();
  }

  async function refresh() {
    const listed = await Promise.all([all("triggers"), all("containers")]);
    found = listed[0];
    containers = new Map(listed[1].map((container) => [container.id, container]));
    selection.keep(found.map((trigger) => trigger.id));
    await look();
  }

  // act does an action for the chosen triggers and shows what they are then.
  const act = async (done, action) => {
    await many(selection, done, action);
    for (const id of selection.chosen) details.delete(id);
    selection.clear(body);
    await refresh();
  };
  actions.push(
    button("Run now", () => act("Ran", (id) => post(`/triggers/${id}/run`, {})), { disabled: true }),
    button("Pause", () => pause(count(selection.chosen.size, "trigger"), (reason) => act("Paused", (id) => post(`/triggers/${id}/pause`, { reason }))), { disabled: true }),
    button("Resume", () => act("Resumed", (id) => post(`/triggers/${id}/resume`)), { disabled: true }));

  await refresh();
  const controls = h("div", { class: "controls" },
    h("label", {}, "Search ", h("input", { id: "search", type: "search", value: kept.search, oninput: (event) => { kept.search = event.target.value; kept.page = 0; filter(); } })),
    choice("Source", "source", [["", "all"], ...Object.entries(sources)], filter),
    choice("State", "state", [["", "all"], ["ready", "ready"], ["paused", "paused"], ["error", "error"], ["creating", "creating"], ["updating", "updating"], ["deleting", "deleting"]], filter),
    choice("Container", "container", [["", "all"], ...[...containers.values()].map(({ id, name }) => [id, name])], filter),
    choice("Order", "order", Object.entries(orders).map(([value, [text]]) => [value, text]), filter));
  return {
    title: "Triggers", refresh,
    node: h("div", {}, h("p", { class: "buttons" }, h("a", { class: "primary", href: "#/triggers/new" }, "Create a trigger"), actions), controls, empty, node, pages),
  };
}

// pause asks for the reason of a pause.
export function pause(name, action) {
  dialog(`Pause ${name}`, [
    h("p", {}, "No call begins after the pause. Messages of a queue or a JetStream stream wait; those of core NATS are lost."),
    field("Reason", "reason", h("input", { maxlength: 1024 })),
  ], "Pause", (form) => action(form.elements.reason.value));
}
