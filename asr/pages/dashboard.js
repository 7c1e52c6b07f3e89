"use strict";
// Curves of several runs in panels that share one axis. All text goes through textContent: nothing here is markup.
let data = JSON.parse(document.getElementById("data").textContent);
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6fd1", "#7a7a7a"];
const FIRST = ["train/loss", "dev/wer", "dev/cer", "dev/loss", "train/learning_rate", "train/gradient_norm"];
const W = 400, H = 208, LEFT = 62, RIGHT = 8, TOP = 8, BOTTOM = 20;
const byId = id => document.getElementById(id);
const hidden = new Set();
let view = null, cursor = null;

const svg = (name, attributes, parent) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (parent) parent.append(made);
  return made;
};
const say = value => {
  if (Math.abs(value) >= 1e4) return Math.round(value).toLocaleString("en");
  return value && Math.abs(value) < 1e-3 ? value.toExponential(2) : String(+value.toPrecision(4));
};
const inEpochs = (marks, step) => {  // between the ends of epochs, which are known exactly, evenly
  if (marks.length < 2) return step;
  let i = 1;
  while (i < marks.length - 1 && marks[i][0] < step) i++;
  const [s0, e0] = marks[i - 1], [s1, e1] = marks[i];
  return e0 + (e1 - e0) * (step - s0) / (s1 - s0);
};
const place = (marks, step) => byId("axis").value === "epoch" ? inEpochs(marks, step) : step;
const smooth = points => {  // an exponential mean whose start is not drawn to zero
  const keep = Number(byId("smoothing").value);
  let sum = 0, weight = 0;
  return points.map(([x, y]) => {
    sum = keep * sum + (1 - keep) * y;
    weight = keep * weight + (1 - keep);
    return [x, sum / weight];
  });
};
function panelNames() {
  const all = new Set(data.runs.flatMap(run => Object.keys(run.series)).filter(name => !name.startsWith("final/")));
  return [...FIRST.filter(name => all.delete(name)), ...[...all].sort()];
}
function range(lists) {
  let low = Infinity, high = -Infinity;
  for (const values of lists) for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  return low === high ? [low - Math.abs(low || 1) * .1, high + Math.abs(high || 1) * .1] : [low, high];
}
function legend() {
  byId("legend").replaceChildren(...data.runs.map((run, index) => {
    const button = document.createElement("button");
    button.textContent = run.name;
    button.style.borderLeftColor = COLOURS[index % COLOURS.length];
    button.ariaPressed = String(!hidden.has(index));
    button.setAttribute("aria-pressed", String(!hidden.has(index)));
    button.addEventListener("click", () => {
      if (!hidden.delete(index)) hidden.add(index);
      legend(); drawAll();
      byId("legend").children[index].focus();
    });
    return button;
  }));
}
const panels = new Map();
function panel(name) {
  if (panels.has(name)) return panels.get(name);
  const section = document.createElement("section"), heading = document.createElement("h2");
  const picture = svg("svg", {viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", tabindex: 0, role: "img", "aria-label": name});
  const values = document.createElement("output");
  heading.textContent = name;
  section.append(heading, picture, values);
  byId("panels").append(section);
  const made = {name, picture, values, across: null};
  const at = event => {
    const box = picture.getBoundingClientRect(), [low, high] = made.across;
    const share = ((event.clientX - box.left) / box.width * W - LEFT) / (W - LEFT - RIGHT);
    return low + Math.min(1, Math.max(0, share)) * (high - low);
  };
  let from = null;
  picture.addEventListener("pointerdown", event => { from = at(event); picture.setPointerCapture(event.pointerId); });
  picture.addEventListener("pointermove", event => { cursor = at(event); drawAll(from === null ? null : [from, cursor]); });
  picture.addEventListener("pointerup", event => {
    const to = at(event), [low, high] = made.across;
    if (from !== null && Math.abs(to - from) > (high - low) / 50) view = [Math.min(from, to), Math.max(from, to)];
    from = null; drawAll();
  });
  picture.addEventListener("pointercancel", () => { from = null; drawAll(); });
  picture.addEventListener("pointerleave", () => { if (from === null) { cursor = null; drawAll(); } });
  picture.addEventListener("dblclick", () => { view = null; drawAll(); });
  picture.addEventListener("keydown", event => {
    const [low, high] = made.across, width = high - low;
    const middle = cursor ?? (low + high) / 2;
    if (event.key === "ArrowRight") cursor = Math.min(high, middle + width / 50);
    else if (event.key === "ArrowLeft") cursor = Math.max(low, middle - width / 50);
    else if (event.key === "+") view = [middle - width / 4, middle + width / 4];
    else if (event.key === "-") view = [middle - width, middle + width];
    else if (event.key === "Escape") { view = null; cursor = null; }
    else return;
    event.preventDefault(); drawAll();
  });
  panels.set(name, made);
  return made;
}
function draw(name, across, dragged) {
  const made = panel(name), isLog = byId("scale").value === "log";
  made.across = across;
  const curves = data.runs.map((run, index) => ({run, index, points: smooth(run.series[name] ?? []).map(
    ([step, value]) => [place(run.epochs, step), value]).filter(([x, y]) => x >= across[0] && x <= across[1] && (!isLog || y > 0))}))
    .filter(curve => !hidden.has(curve.index));
  const marks = (data.runs.find(run => run.epochs.length > 1) ?? data.runs[0]).epochs;
  const band = (data.reference?.bands[name] ?? []).map(([step, low, high]) => [place(marks, step), low, high])
    .filter(([x, low]) => x >= across[0] && x <= across[1] && (!isLog || low > 0));
  const scaled = value => isLog ? Math.log10(value) : value;
  const [low, high] = range([...curves.map(curve => curve.points.map(point => scaled(point[1]))), band.map(b => scaled(b[1])), band.map(b => scaled(b[2]))]);
  const X = x => (LEFT + (x - across[0]) / (across[1] - across[0]) * (W - LEFT - RIGHT)).toFixed(1);
  const Y = y => (H - BOTTOM - (scaled(y) - low) / (high - low) * (H - TOP - BOTTOM)).toFixed(1);
  const picture = made.picture;
  picture.replaceChildren();
  if (!Number.isFinite(low)) { made.values.textContent = "nothing to draw here"; return; }
  for (let i = 0; i < 4; i++) {
    const level = low + i / 3 * (high - low), y = H - BOTTOM - i / 3 * (H - TOP - BOTTOM);
    svg("line", {x1: LEFT, x2: W - RIGHT, y1: y, y2: y, stroke: "var(--line)"}, picture);
    svg("text", {x: LEFT - 4, y: y + 4, "text-anchor": "end"}, picture).textContent = say(isLog ? 10 ** level : level);
    const x = across[0] + i / 3 * (across[1] - across[0]);
    svg("text", {x: X(x), y: H - 5, "text-anchor": i === 3 ? "end" : i ? "middle" : "start"}, picture).textContent = say(x);
  }
  if (band.length) svg("polygon", {fill: "var(--soft)", "fill-opacity": .25, points:
    [...band.map(b => `${X(b[0])},${Y(b[2])}`), ...band.toReversed().map(b => `${X(b[0])},${Y(b[1])}`)].join(" ")}, picture);
  for (const {index, points} of curves) {
    const colour = COLOURS[index % COLOURS.length];
    svg("polyline", {fill: "none", stroke: colour, "stroke-width": 1.6, "vector-effect": "non-scaling-stroke", points: points.map(([x, y]) => `${X(x)},${Y(y)}`).join(" ")}, picture);
    if (points.length < 20) for (const [x, y] of points) svg("circle", {cx: X(x), cy: Y(y), r: 2.5, fill: colour}, picture);
  }
  if (dragged) svg("rect", {x: X(Math.min(...dragged)), width: Math.abs(X(dragged[1]) - X(dragged[0])), y: TOP, height: H - TOP - BOTTOM, fill: "var(--accent)", "fill-opacity": .2}, picture);
  if (cursor !== null) svg("line", {x1: X(cursor), x2: X(cursor), y1: TOP, y2: H - BOTTOM, stroke: "var(--soft)"}, picture);
  const nearest = points => points.reduce((best, point) => Math.abs(point[0] - cursor) < Math.abs(best[0] - cursor) ? point : best);
  made.values.textContent = curves.filter(curve => curve.points.length).map(({run, points}) => {
    const [x, y] = cursor === null ? points[points.length - 1] : nearest(points);
    return `${run.name} ${say(y)} at ${byId("axis").value} ${say(x)}`;
  }).join("  ·  ");
}
function drawAll(dragged = null) {
  const [low, high] = range(data.runs.filter((_, index) => !hidden.has(index)).flatMap(
    run => Object.values(run.series).map(points => points.map(point => place(run.epochs, point[0])))));
  if (!Number.isFinite(low)) { for (const made of panels.values()) made.picture.replaceChildren(); return; }
  const across = view ? [Math.max(low, view[0]), Math.min(high, view[1])] : [low, high];
  for (const name of panelNames()) draw(name, across[0] < across[1] ? across : [low, high], dragged);
}
byId("axis").addEventListener("change", () => { view = null; cursor = null; drawAll(); });
for (const id of ["smoothing", "scale"]) byId(id).addEventListener("input", () => drawAll());
legend();
drawAll();
if (location.protocol === "http:") setInterval(async () => {
  try { data = await (await fetch("data.json")).json(); } catch { return; }  // the server has ended: what is there stays
  legend(); drawAll();
}, 5000);
