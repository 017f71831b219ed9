"use strict";
// Draws the figures in the colours of the theme, and draws them again when the theme, the paper or the width changes.
(() => {
  const root = document.documentElement;
  const store = JSON.parse(document.getElementById("figures").textContent);
  const button = document.getElementById("theme");
  const narrow = () => window.innerWidth < 560;
  const touch = window.matchMedia("(pointer: coarse)").matches;
  const logs = new Set();

  const remembered = () => { try { return localStorage.getItem("alphaloom-theme"); } catch { return null; } };
  const remember = (theme) => { try { localStorage.setItem("alphaloom-theme", theme); } catch { /* a file may have no storage */ } };
  const wished = () => {
    const hash = location.hash.slice(1);
    if (hash === "dark" || hash === "light") return hash;
    const kept = remembered();
    if (kept === "dark" || kept === "light") return kept;
    return window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  };

  // A name such as "$strategy" becomes the colour that the style sheet gives to --strategy; {axis: n} a shared axis.
  const coloured = (value, styles, key = "") => {
    if (typeof value === "string") {
      const named = (key === "color" || key === "fillcolor") && value[0] === "$";
      return named ? styles.getPropertyValue("--" + value.slice(1)).trim() : value;
    }
    if (key === "colorscale") return value.map(([place, inner]) => [place, coloured(inner, styles, "color")]);
    if (Array.isArray(value)) return key === "color" ? value.map((inner) => coloured(inner, styles, key)) : value;
    if (value && typeof value === "object") {
      if (typeof value.axis === "number") return store.axes[value.axis];
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, coloured(inner, styles, key)]));
    }
    return value;
  };

  const axisStyle = (styles, given) => Object.assign({
    gridcolor: styles.getPropertyValue("--hair").trim(),
    linecolor: styles.getPropertyValue("--muted").trim(),
    zerolinecolor: styles.getPropertyValue("--muted").trim(),
    tickfont: { size: narrow() ? 11 : 12 },
    automargin: true,
    zeroline: false,
    fixedrange: touch,
  }, given);

  const layoutOf = (figure, styles, width) => {
    const given = coloured(figure.layout, styles);
    const get = (name) => styles.getPropertyValue("--" + name).trim();
    const layout = Object.assign({
      autosize: true,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: get("sans"), size: 12, color: get("soft") },
      margin: { l: 10, r: 12, t: 8, b: 8 },
      hovermode: "x unified",
      hoverlabel: { bgcolor: get("sheet"), bordercolor: get("hair"), font: { color: get("ink"), size: 12 } },
      legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", font: { size: 12, color: get("ink") }, traceorder: "normal" },
      dragmode: touch ? false : "zoom",
      uirevision: "keep",
    }, given);
    const dates = { type: "date", hoverformat: "%Y-%m-%d", showgrid: false, ticks: "outside", ticklen: 4, nticks: Math.max(3, Math.min(12, Math.floor(width / 95))), tickangle: 0, tickformatstops: [
      { dtickrange: [null, 86400000 * 27], value: "%Y-%m-%d" },
      { dtickrange: ["M1", "M11"], value: "%Y-%m" },
      { dtickrange: ["M12", null], value: "%Y" },
    ] };
    const plain = { showgrid: false, ticks: "outside", ticklen: 4, showline: true };
    const own = given.xaxis || {};
    if (own.title) own.title = Object.assign({ standoff: 8, font: { size: 12 } }, own.title);
    layout.xaxis = axisStyle(styles, Object.assign({}, own.type ? plain : dates, { showline: true, tickcolor: get("muted") }, own));
    for (const name of ["yaxis", "yaxis2"]) {
      if (!given[name]) continue;
      layout[name] = axisStyle(styles, given[name]);
      if (given[name].title) layout[name].title = Object.assign({ standoff: 8, font: { size: 12 } }, given[name].title);
    }
    if (narrow() && figure.traces.length > 4) {
      Object.assign(layout.legend, { x: -0.12, entrywidth: 0.56, entrywidthmode: "fraction", font: { size: 10, color: get("ink") } });
    }
    if (logs.has(figure.key)) layout.yaxis.type = "log";
    return layout;
  };

  const draw = (figure) => {
    const place = document.getElementById("plot-" + figure.key);
    if (!place) return;
    const styles = getComputedStyle(root);
    // A long legend takes several lines on a narrow screen; the curves keep their height.
    const lines = narrow() ? Math.max(0, Math.ceil(figure.traces.length / 2) - 2) : 0;
    place.style.height = `${Number(place.dataset.height) + 22 * lines}px`;
    const traces = figure.traces.map((trace) => coloured(trace, styles));
    const layout = layoutOf(figure, styles, place.clientWidth);
    // A width of its own makes the drawing follow the paper at once, not with the next event.
    Object.assign(layout, { width: place.clientWidth, height: place.clientHeight });
    Plotly.react(place, traces, layout, { displayModeBar: false, doubleClick: "reset", scrollZoom: false });
  };
  const drawAll = () => store.figures.forEach(draw);

  const wear = (theme) => {
    root.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-pressed", String(theme === "dark"));
    button.setAttribute("aria-label", "Switch to the " + (theme === "dark" ? "light" : "dark") + " theme");
  };

  wear(wished());
  button.addEventListener("click", () => {
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    remember(theme);
    wear(theme);
    drawAll();
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    if (remembered()) return;
    wear(wished());
    drawAll();
  });
  for (const element of document.querySelectorAll("button.log")) {
    element.addEventListener("click", () => {
      const key = element.dataset.plot;
      if (!logs.delete(key)) logs.add(key);
      element.setAttribute("aria-pressed", String(logs.has(key)));
      draw(store.figures.find((figure) => figure.key === key));
    });
  }
  let worn = root.dataset.theme;
  window.addEventListener("beforeprint", () => {
    worn = root.dataset.theme;
    wear("light");
    document.body.classList.add("printing");
    drawAll();
    for (const element of document.querySelectorAll("details")) element.open = true;
  });
  window.addEventListener("afterprint", () => {
    document.body.classList.remove("printing");
    wear(worn);
    drawAll();
  });
  let drawn = window.innerWidth;
  let pending = 0;
  window.addEventListener("resize", () => {
    clearTimeout(pending);
    // The bars of a phone's browser change the height while scrolling; only the width matters here.
    pending = setTimeout(() => { if (window.innerWidth !== drawn) { drawn = window.innerWidth; drawAll(); } }, 120);
  });

  // One figure a turn, so that the page answers while it is being drawn.
  const queue = store.figures.slice();
  const next = () => { if (queue.length) { draw(queue.shift()); setTimeout(next, 0); } };
  next();
})();
