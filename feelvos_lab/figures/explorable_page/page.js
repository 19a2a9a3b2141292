// What the page of `write_explorable` shows, and its controls; distances.js computes.
"use strict";

const names = content.objects.map((object) => object.name);
const at = (id) => document.getElementById(id);
const canvasOf = (id) => at(id).querySelector("canvas");

const state = {
  frame: content.frames[content.frames.length - 1],
  object: 1, row: 0, column: 0, held: false,
  radius: content.trained.radius,
  on: { first: content.trained.first, previous: content.trained.previous, mask: content.trained.mask },
};

// ---- Drawing ----

const zoom = Math.max(1, Math.round(720 / W)); // canvas pixels for each pixel of the frame
const middle = (cell) => [(Math.floor(cell / w) * down + 0.5) * zoom, ((cell % w) * across + 0.5) * zoom]; // y, x

/** RGBA for each of rows × columns, as a picture to be scaled. */
function raster(rows, columns, colourOf) {
  const made = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  const pen = made.getContext("2d");
  const image = pen.createImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) image.data.set(colourOf(i), 4 * i);
  pen.putImageData(image, 0, 0);
  return made;
}

/** A line that is visible on any picture: black below, white above. */
function stroke(pen, path) {
  for (const [strokeStyle, lineWidth] of [["#000", 6], ["#fff", 3]]) {
    Object.assign(pen, { strokeStyle, lineWidth });
    pen.stroke(path);
  }
}

/** The outline of a channel, along the edges of its cells in a frame: "frame,channel". */
const outline = remembered((key) => {
  const [t, channel] = key.split(",").map(Number), labels = cellLabels(t), path = new Path2D();
  const y = (row) => ((row - 0.5) * down + 0.5) * zoom, x = (column) => ((column - 0.5) * across + 0.5) * zoom;
  const inside = (row, column) =>
    row >= 0 && column >= 0 && row < h && column < w && labels[row * w + column] === channel;
  for (let row = 0; row <= h; row++) {
    for (let column = 0; column <= w; column++) {
      const here = inside(row, column);
      if (here !== inside(row - 1, column)) path.moveTo(x(column), y(row)), path.lineTo(x(column + 1), y(row));
      if (here !== inside(row, column - 1)) path.moveTo(x(column), y(row)), path.lineTo(x(column), y(row + 1));
    }
  }
  return path;
});

function ring(pen, match) {
  if (!match) return;
  const [y, x] = middle(match.cell), path = new Path2D();
  path.arc(x, y, 13, 0, 2 * Math.PI);
  stroke(pen, path);
}

function cross(pen, cell) {
  const [y, x] = middle(cell), path = new Path2D();
  for (const [dy, dx] of [[0, 1], [0, -1], [1, 0], [-1, 0]]) {
    path.moveTo(x + 4 * dx, y + 4 * dy);
    path.lineTo(x + 16 * dx, y + 16 * dy);
  }
  stroke(pen, path);
}

/** The cells at most `radius` rows and columns away; not drawn where that is the whole frame. */
function square(pen, cell, radius) {
  if (radius >= widest) return;
  const [y, x] = middle(cell), tall = (radius + 0.5) * down * zoom, wide = (radius + 0.5) * across * zoom;
  const path = new Path2D();
  path.rect(x - wide, y - tall, 2 * wide, 2 * tall);
  stroke(pen, path);
}

function photo(pen, t) {
  pen.imageSmoothingEnabled = true;
  pen.drawImage(pictures[t], 0, 0, W * zoom, H * zoom);
}

/** Only the pixels of the object stay bright: a match can lie there alone. */
const shade = remembered((key) => {
  const [t, channel] = key.split(",").map(Number), labels = pixelLabels(t);
  return raster(H, W, (i) => [0, 0, 0, labels[i] === channel ? 0 : 165]);
});

function spotlight(pen, t) {
  photo(pen, t);
  pen.drawImage(shade([t, state.object].join()), 0, 0, W * zoom, H * zoom);
}

/** Distances in the colours of the library's figures; null: not computed yet. */
function heat(pen, values) {
  pen.fillStyle = "#777";
  pen.fillRect(0, 0, W * zoom, H * zoom);
  if (!values) return;
  const image = raster(h, w, (i) => {
    const level = 3 * Math.min(255, Math.floor(256 * values[i]));
    return [colours[level], colours[level + 1], colours[level + 2], 255];
  });
  pen.imageSmoothingEnabled = false;
  pen.drawImage(image, (0.5 - across / 2) * zoom, (0.5 - down / 2) * zoom, w * across * zoom, h * down * zoom);
}

/** The network's labels for this frame, from the cues that are on. */
const resultLabels = remembered((key) => {
  const [t, cues] = key.split(",");
  return unrolled(content.results[t][cues], H * W);
});
const cueKey = () => [state.frame, ["first", "previous", "mask"].map((cue) => (state.on[cue] ? 1 : 0)).join("")].join();
const tint = remembered((key) => {
  const labels = resultLabels(key);
  return raster(H, W, (i) => (labels[i] && labels[i] < 255 ? [...content.objects[labels[i]].colour, 140] : [0, 0, 0, 0]));
});

function paint(id, label, ...steps) {
  const canvas = canvasOf(id), pen = canvas.getContext("2d");
  for (const step of steps) step(pen);
  canvas.setAttribute("aria-label", label);
}

// ---- What the page shows ----

const shown = (value) => value.toFixed(3);
const placeOf = (cell) => `row ${Math.floor(cell / w) + 1}, column ${(cell % w) + 1}`;
const everywhere = new Float32Array(cells).fill(1); // a map that is switched off
const pixelOf = (cell) => Math.round(Math.floor(cell / w) * down) * W + Math.round((cell % w) * across);
const least = (values) => values.indexOf(Math.min(...values));

let asked = false;

/** Draw soon, once for all changes of a moment. */
function draw() {
  if (!asked) requestAnimationFrame(drawNow);
  asked = true;
}

function drawNow() {
  asked = false;
  const { frame: t, object, radius, on } = state, before = t - 1, cell = state.row * w + state.column;
  const toFirst = distancesFrom(cell, t, 0), toPrevious = distancesFrom(cell, t, before);
  const firsts = names.map((_, k) => nearest(toFirst, cellLabels(0), k, cell, widest));
  const previous = names.map((_, k) => nearest(toPrevious, cellLabels(before), k, cell, radius));
  const global = on.first ? mapFor("global", [t, 0, object, widest], draw) : everywhere;
  const local = on.previous ? mapFor("local", [t, before, object, radius], draw) : everywhere;
  const labels = resultLabels(cueKey()), who = names[object];
  const inWindow = radius < widest ? "in the window " : "";

  paint("now", `Frame ${t}. The chosen pixel: ${placeOf(cell)}`, (pen) => photo(pen, t), (pen) => cross(pen, cell));
  for (const [id, reference, matches] of [["first", 0, firsts], ["previous", before, previous]]) {
    const match = matches[object], values = id === "first" ? toFirst : toPrevious;
    const found = match ? `nearest pixel of ${who}: ${placeOf(match.cell)}` : `no pixel of ${who} ${inWindow}`;
    const marks = (pen) => {
      if (id === "previous") square(pen, cell, radius);
      ring(pen, match);
    };
    paint(id, `Frame ${reference}, dark outside ${who}; ${found}`, (pen) => spotlight(pen, reference), marks);
    paint(`${id}-distance`, `Distances of the chosen pixel to frame ${reference}, ${who} outlined; ${found}`,
      (pen) => heat(pen, values), (pen) => stroke(pen, outline([reference, object].join())), marks);
  }
  for (const [id, map] of Object.entries({ global, local })) {
    const value = map ? `${shown(map[cell])} at the chosen pixel` : "being computed";
    paint(id, `${id} map of ${who} in frame ${t}: ${value}`, (pen) => heat(pen, map), (pen) => cross(pen, cell));
    canvasOf(id).setAttribute("aria-busy", !map);
  }
  paint("result", `Frame ${t}, objects tinted as the network answers: ${names[labels[pixelOf(cell)]]} at the chosen pixel`,
    (pen) => photo(pen, t), (pen) => pen.drawImage(tint(cueKey()), 0, 0, W * zoom, H * zoom), (pen) => cross(pen, cell));
  write({ t, before, who, inWindow, firsts, previous, answer: names[labels[pixelOf(cell)]] });
  if (seeking && global && local) seek(global, local, labels);
}

/** Captions, table and sentences. */
function write({ t, before, who, inWindow, firsts, previous, answer }) {
  const { on, radius } = state, say = (id, text) => (at(id).textContent = text);
  say("now-title", `Frame ${t}`);
  say("now-number", t);
  say("held", state.held ? "✚ is held" : "");
  say("previous-title", `Frame ${before}`);
  say("previous-caption", `${before ? "found by the network" : "drawn by hand"}${inWindow && "; □ the window"}`);
  const match = (found) => (found ? `○ ${shown(found.distance)}` : "no pixel there, so 1");
  say("first-match", `in frame 0: ${match(firsts[state.object])}`);
  say("previous-match", `in frame ${before}${inWindow && ", inside □"}: ${match(previous[state.object])}`);
  const off = (cue) => (content.trained[cue] ? "off: 1 everywhere" : "this network does without");
  say("global-caption", on.first ? "to frame 0" : off("first"));
  say("local-caption", on.previous ? `to frame ${before}${inWindow && ", inside the window"}` : off("previous"));
  say("radius-text", inWindow ? `${radius} pixels to each side` : "the whole frame");
  say("to-first", "global map\nframe 0");
  say("to-previous", `local map\nframe ${before}`);
  const seen = [on.first && "global map", on.previous && "local map", on.mask && "mask of the frame before"];
  const changed = on.previous && radius !== content.trained.radius ? `, its window ${content.trained.radius} as trained` : "";
  say("result-caption", `from: ${["the picture", ...seen].filter(Boolean).join(", ")}${changed}`);
  const global = firsts.map((match) => (on.first ? match?.distance ?? 1 : 1));
  const local = previous.map((match) => (on.previous ? match?.distance ?? 1 : 1));
  names.forEach((_, k) => {
    const row = at("say").querySelector(`tbody tr:nth-child(${k + 1})`);
    row.classList.toggle("chosen", k === state.object);
    [[global, on.first], [local, on.previous]].forEach(([values, used], i) => {
      row.cells[i + 1].textContent = used ? shown(values[k]) : "off";
      row.cells[i + 1].classList.toggle("nearest", used && k === least(values));
    });
  });
  const [byFirst, byPrevious] = [names[least(global)], names[least(local)]];
  const sentences = [];
  if (on.first) sentences.push(`In frame 0, ✚ is most like ${byFirst}.`);
  if (on.previous) sentences.push(`${inWindow ? "Nearby in" : "In"} frame ${before}, ✚ is most like ${byPrevious}.`);
  if (on.first && on.previous && byFirst !== byPrevious) sentences.push("The maps disagree.");
  say("verdict", [...sentences, `The network answers: ${answer}.`].join(" "));
  for (const place of document.querySelectorAll(".who")) place.textContent = who;
  at("radius").value = radius;
  at("radius").disabled = !on.previous;
  for (const cue of ["first", "previous", "mask"]) at(`use-${cue}`).checked = on[cue];
}

// ---- A look-alike: near in the global map, far in the local one, and not the object ----

let seeking = false; // a button was pressed, and the maps may still be computed

function seek(global, local, labels) {
  seeking = false;
  const { frame, object } = state, misled = [...Array(cells).keys()]
    .filter((cell) => labels[pixelOf(cell)] !== object && local[cell] - global[cell] > 0.2)
    .sort((a, b) => local[b] - global[b] - (local[a] - global[a]));
  at("found").textContent = misled.length ? "" : `There is none of ${names[object]} here: choose another object or frame.`;
  if (!misled.length) return;
  // Best one that resembles the object more than any other; it need not exist, and few of the first are tried.
  const winner = (cell) => {
    const distances = distancesFrom(cell, frame, 0);
    return least(names.map((_, k) => nearest(distances, cellLabels(0), k, cell, widest)?.distance ?? 1));
  };
  const cell = misled.slice(0, 100).find((cell) => winner(cell) === object) ?? misled[0];
  choose(Math.floor(cell / w), cell % w, true);
}

// ---- Controls ----

function change(values) {
  Object.assign(state, values);
  draw();
}

function choose(row, column, held = state.held) {
  const within = (value, size) => Math.min(size - 1, Math.max(0, value));
  change({ row: within(row, h), column: within(column, w), held });
}

/** A mouse points while it moves, until a click holds the pixel; a finger points where it is. */
function pointable(canvas) {
  const point = (event, held) => {
    const box = canvas.getBoundingClientRect();
    const y = ((event.clientY - box.top) / box.height) * H - 0.5, x = ((event.clientX - box.left) / box.width) * W - 0.5;
    choose(Math.round(y / down), Math.round(x / across), held);
  };
  canvas.addEventListener("pointermove", (event) => (event.buttons || !state.held) && point(event));
  canvas.addEventListener("pointerdown", (event) => point(event, event.pointerType === "mouse" && !state.held));
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function moveByKey(event) {
  if (!ARROWS[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault(); // no scrolling
  const [y, x] = ARROWS[event.key], step = event.shiftKey ? 5 : 1;
  choose(state.row + step * y, state.column + step * x);
}

/** A radio button with its text; the page is drawn again when it is chosen. */
function radio(group, value, text, change) {
  const label = document.createElement("label"), input = document.createElement("input");
  Object.assign(input, { type: "radio", name: group, value, checked: state[group] === value });
  input.addEventListener("change", change);
  label.append(input, ...text);
  return label;
}

function spanOf(text, style = {}) {
  const span = Object.assign(document.createElement("span"), { textContent: text });
  Object.assign(span.style, style);
  return span;
}

function buildControls() {
  for (const t of content.frames) at("frames").append(radio("frame", t, [spanOf(t)], () => change({ frame: t })));
  content.objects.forEach(({ name, colour }, k) => {
    const row = at("say").querySelector("tbody").insertRow(), swatch = spanOf("", { background: `rgb(${colour})` });
    swatch.className = "swatch";
    row.insertCell().append(radio("object", k, [swatch, name], () => change({ object: k })));
    row.insertCell(), row.insertCell();
  });
  for (const cue of ["first", "previous", "mask"]) {
    at(`use-${cue}`).disabled = !content.trained[cue];
    at(`use-${cue}`).addEventListener("change", (event) => change({ on: { ...state.on, [cue]: event.target.checked } }));
  }
  at("radius").max = widest;
  at("radius").addEventListener("input", (event) => change({ radius: Number(event.target.value) }));
  const usual = { radius: content.trained.radius, on: { ...state.on } };
  const showMaps = () => at("local").scrollIntoView({ block: "nearest" }); // on a phone they are out of sight
  at("look-alike").addEventListener("click", () => (seeking = true, change(usual), showMaps()));
  at("widest").addEventListener("click", () => (change({ radius: widest }), showMaps()));
  at("trained").addEventListener("click", () => change(usual));
  for (const id of ["now", "global", "local", "result"]) pointable(canvasOf(id));
  canvasOf("now").addEventListener("keydown", moveByKey);
}

/** The cell of the object nearest to its middle: where the page begins. */
function chooseMiddle() {
  const labels = resultLabels(cueKey()), own = [...Array(cells).keys()].filter((cell) => labels[pixelOf(cell)] === state.object);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const y = mean(own.map((cell) => Math.floor(cell / w))), x = mean(own.map((cell) => cell % w));
  const off = own.map((cell) => (Math.floor(cell / w) - y) ** 2 + ((cell % w) - x) ** 2);
  const cell = own.length ? own[least(off)] : Math.floor(h / 2) * w + Math.floor(w / 2);
  choose(Math.floor(cell / w), cell % w);
}

const pictures = {};

async function start() {
  const steps = [0, 64, 128, 192, 255].map((level) => `rgb(${colours.slice(3 * level, 3 * level + 3)})`);
  document.documentElement.style.setProperty("--scale", steps.join());
  for (const canvas of document.querySelectorAll("canvas")) Object.assign(canvas, { width: W * zoom, height: H * zoom });
  await Promise.all(Object.entries(content.pictures).map(([t, src]) => {
    pictures[t] = Object.assign(new Image(), { src });
    return pictures[t].decode();
  }));
  at("numbers").textContent =
    `A pixel here is one of ${h}×${w} points of the frame, for each of which the network computes ${dims} numbers, its ` +
    "embedding e. Distances are Eq. 1 of FEELVOS (Voigtlaender et al., CVPR 2019), d = 1 − 2 / (1 + exp(‖e − e′‖²)), " +
    "computed in this page from embeddings rounded to 8 bits a number. Each distance is therefore at most " +
    `${content.bound} away from the one that the library computes. Nothing is loaded from a network.`;
  at("credit").textContent = content.credit;
  buildControls();
  document.querySelector("main").hidden = false;
  chooseMiddle();
}

start();
