// The client of the API. The page has no other access than any client with the same key.

const keyName = "secret-key", regionName = "region";
export const regions = document.querySelector("meta[name=regions]").content.split(",");

export const session = {
  get key() { return sessionStorage.getItem(keyName); },
  get region() { const kept = sessionStorage.getItem(regionName); return regions.includes(kept) ? kept : regions[0]; },
  set region(region) { sessionStorage.setItem(regionName, region); },
  signIn(key) { sessionStorage.setItem(keyName, key); },
  signOut() { sessionStorage.removeItem(keyName); },
};

// Failure is an answer that is an error. details has the faults of the request.
export class Failure extends Error {
  constructor(status, body) {
    super(body.message ?? `the API answered ${status}`);
    this.status = status;
    this.details = body.details ?? [];
    const told = this.details.map((detail) => detail.help_message ?? [detail.action, detail.resource].filter(Boolean).join(" ")).filter(Boolean);
    if (told.length) this.message += `: ${told.join("; ")}`;
    if (body.current_state) this.message += ` (${body.current_state})`;
  }
}

// Away is thrown if no answer comes.
export class Away extends Error {}

// root is the API's root, from which this file is served, too.
export const root = new URL("../..", import.meta.url);

export function url(path) {
  return new URL(`containers/v1/regions/${session.region}${path}`, root);
}

export async function call(method, path, body) {
  let answer, read = {};
  try {
    answer = await fetch(url(path), {
      method, cache: "no-store", credentials: "omit",
      headers: { "X-Auth-Token": session.key, ...(body && { "Content-Type": "application/json" }) },
      body: body && JSON.stringify(body),
    });
    read = await answer.json();
  } catch {
    if (!answer) throw new Away("The API does not answer. The page tries again.");
    if (answer.ok) throw new Away("The API's answer cannot be read. The page tries again.");
  }
  if (answer.ok) return read;
  if (answer.status === 401) dispatchEvent(new CustomEvent("refused"));
  throw new Failure(answer.status, read);
}

export const get = (path, query = {}) => {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) for (const one of [value].flat()) if (one) given.append(name, one);
  return call("GET", path + (given.size ? `?${given}` : ""));
};
export const post = (path, body = {}) => call("POST", path, body);
export const patch = (path, body) => call("PATCH", path, body);
export const remove = (path) => call("DELETE", path);

// all returns the entries of all pages of a list. total_count ends it.
export async function all(kind) {
  const entries = new Map();
  for (let page = 1; ; page++) {
    const answer = await get(`/${kind}`, { page, page_size: 100, order_by: "created_at_desc" });
    for (const entry of answer[kind]) entries.set(entry.id, entry);
    if (answer[kind].length === 0 || page * 100 >= answer.total_count) return [...entries.values()];
  }
}

const kept = new Map();

// meaning tells what a schedule means in words. The answer never changes.
export function meaning(schedule, timezone) {
  const key = `${timezone} ${schedule}`;
  if (!kept.has(key)) {
    const asked = post("/preview-schedule", { schedule, timezone, count: 1 }).then((answer) => answer.description);
    asked.catch(() => kept.delete(key));
    kept.set(key, asked);
  }
  return kept.get(key);
}
