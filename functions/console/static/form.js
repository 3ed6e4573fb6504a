// The form that creates or edits a trigger.

import { all, get, patch, post } from "./api.js";
import { field, formOf, h } from "./dom.js";
import { nextRuns, readHeaders } from "./trigger.js";
import { sources } from "./words.js";

const select = (options, chosen) => h("select", {}, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

export async function triggerForm(id) {
  const [old, containers] = await Promise.all([id && get(`/triggers/${encodeURIComponent(id)}`), all("containers")]);
  if (containers.length === 0) {
    return { title: "Create a trigger", node: h("p", { class: "empty" }, "A trigger calls a container, and there is none yet. ", h("a", { href: "#/containers/new" }, "Register a container"), " first.") };
  }
  const { cron_config: cron, sqs_config: sqs, nats_config: nats } = old ?? {};
  const source = select(Object.entries(sources), old?.source_type);
  source.disabled = Boolean(old);
  const schedule = h("input", { value: cron?.schedule ?? "0 8 * * MON-FRI", spellcheck: "false", oninput: preview });
  const timezone = h("input", { value: cron?.timezone ?? "UTC", list: "zones", oninput: preview });
  const previewed = h("div", { class: "preview", role: "status" });
  const parts = {
    cron: h("fieldset", {}, h("legend", {}, "Schedule"),
      field("Schedule", "cron_config.schedule", schedule, "Minute, hour, day of the month, month and day of the week; or @daily."),
      field("Time zone", "cron_config.timezone", timezone),
      h("datalist", { id: "zones" }, ["UTC", ...Intl.supportedValuesOf("timeZone")].map((zone) => h("option", { value: zone }))), previewed,
      field("Body", "cron_config.body", h("textarea", { rows: 3 }, cron?.body ?? "")),
      field("Headers", "cron_config.headers", h("textarea", { rows: 2, placeholder: "Name: value" }, Object.entries(cron?.headers ?? {}).map((pair) => pair.join(": ")).join("\n")), "One on a line.")),
    sqs: h("fieldset", {}, h("legend", {}, "Queue"),
      field("Queue URL", "sqs_config.queue_url", h("input", { value: sqs?.queue_url ?? "" })),
      field("Endpoint", "sqs_config.endpoint", h("input", { value: sqs?.endpoint ?? "" }), "Such as https://sqs.eu-west-3.amazonaws.com."),
      field("Access key ID", "sqs_config.access_key_id", h("input", { value: sqs?.access_key_id ?? "", autocomplete: "off" })),
      field("Secret access key", "sqs_config.secret_access_key", h("input", { type: "password", autocomplete: "off" }), old ? "Empty keeps the one that is stored." : "It is stored encrypted, and never shown again.")),
    nats: h("fieldset", {}, h("legend", {}, "Subject"),
      field("Servers", "nats_config.server_urls", h("textarea", { rows: 2, placeholder: "nats://nats.example.com:4222" }, nats?.server_urls.join("\n") ?? ""), "URLs of one cluster, one on a line."),
      field("Subject", "nats_config.subject", h("input", { value: nats?.subject ?? "" }), "* stands for one token, > for all that follow."),
      field("Credentials file", "nats_config.credentials_file_content", h("textarea", { rows: 3, spellcheck: "false" }), old ? "Empty keeps the one that is stored." : "Its content. It is stored encrypted, and never shown again.")),
  };
  const form = formOf(old ? "Save" : "Create", async () => {
    const saved = old ? await patch(`/triggers/${old.id}`, request()) : await post("/triggers", request());
    location.hash = `#/triggers/${saved.id}`;
  },
  field("Name", "name", h("input", { value: old?.name ?? "", maxlength: 128 })),
  field("Description", "description", h("input", { value: old?.description ?? "", maxlength: 1024 })),
  old ? "" : field("Container", "container_id", select(containers.map((container) => [container.id, container.name]))),
  field("Source", "source_type", source), ...Object.values(parts),
  h("fieldset", {}, h("legend", {}, "Call"),
    field("Method", "destination_config.http_method", select(["post", "get", "put", "patch", "delete"].map((method) => [method, method.toUpperCase()]), old?.destination_config.http_method)),
    field("Path", "destination_config.http_path", h("input", { value: old?.destination_config.http_path ?? "/" }))),
  field("Tags", "tags", h("textarea", { rows: 2 }, old?.tags.join("\n") ?? ""), "One on a line."),
  field("Keep runs", "delivery_config.history", select([["", "as usual for the source"], ["all", "all"], ["failures", "only those that failed"], ["none", "none"]], old?.delivery_config.history)));

  function request() {
    const value = (name) => form.elements[name].value;
    const config = {
      cron: () => ({ schedule: value("cron_config.schedule"), timezone: value("cron_config.timezone"), body: value("cron_config.body"), headers: readHeaders(value("cron_config.headers")) }),
      sqs: () => ({ queue_url: value("sqs_config.queue_url"), endpoint: value("sqs_config.endpoint"), access_key_id: value("sqs_config.access_key_id"), secret_access_key: value("sqs_config.secret_access_key") || null }),
      nats: () => ({ server_urls: lines(value("nats_config.server_urls")), subject: value("nats_config.subject"), credentials_file_content: value("nats_config.credentials_file_content") || null }),
    }[source.value]();
    return {
      name: value("name"), description: value("description"), tags: lines(value("tags")), ...(!old && { container_id: value("container_id") }),
      destination_config: { http_method: value("destination_config.http_method"), http_path: value("destination_config.http_path") },
      [`${source.value}_config`]: config, ...(value("delivery_config.history") && { delivery_config: { history: value("delivery_config.history") } }),
    };
  }

  // preview shows what the schedule means. Only the answer to the last question is shown.
  let asked = 0, waiting;
  function preview() {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const mine = ++asked;
      let shown;
      try {
        const planned = await post("/preview-schedule", { schedule: schedule.value, timezone: timezone.value, count: 5 });
        shown = [h("p", {}, planned.description), nextRuns(planned)];
      } catch (failure) {
        shown = [h("p", { class: "error" }, failure.message)];
      }
      if (mine === asked) previewed.replaceChildren(...shown);
    }, 250);
  }
  const choose = () => { for (const [name, part] of Object.entries(parts)) part.hidden = part.disabled = name !== source.value; };
  source.addEventListener("change", choose);
  choose();
  preview();
  return { title: old ? `Edit ${old.name}` : "Create a trigger", node: form };
}
