// Pieces that charts share: colours, symbols, labels that do not overlap, points one can walk over.
"use strict";
const Marks = (() => {
  const COLOURS = 7;
  const SYMBOLS = ["circle", "square", "triangle", "diamond", "star", "cross", "wye"];
  const FLAT = ["4 3", "1 3", "9 3 2 3", "12 4"];  // dashes of lines that stand for one value
  const DRAWN = {
    circle: d3.symbolCircle, square: d3.symbolSquare, triangle: d3.symbolTriangle,
    diamond: d3.symbolDiamond, star: d3.symbolStar, cross: d3.symbolCross, wye: d3.symbolWye,
  };

  // How the number-th series is drawn: a colour and a symbol of its own, so that neither is needed
  // to know the other; where colours begin again, lines are dashed.
  function look(number) {
    return {
      colour: `var(--c${number % COLOURS})`, symbol: SYMBOLS[number % SYMBOLS.length],
      dash: number < COLOURS ? null : "6 3",
    };
  }

  const flat = (number) => FLAT[number % FLAT.length];

  function swatch(number, kind) {
    const svg = d3.create("svg").attr("width", 26).attr("height", 14).attr("aria-hidden", "true");
    const { colour, symbol, dash } = look(number);
    if (kind === "bar") {
      svg.append("rect").attr("x", 5).attr("y", 1).attr("width", 14).attr("height", 12)
        .attr("rx", 2).attr("fill", colour);
    } else if (kind === "flat") {
      svg.append("line").attr("x1", 1).attr("x2", 25).attr("y1", 7).attr("y2", 7)
        .attr("stroke", "var(--soft)").attr("stroke-dasharray", flat(number))
        .attr("stroke-width", 1.5);
    } else {
      svg.append("line").attr("x1", 1).attr("x2", 25).attr("y1", 7).attr("y2", 7)
        .attr("stroke", colour).attr("stroke-width", 2).attr("stroke-dasharray", dash);
      svg.append("path").attr("d", d3.symbol(DRAWN[symbol], 46)()).attr("fill", colour)
        .attr("transform", "translate(13,7)");
    }
    return svg.node();
  }

  // Heights of labels, in pixels, moved apart to `gap` and kept within [top, bottom].
  function apart(wanted, gap, top, bottom) {
    const order = d3.sort(d3.range(wanted.length), (i) => wanted[i]);
    const out = wanted.slice();
    let free = top;
    for (const i of order) {
      out[i] = Math.max(wanted[i], free);
      free = out[i] + gap;
    }
    let roof = bottom;
    for (const i of order.reverse()) {
      out[i] = Math.min(out[i], roof);
      roof = out[i] - gap;
    }
    return out;
  }

  // Names are shortened in the middle: they differ at their ends, where the epsilon is.
  const short = (text, most) => (text.length <= most ? text
    : `${text.slice(0, most - 13).trimEnd()}…${text.slice(-12).trimStart()}`);
  const FONT = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
  const measure = document.createElement("canvas").getContext("2d");
  // Pixels that the widest of some texts takes.
  function wide(texts, size = 12) {
    measure.font = `${size}px ${FONT}`;
    return d3.max(texts, (text) => measure.measureText(text).width) ?? 0;
  }

  // What a reader is told of a point, in the lines of a tip.
  const tipped = (says) => says.replace(/: /, "\n").replace(/[,;] /g, "\n");

  // One stop of the tab key a chart; arrows, home and end walk over its points. A focused point
  // shows its tip as a pointer would.
  function walk(host, svg) {
    const points = [...svg.querySelectorAll("circle,path,rect")]
      .filter((point) => point.hasAttribute("aria-label"));
    points.forEach((point, place) => {
      point.setAttribute("role", "img");
      point.setAttribute("tabindex", place ? "-1" : "0");
      point.addEventListener("focus", () => {
        if (!point.matches(":focus-visible")) return;
        const box = point.getBoundingClientRect();
        svg.dispatchEvent(new PointerEvent("pointermove", {
          clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, pointerType: "mouse",
          bubbles: true,
        }));
      });
      point.addEventListener("blur", () =>
        svg.dispatchEvent(new PointerEvent("pointerleave", { pointerType: "mouse" })));
      point.addEventListener("keydown", (event) => {
        const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
        let next = null;
        if (event.key in steps) next = place + steps[event.key];
        else if (event.key === "Home") next = 0;
        else if (event.key === "End") next = points.length - 1;
        if (next === null) return;
        event.preventDefault();
        next = Math.max(0, Math.min(points.length - 1, next));
        point.setAttribute("tabindex", "-1");
        points[next].setAttribute("tabindex", "0");
        points[next].focus();
      });
    });
  }

  return { FONT, flat, look, swatch, apart, short, wide, tipped, walk };
})();
