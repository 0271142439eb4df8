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
    if (value === null || value === undefined) return "–";
    const text = percent ? `${(100 * value).toFixed(1)} %` : String(Number(value.toPrecision(3)));
    return text.replace("-", "−");
  };

  const place = (at, [low, high], isLog) => {
    const scale = isLog ? Math.log : (value) => value;
    return (scale(at) - scale(low)) / (scale(high) - scale(low));
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

    const addCrosshair = (figure, svg, { x: xName, panels }) => {
      const { width, height } = svg.viewBox.baseVal;
      for (const panel of panels) {
        const [left, top, wide, high] = panel.box;
        panel.left = left * width; panel.top = top * height; panel.wide = wide * width; panel.high = high * height;
        panel.toX = (at) => panel.left + panel.wide * place(at, panel.xlim, panel.log[0]);
        panel.toY = (value) => panel.top + panel.high * (1 - place(value, panel.ylim, panel.log[1]));
      }
      const cross = element("g", { class: "cross", "aria-hidden": "true" }, svg);
      const tip = html("div", "", figure);
      tip.className = "tip";
      tip.setAttribute("role", "status");
      let current = null;

      const clear = () => {
        current = null;
        cross.replaceChildren();
        tip.replaceChildren();
        bringOut(null);
      };

      const fillTip = (at) => {
        const labels = [...new Set(panels.filter((panel) => panel.x.includes(at)).map((panel) => panel.label))];
        const table = html("table", "", tip);
        const head = html("tr", "", html("thead", "", table));
        html("th", `${xName} ${Number(at.toPrecision(4))}`, head);
        for (const label of labels) html("th", label, head);
        const body = html("tbody", "", table);
        data.variants.forEach((name, variant) => {
          if (hidden.has(variant)) return;
          const found = labels.map((label) => {
            for (const panel of panels) {
              const of = panel.label === label && panel.series.find((series) => series.variant === variant);
              if (of) return { of, panel, index: panel.x.indexOf(at) };
            }
            return null;
          });
          if (!found.some((cell) => cell && cell.of.mean[cell.index] !== null)) return;
          const row = html("tr", "", body);
          const heading = html("th", name, row);
          heading.style.borderLeftColor = found.find(Boolean).of.color;
          for (const cell of found) html("td", cell ? shown(cell.of.mean[cell.index], cell.panel.percent) : "–", row);
        });
      };

      const show = (at, clientX) => {
        cross.replaceChildren();
        tip.replaceChildren();
        current = at;
        for (const panel of panels) {
          const index = panel.x.indexOf(at);
          if (index < 0) continue;
          const x = panel.toX(at);
          element("line", { x1: x, x2: x, y1: panel.top, y2: panel.top + panel.high }, cross);
          for (const { variant, color, mean } of panel.series) {
            if (mean[index] === null || hidden.has(variant)) continue;
            const y = panel.toY(mean[index]);
            if (y < panel.top - 1 || y > panel.top + panel.high + 1) continue;
            element("circle", { cx: x, cy: y, r: 2.6, fill: color }, cross);
          }
        }
        fillTip(at);
        const area = figure.getBoundingClientRect();
        const room = area.width - tip.offsetWidth;
        const right = clientX - area.left + 18;
        tip.style.left = `${Math.max(0, right <= room ? right : Math.min(room, clientX - area.left - tip.offsetWidth - 18))}px`;
      };

      const nearest = (panel, x) => panel.x.reduce(
        (best, at) => (Math.abs(panel.toX(at) - x) < Math.abs(panel.toX(best) - x) ? at : best), panel.x[0]);

      const follow = (event) => {
        const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
        const panel = panels.find(({ left, top, wide, high }) =>
          point.x >= left - 4 && point.x <= left + wide + 4 && point.y >= top - 4 && point.y <= top + high + 4);
        if (!panel) return clear();
        const at = nearest(panel, point.x);
        show(at, event.clientX);
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
        const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (!step || event.target !== box) return;
        event.preventDefault();
        const { x, toX } = panels[0];
        const index = current === null ? (step > 0 ? 0 : x.length - 1) : x.indexOf(current) + step;
        const at = x[Math.max(0, Math.min(x.length - 1, index))];
        show(at, new DOMPoint(toX(at), 0).matrixTransform(svg.getScreenCTM()).x);
      });
    };

    article.querySelectorAll("figure").forEach((figure, i) => {
      const svg = figure.querySelector("svg");
      addButtons(svg);
      if (data.figures[i].panels.length) addCrosshair(figure, svg, data.figures[i]);
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
