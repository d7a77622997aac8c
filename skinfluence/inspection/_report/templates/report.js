"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const suspects = data.suspects;
  const isClassifier = data.classes !== null;
  const PAGE = 20, SHORT = 60, TEXT_FIRST = 900, LINES_FIRST = 16, CELL_FIRST = 200, ROWS_FIRST = 6, ODD = 3.5, MANY = 60, NAMED = 8;

  // Suspects that are alike share the card of the first, and its decision.
  const firsts = new Map(suspects.map((suspect) => [suspect.sample, suspect]));
  for (const suspect of suspects) {
    if (suspect.alike === undefined) suspect.all = [suspect];
    else firsts.get(suspect.alike).all.push(suspect);
  }
  const cards = suspects.filter((suspect) => suspect.all);
  cards.forEach((suspect, k) => { suspect.rank = k + 1; });

  // Text: characters that are invisible, or reorder others, are made visible.
  const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;
  const visible = (text) => String(text).replace(/\r\n/g, "\n").replace(UNSEEN, (c) => {
    const code = c.codePointAt(0);
    return code < 32 ? String.fromCodePoint(0x2400 + code) : "‹U+" + code.toString(16).toUpperCase().padStart(4, "0") + "›";
  });
  const short = (text, most = SHORT) => {
    const characters = Array.from(String(text).slice(0, 2 * most + 2));
    return characters.length > most ? characters.slice(0, most - 1).join("") + "…" : String(text);
  };
  const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const number = (value, digits = 2) => {
    if (value === null) return "—";
    if (value === 0) return "0";
    const exponent = Math.floor(Math.log10(Math.abs(value)));
    if (exponent >= -5 && exponent < 9) {
      return (Math.abs(value) >= 10 ** digits ? value.toFixed(0) : value.toPrecision(digits)).replace("-", "−");
    }
    const power = Array.from(String(Math.abs(exponent)), (d) => SUPERSCRIPT[d]).join("");
    return ((value / 10 ** exponent).toPrecision(digits) + "\u00a0×\u00a010" + (exponent < 0 ? "⁻" : "") + power).replace("-", "−");
  };
  const inBrackets = (unit) => unit ? " (" + unit + ")" : "";
  // As it stands in the data: only a computed number has more than ten digits.
  const exact = (value) => {
    const [mantissa, exponent] = String(value).split("e"), [whole, decimals = ""] = mantissa.split(".");
    const digits = whole.replace(/^-?0?/, "").length;
    if (!decimals || digits + decimals.length <= 10) return String(value);
    return whole + "." + decimals.slice(0, Math.max(7 - digits, 2)) + "…" + (exponent === undefined ? "" : "e" + exponent);
  };
  const labelText = (label) => isClassifier ? data.classes[label] : label === null ? "—" : exact(label);

  // Elements: everything from the data goes in as text.
  const SVG = "http://www.w3.org/2000/svg";
  const add = (parent, name, options = {}, ...children) => {
    const node = parent && parent.namespaceURI === SVG || name === "svg" ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(options)) {
      if (key === "text") node.textContent = value;
      else if (key === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
      else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children);
    if (parent) parent.append(node);
    return node;
  };
  const bdi = (text, most) => add(null, "bdi", { text: visible(short(text, most)) });
  const label = (value) => bdi(labelText(value));
  const predictedLabel = (value) => isClassifier ? label(value) : bdi(number(value, 5));
  // A sample has one name everywhere, also in the saved file.
  const nameOf = (suspect) => suspect.name === undefined ? "sample " + suspect.sample : visible(suspect.name);
  const namesOf = ({ all }) => {
    if (all.length === 1) return nameOf(all[0]);
    const names = all.slice(0, NAMED).map(nameOf), more = all.length - names.length;
    return all.length + " alike: " + names.join(", ") + (more ? " and " + more + " more" : "");
  };
  const byId = (id) => document.getElementById(id);

  // Decisions: sample -> {decision, label}; the browser keeps them until they are saved.
  const key = "skinfluence:" + data.fingerprint;
  const marks = new Map();
  let unsaved = false, stored = true, savedAs = "";
  const restore = () => {
    let saved = null;
    // Written back at once, to see whether the browser stores anything.
    try { saved = localStorage.getItem(key); localStorage.setItem(key, saved || "[]"); } catch { stored = false; }
    const samples = new Set(suspects.map((suspect) => suspect.sample));
    const isLabel = (label) => isClassifier ? Number.isInteger(label) && label in data.classes : label !== "" && Number.isFinite(Number(label));
    try {
      for (const [sample, mark] of JSON.parse(saved || "[]")) {
        const fits = mark.decision === "keep" || mark.decision === "remove" || (mark.decision === "relabel" && isLabel(mark.label));
        if (samples.has(sample) && fits) marks.set(sample, mark);
      }
    } catch { /* Not written by this page. */ }
    // A page with fewer suspects may have left out some of those that are alike.
    for (const { all } of cards) {
      const mark = all.map(({ sample }) => marks.get(sample)).find(Boolean);
      if (mark) for (const { sample } of all) marks.set(sample, mark);
    }
    byId("storage").textContent = stored
      ? "This browser keeps the decisions for this data until you save them, even if the page is closed."
      : "This browser does not keep the decisions when the page is closed: save them first.";
  };
  const keep = () => {
    unsaved = true;
    savedAs = "";
    try { localStorage.setItem(key, JSON.stringify([...marks])); } catch { stored = false; }
  };
  window.addEventListener("beforeunload", (event) => { if (unsaved && !stored && marks.size) event.preventDefault(); });

  // Each row has a check of its own, so that a spreadsheet may sort them: how many rows there are, and a CRC-32 of this one.
  const crc32 = (text) => {
    let crc = ~0;
    for (const byte of new TextEncoder().encode(text)) {
      crc ^= byte;
      for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
    }
    return (~crc >>> 0).toString(16).padStart(8, "0");
  };
  // Of a number its bits, since programs spell numbers differently.
  const bits = (text) => {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, Number(text));
    return view.getBigUint64(0).toString(16).padStart(16, "0");
  };
  const check = (row, count, fingerprint, numeric) => {
    const label = row.decision === "relabel" && numeric ? bits(row.label) : row.label;
    return "v1-" + count + "-" + crc32([row.sample, row.decision, label, fingerprint, count].join("\n"));
  };
  const rows = () => {
    const marked = suspects.filter((s) => marks.has(s.sample));
    return marked.map((s) => {
      const mark = marks.get(s.sample);
      const relabelled = mark.decision === "relabel";
      const row = { sample: s.sample, ...(named ? { name: s.name ?? "" } : {}), decision: mark.decision, label: !relabelled ? "" : isClassifier ? data.classes[mark.label] : String(mark.label) };
      return { ...row, check: check(row, marked.length, data.fingerprint, !isClassifier) };
    });
  };
  const named = suspects.some((suspect) => suspect.name !== undefined);
  // A spreadsheet runs text that begins like a formula, unless an apostrophe precedes it.
  const FORMULA = /^['\t\r\n]|^\s*[=+\-@＝＋－＠]/, PLAIN_NUMBER = /^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$/;
  const cell = (text) => {
    const safe = FORMULA.test(text) && !PLAIN_NUMBER.test(text) ? "'" + text : text;
    return '"' + safe.replaceAll('"', '""') + '"';
  };
  const asCsv = () => "\ufeff" + [["sample", ...(named ? ["name"] : []), "decision", "label", "fingerprint", "check"].join(",")].concat(
    rows().map((row) => [row.sample, ...(named ? [cell(row.name)] : []), row.decision, cell(row.label), data.fingerprint, row.check].join(","))).join("\r\n") + "\r\n";
  const asJson = () => JSON.stringify({ format: "skinfluence-decisions", version: 2, fingerprint: data.fingerprint, decisions: rows() }, null, 1);
  // Each file has a name of its own: a browser replaces none, and its "decisions (1).csv" is easily overlooked.
  const counts = key + ":files", files = { csv: 0, json: 0 };
  const restoreFiles = () => {
    try {
      const stored = JSON.parse(localStorage.getItem(counts) || "{}");
      for (const kind of Object.keys(files)) if (Number.isInteger(stored[kind]) && stored[kind] > 0) files[kind] = stored[kind];
    } catch { /* No storage, or not written by this page. */ }
  };
  const nextFile = (kind) => {
    files[kind] += 1;
    try { localStorage.setItem(counts, JSON.stringify(files)); } catch { stored = false; }
    return "decisions" + (files[kind] > 1 ? "-" + files[kind] : "") + "." + kind;
  };
  const DEFAULT_FILE = "decisions.csv";
  const uses = Array.from(document.querySelectorAll(".uses-file"), (node) => [node, node.textContent]);
  const tellUses = (name) => {
    for (const [node, text] of uses) {
      const at = text.lastIndexOf(DEFAULT_FILE);
      if (at >= 0) node.textContent = text.slice(0, at) + name + text.slice(at + DEFAULT_FILE.length);
    }
  };
  const save = (kind) => {
    if (!marks.size) { say("There is no decision to save yet."); return; }
    const name = nextFile(kind);
    const blob = new Blob([kind === "csv" ? asCsv() : asJson()], { type: kind === "csv" ? "text/csv" : "application/json" });
    const link = add(document.body, "a", { href: URL.createObjectURL(blob), download: name, hidden: true });
    link.click();
    setTimeout(() => { URL.revokeObjectURL(link.href); link.remove(); }, 1000);
    unsaved = false;
    savedAs = name;
    count();
    tellUses(name);
    say(marks.size + " decisions saved as " + name + ", where your browser puts downloads." + (files[kind] > 1 ? " It holds all of them: use it, and no earlier file." : ""));
  };
  const say = (text) => { byId("status").textContent = text; };

  // Parts of a card.
  const picture = (shown, alt) => add(null, "img", { class: "picture" + (shown.small ? " pixels" : ""), src: shown.image, alt });
  const textParts = (node, parts, most) => {
    let left = most;
    for (const [text, strength] of parts) {
      if (left <= 0) break;
      const piece = visible(text.length > left ? text.slice(0, left) + "…" : text);
      left -= text.length;
      if (strength === 0) node.append(piece);
      else add(node, "mark", { class: strength > 0 ? "for" : "against", text: piece });
    }
  };
  const textOf = (shown, name = "Text of the sample") => {
    const box = add(null, "div");
    const body = add(box, "p", { class: "text", dir: "auto", tabindex: "0", role: "group", "aria-label": name });
    const whole = shown.text.map((part) => part[0]).join("");
    const first = Math.min(TEXT_FIRST, whole.split("\n", LINES_FIRST).join("\n").length);
    textParts(body, shown.text, first);
    if (shown.text.some((part) => part[1] !== 0)) {
      const legend = add(box, "p", { class: "legend" }, "To the model, ");
      add(legend, "mark", { class: "for", text: "these words" });
      legend.append(" speak for the given label, ");
      add(legend, "mark", { class: "against", text: "these" });
      legend.append(" against it.");
    }
    const held = whole.length;
    if (held > first || shown.length > held) {
      const count = shown.length.toLocaleString("en");
      const rest = shown.length > held ? ", of which the first " + held.toLocaleString("en") + " are in this file" : "";
      const more = add(box, "button", { type: "button", class: "link", text: "Show more (" + count + " characters" + rest + ")", "aria-expanded": "false" });
      more.addEventListener("click", () => {
        const open = more.getAttribute("aria-expanded") === "true";
        more.setAttribute("aria-expanded", String(!open));
        body.textContent = "";
        body.classList.toggle("whole", !open);
        textParts(body, shown.text, open ? first : Infinity);
        more.textContent = open ? "Show more (" + count + " characters" + rest + ")" : "Show less" + rest;
      });
    }
    return box;
  };
  const cellOf = (value, marked) => {
    const inside = (most) => marked ? add(null, "mark", { class: "against" }, bdi(value, most)) : bdi(value, most);
    const td = add(null, "td", {}, inside(CELL_FIRST));
    if (value.length > 2 * CELL_FIRST || Array.from(value).length > CELL_FIRST) {
      const more = add(td, "button", { type: "button", class: "link", text: "Show all", "aria-expanded": "false" });
      more.addEventListener("click", () => {
        const open = more.getAttribute("aria-expanded") === "true";
        more.setAttribute("aria-expanded", String(!open));
        more.textContent = open ? "Show all" : "Show less";
        td.firstChild.replaceWith(inside(open ? CELL_FIRST : Infinity));
      });
    }
    return td;
  };
  const tableOf = (shown) => {
    const box = add(null, "div");
    const texts = shown.table.filter((line) => line.length > 4), lines = shown.table.filter((line) => line.length === 4);
    for (const [name, value, , , length] of texts) {
      add(box, "p", { class: "of-text" }, bdi(name, 120));
      box.append(textOf({ text: [[value, 0]], length }, visible(short(name))));
    }
    if (!lines.length) return box;
    const repairs = shown.repairs ?? [], harmful = new Set(repairs.map(([name]) => name));
    const table = add(box, "table", { class: "values" });
    const head = add(add(table, "thead", { class: "hidden" }), "tr");
    for (const name of ["Feature", "Value", "How unusual"]) add(head, "th", { scope: "col", text: name });
    const body = add(table, "tbody");
    const rowOf = ([name, value, why, strength]) => {
      const row = add(null, "tr", { class: strength >= ODD ? "odd" : null });
      add(row, "th", { scope: "row" }, bdi(name, 120));
      row.append(cellOf(value, harmful.has(name)));
      add(row, "td", { text: why });
      return row;
    };
    body.append(...lines.slice(0, ROWS_FIRST).map(rowOf));
    const hidden = lines.length - ROWS_FIRST;
    if (hidden > 0) {
      const words = "Show " + hidden + " more of " + (lines.length + shown.more).toLocaleString("en") + " features";
      const more = add(box, "button", { type: "button", class: "link", text: words, "aria-expanded": "false" });
      more.addEventListener("click", () => {
        const open = more.getAttribute("aria-expanded") === "true";
        more.setAttribute("aria-expanded", String(!open));
        more.textContent = open ? words : "Show fewer";
        if (open) [...body.rows].slice(ROWS_FIRST).forEach((row) => row.remove());
        else body.append(...lines.slice(ROWS_FIRST).map(rowOf));
      });
    }
    if (repairs.length) {
      const legend = add(box, "p", { class: "legend" });
      add(legend, "mark", { class: "against", text: "Marked" });
      legend.append(" values do the harm: with a typical one, the " + data.measure + " would be lower by about ");
      repairs.forEach(([name, gain], k) => legend.append(k ? ", " : "", number(gain), " (", bdi(name, 40), ")"));
      legend.append(".");
    }
    return box;
  };
  const shownOf = (shown, alt) => shown.image ? picture(shown, alt) : shown.text ? textOf(shown) : tableOf(shown);
  const fact = (list, name, ...children) => add(add(list, "div"), "dd", {}, ...children).before(add(null, "dt", { text: name }));
  const soft = (text) => add(null, "span", { class: "soft", text });

  const spark = (path) => {
    const low = Math.min(...path), high = Math.max(...path), span = high - low || 1;
    const y = (value) => (38 - 36 * (value - low) / span).toFixed(1);
    const svg = add(null, "svg", { class: "spark", viewBox: "0 0 176 40", preserveAspectRatio: "none", role: "img",
      "aria-label": "Influence as it accumulated over " + data.epochs + " epochs, from 0 to " + number(path[path.length - 1]) + inBrackets(data.unit) });
    add(svg, "line", { x1: 0, x2: 176, y1: y(0), y2: y(0) });
    add(svg, "polyline", { points: path.map((value, k) => (176 * k / (path.length - 1 || 1)).toFixed(1) + "," + y(value)).join(" ") });
    return svg;
  };
  const harmedList = (harms) => {
    const list = add(null, "ul", { class: "harmed" });
    for (const [row, value] of harms) {
      const other = data.validation[row];
      const item = add(list, "li");
      const agrees = other.given === other.predicted;
      if (other.image) item.append(add(null, "img", { class: other.small ? "pixels" : null, src: other.image, alt: "" }));
      const words = add(item, "span", {}, label(other.given));
      words.append(soft(" " + (agrees ? "" : isClassifier ? "taken for " : "predicted ")));
      if (!agrees) words.append(predictedLabel(other.predicted));
      words.append(soft((agrees ? "" : "\u00a0· ") + number(value) + " · " + (other.name === undefined ? "row " + row : visible(other.name))));
      if (other.table) {
        const values = add(words, "details"), filled = () => values.append(tableOf(other));
        add(values, "summary", { text: "its values", "aria-label": "its values, " + (other.name === undefined ? "row " + row : visible(other.name)) });
        values.addEventListener("toggle", filled, { once: true });
      }
      if (other.text) add(words, "span", { class: "quote", dir: "auto", text: visible(short(other.text.map((part) => part[0]).join(""), 160)) });
    }
    return list;
  };
  const gain = (list, suspect) => {
    if (!isClassifier) {
      const lower = suspect.slope > 0;
      if (suspect.slope === 0) fact(list, "Other target", "would change nothing");
      else fact(list, "Other target", "a " + (lower ? "lower" : "higher") + " one would lower the " + data.measure + " ",
        soft("by " + number(Math.abs(suspect.slope)) + " per unit of the target, to first order"));
      return;
    }
    if (suspect.proposal === null) { fact(list, "Other label", "none would lower the " + data.measure); return; }
    const dd = [label(suspect.proposal), " instead would lower it by ", number(suspect.gain)];
    fact(list, "Other label", ...dd);
  };
  const percent = (value) => value === null ? "" : value > 0.995 ? "> 99 %" : value < 0.005 ? "< 1 %" : Math.round(100 * value) + " %";

  // What the suspects are ordered by comes first; a single model's influence may differ from the mean over several.
  const big = (text, value) => add(null, "span", { class: value < 0 ? "big harmful" : "big", text });
  const numbersOf = (list, suspect) => {
    const without = " " + data.measure + " without it" + inBrackets(data.unit);
    if (data.ranked_by_influence) {
      fact(list, "Influence", big(number(suspect.influence), suspect.influence), soft(without));
      return;
    }
    const several = suspect.n_runs > 1, spread = several ? " ± " + number(suspect.standard_error) : "";
    fact(list, "Score", big(number(suspect.score) + spread, suspect.score),
      soft(several ? " mean over " + suspect.n_runs + " models; the sign agrees in " + suspect.n_agree + " of them" : " orders the suspects"));
    if (suspect.interval) {
      const [low, high] = suspect.interval, known = low !== null && high !== null;
      fact(list, number(100 * data.level) + " % interval", known ? number(low) + " to " + number(high) : "none",
        soft(known ? " for the change in a fresh run" + (low < 0 && high > 0 ? ": it may be of either sign" : "") : ": the runs are chaotic, or too few used it"));
    }
    const differs = Math.sign(suspect.score) * Math.sign(suspect.influence) < 0;
    fact(list, "In one model", number(suspect.influence),
      soft(without + (several && differs ? ". Its sign differs: trust the score, from several models" : "")));
  };
  const card = (suspect) => {
    const kind = suspect.image ? "image" : suspect.text ? "text-card" : "table-card";
    const id = "s" + suspect.sample;
    const box = add(null, "article", { class: "suspect-card " + kind, id, tabindex: "-1", "aria-labelledby": id + "-title" });
    const title = add(box, "h3", { id: id + "-title" });
    add(title, "span", { class: "rank", text: suspect.rank + "." });
    const given = add(title, "span", {}, isClassifier ? "labelled " : "target ");
    add(given, "b", {}, label(suspect.given));
    if (isClassifier && suspect.probability_given !== undefined) given.append(" (" + percent(suspect.probability_given) + ")");
    if (isClassifier && suspect.given === suspect.predicted) add(title, "span", { text: "the model agrees" });
    else {
      const predicted = add(title, "span", {}, isClassifier ? "the model says " : "predicted ");
      add(predicted, "b", {}, predictedLabel(suspect.predicted));
      if (isClassifier && suspect.probability !== undefined) predicted.append(" (" + percent(suspect.probability) + ")");
    }
    add(title, "span", { class: "id", text: namesOf(suspect) });
    box.append(shownOf(suspect, nameOf(suspect)));
    const facts = add(box, "dl", { class: "facts-of" });
    numbersOf(facts, suspect);
    gain(facts, suspect);
    fact(facts, "Over training", spark(suspect.path), soft(data.epochs + " epochs"));
    if (suspect.harms.length) fact(facts, "Harms most", harmedList(suspect.harms));
    box.append(decide(suspect));
    show(box, suspect);
    return box;
  };
  const decide = (suspect) => {
    const group = add(null, "div", { class: "decide", role: "group", "aria-label": "Decision about " + namesOf(suspect) });
    for (const name of ["keep", "remove"]) {
      add(group, "button", { type: "button", class: name, "aria-pressed": "false", text: name === "keep" ? "Keep" : "Remove", on: { click: () => mark(suspect, name) } });
    }
    const part = add(group, "span", { class: "relabelling" });
    add(part, "button", { type: "button", class: "relabel", "aria-pressed": "false", text: isClassifier ? "Relabel to" : "Set target to", on: { click: () => mark(suspect, "relabel") } });
    const named = "New " + (isClassifier ? "label" : "target") + " of " + namesOf(suspect);
    const choose = isClassifier ? add(part, "select", { class: "choice", "aria-label": named })
      : add(part, "input", { class: "choice", type: "number", step: "any", "aria-label": named });
    if (isClassifier) fill(choose, suspect);
    choose.addEventListener("change", () => { mark(suspect, "relabel", true); changed.add(choose); });
    return group;
  };
  const option = (choose, k) => add(choose, "option", { value: k, text: visible(short(data.classes[k])) });
  const fill = (choose, suspect) => {
    const first = suspect.proposal !== null ? suspect.proposal : suspect.predicted !== suspect.given ? suspect.predicted : null;
    const all = () => {
      const chosen = choose.value;
      choose.textContent = "";
      if (first === null) add(choose, "option", { value: "", text: "choose …" });
      data.classes.forEach((_, k) => { if (k !== suspect.given) option(choose, k); });
      choose.value = chosen;
    };
    if (first === null) add(choose, "option", { value: "", text: "choose …" });
    else option(choose, first);
    // Thousands of labels on every card would make the page slow.
    if (data.classes.length <= MANY) all();
    else for (const event of ["focus", "pointerdown"]) choose.addEventListener(event, all, { once: true });
  };
  const cardOf = (suspect) => byId("s" + suspect.sample);
  const show = (box, suspect) => {
    const mark = marks.get(suspect.sample);
    box.dataset.decision = mark ? mark.decision : "";
    for (const button of box.querySelectorAll(".decide button")) {
      button.setAttribute("aria-pressed", String(Boolean(mark) && button.classList.contains(mark.decision)));
    }
    if (!mark || mark.decision !== "relabel") return;
    const choice = box.querySelector(".choice");
    if (isClassifier && ![...choice.options].some((each) => each.value === String(mark.label))) option(choice, mark.label);
    choice.value = String(mark.label);
  };
  const put = ({ all }, mark) => {
    for (const { sample } of all) if (mark) marks.set(sample, mark); else marks.delete(sample);
  };
  // A number that was typed counts when its field loses the focus: the click on the button that takes it away confirms it.
  const changed = new WeakSet();
  const mark = (suspect, decision, again = false) => {
    const box = cardOf(suspect), choice = box.querySelector(".choice"), before = marks.get(suspect.sample);
    const confirms = decision === "relabel" && changed.delete(choice);
    if (decision === "relabel" && (choice.value === "" || !choice.validity.valid)) {
      if (again && before && before.decision === "relabel") { put(suspect, null); keep(); show(box, suspect); count(); }
      choice.focus();
      say("Choose the new " + (isClassifier ? "label" : "target") + " first.");
      return;
    }
    if (decision === null || (!again && !confirms && before && before.decision === decision)) put(suspect, null);
    else put(suspect, decision === "relabel" ? { decision, label: isClassifier ? Number(choice.value) : choice.value } : { decision });
    keep();
    show(box, suspect);
    count();
    const now = marks.get(suspect.sample);
    say(namesOf(suspect) + ": " + (now ? now.decision + (now.decision === "relabel" ? " to " + visible(short(isClassifier ? data.classes[now.label] : now.label)) : "") : "no decision") + ".");
  };
  const count = () => {
    byId("count").textContent = marks.size.toLocaleString("en") + " of " + suspects.length.toLocaleString("en") + " decided" + (savedAs && ", saved as " + savedAs);
    for (const id of ["save-csv", "save-json"]) byId(id).disabled = marks.size === 0;
  };

  // The list: filtered, sorted, a page at a time.
  const ORDERS = {
    harm: ["most harmful", (a, b) => a.rank - b.rank],
    gain: [isClassifier ? "gain by relabelling" : "slope in the target", isClassifier ? (a, b) => b.gain - a.gain : (a, b) => Math.abs(b.slope) - Math.abs(a.slope)],
    sample: ["row number", (a, b) => a.sample - b.sample],
    label: [isClassifier ? "given label" : "target", (a, b) => a.given - b.given],
    sure: isClassifier ? ["least likely label", (a, b) => (a.probability_given ?? 1) - (b.probability_given ?? 1)]
      : ["residual", (a, b) => Math.abs(b.given - b.predicted) - Math.abs(a.given - a.predicted)],
  };
  let matching = [...cards], at = 0, current = -1;
  const passesLabel = (suspect, wanted) => wanted === "" || (isClassifier ? suspect.given === Number(wanted)
    : (suspect.given > suspect.predicted) === (wanted === "above"));
  const filter = () => {
    const label = byId("filter-label").value, decision = byId("filter-decision").value;
    matching = cards.filter((suspect) => {
      const mark = marks.get(suspect.sample);
      return passesLabel(suspect, label) && (decision === "" || (decision === "none" ? !mark : Boolean(mark) && mark.decision === decision));
    });
    const order = ORDERS[byId("sort").value][1];
    matching.sort((a, b) => order(a, b) || a.rank - b.rank);
    at = 0;
    draw();
    say(matching.length + " cards.");
  };
  const draw = () => {
    const list = byId("list"), first = at * PAGE;
    list.replaceChildren(...matching.slice(first, first + PAGE).map((suspect) => add(null, "li", {}, card(suspect))));
    if (!matching.length) add(list, "li", { class: "empty", text: "No suspect matches these filters." });
    current = -1;
    const last = Math.max(Math.ceil(matching.length / PAGE), 1);
    byId("place").textContent = matching.length ? (first + 1) + "–" + Math.min(first + PAGE, matching.length) + " of " + matching.length.toLocaleString("en") : "0 of 0";
    byId("previous").disabled = at === 0;
    byId("next").disabled = at >= last - 1;
  };
  const turn = (by) => {
    const last = Math.ceil(matching.length / PAGE) - 1, to = Math.min(Math.max(at + by, 0), Math.max(last, 0));
    if (to === at) return false;
    at = to;
    draw();
    byId("suspects").scrollIntoView();
    return true;
  };
  const shown = () => matching.slice(at * PAGE, at * PAGE + PAGE);
  const move = (by) => {
    const focused = document.activeElement && document.activeElement.closest(".suspect-card");
    if (focused) current = shown().findIndex((suspect) => "s" + suspect.sample === focused.id);
    let to = current + by;
    if (to >= shown().length) { if (!turn(1)) return; to = 0; }
    if (to < 0) { if (current < 0 || !turn(-1)) return; to = shown().length - 1; }
    current = to;
    const box = cardOf(shown()[to]);
    box.focus({ preventScroll: true });
    box.scrollIntoView({ block: "nearest" });
  };
  const KEYS = {
    j: () => move(1), k: () => move(-1), n: () => turn(1), p: () => turn(-1), s: () => save("csv"),
    0: (suspect) => mark(suspect, null), 1: (suspect) => mark(suspect, "keep"), 2: (suspect) => mark(suspect, "remove"),
    3: (suspect) => mark(suspect, "relabel"), l: (suspect) => cardOf(suspect).querySelector(".choice").focus(),
  };
  document.addEventListener("keydown", (event) => {
    if (!byId("keys").checked || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape") { (event.target.closest(".suspect-card") || byId("suspects")).focus(); return; }
    if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
    const act = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
    if (!act) return;
    if (act.length === 0) { event.preventDefault(); act(); return; }
    const box = document.activeElement.closest(".suspect-card");
    const suspect = box ? shown().find((each) => "s" + each.sample === box.id) : shown()[current];
    if (suspect) { event.preventDefault(); act(suspect); }
  });

  const start = () => {
    const choice = byId("filter-label");
    add(choice, "option", { value: "", text: "all" });
    if (isClassifier) {
      for (const [k, samples, count] of [...data.by_label].sort((a, b) => a[0] - b[0])) {
        add(choice, "option", { value: k, text: visible(short(data.classes[k], 40)) + " (" + count.toLocaleString("en") + " of " + samples.toLocaleString("en") + ")" });
      }
    } else {
      add(choice, "option", { value: "above", text: "target above prediction" });
      add(choice, "option", { value: "below", text: "target below prediction" });
    }
    for (const [name, [words]] of Object.entries(ORDERS)) add(byId("sort"), "option", { value: name, text: words });
    // Always open where there is room for it.
    const wide = matchMedia("(min-width: 46.01rem)"), open = () => { byId("filters").open = wide.matches; };
    wide.addEventListener("change", open);
    open();
    for (const id of ["filter-label", "filter-decision", "sort"]) byId(id).addEventListener("change", filter);
    byId("previous").addEventListener("click", () => turn(-1));
    byId("next").addEventListener("click", () => turn(1));
    byId("save-csv").addEventListener("click", () => save("csv"));
    byId("save-json").addEventListener("click", () => save("json"));
    restore();
    restoreFiles();
    count();
    draw();
    byId("bar").hidden = false;
    if (marks.size) say(marks.size + " earlier decisions restored.");
  };
  start();
})();
