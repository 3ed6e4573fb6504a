// Runs: the table of them, one with its attempts, and the failed ones of all triggers.

import { get, post, remove } from "./api.js";
import { Selection, button, count, dialog, h, many, say, svg, syncRows, table } from "./dom.js";
import { inZone, viewersZone, when } from "./time.js";
import { badge, runLink } from "./triggers.js";
import { origins, reasons, states } from "./words.js";

export function seconds(duration) {
  return duration ? parseFloat(duration) : 0;
}

// why tells why a run failed, in words.
export function why(run) {
  return run.error_message || reasons[run.reason] || "";
}

// runTable makes a table of runs with paging. query chooses the runs.
export function runTable(caption, query, selection, changed = () => {}) {
  const names = new Map(); // of triggers, if the table has runs of many
  const many = !query.trigger_id;
  const { body, node } = table(caption, [...(selection ? [selection.all()] : []), "Run", ...(many ? ["Trigger"] : []), "Event", "Took", "Attempts", "Answer"]);
  const older = button("Show older runs", more), empty = h("p", { class: "empty" });
  let newest = [], rest = [], token = null;

  const cells = (run) => [
    selection && h("td", {}, selection.box(run.id, `the run of ${inZone(run.scheduled_at, viewersZone)}`)),
    h("th", { scope: "row" }, runLink(run)),
    many && h("td", {}, h("a", { href: `#/triggers/${run.trigger_id}` }, names.get(run.trigger_id) ?? run.trigger_id)),
    h("td", {}, when(run.scheduled_at), h("small", {}, origins[run.origin])),
    h("td", {}, run.run_duration ?? "–"),
    h("td", {}, String(run.attempts)),
    h("td", {}, run.http_status ? String(run.http_status) : "–", why(run) && h("small", {}, why(run))),
  ].filter(Boolean);

  async function page(page_token) {
    const answer = await get("/trigger-runs", { ...query, page_token, page_size: 50 });
    if (many) {
      await Promise.all([...new Set(answer.trigger_runs.map((run) => run.trigger_id))].filter((id) => !names.has(id)).map(async (id) => {
        names.set(id, await get(`/triggers/${id}`).then((trigger) => trigger.name, () => `${id} (deleted)`));
      }));
    }
    return answer;
  }
  function render() {
    const seen = new Set(), runs = [...newest, ...rest].filter(({ id }) => !seen.has(id) && seen.add(id));
    syncRows(body, runs, cells);
    selection?.keep(runs.map((run) => run.id));
    node.hidden = runs.length === 0;
    empty.hidden = runs.length > 0;
    older.hidden = !token;
    changed(runs);
  }
  async function refresh() {
    const answer = await page();
    newest = answer.trigger_runs;
    if (rest.length === 0) token = answer.next_page_token;
    render();
  }
  async function more() {
    const answer = await page(token);
    rest = [...newest, ...rest, ...answer.trigger_runs];
    token = answer.next_page_token;
    render();
  }
  function forget() {
    rest = [];
  }
  return { body, refresh, forget, empty, node: h("div", {}, empty, node, h("p", {}, older)) };
}

// bars draws the outcomes and durations of the last runs, the newest to the right.
export function bars(runs) {
  const drawn = runs.slice(0, 50).reverse();
  const longest = Math.max(0.001, ...drawn.map((run) => seconds(run.run_duration)));
  const failed = drawn.filter((run) => run.state === "failed").length;
  return svg("svg", { class: "bars", viewBox: "0 0 500 64", role: "img", "aria-label": `The last ${drawn.length} runs: ${failed} failed, the longest took ${longest.toFixed(3)} s` },
    drawn.map((run, i) => {
      const height = 6 + 56 * seconds(run.run_duration) / longest;
      return svg("a", { href: `#/runs/${encodeURIComponent(run.id)}`, tabindex: "-1" },
        svg("rect", { x: 500 - (drawn.length - i) * 10, y: 64 - height, width: 8, height, rx: 1.5, class: run.state },
          svg("title", {}, `${run.state}, ${run.run_duration ?? "no duration"}, ${inZone(run.scheduled_at, viewersZone)}`)));
    }));
}

// facts makes a list of names and values. It leaves out what is empty.
export function facts(pairs) {
  return h("dl", {}, pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined && value !== false)
    .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function headers(all) {
  return Object.entries(all).map(([name, value]) => `${name}: ${value}`).join("\n");
}

// attempt shows one call, and what the container answered.
export function attempt(details) {
  return h("li", { class: details.error || details.http_status >= 300 ? "failed" : "succeeded" },
    h("strong", {}, `Attempt ${details.number}`), details.manual && " by hand", " ", when(details.started_at), `, took ${details.duration}`,
    details.http_status && `, answered ${details.http_status}`,
    details.error && h("p", { class: "error" }, details.error),
    (headers(details.response_headers) || details.response_body) && h("pre", {}, [headers(details.response_headers), details.response_body].filter(Boolean).join("\n\n")),
    details.response_truncated && h("small", {}, "The rest of the answer is not kept."),
    details.retry_after && h("small", {}, `The container asked to wait: ${details.retry_after}`),
    details.next_attempt_at && h("p", {}, "The next attempt: ", when(details.next_attempt_at)));
}

function request(sent) {
  if (!sent) return h("p", { class: "empty" }, "No request is kept.");
  const body = sent.body_base64 ? `${sent.body_base64}\n(in base64)` : sent.body;
  return [sent.subject && h("p", {}, "Subject: ", h("code", {}, sent.subject)),
    h("pre", {}, `${sent.http_method.toUpperCase()} ${sent.http_path}\n${headers(sent.headers)}\n\n${body}`),
    sent.truncated && h("small", {}, "The rest of the body is not kept.")];
}

export async function run(id) {
  const path = `/trigger-runs/${encodeURIComponent(id)}`;
  const node = h("div");
  let shown = "";
  const replay = button("Replay", async () => { say("Replaying …"); const run = await post(`${path}/replay`); say(`Replayed: ${states[run.state]}.`); await refresh(); }, { class: "primary" });
  const erase = button("Delete", () => dialog("Delete this run", h("p", {}, "What the run keeps of its request and answers is gone for good."), "Delete", async () => {
    const gone = await remove(path);
    location.hash = `#/triggers/${gone.trigger_id}`;
  }, true), { class: "danger" });
  const name = (trigger) => get(`/triggers/${trigger}`).then((trigger) => trigger.name, () => `${trigger} (deleted)`);
  async function refresh() {
    const run = await get(path), text = JSON.stringify(run);
    if (text === shown) return;
    shown = text;
    replay.hidden = !run.replayable;
    const trigger = await name(run.trigger_id);
    node.replaceChildren(
      h("p", { class: "buttons" }, badge(run.state), replay, erase),
      why(run) && h("p", { class: "error" }, why(run), run.error_message && reasons[run.reason] ? ` ${reasons[run.reason]}` : ""),
      facts([
        ["Trigger", h("a", { href: `#/triggers/${run.trigger_id}` }, trigger)],
        ["Begun", origins[run.origin]], ["Event", [inZone(run.scheduled_at, viewersZone), " · ", h("code", {}, run.event_id)]],
        ["Started", run.started_at && inZone(run.started_at, viewersZone)], ["Took", run.run_duration], ["Kept until", inZone(run.expires_at, viewersZone)],
      ]),
      h("h2", {}, "Attempts"),
      run.attempt_details.length ? h("ol", { class: "timeline" }, run.attempt_details.map(attempt)) : h("p", { class: "empty" }, "There is no attempt yet."),
      h("h2", {}, "Request"), ...[request(run.request)].flat().filter(Boolean));
  }
  await refresh();
  return { title: "Run", node, refresh };
}

export async function failed() {
  const actions = [];
  const selection = new Selection((count) => actions.forEach((action) => { action.disabled = count === 0; }));
  const runs = runTable("Failed runs", { states: "failed" }, selection);
  runs.empty.textContent = "No run has failed. There is nothing to do here.";
  const act = async (done, action) => {
    await many(selection, done, action);
    selection.clear(runs.body);
    runs.forget();
    await runs.refresh();
  };
  const each = (id) => `/trigger-runs/${encodeURIComponent(id)}`;
  actions.push(
    button("Replay", () => act("Replayed", (id) => post(`${each(id)}/replay`)), { disabled: true }),
    button("Delete", () => dialog(`Delete ${count(selection.chosen.size, "run")}`, h("p", {}, "What the runs keep of their requests and answers is gone for good."), "Delete",
      () => act("Deleted", (id) => remove(each(id))), true), { disabled: true, class: "danger" }));
  await runs.refresh();
  return { title: "Failed runs", refresh: runs.refresh, node: h("div", {}, h("p", { class: "buttons" }, actions), runs.node) };
}
