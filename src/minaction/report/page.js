"use strict";

/* The page's behaviour. Text only ever becomes text: no markup is built from strings. */
(function () {
  const SHOWN = 100; /* rows of the run table that are laid out at first */
  const PACK = 64; /* records in a block, as report/records.py packs them */

  function make(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (typeof value === "function") made.addEventListener(name, value);
      else if (value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children);
    return made;
  }

  function button(text, onclick, attributes) {
    return make("button", { type: "button", click: onclick, ...attributes }, text);
  }

  /* The data of a plot, of which the caller may change its copy. */
  function block(plot) {
    const id = plot.id + "-data";
    const data = unfolded.get(id);
    return data ? structuredClone(data) : JSON.parse(document.getElementById(id).textContent);
  }

  /* The text of a block that may be packed, as report/markup.py packs it. */
  async function unpacked(id) {
    const { type, textContent } = document.getElementById(id);
    if (type !== "application/zlib") return textContent;
    const bytes = Uint8Array.from(atob(textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).text();
  }

  function save(name, url) {
    const link = make("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
  }

  function saveText(name, text, type) {
    const url = URL.createObjectURL(new Blob([text], { type }));
    save(name, url);
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  }

  /* Figures: drawn when they come near, in the colours of the screen or of paper. */

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const coarse = window.matchMedia("(pointer: coarse)");
  const plots = Array.from(document.querySelectorAll(".plot"));
  const drawn = new Set();
  const unfolded = new Map(); /* data of plots without an own block, or with a packed one */
  let plotly = null; /* a promise of it, once there is something to draw */
  const config = {
    responsive: true,
    displaylogo: false,
    modeBarButtons: [["resetScale2d"]],
  };

  function colours(onPaper) {
    return !onPaper && dark.matches
      ? { ink: "#e6e8eb", muted: "#a2abb5", grid: "#33383f", paper: "#16191d" }
      : { ink: "#1b1f24", muted: "#59636e", grid: "#e2e5e9", paper: "#ffffff" };
  }

  function figure(plot, onPaper) {
    const look = colours(onPaper);
    const { data, layout } = block(plot);
    layout.font = { color: look.ink, family: "system-ui, sans-serif", size: 13 };
    layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: look.muted, activecolor: look.ink };
    layout.hoverlabel = { bgcolor: look.paper, font: { color: look.ink } };
    layout.dragmode = coarse.matches ? false : "zoom"; /* a finger scrolls the page */
    for (const axis of [layout.xaxis, layout.yaxis]) {
      axis.gridcolor = look.grid;
      axis.linecolor = look.grid;
    }
    for (const shape of layout.shapes || []) shape.line.color = look.muted;
    return { data, layout };
  }

  /* Long plots are packed: they are unpacked before the first one is drawn. */
  async function unfoldPlots() {
    for (const { id } of document.querySelectorAll(".figure-data[type='application/zlib']")) {
      if (id.endsWith("-data")) unfolded.set(id, JSON.parse(await unpacked(id)));
    }
  }

  async function loadPlotly() {
    await unfoldPlots();
    document.head.append(make("script", {}, await unpacked("plotly")));
    return window.Plotly;
  }

  function draw(plot, onPaper) {
    const { data, layout } = figure(plot, onPaper);
    Plotly.react(plot, data, layout, config);
    if (!plot.dataset.opens && data.some((trace) => trace.meta)) {
      plot.dataset.opens = "runs";
      plot.on("plotly_click", ({ points: [{ data: trace, pointIndex }] }) => {
        if (trace.meta) openRecord(trace.meta[pointIndex].run_id, trace.meta[pointIndex].index);
      });
    }
  }

  function redraw(onPaper) {
    if (!window.Plotly) return;
    const shown = plots.filter((plot) => !plot.closest("[hidden]"));
    for (const plot of onPaper ? shown : drawn) draw(plot, onPaper);
  }

  async function saveImage(plot, format) {
    await plotly;
    const { data, layout } = figure(plot, true);
    layout.paper_bgcolor = "#ffffff";
    const size = { format, width: 800, height: 500, scale: format === "png" ? 2 : 1 };
    save(`${plot.id}.${format}`, await Plotly.toImage({ data, layout }, size));
  }

  function csv({ columns, rows }) {
    const field = (value) => {
      let text = value === null ? "" : String(value);
      if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = "'" + text; /* no formula */
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return [columns, ...rows].map((row) => row.map(field).join(",") + "\r\n").join("");
  }

  async function saveCsv(plot) {
    await plotly;
    saveText(`${plot.id}.csv`, csv(block(plot).table), "text/csv");
  }

  function offerDownloads(plot) {
    const title = plot.previousElementSibling.textContent;
    const offer = (kind, action) =>
      button(kind, action, { "aria-label": `${kind} of ${plot.dataset.figure}, ${title}` });
    plot.after(
      make(
        "p",
        { class: "downloads" },
        offer("PNG", () => saveImage(plot, "png")),
        offer("SVG", () => saveImage(plot, "svg")),
        offer("CSV", () => saveCsv(plot)),
      ),
    );
  }

  /* Where a figure has many networks, the reader chooses which one it shows. */
  function offerChoice(figure) {
    const panels = Array.from(figure.querySelectorAll(".panel"));
    const names = Array.from(new Set(panels.map((panel) => panel.dataset.choice)));
    if (names.length < 2) return;
    const load = async () => {
      const all = JSON.parse(await unpacked(figure.id + "-choices"));
      for (const [id, data] of Object.entries(all)) unfolded.set(id, data);
    };
    let loaded = null;
    const choose = async () => {
      loaded = loaded || load();
      await loaded;
      for (const panel of panels) panel.hidden = panel.dataset.choice !== select.value;
    };
    const options = names.map((name) => make("option", { value: name }, name));
    const select = make("select", { change: choose }, ...options);
    figure.querySelector(".panels").before(make("label", { class: "choice" }, "shown:", select));
  }

  function startFigures() {
    if (!plots.length) return;
    document.querySelectorAll("figure").forEach(offerChoice);
    plotly = loadPlotly();
    plotly.catch((error) => {
      console.warn(error);
      for (const plot of plots) plot.textContent = "This browser cannot unpack the figures.";
    });
    const near = new IntersectionObserver(
      async (entries) => {
        const come = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target);
        await plotly;
        for (const plot of come) {
          if (!drawn.has(plot)) draw(plot, false);
          drawn.add(plot);
        }
      },
      { rootMargin: "600px" },
    );
    for (const plot of plots) {
      offerDownloads(plot);
      near.observe(plot);
    }
    dark.addEventListener("change", () => redraw(false));
  }

  /* Print: every figure on paper's colours, everything folded opened, and back again. */

  function startPrint() {
    let opened = [];
    window.addEventListener("beforeprint", () => {
      opened = Array.from(document.querySelectorAll("details:not([open])"));
      for (const folded of opened) folded.open = true;
      redraw(true);
    });
    window.addEventListener("afterprint", () => {
      for (const folded of opened) folded.open = false;
      redraw(false);
    });
  }

  /* The record of a run, unpacked from its block when it is asked for. */

  async function recordOf(index) {
    const pack = await unpacked(`records-${Math.floor(index / PACK)}`);
    return JSON.parse(pack)[index % PACK];
  }

  function isPlain(value) {
    return value !== null && typeof value === "object";
  }

  function written(value) {
    if (value === null) return "\u2014";
    return isPlain(value) ? JSON.stringify(value) : String(value);
  }

  function grid(caption, columns, rows) {
    const head = columns.map((column) => make("th", { scope: "col" }, column));
    const body = rows.map(([name, ...cells]) =>
      make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((c) => make("td", {}, c))),
    );
    return make(
      "div",
      { class: "scroll", role: "region", tabindex: "0", "aria-label": caption },
      make(
        "table",
        {},
        make("caption", {}, caption),
        make("thead", {}, make("tr", {}, ...head)),
        make("tbody", {}, ...body),
      ),
    );
  }

  /* One row per key; of objects and of lists of objects, one column per key of theirs. */
  function tableOf(name, content) {
    const entries = Array.isArray(content)
      ? content.map((entry, number) => [String(number + 1), entry])
      : Object.entries(content);
    if (!entries.length) return "";
    if (!entries.every(([, value]) => isPlain(value) && !Array.isArray(value))) {
      return grid(name, ["name", "value"], entries.map(([key, value]) => [key, written(value)]));
    }
    const keys = Array.from(new Set(entries.flatMap(([, value]) => Object.keys(value))));
    const row = ([key, value]) => [key, ...keys.map((k) => (k in value ? written(value[k]) : ""))];
    return grid(name, ["name", ...keys], entries.map(row));
  }

  async function recordView(name, index) {
    const record = await recordOf(index);
    const json = JSON.stringify(record, null, 1) + "\n";
    const { config, metrics, layers, history, provenance, ...rest } = record;
    return [
      button("JSON", () => saveText(`run-${name}.json`, json, "application/json")),
      tableOf("run", rest),
      tableOf("configuration", config),
      tableOf("metrics", metrics || {}),
      tableOf("layers", layers),
      tableOf("history", history),
      tableOf("provenance", provenance),
    ];
  }

  async function openRecord(name, index) {
    const dialog = document.getElementById("record");
    const [download, ...tables] = await recordView(name, index).catch((error) => {
      console.warn(error);
      const reason = "This browser cannot unpack the record; the study's journal has it.";
      return ["", make("p", { role: "alert" }, reason)];
    });
    dialog.replaceChildren(
      make("h3", { id: "record-title" }, `Run ${name}`),
      make("p", { class: "downloads" }, button("Close", () => dialog.close()), download),
      ...tables,
    );
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  /* The run table. */

  function compare(a, b) {
    if (a === b) return 0;
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number" || typeof b === "number") return typeof a === "number" ? -1 : 1;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  }

  async function startRuns() {
    const table = document.getElementById("run-table");
    if (!table) return;
    const { runs } = JSON.parse(await unpacked("findings"));
    const body = table.tBodies[0];
    const headings = Array.from(table.tHead.rows[0].cells);
    const keys = headings.map((heading) => heading.dataset.key);
    const rows = Array.from(body.rows);
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const count = document.getElementById("run-count");
    const more = document.getElementById("run-more");
    const form = document.getElementById("run-filters");
    const selects = [];
    let order = runs.map((_, index) => index);
    let limit = SHOWN;

    function show() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = selects.filter((select) => select.value !== "");
      const found = order.filter(
        (index) =>
          wanted.every((select) => JSON.stringify(runs[index][select.name]) === select.value) &&
          words.every((word) => texts[index].includes(word)),
      );
      const shown = found.slice(0, limit);
      for (const row of rows) row.hidden = true;
      for (const index of shown) rows[index].hidden = false;
      const all = runs.length.toLocaleString("en");
      count.textContent = `${found.length.toLocaleString("en")} of ${all} runs match, ${shown.length.toLocaleString("en")} shown.`;
      more.hidden = shown.length === found.length;
      more.textContent = `Show all ${found.length.toLocaleString("en")}`;
    }

    function sort(column) {
      const key = keys[column];
      const down = headings[column].getAttribute("aria-sort") === "ascending";
      const gone = (index) => runs[index][key] === null || runs[index][key] === "";
      order = runs.map((_, index) => index).sort((a, b) => {
        if (gone(a) || gone(b)) return gone(a) - gone(b) || a - b;
        return (down ? -1 : 1) * compare(runs[a][key], runs[b][key]) || a - b;
      });
      headings.forEach((heading, at) => {
        if (at !== column) heading.removeAttribute("aria-sort");
        else heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      });
      body.append(...order.map((index) => rows[index]));
      show();
    }

    function filterOf(column) {
      const key = keys[column];
      const levels = new Map();
      runs.forEach((run, index) => levels.set(JSON.stringify(run[key]), rows[index].cells[column].textContent));
      if (levels.size < 2 || levels.size > 60) return;
      const values = Array.from(levels.keys()).sort((a, b) => compare(JSON.parse(a), JSON.parse(b)));
      const select = make(
        "select",
        { name: key, change: start },
        make("option", { value: "" }, "all"),
        ...values.map((value) => make("option", { value }, levels.get(value).slice(0, 60))),
      );
      selects.push(select);
      form.append(make("label", {}, headings[column].textContent, select));
    }

    function start() {
      limit = SHOWN;
      show();
    }

    const search = make("input", { type: "search", input: start });
    form.append(make("label", {}, "search", search));
    const numbers = keys.indexOf("seed") + 1;
    for (let column = 1; column < numbers; column += 1) filterOf(column);
    form.append(
      button("Reset", () => {
        form.reset();
        start();
      }),
    );
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    headings.forEach((heading, column) => {
      const name = heading.textContent;
      heading.replaceChildren(button(name, () => sort(column), { class: "sort" }));
    });
    rows.forEach((row, index) => {
      const cell = row.cells[0];
      cell.replaceChildren(
        button(cell.textContent, () => openRecord(runs[index].run_id, index), { class: "open" }),
      );
    });
    more.addEventListener("click", () => {
      limit = runs.length;
      show();
    });
    show();
  }

  startPrint();
  startRuns().then(() => {
    document.documentElement.dataset.ready = "true";
    startFigures();
  });
})();
