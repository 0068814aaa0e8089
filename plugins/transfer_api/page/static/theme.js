// Takes over whether Airflow, around this page, is light or dark; on its own the page follows the system.

function airflow() {
  try {
    return window.parent === window ? null : window.parent.document.documentElement;
  } catch {
    return null; // framed by another site, which may not be looked into
  }
}

export function followAirflow() {
  const around = airflow();
  if (around === null) return;
  const own = document.documentElement.style;
  const scheme = () => ["dark", "light"].find((name) => around.classList.contains(name)) ?? "";
  own.colorScheme = scheme();
  new MutationObserver(() => {
    if (own.colorScheme === scheme()) return;
    own.colorScheme = scheme();
    document.dispatchEvent(new Event("transfers:refresh")); // charts are drawn in the colours of before
  }).observe(around, { attributes: true, attributeFilter: ["class"] });
}
