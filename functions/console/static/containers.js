// Containers: the list, and the form that registers or edits one.

import { all, get, patch, post, remove } from "./api.js";
import { button, dialog, field, formOf, h, syncRows, table } from "./dom.js";
import { badge } from "./triggers.js";

export async function containers() {
  const { body, node } = table("Containers", ["State", "Name", "Endpoint", "Access", "Longest call", ""]);
  const empty = h("p", { class: "empty" }, "There is no container yet. Register the address of one that already runs.");
  const cells = (container) => [
    h("td", {}, badge(container.status), container.error_message && h("small", {}, container.error_message)),
    h("th", { scope: "row" }, h("a", { href: `#/containers/${container.id}/edit` }, container.name), h("small", {}, container.description)),
    h("td", {}, h("code", {}, container.public_endpoint)), h("td", {}, container.privacy), h("td", {}, container.timeout),
    h("td", {}, button("Delete", () => erase(container), { class: "danger", "aria-label": `Delete ${container.name}` })),
  ];
  const erase = (container) => dialog(`Delete ${container.name}`, h("p", {}, `The container ${container.name} and all of its triggers are deleted. What runs at its endpoint stays.`),
    "Delete", async () => { await remove(`/containers/${container.id}`); await refresh(); }, true);
  async function refresh() {
    const found = (await all("containers")).sort((a, b) => a.name.localeCompare(b.name));
    syncRows(body, found, cells);
    node.hidden = found.length === 0;
    empty.hidden = found.length > 0;
  }
  await refresh();
  return { title: "Containers", refresh, node: h("div", {}, h("p", { class: "buttons" }, h("a", { class: "primary", href: "#/containers/new" }, "Register a container")), empty, node) };
}

export async function container(id) {
  const old = id && await get(`/containers/${encodeURIComponent(id)}`);
  const form = formOf(old ? "Save" : "Register", async (elements) => {
    const request = {};
    for (const name of ["name", "description", "public_endpoint", "privacy", "timeout", "invoke_token"]) {
      const { value } = elements[name];
      if (value || name === "description") request[name] = value;
    }
    await (old ? patch(`/containers/${old.id}`, request) : post("/containers", { name: "", ...request }));
    location.hash = "#/containers";
  },
  field("Name", "name", h("input", { value: old?.name ?? "", maxlength: 128 })),
  field("Description", "description", h("input", { value: old?.description ?? "", maxlength: 1024 })),
  field("Endpoint", "public_endpoint", h("input", { type: "text", inputmode: "url", value: old?.public_endpoint ?? "", placeholder: "https://jobs.example.com" }), "The URL where the container runs."),
  field("Access", "privacy", h("select", {}, ["public", "private"].map((value) => h("option", { value, selected: value === old?.privacy }, value))), "A private container gets the token with each call."),
  field("Token", "invoke_token", h("input", { type: "password", autocomplete: "off" }), old ? "Empty keeps the one that is stored." : "It is stored encrypted, and never shown again."),
  field("Longest call", "timeout", h("input", { value: old?.timeout ?? "", placeholder: "300s" }), "Such as 60s."));
  return { title: old ? `Edit ${old.name}` : "Register a container", node: form };
}
