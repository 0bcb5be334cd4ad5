"use strict";
// The error along the network, and what is shown first.
{
  const order = layers.map((layer, i) => ({ layer, i })).filter(({ layer }) => has(layer.depth)).sort((a, b) => a.layer.depth - b.layer.depth);
  const finite = (value) => (has(value) && Math.abs(value) < EXACT ? value : null);
  const SERIES = [["cumulative_sqnr_db", "total", "up to here"], ["isolated_sqnr_db", "alone", "alone"]]
    .filter(([key]) => order.some(({ layer }) => has(finite(layer[key]))));
  if (order.length > 1 && SERIES.length) {
    $("#depth").hidden = false;
    const place = $("#depth .chart");
    $("#depth .legend").append(...SERIES.map(([, kind, word]) => element("span", { class: kind }, element("i"), word)));
    const tip = element("div", { class: "tip", hidden: true });
    const columns = [order.map((_, k) => k), ...SERIES.map(([key]) => order.map(({ layer }) => finite(layer[key])))];
    const plot = chart(place, 260, () => ({
      options: {
        scales: { x: { time: false }, y: { range: (u, from, to) => [Math.min(0, from), Math.max(to * 1.05, 30)] } },
        cursor: { y: false, drag: { x: true, y: false }, points: { size: 8 } },
        axes: [axis({ size: 26, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] }), axis({ values: (u, ticks) => ticks.map(number) })],
        series: [{}, ...SERIES.map(([, kind]) => ({
          stroke: color(kind), width: kind === "alone" ? 1 : 2, points: { show: true, size: kind === "alone" ? 6 : 4, fill: color(kind), width: 0 },
          ...(kind === "alone" ? { paths: () => null } : {}), // each for itself: no line through them
        }))],
        hooks: {
          draw: [(u) => {
            const k = order.findIndex(({ i }) => i === chosen);
            if (k < 0) return;
            const x = u.valToPos(k, "x", true);
            line(u, x, u.bbox.top, x, u.bbox.top + u.bbox.height, color("dim"), 1, [2, 3]);
          }],
          setCursor: [(u) => {
            const k = u.cursor.idx;
            tip.hidden = !has(k) || u.cursor.left < 0;
            if (tip.hidden) return;
            const { layer } = order[k];
            tip.replaceChildren(layer.node, ...SERIES.filter(([key]) => has(layer[key])).flatMap(([key, kind, word]) =>
              [element("br"), element("span", { class: kind }, `${db(layer[key])} dB ${word}`)]));
            const right = u.cursor.left > u.width / 2;
            tip.style.left = right ? "" : `${u.cursor.left + 60}px`;
            tip.style.right = right ? `${u.width - u.cursor.left - 30}px` : "";
            tip.style.top = "8px";
          }],
        },
      },
      data: columns,
    }));
    place.append(tip);
    place.addEventListener("click", () => {
      const k = plot().cursor.idx;
      if (has(k) && !plot().select.width) choose(order[k].i, true);
    });
    document.addEventListener("chosen", () => plot().redraw(false));
  }
  if (rows.length) {
    const asked = /^#layer=(\d+)$/.exec(location.hash);
    if (asked) choose(Number(asked[1]));
    else if (matchMedia("(min-width: 1080px)").matches) choose(Number(rows[0].row.dataset.i));
  }
}
