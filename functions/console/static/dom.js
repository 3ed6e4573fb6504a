// What the views are made of. Every value becomes text or an attribute, never markup.

// h makes an element. A function whose name begins with "on" listens to that event; true and
// false set and leave out an attribute. Children are elements, texts, or lists of both.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// svg makes an element of a drawing, as h does.
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// say tells the result of an action, also to a screen reader.
export function say(text) {
  document.getElementById("said").textContent = text;
}

// button makes a button that runs an action. It cannot be pressed twice at once, and tells
// the action's error.
export function button(label, action, attributes = {}) {
  return h("button", {
    type: "button", ...attributes,
    async onclick(event) {
      const pressed = event.currentTarget;
      pressed.disabled = true;
      try {
        await action();
      } catch (error) {
        say(error.message);
      } finally {
        pressed.disabled = false;
      }
    },
  }, label);
}

// syncRows makes the rows of a table those of the items, in their order. A row stays the same
// element while its item stays, so that a refresh moves nothing that is used: it leaves a row
// with the focus as it is, and no row comes, goes or moves while the pointer is on the table.
export function syncRows(body, items, cells) {
  const rows = new Map([...body.children].map((row) => [row.dataset.key, row]));
  const held = rows.size > 0 && body.matches(":hover");
  const wanted = [];
  for (const item of items) {
    const text = JSON.stringify(item);
    let row = rows.get(item.id);
    if (!row) {
      if (held) continue;
      row = h("tr", { "data-key": item.id });
    }
    if (row.item !== text && !row.contains(document.activeElement)) {
      row.item = text;
      row.replaceChildren(...cells(item));
    }
    wanted.push(row);
  }
  if (held) return;
  for (const row of rows.values()) if (!wanted.includes(row)) row.remove();
  wanted.forEach((row, i) => { if (body.children[i] !== row) body.insertBefore(row, body.children[i] ?? null); });
}

// table makes a table with a caption for screen readers. A column of buttons has no header.
export function table(caption, headers) {
  const body = h("tbody");
  return {
    body,
    node: h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
      h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, headers.map((header) => h("th", { scope: "col" }, header)))), body)),
  };
}

// Selection keeps which rows are chosen, over refreshes.
export class Selection {
  constructor(changed) {
    this.chosen = new Set();
    this.changed = changed;
  }
  box(id, name) {
    return h("input", {
      type: "checkbox", "aria-label": `Select ${name}`, checked: this.chosen.has(id),
      onchange: (event) => { event.target.checked ? this.chosen.add(id) : this.chosen.delete(id); this.changed(this.chosen.size); },
    });
  }
  // all makes the box that chooses every row that is shown.
  all() {
    return h("input", {
      type: "checkbox", "aria-label": "Select all",
      onchange: ({ target }) => {
        for (const box of target.closest("table").tBodies[0].querySelectorAll("input[type=checkbox]")) {
          box.checked = target.checked;
          const { key } = box.closest("tr").dataset;
          target.checked ? this.chosen.add(key) : this.chosen.delete(key);
        }
        this.changed(this.chosen.size);
      },
    });
  }
  // keep forgets what is not there any more.
  keep(ids) {
    for (const id of this.chosen) if (!ids.includes(id)) this.chosen.delete(id);
    this.changed(this.chosen.size);
  }
  // clear unchecks the boxes of a table, given its body.
  clear(body) {
    this.chosen.clear();
    for (const box of body.parentElement.querySelectorAll("input[type=checkbox]")) box.checked = false;
    this.changed(0);
  }
}

// count says how many there are of something.
export function count(n, what) {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}

// each runs an action for many IDs, a few at a time, and returns the errors.
export async function each(ids, action) {
  const left = [...ids], errors = [];
  await Promise.all(Array.from({ length: 5 }, async () => {
    for (let id; (id = left.shift()) !== undefined;) await action(id).catch((error) => errors.push(error));
  }));
  return errors;
}

// many runs an action for each chosen row, and tells how many it did.
export async function many(selection, done, action) {
  const ids = [...selection.chosen], errors = await each(ids, action);
  say(`${done} ${ids.length - errors.length} of ${ids.length}.` + (errors.length ? ` ${errors[0].message}` : ""));
}

// dialog asks in a window of its own. Its action runs on submit; the window closes if that
// returns no node, and else shows the node in place of the form.
export function dialog(title, fields, label, action, danger = false) {
  const window = h("dialog", { "aria-labelledby": "dialog-title", onclose: () => window.remove() });
  const close = h("button", { type: "button", onclick: () => window.close() }, action ? "Cancel" : "Close");
  const error = h("p", { class: "error", role: "alert" });
  const submit = action && h("button", { class: danger ? "danger" : "primary" }, label);
  const form = h("form", {
    async onsubmit(event) {
      event.preventDefault();
      if (submit) submit.disabled = true;
      error.textContent = "";
      try {
        const shown = await action?.(form);
        if (!shown) return window.close();
        close.textContent = "Close";
        form.replaceChildren(shown, h("p", { class: "buttons" }, close));
        close.focus();
      } catch (failure) {
        showFaults(form, error, failure);
      } finally {
        if (submit) submit.disabled = false;
      }
    },
  }, fields, error, h("p", { class: "buttons" }, submit, close));
  window.append(h("h2", { id: "dialog-title" }, title), form);
  document.body.append(window);
  window.showModal();
  return window;
}

let fields = 0;

// field makes a labelled input. Its name is the API's name of the argument, so that a fault of
// the API finds it.
export function field(label, name, input, hint = "") {
  const id = `field-${++fields}`;
  input.id = id;
  input.name = name;
  input.setAttribute("aria-describedby", `${id}-hint ${id}-fault`);
  return h("div", { class: "field" }, h("label", { for: id }, label), input,
    h("small", { id: `${id}-hint` }, hint), h("small", { class: "error fault", id: `${id}-fault` }));
}

// formOf makes a form whose button saves it. It shows the faults that the API finds.
export function formOf(label, save, ...fields) {
  const error = h("p", { class: "error", role: "alert" });
  const submit = h("button", { class: "primary" }, label);
  const form = h("form", {
    class: "narrow",
    async onsubmit(event) {
      event.preventDefault();
      submit.disabled = true;
      error.textContent = "";
      try {
        await save(form.elements);
      } catch (failure) {
        showFaults(form, error, failure);
      } finally {
        submit.disabled = false;
      }
    },
  }, fields, error, h("p", { class: "buttons" }, submit, button("Cancel", () => history.back())));
  return form;
}

// showFaults puts each fault of an error beside its field, and what has no field into rest.
export function showFaults(form, rest, error) {
  for (const fault of form.querySelectorAll(".fault")) fault.textContent = "";
  for (const input of form.elements) input.removeAttribute("aria-invalid");
  const left = [];
  const faults = (error.details ?? []).filter((detail) => detail.argument_name);
  for (const { argument_name: name, help_message: help } of faults) {
    const input = [...form.elements].find((element) => element.name && (element.name === name || name.startsWith(element.name + ".") || name.startsWith(element.name + "[")));
    if (!input) {
      left.push(`${name}: ${help}`);
      continue;
    }
    input.setAttribute("aria-invalid", "true");
    document.getElementById(`${input.id}-fault`).textContent = help;
  }
  rest.textContent = left.length ? left.join("; ") : faults.length ? "Some fields are not right." : error.message;
  form.querySelector("[aria-invalid]")?.focus();
}
