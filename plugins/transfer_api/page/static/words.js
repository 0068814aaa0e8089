// Numbers and times as people read them; the exact value is what the API says.

const NUMBER = new Intl.NumberFormat("en");
const PER_CENT = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

export const count = (value) => NUMBER.format(value);

export const share = (value) => (value === null ? "" : PER_CENT.format(value));

export function bytes(value) {
  if (value === null || value === undefined) return "";
  let unit = 0;
  let left = value;
  while (left >= 1000 && unit < UNITS.length - 1) {
    left /= 1000;
    unit += 1;
  }
  return `${left.toFixed(unit === 0 || left >= 100 ? 0 : 1)} ${UNITS[unit]}`;
}

export function seconds(value) {
  if (value === null || value === undefined) return "";
  if (value < 60) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(value / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(value % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export const rate = (value) => (value === null ? "" : `${bytes(value)}/s`);

export const moment = (text) => (text ? MOMENT.format(new Date(text)) : "");

export function ago(text) {
  if (!text) return "";
  const past = (Date.now() - new Date(text)) / 1000;
  const size = Math.abs(past);
  const said = size < 90 ? `${Math.round(size)} s`
    : size < 5400 ? `${Math.round(size / 60)} min`
      : size < 129600 ? `${Math.round(size / 3600)} h`
        : `${Math.round(size / 86400)} days`;
  return past < 0 ? `in ${said}` : `${said} ago`;
}

export const counts = (values) => Object.entries(values).map(([name, value]) => `${count(value)} ${name}`).join(", ");
