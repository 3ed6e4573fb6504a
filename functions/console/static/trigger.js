// One trigger: what it is, what it did, and what can be done with it.

import { get, post, remove } from "./api.js";
import { button, dialog, field, h, say } from "./dom.js";
import { copies } from "./copies.js";
import { attempt, bars, facts, runTable } from "./runs.js";
import { inZone, viewersZone, when } from "./time.js";
import { badge, pause, stateOf, what } from "./triggers.js";
import { sources } from "./words.js";

export async function trigger(id) {
  const path = `/triggers/${encodeURIComponent(id)}`;
  const state = h("div"), settings = h("div"), next = h("div"), chart = h("div");
  const runs = runTable("Runs", { trigger_id: id }, null, (all) => chart.replaceChildren(all.length ? bars(all) : ""));
  let current, shownState = "", shown = "", container = "";

  // refresh leaves alone what has not changed, so that a button keeps the focus.
  async function refresh() {
    const { last_run, ...read } = await get(path);
    current = read;
    const state = JSON.stringify([read.name, read.status, read.paused_at, read.error_message, read.delivery_config]), text = JSON.stringify(read);
    if (state !== shownState) showState();
    if (text !== shown) {
      const [planned, called] = await Promise.all([
        read.cron_config ? get(`${path}/next-runs`, { count: 10 }) : null,
        container || get(`/containers/${read.container_id}`).then((found) => found.name, () => read.container_id),
      ]);
      container = called;
      showSettings(planned);
    }
    shownState = state;
    shown = text;
    await runs.refresh();
  }

  function showState() {
    const paused = Boolean(current.paused_at);
    runs.empty.replaceChildren("There is no run yet. ",
      current.delivery_config.history === "none" ? "The trigger keeps none." : current.delivery_config.history === "failures" ? "The trigger keeps only runs that failed." : "It runs at its next time, or when you run it now.");
    state.replaceChildren(
      h("p", { class: "buttons" }, badge(stateOf(current)),
        button("Run now", runNow, { class: "primary" }),
        paused ? button("Resume", resume) : button("Pause", () => pause(current.name, async (reason) => { await post(`${path}/pause`, { reason }); await refresh(); say("Paused."); })),
        h("a", { href: `#/triggers/${id}/edit` }, "Edit"), button("Copy as …", () => copy(current)), button("Delete", erase, { class: "danger" })),
      current.error_message ? h("p", { class: current.status === "error" ? "error" : "note" }, current.error_message) : "");
  }

  function showSettings(planned) {
    const destination = current.destination_config, { cron_config: cron, sqs_config: sqs, nats_config: nats } = current;
    settings.replaceChildren(facts([
      ["Description", current.description], ["Source", [sources[current.source_type], " ", what(current)]],
      ["Means", planned?.description], ["Time zone", cron?.timezone], ["Body", cron?.body && h("pre", {}, cron.body)],
      ["Headers", cron && Object.keys(cron.headers).length > 0 && h("pre", {}, Object.entries(cron.headers).map((pair) => pair.join(": ")).join("\n"))],
      ["Endpoint", sqs?.endpoint], ["Access key", sqs?.access_key_id], ["Servers", nats?.server_urls.join(", ")],
      ["Calls", [`${destination.http_method.toUpperCase()} ${destination.http_path} of `, h("a", { href: `#/containers/${current.container_id}/edit` }, container)]],
      ["Keeps runs", current.delivery_config.history], ["Tags", current.tags.join(", ")], ["ID", h("code", {}, id)],
      ["Created", inZone(current.created_at, viewersZone)], ["Changed", inZone(current.updated_at, viewersZone)],
    ]));
    next.replaceChildren(...(!cron ? [] : [h("h2", {}, "Next runs"),
      planned.next_runs.length === 0 ? h("p", { class: "empty" }, current.paused_at ? "There is none while the trigger is paused." : "There is none.") : nextRuns(planned)]));
  }

  const runNow = () => dialog(`Run ${current.name} now`, [
    h("p", {}, "It makes one call. What you leave empty stays the trigger's own."),
    field("Body", "body", h("textarea", { rows: 4 })),
    field("Headers", "headers", h("textarea", { rows: 2, placeholder: "Name: value" }), "One on a line."),
    field("Path", "http_path", h("input", { placeholder: current.destination_config.http_path })),
  ], "Run now", async (form) => {
    const { body, headers, http_path } = form.elements;
    const run = await post(`${path}/run`, {
      ...(body.value && { body: body.value }), ...(http_path.value && { http_path: http_path.value }),
      ...(headers.value.trim() && { headers: readHeaders(headers.value) }),
    });
    refresh().catch((error) => say(error.message));
    return h("div", { role: "status" }, h("p", {}, badge(run.state), " ", h("a", { href: `#/runs/${encodeURIComponent(run.id)}` }, "Show the run")),
      run.state === "running" ? h("p", {}, "The container has not answered yet.") : h("ol", { class: "timeline" }, run.attempt_details.map(attempt)));
  });

  const resume = () => dialog(`Resume ${current.name}`, current.cron_config ? field("What the pause left out", "catch_up",
    h("select", {}, h("option", { value: "none" }, "stays left out"), h("option", { value: "last" }, "run the last one now"), h("option", { value: "all" }, "run all now, one after another")),
    "At most 1,000 are caught up.") : h("p", {}, "The messages that wait are delivered."), "Resume", async (form) => {
    await post(`${path}/resume`, form.elements.catch_up ? { catch_up: form.elements.catch_up.value } : {});
    await refresh();
    say("Resumed.");
  });

  const erase = () => dialog(`Delete ${current.name}`, h("p", {}, `The trigger ${current.name} makes no more calls. Its runs stay until they expire.`), "Delete", async () => {
    await remove(path);
    location.hash = "#/triggers";
  }, true);

  await refresh();
  return {
    title: current.name, refresh,
    node: h("div", {}, state, h("div", { class: "columns" }, h("section", {}, h("h2", {}, "Settings"), settings), h("section", {}, next)), h("h2", {}, "Runs"), chart, runs.node),
  };
}

// nextRuns shows planned runs in the schedule's time zone and in the viewer's.
export function nextRuns(planned) {
  return h("ol", { class: "next" }, planned.next_runs.map(({ scheduled_at, note }) => h("li", {},
    inZone(scheduled_at, planned.timezone), planned.timezone !== viewersZone && h("small", {}, `for you ${inZone(scheduled_at, viewersZone)}`),
    h("small", {}, when(scheduled_at)), note && h("small", { class: "note" }, note))));
}

// readHeaders reads lines of the form "Name: value".
export function readHeaders(text) {
  return Object.fromEntries(text.split("\n").filter((line) => line.trim()).map((line) => {
    const colon = line.indexOf(":");
    if (colon < 1) throw new Error(`A header needs a colon: ${line}`);
    return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  }));
}

function copy(trigger) {
  dialog(`Copy ${trigger.name}`, [
    h("p", {}, "Each creates the same trigger. Secrets are not known here: put them in."),
    ...Object.entries(copies(trigger)).map(([name, text]) => h("section", {}, h("h3", {}, name), h("pre", { tabindex: "0" }, text),
      button(`Copy as ${name}`, async () => { await navigator.clipboard.writeText(text); say(`Copied as ${name}.`); }))),
  ]);
}
