// The page: signing in, which view the address names, and its refresh.

import { Away, regions, session } from "./api.js";
import { field, h, say } from "./dom.js";
import { triggers } from "./triggers.js";
import { trigger } from "./trigger.js";
import { failed, run } from "./runs.js";
import { container, containers } from "./containers.js";
import { triggerForm } from "./form.js";

// Each view returns its title, its node and, if it shows what changes, what refreshes it.
const views = [
  [/^\/triggers$/, triggers],
  [/^\/triggers\/new$/, () => triggerForm()],
  [/^\/triggers\/([^/]+)$/, trigger],
  [/^\/triggers\/([^/]+)\/edit$/, triggerForm],
  [/^\/failed$/, failed],
  [/^\/runs\/([^/]+)$/, run],
  [/^\/containers$/, containers],
  [/^\/containers\/new$/, () => container()],
  [/^\/containers\/([^/]+)\/edit$/, container],
];

const refreshEvery = 5000; // milliseconds
const main = document.getElementById("main"), bar = document.getElementById("top"), away = document.getElementById("away");

let shown = {}; // the view that is shown
let asked = 0; // counts the views that were asked for, so that a late answer shows nothing

function put(title, node) {
  document.title = `${title} · Container Triggers`;
  main.replaceChildren(h("h1", {}, title), node);
}

// closeDialogs closes the windows that are about what is no longer shown.
function closeDialogs() {
  for (const open of document.querySelectorAll("dialog")) open.close();
}

function signIn(message = "") {
  closeDialogs();
  asked++;
  shown = {};
  main.removeAttribute("aria-busy");
  bar.hidden = true;
  away.hidden = true;
  const key = h("input", { type: "password", autocomplete: "off", required: true, pattern: "\\s*[!-~]+\\s*", title: "A key has ASCII characters alone.", spellcheck: "false" });
  put("Sign in", h("form", {
    class: "narrow",
    onsubmit(event) {
      event.preventDefault();
      session.signIn(key.value.trim());
      show();
    },
  }, h("p", { class: "error", role: "alert" }, message),
  field("Secret key", "key", key, "The page keeps it until you sign out or close the tab."),
  h("button", { class: "primary" }, "Sign in")));
  key.focus();
}

async function show() {
  closeDialogs();
  // The link that the local cloud prints has the key, which must not stay in the address bar.
  const given = location.hash.match(/^#key=(.+)$/);
  if (given) {
    session.signIn(decodeURIComponent(given[1]));
    history.replaceState(null, "", location.pathname + "#/triggers");
  }
  if (!session.key) return signIn();
  const path = location.hash.slice(1) || "/triggers";
  if (path === "main") return main.focus();
  const mine = ++asked;
  shown = {};
  say("");
  bar.hidden = false;
  for (const link of bar.querySelectorAll("nav a")) {
    if (path.startsWith(link.hash.slice(1))) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const [, view, found] = views.map(([pattern, view]) => [pattern, view, path.match(pattern)]).find(([, , found]) => found) ?? [];
  if (!view) return put("Not found", h("p", {}, "There is no such view. ", h("a", { href: "#/triggers" }, "Show the triggers"), "."));
  main.setAttribute("aria-busy", "true");
  try {
    const made = await view(...found.slice(1).map(decodeURIComponent));
    if (mine !== asked) return;
    shown = made;
    put(made.title, made.node);
    away.hidden = true;
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  } catch (error) {
    if (mine !== asked || error.status === 401) return;
    if (error instanceof Away) shown = { refresh: show };
    put(error.status === 404 ? "Not found" : "Not shown", h("div", {},
      h("p", { class: "error", role: "alert" }, error.status === 404 ? "It does not exist, or the key may not read it." : error.message),
      h("button", { onclick: show }, "Try again")));
  } finally {
    if (mine === asked) main.removeAttribute("aria-busy");
  }
}

async function refresh() {
  const mine = asked;
  try {
    if (!document.hidden && shown.refresh) {
      await shown.refresh();
      away.hidden = true;
    }
  } catch (error) {
    if (mine === asked && error.status !== 401) {
      away.hidden = false;
      away.textContent = error instanceof Away ? error.message : `Not up to date: ${error.message}`;
    }
  } finally {
    setTimeout(refresh, refreshEvery);
  }
}

const region = document.getElementById("region");
region.append(...regions.map((name) => h("option", { selected: name === session.region }, name)));
region.parentElement.hidden = regions.length < 2;
region.addEventListener("change", () => { session.region = region.value; show(); });
document.getElementById("sign-out").addEventListener("click", () => { session.signOut(); signIn(); });
addEventListener("refused", () => { session.signOut(); signIn("The key is unknown or has expired."); });
addEventListener("hashchange", show);
show();
setTimeout(refresh, refreshEvery);
