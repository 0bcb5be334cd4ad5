"use strict";
// One layer: what it lost, from what, its values and weights, and who is beside it.
const PARTS = { weights: "weights", inputs: "input activations", output: "output rounding" };

function fact(name, value, unit = "", kind = "") {
  return element("div", {}, element("dt", {}, name), element("dd", { class: kind }, value, unit ? element("small", {}, ` ${unit}`) : null));
}

function dbFact(name, value) {
  return has(value) ? fact(name, db(value), Math.abs(value) < EXACT ? "dB" : "", tone(value)) : null;
}

function shareBar(share) {
  const known = Object.keys(PARTS).filter((k) => has(share[k]));
  const total = known.reduce((sum, k) => sum + share[k], 0);
  if (!total) return [];
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const set = (node, values) => { for (const [k, v] of Object.entries(values)) node.setAttribute(k, v); return node; };
  set(svg, { class: "share", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  let x = 0;
  for (const k of known) {
    const width = (100 * share[k]) / total;
    svg.append(set(document.createElementNS(space, "rect"), { class: k, x, width, height: 10 }));
    x += width;
  }
  const legend = known.map((k) => element("span", { class: k }, element("i"), `${PARTS[k]} ${((100 * share[k]) / total).toFixed(0)} %`));
  return [element("h3", {}, "Its noise comes from"), svg, element("p", { class: "shares" }, ...legend)];
}

function neighbours(layer) {
  const list = (names) => names.flatMap((name, i) => [
    i ? ", " : null,
    byNode.has(name) ? element("button", { type: "button", "data-node": name }, name) : name,
  ]).filter(has);
  const parts = [["Before", layer.before], ["After", layer.after]].filter(([, names]) => names && names.length);
  if (!parts.length) return [];
  return [
    element("h3", {}, "In the graph"),
    element("dl", { class: "near" }, ...parts.flatMap(([word, names]) => [element("dt", {}, word), element("dd", {}, ...list(names))])),
  ];
}

// Tensors that the layer reads and hands on; *later* takes what is drawn once the place is there.
function tensorPart(layer, later) {
  const names = [...new Set([layer.result, ...(layer.inputs || [])])].filter((n) => has(n) && tensors[n]);
  if (!names.length) return [];
  const body = element("div");
  const show = (name) => {
    const t = tensors[name], parts = [];
    const kind = [t.dtype, typeof t.scale === "number" ? `scale ${number(t.scale)}` : null,
      typeof t.zero_point === "number" ? `zero point ${t.zero_point}` : null].filter(has).join(" · ");
    if (kind) parts.push(element("p", { class: "caption" }, kind));
    const place = element("div", { class: "chart", role: "img", "aria-label": `Histogram of the float values of ${name}` });
    const drawn = t.histogram && t.histogram.edges && t.histogram.edges.length > 1;
    if (drawn) {
      parts.push(place, element("p", { class: "caption" },
        "Float values; heights grow with the logarithm of the count. " +
        (t.range ? `Dashed: the range of the codes, ${number(t.range[0])} to ${number(t.range[1])}; what lies outside is clipped. Ticks: the codes; drag to look closer.` : "")));
    }
    const float = t.float || {};
    const numbers = [["min", float.min], ["max", float.max], ["mean", float.mean], ["std", float.std]];
    if (t.clipped) numbers.push(["clipped low", percent(t.clipped.low)], ["clipped high", percent(t.clipped.high)]);
    parts.push(numberList(numbers));
    body.replaceChildren(...parts.filter(has));
    if (drawn) histogram(place, t);
  };
  const tabs = names.map((name) => element("button", {
    type: "button", class: "quiet", title: name, "aria-pressed": String(name === names[0]),
    onclick: (event) => {
      for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab === event.currentTarget));
      show(name);
    },
  }, name === layer.result ? "Its result" : `Input ${name}`));
  later.push(() => show(names[0]));
  return [element("h3", {}, "Values"), names.length > 1 ? element("div", { class: "tabs" }, ...tabs) : null, body];
}

function numberList(pairs) {
  const known = pairs.filter(([, value]) => has(value));
  return known.length ? element("dl", { class: "numbers" }, ...known.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, typeof value === "number" ? number(value) : value)))) : null;
}

function weightPart(layer, later) {
  const w = layer.weights;
  if (!w || !Array.isArray(w.low) || !w.low.length) return [];
  const bits = Number((/int(\d+)\s*$/.exec(layer.precision || "") || [])[1]) || null;
  const parts = [element("h3", {}, w.low.length > 1 ? `Weights of ${w.low.length} channels` : "Weights")];
  if (w.low.length > 1) {
    const place = element("div", { class: "chart", role: "img", "aria-label": "Smallest and largest weight of each channel" });
    const widths = w.low.map((v, i) => Math.max(Math.abs(v), Math.abs(w.high[i]))).filter((v) => v > 0);
    const ratio = widths.length ? Math.max(...widths) / Math.min(...widths) : 1;
    parts.push(place, element("p", { class: "caption" },
      `Smallest to largest weight by channel${bits ? "; dashed: what the codes reach" : ""}. ` +
      `${w.scale && w.scale.length > 1 ? "A scale for each channel" : "One scale for all"}; the widest channel is ${number(ratio)} × the narrowest.`));
    later.push(() => channels(place, w, bits));
  } else {
    parts.push(numberList([["min", w.low[0]], ["max", w.high[0]], ["scale", w.scale && w.scale[0]]]));
  }
  return parts;
}

function noisePart(layer, later) {
  const t = tensors[layer.result] || {};
  const parts = [];
  const n = t.noise || {};
  const list = numberList([["min", n.min], ["max", n.max], ["mean", n.mean], ["std", n.std], ["skew", n.skew], ["kurtosis", n.kurtosis]]);
  const means = (t.channel_noise_mean || []).map((v) => v || 0);
  if (!list && !means.length) return [];
  parts.push(element("h3", {}, "Its own noise"), list);
  if (means.length > 1) {
    const place = element("div", { class: "chart", role: "img", "aria-label": "Mean of the noise of each channel" });
    parts.push(place);
    later.push(() => offsets(place, means));
  }
  if (means.length > 1 || has(t.bias_potential_db)) {
    parts.push(element("p", { class: "caption" }, [
      means.length > 1 ? "Mean of the noise by channel." : "",
      has(t.bias_potential_db) ? `A corrected bias would gain ${number(t.bias_potential_db)} dB.` : "",
    ].join(" ").trim()));
  }
  return parts;
}

function showDetail(i) {
  const layer = layers[i], place = $("#detail"), later = [];
  const clip = layer.clipped && [layer.clipped.low, layer.clipped.high].some(has) ? (layer.clipped.low || 0) + (layer.clipped.high || 0) : null;
  const figures = [
    dbFact("Alone", layer.isolated_sqnr_db), dbFact("Up to here", layer.cumulative_sqnr_db),
    has(layer.noise_to_signal) ? fact("Noise to signal", number(layer.noise_to_signal)) : null,
    has(layer.cosine) ? fact("Cosine", layer.cosine.toFixed(4)) : null,
    has(clip) ? fact("Clipped", percent(clip)) : null,
    has(layer.macs) ? fact("MACs", count(layer.macs)) : null,
  ].filter(has);
  const kind = [layer.op_type, layer.kernel || "runs in float", layer.precision].filter(Boolean).join(" · ");
  place.replaceChildren(...[
    element("button", { type: "button", class: "quiet close", onclick: dismiss }, "Close"),
    element("h2", {}, layer.node),
    element("p", { class: "kind" }, kind),
    layer.reason ? element("p", { class: "why" }, layer.reason) : null,
    figures.length ? element("dl", { class: "pair" }, ...figures) : null,
    ...(layer.share ? shareBar(layer.share) : []),
    ...tensorPart(layer, later), ...weightPart(layer, later), ...noisePart(layer, later), ...neighbours(layer),
  ].filter(has));
  place.hidden = false;
  place.scrollTop = 0;
  later.forEach((draw) => draw());
}
