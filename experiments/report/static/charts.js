// Charts from the data beside them, by Observable Plot. Each takes (data, view) and returns an SVG;
// view: width in pixels, names that are shown, groups that are shown, whether all bars are, whether
// it is for paper.
"use strict";
const Charts = (() => {
  const { look, apart, short, wide, tipped } = Marks;
  const NARROW = 620, FONT = 12;
  const style = { fontSize: `${FONT}px`, background: "none", color: "inherit", overflow: "visible",
    fontFamily: Marks.FONT };
  const tip = (points, x, y) => Plot.tip(points, Plot.pointer({
    x, y, title: (d) => tipped(d.says), maxRadius: 60, fill: "var(--page)",
    stroke: "var(--soft)", fontSize: FONT, textPadding: 8, lineHeight: 1.35,
  }));

  const halo = { fill: "currentColor", stroke: "var(--page)", strokeWidth: 4 };

  function lines(data, view) {
    const { width, shown } = view, narrow = width < NARROW;
    const series = data.series.map((one, number) => ({ ...one, number }))
      .filter((one) => shown.has(one.name));
    const flat = data.lines.map((one, number) => ({ ...one, number }))
      .filter((one) => shown.has(one.name));
    const points = series.flatMap((one) => one.points.map((p) => ({ ...p, name: one.name })));
    const xs = data.x.ticks ? data.x.ticks.map(([at]) => at)
      : data.series.flatMap((one) => one.points.map((p) => p.x));
    const [left, right] = d3.extent(xs);
    const spare = right > left ? (right - left) * 0.03 : 0.5;
    const values = [...points.flatMap((p) => [p.y, p.high ?? p.y]), ...flat.map((l) => l.value)];
    const height = narrow || view.paper ? 300 : data.small ? 360 : 420;
    const top = 26, bottom = 46;
    const y = d3.scaleLinear([0, (d3.max(values) ?? 1) * 1.03], [height - bottom, top]).nice(6);
    // A curve that ends before the others is named where it ends.
    const last = d3.max(points, (p) => p.x);
    const early = series.filter((one) => one.points.at(-1).x < last - spare);
    const ends = [
      ...series.filter((one) => !early.includes(one)).map((one) => ({ name: one.name,
        at: one.points.at(-1).y, x: one.points.at(-1).x, colour: look(one.number).colour })),
      ...flat.map((one) => ({ name: one.name, at: one.value, x: right + spare,
        colour: "var(--soft)" })),
    ].map((one) => ({ ...one, text: short(one.name, 28) }));
    const places = apart(ends.map((one) => y(one.at)), FONT + 3, top, height - bottom);
    const edge = narrow ? 8 : 32 + Math.min(210, wide(ends.map((one) => one.text)));
    const marginLeft = 50, inner = width - marginLeft - edge;
    const ticks = data.x.ticks ? spaced(data.x.ticks, (at) =>
      ((at - left + spare) / (right - left + 2 * spare)) * inner)
      : data.x.whole ? d3.ticks(left, right, narrow ? 5 : 10).filter(Number.isInteger)
        .map((at) => [at, String(at)]) : d3.ticks(left, right, 6).map((at) => [at, String(at)]);
    const said = new Map(ticks);
    const marks = [
      Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1, ticks: 6 }),
      Plot.axisY({ label: data.y.label, labelAnchor: "top", labelArrow: "none", tickSize: 0,
        labelOffset: 46, ticks: 6 }),
      Plot.axisX(ticks.map(([at]) => at), { label: data.x.label, labelAnchor: "center",
        labelArrow: "none", tickFormat: (at) => said.get(at), labelOffset: 40 }),
      Plot.ruleY([0], { stroke: "var(--soft)" }),
      ...flat.map((one) => Plot.ruleY([one], { y: "value", stroke: "var(--soft)",
        strokeDasharray: Marks.flat(one.number), strokeWidth: 1.3 })),
    ];
    for (const one of series) {
      const { colour, symbol, dash } = look(one.number);
      const banded = one.points.filter((p) => p.low !== null && p.high !== null);
      if (banded.length > 1) {
        marks.push(Plot.areaY(banded, { x: "x", y1: "low", y2: "high", fill: colour,
          fillOpacity: 0.13 }));
      } else {
        marks.push(Plot.ruleX(banded, { x: "x", y1: "low", y2: "high", stroke: colour }));
      }
      marks.push(Plot.line(one.points, { x: "x", y: "y", stroke: colour, strokeWidth: 2,
        strokeDasharray: dash }));
    }
    for (const one of series) {
      const { colour, symbol } = look(one.number);
      marks.push(Plot.dot(one.points, { x: "x", y: "y", symbol, fill: colour, ariaLabel: "says",
        r: one.points.length > 40 ? 2 : 4, stroke: "var(--page)", strokeWidth: 1 }));
    }
    if (!narrow) {
      const named = ends.map((one, i) => ({ ...one, label: y.invert(places[i]) }));
      marks.push(
        Plot.link(named, { x1: "x", y1: "at", x2: right + spare * 1.6, y2: "label",
          stroke: "var(--soft)", strokeOpacity: 0.6, strokeWidth: 0.8, clip: false }),
        Plot.dot(named, { x: right + spare * 1.6, y: "label", r: 3, dx: 6,
          fill: { value: named.map((one) => one.colour), scale: null } }),
        Plot.text(named, { x: right + spare * 1.6, y: "label", text: "text", textAnchor: "start",
          dx: 13, fill: "currentColor" }),
        Plot.text(early.map((one) => ({ ...one.points.at(-1), text: short(one.name, 28) })), {
          x: "x", y: "y", text: "text", textAnchor: "start", dx: 8, dy: -9, ...halo }));
    }
    marks.push(tip([...points, ...flat.map((one) => ({ ...one, x: right, y: one.value }))],
      "x", "y"));
    return Plot.plot({ width, height, marginLeft, marginRight: edge, marginTop: top,
      marginBottom: bottom, style, x: { domain: [left - spare, right + spare] },
      y: { domain: y.domain() }, marks });
  }

  // Ticks of which no two stand closer than their texts need.
  function spaced(ticks, place) {
    const out = [];
    for (const tick of ticks) {
      const last = out.at(-1);
      if (!last || place(tick[0]) - place(last[0]) > wide([tick[1], last[1]]) + 8) out.push(tick);
    }
    return out;
  }

  function bars(data, view) {
    const { width, groups, all } = view, narrow = width < NARROW;
    const kept = data.bars.filter((bar) => groups.has(bar.group));
    const names = [...new Set(kept.map((bar) => bar.name))].slice(0, all ? undefined : data.most);
    const chosen = kept.filter((bar) => names.includes(bar.name));
    const ends = new Map(), placed = [];
    for (const bar of chosen) {
      const start = data.stacked ? ends.get(bar.name) ?? 0 : 0;
      ends.set(bar.name, start + bar.value);
      placed.push({ ...bar, start, end: start + bar.value });
    }
    const label = new Map(chosen.map((bar) => [bar.name, bar.label]));
    const tops = names.map((name) => ({ name, label: label.get(name), end: Math.max(
      ends.get(name), ...chosen.filter((b) => b.name === name).map((b) => b.high ?? 0)) }));
    const band = narrow ? 42 : 25, top = data.line ? 24 : 6, bottom = 42;
    const long = narrow ? 34 : 30;
    const height = names.length * band + top + bottom;
    const marginLeft = narrow ? 8 : 14 + Math.min(220, wide(names.map((n) => short(n, long))));
    const marginRight = 16 + wide(tops.map((one) => one.label));
    const low = d3.max(tops, (one) => one.end) || 1;
    const marks = [
      Plot.gridX({ stroke: "var(--line)", strokeOpacity: 1, ticks: narrow ? 4 : 7 }),
      Plot.axisX({ label: data.x.label, labelAnchor: "center", labelArrow: "none",
        ticks: narrow ? 4 : 7, tickSize: 0, labelOffset: 36 }),
    ];
    const y = (d) => d.name;
    const insets = narrow ? { insetTop: 17, insetBottom: 5 } : { insetTop: 3, insetBottom: 3 };
    data.groups.forEach((group) => marks.push(Plot.barX(
      placed.filter((bar) => bar.group === group.name), { y, x1: "start", x2: "end",
        fill: look(group.look).colour, fillOpacity: 0.85, ariaLabel: "says", rx: 1, ...insets })));
    if (data.line) {
      marks.push(
        Plot.ruleX([data.line], { x: "value", stroke: "currentColor", strokeDasharray: "4 3" }),
        Plot.text([data.line], { x: "value", text: "name", frameAnchor: "top", dy: -10,
          textAnchor: data.line.value > low / 2 ? "end" : "start", fill: "var(--soft)" }));
    }
    marks.push(
      Plot.ruleY(placed.filter((bar) => bar.low != null), { y, x1: "low", x2: "high",
        stroke: "var(--page)", strokeWidth: 4, dy: narrow ? 6 : 0 }),
      Plot.ruleY(placed.filter((bar) => bar.low != null), { y, x1: "low", x2: "high",
        stroke: "currentColor", strokeWidth: 1.5, dy: narrow ? 6 : 0 }),
      Plot.ruleX([0], { stroke: "var(--soft)" }),
      Plot.text(tops, { y, x: "end", text: "label", textAnchor: "start", dx: 6,
        dy: narrow ? 6 : 0, ...halo }));
    marks.push(narrow
      ? Plot.text(names, { y: (d) => d, x: 0, text: (d) => short(d, 46), textAnchor: "start",
        dx: 2, dy: -13 })
      : Plot.axisY({ label: null, tickSize: 0, tickFormat: (name) => short(name, long) }));
    marks.push(tip(placed.map((bar) => ({ ...bar, middle: (bar.start + bar.end) / 2 })),
      "middle", y));
    return Plot.plot({ width, height, marginLeft, marginRight, marginTop: top,
      marginBottom: bottom, style, x: { domain: [0, low * 1.02] },
      y: { domain: names, padding: 0, axis: null }, marks });
  }

  function heat(data, view) {
    const { width } = view, narrow = width < NARROW;
    const marginLeft = Math.min(narrow ? 112 : 220, 12 + wide(data.rows));
    const cell = Math.min(150, (width - marginLeft - 4) / data.columns.length);
    const turned = wide(data.columns) + 8 > cell;
    const top = turned ? 14 + wide(data.columns) * 0.75 : 30;
    const roomy = cell > 52;
    const mixed = (d) => {
      const share = Math.max(0, Math.min(1, (d.value - data.low) / (data.high - data.low)));
      return `color-mix(in srgb, var(--heat) ${Math.round(100 * share)}%, var(--surface))`;
    };
    const at = { x: "column", y: "row" };
    return Plot.plot({
      width: Math.min(width, marginLeft + 4 + cell * data.columns.length),
      height: top + data.rows.length * 46 + 4, marginLeft, marginTop: top, marginBottom: 4,
      marginRight: 4, style, x: { domain: data.columns, padding: 0 },
      y: { domain: data.rows, padding: 0 },
      marks: [
        Plot.axisX({ anchor: "top", label: null, tickSize: 0, tickRotate: turned ? -45 : 0 }),
        Plot.axisY({ label: null, tickSize: 0, lineWidth: narrow ? 8.5 : 20,
          textOverflow: narrow ? null : "ellipsis" }),
        Plot.cell(d3.cross(data.columns, data.rows, (column, row) => ({ column, row })), {
          ...at, fill: "none", stroke: "var(--line)", inset: 1 }),
        Plot.text(d3.cross(data.columns, data.rows, (column, row) => ({ column, row })).filter(
          (d) => !data.cells.some((c) => c.row === d.row && c.column === d.column)), {
          ...at, text: () => "–", fill: "var(--soft)" }),
        Plot.cell(data.cells, { ...at, inset: 1, ariaLabel: "says",
          fill: { value: data.cells.map(mixed), scale: null } }),
        Plot.cell(data.cells.filter((d) => d.alarm), { ...at, inset: 2, fill: "none",
          stroke: "var(--bad)", strokeWidth: 3 }),
        Plot.text(data.cells, { ...at, text: "text", fontWeight: 600, dy: roomy ? -7 : 0,
          fontSize: cell < 34 ? 10 : 13 }),
        ...(roomy ? [Plot.text(data.cells, { ...at, text: (d) => (cell > 88 ? d.small : d.small.split(" (")[0]),
          dy: 9, fontSize: cell > 62 ? 11 : 10 })] : []),
        tip(data.cells, "column", "row"),
      ],
    });
  }

  return { lines, bars, heat };
})();
