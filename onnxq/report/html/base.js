"use strict";
// What the other scripts share. Text is only ever set as text: names of nodes are not trusted.
const report = JSON.parse(document.getElementById("report").textContent);
const layers = report.layers || [];
const tensors = report.tensors || {};
const EXACT = 999; // stands for an infinite ratio
const byNode = new Map(layers.map((layer, i) => [layer.node, i]));

const $ = (selector, root = document) => root.querySelector(selector);
const has = (value) => value !== null && value !== undefined;

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made && key !== "role") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter(has));
  return made;
}

function db(value) {
  if (!has(value)) return "–";
  if (Math.abs(value) >= EXACT) return value > 0 ? "exact" : "lost";
  return value.toFixed(1);
}

const tone = (value) => (!has(value) ? "yellow" : value >= 20 ? "green" : value >= 10 ? "yellow" : "red");

// three significant digits, as a person writes them
function number(value) {
  if (!has(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(2).replace("e+", "e").replace("-", "−").replace("e-", "e−");
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

function percent(share) {
  if (!has(share)) return "–";
  if (share === 0) return "0 %";
  const value = 100 * share;
  return (value < 0.01 ? "< 0.01" : value < 1 ? value.toPrecision(1) : value.toFixed(1)) + " %";
}

function count(value) {
  for (const unit of ["", " k", " M", " G", " T"]) {
    if (value < 1000 || unit === " T") return (unit ? Number(value.toPrecision(3)) : value) + unit;
    value /= 1000;
  }
}

// ---- light and dark: the system's choice until the button is pressed
const listeners = [];
const onTheme = (call) => listeners.push(call);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
{
  const button = $("#theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const remembered = (value) => {
    try { // a page from a file may have no storage
      if (value) localStorage.setItem("onnxq-theme", value);
      return localStorage.getItem("onnxq-theme");
    } catch { return null; }
  };
  const isDark = () => (document.documentElement.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const show = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
    listeners.forEach((call) => call());
  };
  const before = remembered();
  if (before === "dark" || before === "light") document.documentElement.dataset.theme = before;
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    remembered(next);
    show();
  });
  system.addEventListener("change", show);
  show();
}
