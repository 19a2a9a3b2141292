// What `write_explorable` stored, and distances computed from it: of one pixel, and of whole distance maps.
// A cell is a pixel of the stride-4 grid (h rows, w columns); channel 0 is the background, then the objects in order.
"use strict";

const content = JSON.parse(document.getElementById("content").textContent);
const [H, W] = content.size, [h, w] = content.grid, cells = h * w, dims = content.steps.length;
const down = (H - 1) / Math.max(1, h - 1), across = (W - 1) / Math.max(1, w - 1); // pixels from cell to cell
const widest = Math.max(h, w) - 1; // a window of this radius is the whole frame

// ---- What Python stored ----

function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** Runs (channel, length, channel, length, …) → one channel for each pixel or cell; 255 belongs to none. */
function unrolled(base64, length) {
  const runs = bytes(base64), channels = new Uint8Array(length);
  for (let i = 0, place = 0; i < runs.length; i += 2) channels.fill(runs[i], place, place += runs[i + 1]);
  return channels;
}

/** `make(key)`, computed once for each key. */
function remembered(make) {
  const kept = new Map();
  return (key) => kept.get(key) ?? kept.set(key, make(key)).get(key);
}

const colours = bytes(content.colours); // 256 × RGB, from near to far
const cellLabels = remembered((t) => unrolled(content.cells[t], cells));
const pixelLabels = remembered((t) => unrolled(content.labels[t], H * W));

/** Embeddings up to a constant that differences do not see: Float32Array of h·w × D. */
const embeddings = remembered((t) => {
  const codes = bytes(content.embeddings[t]), values = new Float32Array(codes.length);
  for (let i = 0; i < codes.length; i++) values[i] = codes[i] * content.steps[i % dims];
  return values;
});

// ---- Distances ----

/** Eq. 1: d = 1 − 2 / (1 + exp(‖e_p − e_q‖²)), 0 for equal embeddings, towards 1 for different ones. */
const distance = (squared) => 1 - 2 / (1 + Math.exp(squared));

/** ‖e_p − e_q‖² of two cells; `enough`: anything larger may be returned as it stands. */
function squaredDistance(a, p, b, q, enough = Infinity) {
  let sum = 0;
  for (let i = p * dims, j = q * dims, end = i + dims; i < end; i++, j++) {
    const difference = a[i] - b[j];
    sum += difference * difference;
    if (sum > enough) break;
  }
  return sum;
}

/** From one cell of frame t to every cell of a reference frame. */
function distancesFrom(cell, t, reference) {
  const own = embeddings(t), other = embeddings(reference), found = new Float32Array(cells);
  for (let q = 0; q < cells; q++) found[q] = distance(squaredDistance(own, cell, other, q));
  return found;
}

/** The nearest cell of a channel, within `radius` rows and columns of a cell: {cell, distance}, or null. */
function nearest(distances, labels, channel, cell, radius) {
  const row = Math.floor(cell / w), column = cell % w;
  let best = null;
  for (let y = Math.max(0, row - radius); y <= Math.min(h - 1, row + radius); y++) {
    for (let x = Math.max(0, column - radius); x <= Math.min(w - 1, column + radius); x++) {
      const q = y * w + x;
      if (labels[q] === channel && (!best || distances[q] < best.distance)) best = { cell: q, distance: distances[q] };
    }
  }
  return best;
}

/** A distance map (Eq. 3 or 4), row by row: each cell's distance to the channel's nearest cell in its window. */
function* mapRows(t, reference, channel, radius) {
  const own = embeddings(t), other = embeddings(reference), labels = cellLabels(reference);
  const map = new Float32Array(cells).fill(1); // where the window has no cell of the object
  for (let row = 0; row < h; row++) {
    const top = Math.max(0, row - radius), bottom = Math.min(h - 1, row + radius);
    for (let column = 0; column < w; column++) {
      const left = Math.max(0, column - radius), right = Math.min(w - 1, column + radius);
      let best = Infinity;
      for (let y = top; y <= bottom; y++) {
        for (let q = y * w + left; q <= y * w + right; q++) {
          if (labels[q] === channel) best = Math.min(best, squaredDistance(own, row * w + column, other, q, best));
        }
      }
      if (best < Infinity) map[row * w + column] = distance(best);
    }
    yield map;
  }
}

const maps = new Map(); // by what they are of: finished maps
const queue = new Map(); // by the picture that waits: the map that is being computed

/** The map of (frame, reference, channel, radius) if it is finished; else null, and `finished` is called once it is. */
function mapFor(picture, question, finished) {
  const key = question.join();
  if (maps.has(key)) return maps.get(key);
  if (queue.get(picture)?.key !== key) {
    if (!queue.size) setTimeout(work);
    queue.set(picture, { key, rows: mapRows(...question), finished });
  }
  return null;
}

function work() {
  const until = performance.now() + 25; // milliseconds, so that the page keeps answering
  for (const [picture, job] of queue) {
    let step;
    do step = job.rows.next(), job.map = step.value ?? job.map; while (!step.done && performance.now() < until);
    if (!step.done) break;
    maps.set(job.key, job.map);
    queue.delete(picture);
    job.finished();
  }
  if (queue.size) setTimeout(work);
}
