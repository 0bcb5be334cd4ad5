"use strict";
// The table of layers: sorting, filtering, choosing.
const rows = [...document.querySelectorAll("#layers tbody tr")].map((row) => {
  const layer = layers[Number(row.dataset.i)];
  return { row, layer, text: [layer.node, layer.op_type, layer.kernel || "float", layer.precision].join(" ").toLowerCase() };
});
let chosen = null;

function sortValue(layer, key) {
  if (key === "clipped") return layer.clipped ? (layer.clipped.low || 0) + (layer.clipped.high || 0) : null;
  return layer[key];
}

function sortBy(key, direction) {
  const sign = direction === "ascending" ? 1 : -1;
  rows.sort((a, b) => {
    const x = sortValue(a.layer, key), y = sortValue(b.layer, key);
    if (!has(x) || !has(y)) return has(y) - has(x); // what was not measured comes last either way
    return sign * (typeof x === "string" ? x.localeCompare(y, undefined, { numeric: true }) : x - y);
  });
  $("#layers tbody").append(...rows.map((entry) => entry.row));
  for (const th of document.querySelectorAll("#layers thead th")) {
    if ($("button", th).dataset.sort === key) th.setAttribute("aria-sort", direction);
    else th.removeAttribute("aria-sort");
  }
}

function filter() {
  const words = $("#find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const op = $("#op").value, kernel = $("#kernel").value, below = Number($("#below").value || Infinity);
  let shown = 0;
  for (const { row, layer, text } of rows) {
    const values = [layer.isolated_sqnr_db, layer.cumulative_sqnr_db].filter(has);
    const match = words.every((w) => text.includes(w)) && (!op || layer.op_type === op) &&
      (!kernel || (layer.kernel || "float") === kernel) &&
      (below === Infinity || values.some((v) => v < below));
    row.hidden = !match;
    shown += match;
  }
  $("#shown").textContent = shown === rows.length ? `${shown} layers` : `${shown} of ${rows.length} layers`;
  $(".empty").hidden = shown > 0;
}

// Show layer i; *focus*: a person asked for it, on a narrow window it covers the page.
function choose(i, focus = false) {
  if (!layers[i]) return;
  chosen = i;
  for (const { row } of rows) {
    if (Number(row.dataset.i) === i) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
  showDetail(i);
  if (focus) {
    history.replaceState(null, "", `#layer=${i}`);
    if (matchMedia("(max-width: 1079.9px)").matches) $("#detail").focus({ preventScroll: true });
  }
  document.dispatchEvent(new CustomEvent("chosen"));
}

function dismiss() {
  $("#detail").hidden = true;
  const entry = rows.find(({ row }) => Number(row.dataset.i) === chosen);
  for (const { row } of rows) row.removeAttribute("aria-current");
  if (entry) $(".pick", entry.row).focus({ preventScroll: true });
  chosen = null;
  document.dispatchEvent(new CustomEvent("chosen"));
}

if (rows.length) {
  $(".filters").hidden = false;
  $(".filters").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["find", "op", "kernel", "below"]) $(`#${id}`).addEventListener("input", filter);
  $("#layers thead").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const now = button.parentElement.getAttribute("aria-sort");
    const usual = ["macs", "clipped"].includes(button.dataset.sort) ? "descending" : "ascending";
    sortBy(button.dataset.sort, !now ? usual : now === "ascending" ? "descending" : "ascending");
  });
  $("#layers tbody").addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row) choose(Number(row.dataset.i), true);
  });
  $("#layers tbody").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target.closest("tr");
    if (!step || !row) return;
    event.preventDefault();
    const seen = rows.filter((entry) => !entry.row.hidden);
    const next = seen[seen.findIndex((entry) => entry.row === row) + step];
    if (!next) return;
    $(".pick", next.row).focus();
    if (matchMedia("(min-width: 1080px)").matches) choose(Number(next.row.dataset.i), true);
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && chosen !== null && !$("#detail").hidden) dismiss();
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-node]");
  if (link && byNode.has(link.dataset.node)) {
    choose(byNode.get(link.dataset.node), true);
    if (!link.closest("#detail")) $("#layers").scrollIntoView();
  }
});
