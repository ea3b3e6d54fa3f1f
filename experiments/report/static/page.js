// What a reader can do: choose series, sort and filter tables, save figures, change the theme.
"use strict";
(() => {
  const root = document.documentElement;
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };

  // Theme: that of the system until somebody chooses.
  const button = document.getElementById("theme");
  const dark = () => root.dataset.theme === "dark" ||
    (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  const name = () => { button.textContent = dark() ? "Light theme" : "Dark theme"; };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    name();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();

  // Charts: drawn as wide as there is room, again whenever that changes.
  const figures = [...document.querySelectorAll("figure.chart")].map((figure) => {
    const data = JSON.parse(figure.querySelector("script").textContent);
    const one = {
      figure, data, kind: figure.dataset.kind, host: figure.querySelector(".plot"), width: 0,
      view: {
        shown: new Set([...(data.series ?? []), ...(data.lines ?? [])]
          .filter((d) => d.shown).map((d) => d.name)),
        groups: new Set((data.groups ?? []).map((group) => group.name)), all: false,
      },
    };
    controls(one);
    figure.querySelectorAll("[data-save]").forEach((save) => save.addEventListener("click", () =>
      (save.dataset.save === "svg" ? saveSvg(one) : savePng(one))));
    return one;
  });

  function draw(one, width, paper = false) {
    if (width <= 0) return;
    one.width = width;
    const svg = Charts[one.kind](one.data, { ...one.view, width, paper });
    one.host.replaceChildren(svg);
    Marks.walk(one.host, svg);
  }

  const again = (one) => draw(one, one.host.clientWidth);
  const watch = new ResizeObserver((changes) => {
    for (const change of changes) {
      const one = figures.find((f) => f.host === change.target);
      if (Math.floor(change.contentRect.width) !== one.width) {
        draw(one, Math.floor(change.contentRect.width));
      }
    }
  });
  figures.forEach((one) => watch.observe(one.host));
  // Paper is narrower than most windows. What is drawn for it must stand before it is printed.
  addEventListener("beforeprint", () => figures.forEach((one) => {
    if (one.host.clientWidth) draw(one, Math.min(one.host.clientWidth, 680), true);
  }));
  addEventListener("afterprint", () => figures.forEach(again));

  function tick(label, swatch, on, change) {
    const box = make("input", { type: "checkbox" });
    box.checked = on;
    box.addEventListener("change", () => change(box.checked));
    return make("label", {}, box, swatch, label);
  }

  function choice(set, one, name, swatch) {
    return tick(name, swatch, set.has(name), (on) => {
      set[on ? "add" : "delete"](name);
      again(one);
    });
  }

  function controls(one) {
    const place = one.figure.querySelector(".controls"), { data, view } = one;
    if (one.kind === "lines") {
      const ticks = [
        ...data.series.map((d, i) => [d, choice(view.shown, one, d.name, Marks.swatch(i, "line"))]),
        ...data.lines.map((d, i) => [d, choice(view.shown, one, d.name, Marks.swatch(i, "flat"))]),
      ];
      if (ticks.length < 2) return;  // there is nothing to choose
      const first = ticks.filter(([d]) => d.shown), rest = ticks.filter(([d]) => !d.shown);
      place.append(make("fieldset", { "aria-label": "Shown" }, ...first.map(([, t]) => t)));
      if (rest.length) {
        place.append(make("details", {}, make("summary", {}, `${rest.length} more to show`),
          make("fieldset", { "aria-label": "More to show" }, ...rest.map(([, t]) => t))));
      }
    } else if (one.kind === "bars") {
      if (data.groups.length > 1) {
        place.append(make("fieldset", { "aria-label": "Shown" }, ...data.groups.map(
          (group) => choice(view.groups, one, group.name, Marks.swatch(group.look, "bar")))));
      }
      const names = new Set(data.bars.map((bar) => bar.name)).size;
      if (names > data.most) {
        const more = make("button", { type: "button", "aria-pressed": "false" },
          `Show all ${names}`);
        more.addEventListener("click", () => {
          view.all = !view.all;
          more.setAttribute("aria-pressed", String(view.all));
          more.textContent = view.all ? `Show the first ${data.most}` : `Show all ${names}`;
          again(one);
        });
        place.append(more);
      }
    }
  }

  // Saved figures are light and 900 pixels wide, whatever the window: they go into papers.
  function standing(one) {
    const host = make("div", { class: "export plot", "data-theme": "light" });
    document.body.append(host);
    try {
      const svg = Charts[one.kind](one.data, { ...one.view, width: 900 });
      host.append(svg);
      const drawn = [svg, ...svg.querySelectorAll("*")];
      const names = ["fill", "stroke", "font-size", "font-weight", "font-family"];
      // No variable of this page means anything in a file of its own.
      const values = [...drawn].map((node) => names.map((n) => getComputedStyle(node)[n]));
      drawn.forEach((node, i) => names.forEach((n, j) => {
        if (node.localName !== "style") node.setAttribute(n, rgb(values[i][j]));
        node.removeAttribute("tabindex");
        node.style?.removeProperty("color");
      }));
      svg.querySelectorAll("style").forEach((node) => node.remove());
      const width = +svg.getAttribute("width"), height = +svg.getAttribute("height");
      const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
      title.textContent = one.figure.querySelector("h3").textContent;
      const paper = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      Object.entries({ width, height, fill: "#ffffff" })
        .forEach(([n, v]) => paper.setAttribute(n, v));
      svg.prepend(title, paper);
      svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
      return { text: new XMLSerializer().serializeToString(svg), width, height };
    } finally {
      host.remove();
    }
  }

  function rgb(value) {
    const found = /^color\(srgb ([\d.e-]+) ([\d.e-]+) ([\d.e-]+)\)$/.exec(value);
    return found ? d3.rgb(...found.slice(1).map((v) => Math.round(255 * v))).formatHex() : value;
  }

  function saveSvg(one) {
    save(new Blob([standing(one).text], { type: "image/svg+xml" }), `${one.figure.id}.svg`);
  }

  function savePng(one) {
    const { text, width, height } = standing(one), image = new Image();
    image.onload = () => {
      const canvas = make("canvas", { width: 2 * width, height: 2 * height });
      canvas.getContext("2d").drawImage(image, 0, 0, 2 * width, 2 * height);
      canvas.toBlob((blob) => save(blob, `${one.figure.id}.png`));
    };
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
  }

  function save(blob, file) {
    const link = make("a", { href: URL.createObjectURL(blob), download: file });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  // Tables: the library sorts on a click into a heading; a button in it makes that a key as well.
  document.querySelectorAll("table.sortable thead th").forEach((head) => {
    head.replaceChildren(make("button", { type: "button", title: "Sort" }, head.textContent));
  });
  document.querySelectorAll(".scroll[data-filter]").forEach((scroll) => {
    const table = scroll.querySelector("table"), count = make("output", { "aria-live": "polite" });
    const input = make("input", { type: "search", placeholder: "words" });
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/);
      const rows = [...table.tBodies[0].rows];
      rows.forEach((row) => {
        // Words are sought in what is text: a digit would be found in most figures.
        const text = [...row.cells].filter((cell) => !cell.classList.contains("figure"))
          .map((cell) => cell.textContent).join(" ").toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      });
      const left = rows.filter((row) => !row.hidden).length;
      count.textContent = left === rows.length ? "" : `${left} of ${rows.length} rows`;
    });
    const label = make("label", {}, "Filter rows ");
    label.append(input);
    scroll.before(make("div", { class: "filter" }, label, count));
  });

  // A small window has no room beside the text: there the contents begin closed.
  if (matchMedia("(max-width: 40rem)").matches) {
    document.querySelector("nav details").removeAttribute("open");
  }

  // The line of the contents that is being read.
  const marks = new Map([...document.querySelectorAll("nav a")]
    .map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((changes) => changes.forEach((change) => {
    if (!change.isIntersecting) return;
    marks.forEach((link) => link.removeAttribute("aria-current"));
    marks.get(change.target.id)?.setAttribute("aria-current", "true");
  }), { rootMargin: "-10% 0px -80% 0px" });
  document.querySelectorAll("section[id]").forEach((section) => seen.observe(section));
  // A link may lead into a part that is closed.
  const unfold = () => document.getElementById(location.hash.slice(1))
    ?.closest("details:not([open])")?.setAttribute("open", "");
  addEventListener("hashchange", unfold);
  unfold();
})();
