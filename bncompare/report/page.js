"use strict";
// The page can be read without this: values under the pointer, variants that are hidden or brought out.
(() => {
  const element = (name, attributes, parent) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return parent.appendChild(made);
  };
  const html = (name, text, parent) => {
    const made = document.createElement(name);
    made.textContent = text;
    return parent.appendChild(made);
  };
  const shown = (value, percent) => {
    if (percent) return `${(100 * value).toFixed(1)} %`;
    const isWhole = Number.isInteger(value) || Math.abs(value) >= 1000;
    return (isWhole ? String(Math.round(value)) : value.toPrecision(3)).replace("-", "−");
  };

  const place = (at, [low, high], isLog) => {
    const scale = isLog ? Math.log : (value) => value;
    return (scale(at) - scale(low)) / (scale(high) - scale(low));
  };

  /** 1, 2, 5, 10, … on a log axis, where it is long enough for three of them; else in even steps. */
  const ticks = ([low, high], isLog) => {
    const decades = Math.log10(high / low), found = [];
    const first = isLog ? Math.floor(Math.log10(low)) : Infinity;
    for (let power = first; 10 ** power <= high; power += Math.ceil(decades / 8)) {
      for (const digit of decades > 3 ? [1] : [1, 2, 5]) found.push(Number((digit * 10 ** power).toPrecision(3)));
    }
    const inside = found.filter((value) => value >= low && value <= high);
    if (inside.length >= 3) return inside;
    const rough = (high - low) / 5, unit = 10 ** Math.floor(Math.log10(rough));
    const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
    return Array.from({ length: Math.floor(high / step) - Math.ceil(low / step) + 1 }, (_, i) =>
      Number(((Math.ceil(low / step) + i) * step).toPrecision(6)));
  };

  /** An experiment: `data` has its variants, and for each figure the curves. */
  const experiment = (article, data) => {
    const hidden = new Set();

    const bringOut = (variant) => {
      article.classList.toggle("lit", variant !== null);
      for (const item of article.querySelectorAll("[data-variant], [data-key]")) {
        item.classList.toggle("out", variant !== null && (item.dataset.variant ?? item.dataset.key) === `${variant}`);
      }
    };

    const toggle = (variant) => {
      if (!hidden.delete(variant)) hidden.add(variant);
      const isHidden = hidden.has(variant);
      for (const item of article.querySelectorAll(`[data-variant="${variant}"], [data-key="${variant}"]`)) {
        item.classList.toggle("hidden", isHidden);
      }
      for (const button of article.querySelectorAll(`[data-button="${variant}"]`)) {
        button.setAttribute("aria-pressed", String(!isHidden));
      }
      if (isHidden) bringOut(null);
    };

    const addButtons = (svg) => {
      const boxes = new Map();
      for (const part of svg.querySelectorAll("[data-key]")) {
        const box = part.getBBox();
        const known = boxes.get(part.dataset.key) ?? [Infinity, Infinity, -Infinity, -Infinity];
        boxes.set(part.dataset.key, [
          Math.min(known[0], box.x), Math.min(known[1], box.y),
          Math.max(known[2], box.x + box.width), Math.max(known[3], box.y + box.height),
        ]);
      }
      for (const [key, [left, top, right, bottom]] of boxes) {
        const variant = Number(key);
        const button = element("rect", {
          x: left - 3, y: top - 4, width: right - left + 6, height: bottom - top + 8, rx: 2, class: "key", role: "button",
          tabindex: 0, "data-button": key, "aria-pressed": "true", "aria-label": `show ${data.variants[variant]}`,
        }, svg);
        element("title", {}, button).textContent = `hide or show ${data.variants[variant]}`;
        button.addEventListener("click", () => toggle(variant));
        button.addEventListener("keydown", (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          toggle(variant);
        });
        for (const name of ["pointerenter", "focus"]) {
          button.addEventListener(name, () => hidden.has(variant) || bringOut(variant));
        }
        for (const name of ["pointerleave", "blur"]) button.addEventListener(name, () => bringOut(null));
      }
      if (boxes.size) svg.setAttribute("role", "group");
    };

    const locate = (svg, panels) => {
      const { width, height } = svg.viewBox.baseVal;
      for (const panel of panels) {
        const [left, top, wide, high] = panel.box;
        panel.left = left * width; panel.top = top * height; panel.wide = wide * width; panel.high = high * height;
        panel.toX = (at) => panel.left + panel.wide * place(at, panel.xlim, panel.log[0]);
        panel.toY = (value) => panel.top + panel.high * (1 - place(value, panel.ylim, panel.log[1]));
      }
    };

    /** A button that puts the y axes on the other scale: all that is of a variant moves, and the ticks are new. */
    const addScaleButton = (figure, svg, panels) => {
      const able = panels.filter((panel) => panel.scales);
      if (!able.length) return;
      const isLog = able.some((panel) => !panel.log[1]);
      const caption = figure.querySelector("figcaption");
      const button = html("button", isLog ? "log scale" : "linear scale", caption);
      caption.prepend(button);
      button.className = "scale";
      button.setAttribute("aria-pressed", "false");
      const moves = able.map((panel) => mover(svg, panel, panels.indexOf(panel)));
      const drawn = able.map(({ ylim, log }) => ({ ylim, log }));
      const others = able.map(({ ylim, log }) => {
        const onSameAxis = able.filter((other) => `${other.ylim}` === `${ylim}`);
        const values = onSameAxis.flatMap(({ series }) => series.flatMap(({ mean, seeds }) => [mean, ...seeds].flat()));
        const lowest = Math.min(...values.filter((value) => value > 0));
        if (log[1] === isLog) return { ylim, log };
        return { ylim: [isLog ? lowest / 1.15 : 0, ylim[1]], log: [log[0], isLog] };
      });
      button.addEventListener("click", () => {
        const isPressed = button.getAttribute("aria-pressed") === "false";
        button.setAttribute("aria-pressed", String(isPressed));
        able.forEach((panel, i) => moves[i](Object.assign(panel, (isPressed ? others : drawn)[i])));
      });
    };

    /** A function that draws a panel as its y axis now is, from how it was drawn. */
    const mover = (svg, panel, number) => {
      const { top, high, left, wide, ylim: [low, up], log: [, wasLog] } = panel;
      const group = svg.querySelector(`[data-panel="${number}"]`);
      const axis = group.querySelector("[data-ticks]");
      const lines = element("g", { class: "ticks" }, svg);
      group.insertBefore(lines, axis);
      const parts = [...group.querySelectorAll("[data-variant] :is(path, use[x], g[transform])")]
        .filter((part) => !part.closest("defs"))
        .map((part) => part.getAttribute("x") === "0" ? part.closest("[data-variant]").querySelector("path") : part);
      const attributes = parts.map((part) => ["d", "y", "transform"].find((name) => part.hasAttribute(name)));
      const before = parts.map((part, i) => part.getAttribute(attributes[i]));
      const valueAt = (y) => {
        const share = 1 - (y - top) / high;
        return wasLog ? low * (up / low) ** share : low + share * (up - low);
      };
      const moved = (y) => {
        const value = valueAt(y);
        return panel.log[1] && value <= 0 ? top + 2 * high : panel.toY(value);
      };
      return () => {
        const isAsDrawn = panel.log[1] === wasLog;
        const names = [];
        parts.forEach((part, i) => {
          const name = attributes[i], was = before[i];
          // What a collection draws is as far below 0 as the figure is high.
          const offset = name === "d" && part.closest("defs") ? svg.viewBox.baseVal.height : 0;
          if (isAsDrawn) return part.setAttribute(name, was);
          if (name === "y") return part.setAttribute(name, moved(Number(was)));
          if (name === "transform") return names.push(part);
          const vertex = (_, x, y) => `${x} ${moved(Number(y) + offset) - offset}`;
          part.setAttribute(name, was.replace(/([ML] \S+) (\S+)/g, vertex));
        });
        spread(names, panel);
        for (const child of axis.children) child.classList.toggle("gone", !isAsDrawn && !("name" in child.dataset));
        lines.replaceChildren();
        for (const value of isAsDrawn ? [] : ticks(panel.ylim, panel.log[1])) {
          const y = panel.toY(value);
          element("line", { x1: left, x2: left + wide, y1: y, y2: y }, lines);
          if (panel.ticks) element("text", { x: left - 6, y: y + 3 }, lines).textContent = String(value);
        }
      };
    };

    /** Names of ends at the ends of the means, no two nearer to each other than a line. */
    const spread = (names, panel) => {
      const gap = 9;
      const ends = names.map((part) => {
        const number = Number(part.closest("[data-variant]").dataset.variant);
        const { mean } = panel.series.find(({ variant }) => variant === number);
        return [panel.toY(mean.findLast((value) => value !== null)), part];
      }).sort(([a], [b]) => a - b);
      let least = -Infinity;
      for (const end of ends) least = end[0] = Math.max(end[0], least + gap);
      let most = panel.top + panel.high + gap;
      for (const end of ends.reverse()) most = end[0] = Math.min(end[0], most - gap);
      for (const [y, part] of ends) {
        const moved = (_, first) => `translate(${first} ${y + 2.8})`;
        part.setAttribute("transform", part.getAttribute("transform").replace(/translate\((\S+) \S+\)/, moved));
      }
    };

    const addCrosshair = (figure, svg, { x: xName, panels }) => {
      const cross = element("g", { class: "cross", "aria-hidden": "true" }, svg);
      const tip = html("div", "", figure);
      tip.className = "tip";
      tip.setAttribute("role", "status");
      let current = null, chosen = 0;

      const clear = () => {
        current = null;
        cross.replaceChildren();
        tip.replaceChildren();
        bringOut(null);
      };

      /** A row a variant: the mean, and the lowest and highest of its seeds. */
      const fillTip = (at, own) => {
        const { label, percent, title, names } = own;
        const table = html("table", "", tip);
        const short = (name) => name.replace(/ \(.*/, "");
        // Panels either share a metric and are of a variant each, or all are of the same variants.
        const alike = panels.filter((other) => other.label === label);
        const isAlone = new Set(alike.flatMap(({ series }) => series.map(({ variant }) => variant))).size
          < alike.flatMap(({ series }) => series).length;
        const place = `${short(xName)} ${names ? names[own.x.indexOf(at)] : Number(at.toPrecision(4))}`;
        html("caption", [short(label), ...(isAlone && title ? [title] : []), place].join(", "), table);
        const body = html("tbody", "", table);
        for (const panel of isAlone ? [own] : alike) {
          const index = panel.x.indexOf(at);
          for (const { variant, color, mean, seeds } of panel.series) {
            if (index < 0 || mean[index] === null || hidden.has(variant)) continue;
            const row = html("tr", "", body);
            html("th", data.variants[variant], row).style.borderLeftColor = color;
            html("td", shown(mean[index], percent), row);
            const values = seeds.map((seed) => seed[index]).filter((value) => value !== null);
            const ends = [Math.min(...values), Math.max(...values)].map((value) => shown(value, percent));
            const number = values.length < seeds.length ? ` (n = ${values.length})` : "";
            html("td", (values.length > 1 ? ends.join(" to ") : "") + number, row).className = "seeds";
          }
        }
      };

      const show = (at, panel, clientX, clientY) => {
        cross.replaceChildren();
        tip.replaceChildren();
        current = at;
        chosen = panels.indexOf(panel);
        for (const { x: places, series, left, top, wide, high, toX, toY } of panels) {
          const index = places.indexOf(at);
          if (index < 0) continue;
          const x = toX(at);
          element("line", { x1: x, x2: x, y1: top, y2: top + high }, cross);
          for (const { variant, color, mean } of series) {
            const y = toY(mean[index]);
            if (mean[index] === null || hidden.has(variant) || y < top - 1 || y > top + high + 1) continue;
            element("circle", { cx: x, cy: y, r: 2.6, style: `fill: ${color}` }, cross);
          }
        }
        fillTip(at, panel);
        putTip(clientX, clientY);
      };

      const putTip = (clientX, clientY) => {
        const area = figure.getBoundingClientRect();
        const x = clientX - area.left, y = clientY - area.top, room = area.width - tip.offsetWidth;
        tip.style.left = `${x + 16 <= room ? x + 16 : Math.max(0, x - tip.offsetWidth - 16)}px`;
        tip.style.top = `${y - tip.offsetHeight - 12 >= 0 ? y - tip.offsetHeight - 12 : y + 20}px`;
      };

      /** What is known of the cell of a heat map. */
      const showCell = (panel, point, event) => {
        const away = ([x, y]) => Math.hypot(panel.toX(x) - point.x, panel.toY(y) - point.y);
        const [, , text] = panel.cells.reduce((best, cell) => (away(cell) < away(best) ? cell : best));
        clear();
        const [name, ...lines] = text.split("\n");
        html("caption", name, html("table", "", tip));
        for (const line of lines) html("td", line, html("tr", "", html("tbody", "", tip.firstChild)));
        putTip(event.clientX, event.clientY);
      };

      const nearest = (panel, x) => panel.x.reduce(
        (best, at) => (Math.abs(panel.toX(at) - x) < Math.abs(panel.toX(best) - x) ? at : best), panel.x[0]);

      const follow = (event) => {
        const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
        const panel = panels.find(({ left, top, wide, high }) =>
          point.x >= left - 4 && point.x <= left + wide + 4 && point.y >= top - 4 && point.y <= top + high + 4);
        if (!panel) return clear();
        if (panel.cells) return showCell(panel, point, event);
        const at = nearest(panel, point.x);
        show(at, panel, event.clientX, event.clientY);
        const index = panel.x.indexOf(at);
        let closest = null, distance = 12;
        for (const { variant, mean } of panel.series) {
          if (mean[index] === null || hidden.has(variant)) continue;
          const away = Math.abs(panel.toY(mean[index]) - point.y);
          if (away < distance) [closest, distance] = [variant, away];
        }
        bringOut(closest);
      };

      const box = svg.parentElement;
      svg.addEventListener("pointermove", follow);
      svg.addEventListener("pointerdown", follow);
      svg.addEventListener("pointerleave", clear);
      box.addEventListener("blur", clear);
      box.addEventListener("keydown", (event) => {
        if (event.key === "Escape") return clear();
        const [step, next] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
        if (step === undefined || event.target !== box || (current === null && !step)) return;
        if (!panels[0].x.length) return;
        event.preventDefault();
        const panel = panels[(chosen + next + panels.length) % panels.length];
        const index = current === null ? (step > 0 ? 0 : panel.x.length - 1) : panel.x.indexOf(nearest(panel, panel.toX(current))) + step;
        const at = panel.x[Math.max(0, Math.min(panel.x.length - 1, index))];
        const { x, y } = new DOMPoint(panel.toX(at), panel.top + panel.high / 2).matrixTransform(svg.getScreenCTM());
        show(at, panel, x, y);
      });
    };

    article.querySelectorAll("figure").forEach((figure, i) => {
      const svg = figure.querySelector("svg");
      addButtons(svg);
      const { panels } = data.figures[i];
      locate(svg, panels);
      addScaleButton(figure, svg, panels);
      if (panels.length) addCrosshair(figure, svg, data.figures[i]);
    });
    for (const row of article.querySelectorAll("tr[data-variant]")) {
      row.addEventListener("pointerenter", () => bringOut(Number(row.dataset.variant)));
      row.addEventListener("pointerleave", () => bringOut(null));
    }
  };

  for (const article of document.querySelectorAll("article")) {
    experiment(article, JSON.parse(article.querySelector("script").textContent));
  }
})();
