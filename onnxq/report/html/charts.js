"use strict";
// uPlot with our colours, kept as wide as its place, drawn anew when the colours change.
const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif';

function chart(place, height, build) {
  let plot = null;
  const draw = () => {
    if (!place.isConnected && plot) return;
    if (plot) plot.destroy();
    const { options, data } = build();
    plot = new uPlot({ width: Math.max(place.clientWidth, 200), height, ...options }, data, place);
  };
  draw();
  onTheme(draw);
  new ResizeObserver(() => {
    if (place.clientWidth && plot.width !== place.clientWidth) plot.setSize({ width: place.clientWidth, height });
  }).observe(place);
  return () => plot;
}

function axis(more = {}) {
  return {
    font: FONT, stroke: color("dim"), size: 34, gap: 4,
    grid: { stroke: color("line"), width: 1 }, ticks: { show: false }, ...more,
  };
}

// what is drawn by hand, in canvas pixels
function line(u, x0, y0, x1, y1, stroke, width = 1, dash = []) {
  const c = u.ctx;
  c.save();
  c.strokeStyle = stroke;
  c.lineWidth = width * devicePixelRatio;
  c.setLineDash(dash.map((d) => d * devicePixelRatio));
  c.beginPath(); c.moveTo(x0, y0); c.lineTo(x1, y1); c.stroke();
  c.restore();
}

function wash(u, x0, x1, fill) {
  const { left, top, width, height } = u.bbox;
  const from = Math.max(x0, left), to = Math.min(x1, left + width);
  if (to <= from) return;
  u.ctx.save();
  u.ctx.fillStyle = fill;
  u.ctx.fillRect(from, top, to - from, height);
  u.ctx.restore();
}

// The values of a tensor, the range that its codes cover, and the codes themselves.
function histogram(place, tensor) {
  const { edges, counts } = tensor.histogram;
  const range = Array.isArray(tensor.range) && tensor.range.every(has) ? tensor.range : null;
  const step = has(tensor.scale) ? (Array.isArray(tensor.scale) ? (tensor.scale.length === 1 ? tensor.scale[0] : null) : tensor.scale) : null;
  const ends = [edges[0], edges[edges.length - 1], ...(range || [])];
  const low = Math.min(...ends), high = Math.max(...ends), margin = (high - low) * 0.03 || 1;
  const under = (u) => {
    if (!range) return;
    const [a, b] = range.map((v) => u.valToPos(v, "x", true));
    wash(u, u.bbox.left, a, color("lost"));
    wash(u, b, u.bbox.left + u.bbox.width, color("lost"));
  };
  const over = (u) => {
    if (!range) return;
    const { left, top, width, height } = u.bbox;
    const bottom = top + height;
    for (const value of range) {
      const x = u.valToPos(value, "x", true);
      if (x >= left - 1 && x <= left + width + 1) line(u, x, top, x, bottom, color("poor"), 1, [4, 3]);
    }
    if (!step) return;
    const gap = Math.abs(u.valToPos(step, "x", true) - u.valToPos(0, "x", true));
    const stretch = Math.max(1, Math.ceil((2.5 * devicePixelRatio) / gap)); // one tick may stand for several codes
    const first = Math.max(range[0], u.scales.x.min), last = Math.min(range[1], u.scales.x.max);
    const size = (gap > 8 * devicePixelRatio ? 12 : 7) * devicePixelRatio;
    for (let k = Math.ceil((first - range[0]) / step / stretch - 1e-6); ; k++) {
      const value = range[0] + k * stretch * step;
      if (value > last + step / 1000) break;
      const x = u.valToPos(value, "x", true);
      line(u, x, bottom - size, x, bottom, color("ink"), gap > 8 * devicePixelRatio ? 1 : 0.5);
    }
  };
  return chart(place, 190, () => ({
    options: {
      scales: {
        x: { time: false, range: (u, from, to) => (from <= edges[0] && to >= edges[edges.length - 1] ? [low - margin, high + margin] : [from, to]) },
        y: { distr: 4, asinh: 2, range: (u, from, to) => [0, Math.max(to, 1) * 1.4] },
      },
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false } },
      axes: [axis({ size: 26 }), axis({ show: false, grid: { show: false } })],
      series: [{}, {
        stroke: color("total"), fill: color("wash"), width: 1.2, points: { show: false },
        paths: uPlot.paths.stepped({ align: 1 }),
      }],
      hooks: { drawClear: [under], draw: [over] },
    },
    data: [edges, [...counts, counts[counts.length - 1]]],
  }));
}

// Smallest and largest weight of each channel, within what its scale can say.
function channels(place, weights, bits) {
  const n = weights.low.length;
  const top = bits ? 2 ** (bits - 1) - 1 : null;
  const reach = top && Array.isArray(weights.scale) && (weights.scale.length === n || weights.scale.length === 1)
    ? weights.low.map((_, i) => top * weights.scale[weights.scale.length === 1 ? 0 : i]) : null;
  const step = uPlot.paths.stepped({ align: 1 });
  // a step needs its end: the last channel is given twice
  const closed = (values) => [...values, values[values.length - 1]];
  return chart(place, 160, () => {
    const series = [
      {}, { stroke: color("alone"), width: 1, paths: step, points: { show: false } },
      { stroke: color("alone"), width: 1, paths: step, points: { show: false } },
    ];
    const data = [closed(weights.low.map((_, i) => i)).map((v, i) => (i === n ? n : v)), closed(weights.high), closed(weights.low)];
    if (reach) {
      for (const sign of [1, -1]) {
        series.push({ stroke: color("dim"), width: 1, dash: [3, 3], paths: step, points: { show: false } });
        data.push(closed(reach.map((v) => sign * v)));
      }
    }
    return {
      options: {
        scales: { x: { time: false } }, series,
        bands: [{ series: [1, 2], fill: color("lost") }],
        cursor: { y: false, points: { show: false }, drag: { x: true, y: false } },
        axes: [axis({ size: 26, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] }), axis({ size: 46, values: (u, ticks) => ticks.map(number) })],
      },
      data,
    };
  });
}

// Mean of the noise of each channel: what a bias could take back.
function offsets(place, means) {
  return chart(place, 110, () => ({
    options: {
      scales: { x: { time: false } },
      series: [{}, { stroke: color("third"), fill: color("wash"), width: 1, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false }, fillTo: 0 }],
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false } },
      axes: [axis({ size: 26, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] }), axis({ size: 46, values: (u, ticks) => ticks.map(number) })],
    },
    data: [[...means.keys(), means.length], [...means, means[means.length - 1]]],
  }));
}
