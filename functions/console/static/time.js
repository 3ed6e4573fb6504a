// Times as people read them.

const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "always" });

export function ago(date) {
  const seconds = (date - Date.now()) / 1000;
  const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) ?? units.at(-1);
  return relative.format(Math.trunc(seconds / size), unit);
}

// inZone writes a time in a time zone, or in UTC if the browser does not know the zone.
export function inZone(text, zone) {
  const options = { weekday: "short", year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short" };
  try {
    return new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone }).format(new Date(text));
  } catch {
    return new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC" }).format(new Date(text));
  }
}

export const viewersZone = Intl.DateTimeFormat().resolvedOptions().timeZone;

// RelativeTime is <relative-time at="…">: "3 minutes ago", with the whole time on hover.
class RelativeTime extends HTMLElement {
  connectedCallback() {
    this.title = inZone(this.getAttribute("at"), viewersZone);
    this.tell();
    this.timer = setInterval(() => this.tell(), 1000);
  }
  disconnectedCallback() {
    clearInterval(this.timer);
  }
  tell() {
    const text = ago(new Date(this.getAttribute("at")));
    if (this.textContent !== text) this.textContent = text;
  }
}
customElements.define("relative-time", RelativeTime);

// when makes the element of a time, or a dash for none.
export function when(text) {
  if (!text) return "–";
  const element = document.createElement("relative-time");
  element.setAttribute("at", text);
  return element;
}
