// How far a run has come, as a bar and in words.

import { element } from "./dom.js";
import { bytes, count, rate, seconds } from "./words.js";

export function progress(now) {
  const done = now.bytes_total ? Math.min(now.bytes_done / now.bytes_total, 1) : null;
  const text = now.objects_total === null
    ? `${now.phase}: ${count(now.objects_done)} objects, ${bytes(now.bytes_done)}`
    : `${now.phase}: ${count(now.objects_done)} of ${count(now.objects_total)} objects,`
      + ` ${bytes(now.bytes_done)} of ${bytes(now.bytes_total)}`;
  const left = now.seconds_left === null ? "" : `${seconds(now.seconds_left)} left`;
  return element("div", { class: "progress" },
    element("progress", { max: "1", value: done, "aria-label": "Bytes copied" }),
    element("span", {}, [text, rate(now.bytes_per_second), left].filter(Boolean).join(", ")));
}
