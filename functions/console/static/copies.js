// A trigger as text for other clients. Secrets become placeholders.

import { session, url } from "./api.js";

// shell quotes a word of a POSIX shell.
const shell = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;

// hcl writes a value of Terraform's language. Its templates are escaped in strings.
function hcl(value, indent) {
  if (Array.isArray(value)) return `[${value.map((one) => hcl(one)).join(", ")}]`;
  if (typeof value === "object") return `{\n${Object.entries(value).map(([name, one]) => `${indent}  ${hcl(name)} = ${hcl(one)}\n`).join("")}${indent}}`;
  return JSON.stringify(value).replace(/[$%](?=\{)/g, "$&$&");
}

const secrets = { sqs_config: { secret_access_key: "…" } };

// wanted is the trigger as a request to create it.
export function wanted(trigger) {
  const request = { name: trigger.name, container_id: trigger.container_id };
  if (trigger.description) request.description = trigger.description;
  if (trigger.tags.length) request.tags = trigger.tags;
  request.destination_config = trigger.destination_config;
  for (const config of ["cron_config", "sqs_config", "nats_config"]) {
    if (trigger[config]) request[config] = { ...trigger[config], ...secrets[config] };
  }
  return request;
}

// flat lists the arguments of scw: a.b=c, a.0=d.
function flat(value, prefix) {
  if (typeof value !== "object") return [`${prefix}=${shell(value)}`];
  return Object.entries(value).flatMap(([name, one]) => flat(one, `${prefix ? `${prefix}.` : ""}${prefix === "cron-config.headers" ? name : name.replaceAll("_", "-")}`));
}

// Terraform's blocks and some of their fields have names of their own.
const blocks = { destination_config: "destination_config", cron_config: "cron", sqs_config: "sqs", nats_config: "nats" };
const renamed = { access_key_id: "access_key", secret_access_key: "secret_key" };

export function copies(trigger) {
  const request = wanted(trigger);
  const lines = Object.entries(request).flatMap(([name, value]) => {
    if (!blocks[name]) return [`  ${name} = ${hcl(value, "  ")}`];
    return [`  ${blocks[name]} {`, ...Object.entries(value).filter(([field]) => field !== "region").map(([field, one]) => `    ${renamed[field] ?? field} = ${hcl(one, "    ")}`), "  }"];
  });
  return {
    curl: `curl -H "X-Auth-Token: $SCW_SECRET_KEY" -H 'Content-Type: application/json' \\\n  ${shell(url("/triggers"))} \\\n  -d ${shell(JSON.stringify(request))}`,
    scw: `scw container trigger create ${[...flat(request, ""), `region=${session.region}`].join(" \\\n  ")}`,
    Terraform: `resource "scaleway_container_trigger" "trigger" {\n  region = ${hcl(session.region)}\n${lines.join("\n")}\n}`,
  };
}
