// The page: one latent, and everything that moves it or shows it.
"use strict";
import { FaceMap } from "/map.js";

const $ = (id) => document.getElementById(id);
const FACE = 1, STRIPS = 2, HEAD = 8, IN_FLIGHT = 2;
const state = { about: null, z: null, decoder: 0, kept: [], mode: "walk", truncation: 1, wanted: false, number: 0, flying: 0, strips: { number: 0, left: 0, due: false }, frames: [] };
let socket = null, pause = 500, map = null, playing = 0;

const say = (text, wrong = false) => { $("said").textContent = text; $("said").classList.toggle("wrong", wrong); };

async function ask(path, options) {
  const answer = await fetch(`/api/${path}`, options).catch(() => { throw new Error("vaegan explore does not answer: is it still running?"); });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.error || `refused (${answer.status})`);
}
const post = (path, value) => ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });
const doing = (work) => async (...given) => { try { await work(...given); } catch (error) { say(error.message, true); } };

// The socket: at most two faces are under way, and only the newest latent is ever sent.
function connect() {
  socket = new WebSocket(`ws://${location.host}/live`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    pause = 500;
    state.flying = 0;
    state.strips.left = 0;
    linked(true);
    request();
  };
  socket.onmessage = (event) => (typeof event.data === "string" ? say(JSON.parse(event.data).error, true) : arrived(event.data));
  socket.onclose = () => {
    linked(false);
    setTimeout(connect, pause);
    pause = Math.min(pause * 1.6, 5000);
  };
}

function linked(yes) {
  $("link").classList.toggle("linked", yes);
  $("linked").textContent = yes ? "Ready" : "Not connected: trying again";
}

function send(kind, number) {
  const content = new ArrayBuffer(HEAD + 4 * state.z.length), head = new DataView(content);
  head.setUint8(0, kind);
  head.setUint8(1, state.decoder);
  head.setUint32(4, number, true);
  new Float32Array(content, HEAD).set(state.z);
  socket.send(content);
}

function request() {
  state.wanted = true;
  state.strips.due = true;
  flush();
}

function flush() {
  if (!state.z || socket?.readyState !== WebSocket.OPEN) return;
  if (state.wanted && state.flying < IN_FLIGHT) {
    state.wanted = false;
    state.flying += 1;
    send(FACE, ++state.number);
  }
  if (state.strips.due && state.strips.left <= 0) {
    state.strips = { number: ++state.number, left: state.about.axes, due: false };
    send(STRIPS, state.strips.number);
  }
}

function arrived(content) {
  const head = new DataView(content), kind = head.getUint8(0), part = head.getUint8(1), count = head.getUint16(2, true);
  const size = state.about.size, pixels = new Uint8ClampedArray(content, HEAD);
  if (kind === FACE) {
    $(`face-${part}`).getContext("2d").putImageData(new ImageData(pixels, size, size), 0, 0);
    if (part === state.about.decoders.length - 1) {
      state.flying = Math.max(0, state.flying - 1);
      counted();
      flush();
    }
  } else {
    $(`strip-${part}`).getContext("2d").putImageData(new ImageData(pixels, size * count, size), 0, 0);
    if (head.getUint32(4, true) === state.strips.number && --state.strips.left === 0) flush();
  }
}

// Faces per second over the last second of movement.
function counted() {
  const now = performance.now();
  state.frames.push(now);
  while (state.frames[0] < now - 1000) state.frames.shift();
  const moving = state.frames.length > 5;
  $("linked").textContent = moving ? `${state.frames.length} faces/s` : "Ready";
  document.documentElement.dataset.facesPerSecond = state.frames.length;
}

// Latents.
function take(latent, { truncation = 1, quiet = false } = {}) {
  state.z = Float32Array.from(latent);
  setTruncation(truncation);
  if (!quiet) stop();
  shown();
}

function setTruncation(value) {
  state.truncation = value;
  $("truncation").value = value;
  $("truncated").textContent = Number(value).toFixed(2);
}

function shown() {
  const [a, b] = map.axes;
  map.moveTo(state.z[a], state.z[b]);
  for (let axis = 0; axis < state.about.axes; axis++) place(axis);
  const near = closest(state.z);
  map.nearest = near;
  $("take").disabled = near < 0;
  thumbnail($("near"), near);
  request();
}

function place(axis) {
  const value = state.z[axis], slider = $(`axis-${axis}`), edge = Number(slider.max);
  slider.value = value;
  slider.setAttribute("aria-valuetext", value.toFixed(2));
  $(`value-${axis}`).textContent = value.toFixed(2);
  $(`mark-${axis}`).style.left = `${(Math.min(Math.max(value, -edge), edge) + edge) / (2 * edge) * 100}%`;
}

function closest(latent) {
  const { count, length, latents } = map.faces;
  let best = -1, least = Infinity;
  for (let face = 0; face < count; face++) {
    let far = 0;
    for (let k = 0; k < length && far < least; k++) far += (latents[face * length + k] - latent[k]) ** 2;
    if (far < least) { least = far; best = face; }
  }
  return best;
}

function thumbnail(canvas, face) {
  const { sprite, tile, columns } = map.faces, brush = canvas.getContext("2d");
  brush.clearRect(0, 0, canvas.width, canvas.height);
  if (face >= 0 && sprite) brush.drawImage(sprite, (face % columns) * tile, Math.floor(face / columns) * tile, tile, tile, 0, 0, canvas.width, canvas.height);
}

const norm = (latent) => Math.hypot(...latent);
// A mean of latents, as long as they are on average: a plain mean is shorter than anything that was trained on.
function mixed(latents, weights) {
  const total = weights.reduce((a, b) => a + b, 0) || 1, sum = new Float32Array(state.z.length);
  let length = 0;
  latents.forEach((latent, i) => {
    const share = weights[i] / total;
    length += share * norm(latent);
    for (let k = 0; k < sum.length; k++) sum[k] += share * latent[k];
  });
  const scale = length / (norm(sum) || 1);
  return sum.map((value) => value * scale);
}

// The great arc from a to b, its length interpolated too: what vaegan interpolate walks on.
function between(a, b, t) {
  const la = norm(a), lb = norm(b);
  let dot = 0;
  for (let k = 0; k < a.length; k++) dot += (a[k] / (la || 1)) * (b[k] / (lb || 1));
  const angle = Math.acos(Math.min(1, Math.max(-1, dot)));
  if (la < 1e-6 || lb < 1e-6 || angle < 1e-4 || Math.PI - angle < 1e-4) return a.map((value, k) => value + (b[k] - value) * t);
  const left = Math.sin((1 - t) * angle) / Math.sin(angle), right = Math.sin(t * angle) / Math.sin(angle), length = (1 - t) * la + t * lb;
  return a.map((value, k) => (left * value / la + right * b[k] / lb) * length);
}

let told = 0;
function dragged(x, y) {
  stop();
  const [a, b] = map.axes;
  let latent = state.z;
  if ($("follow").checked && map.faces.count) {
    const { length, latents } = map.faces, around = map.around(x, y);
    latent = mixed(around.map(({ face }) => latents.subarray(face * length, (face + 1) * length)), around.map(({ weight }) => weight));
  }
  latent = Float32Array.from(latent);
  latent[a] = x;
  latent[b] = y;
  take(latent, { quiet: true });
  clearTimeout(told);
  told = setTimeout(() => say(`Axis ${a + 1} at ${x.toFixed(2)}, axis ${b + 1} at ${y.toFixed(2)}.`), 400);
}

// Kept faces.
function keep() {
  const canvas = document.createElement("canvas"), face = $(`face-${state.decoder}`);
  canvas.width = canvas.height = state.about.size;
  canvas.getContext("2d").drawImage(face, 0, 0);
  state.kept.push({ latent: Float32Array.from(state.z), canvas, weight: 1 });
  say(`Kept face ${state.kept.length}.`);
  tray();
}

function tray() {
  const many = state.kept.length > 1, walking = state.mode === "walk";
  $("kept").replaceChildren(...state.kept.map((kept, i) => {
    const item = document.createElement("li"), go = document.createElement("button"), drop = document.createElement("button");
    go.className = "face";
    go.setAttribute("aria-label", `Show kept face ${i + 1}`);
    go.append(kept.canvas);
    go.onclick = () => { take(kept.latent); $("along").value = i; };
    drop.className = "drop";
    drop.textContent = "Remove";
    drop.setAttribute("aria-label", `Remove kept face ${i + 1}`);
    drop.onclick = () => {
      state.kept.splice(i, 1);
      tray();
      ($("kept").querySelectorAll(".drop")[Math.max(0, i - 1)] || $("keep")).focus();
    };
    item.append(go);
    if (many && !walking) {
      const weight = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 1, step: 0.01, value: kept.weight });
      weight.setAttribute("aria-label", `Share of kept face ${i + 1}`);
      weight.oninput = () => { kept.weight = weight.valueAsNumber; blend(); };
      item.append(weight);
    }
    item.append(drop);
    return item;
  }));
  $("empty").hidden = many;
  $("walking").hidden = !many || !walking;
  $("gif").disabled = !many;
  $("latents").disabled = !state.kept.length;
  $("along").max = state.kept.length - ($("loop").checked ? 0 : 1);
}

function blend() {
  stop();
  if (state.kept.some(({ weight }) => weight > 0)) take(mixed(state.kept.map(({ latent }) => latent), state.kept.map(({ weight }) => weight)));
}

function walk(t) {
  const count = state.kept.length, from = Math.min(Math.floor(t), $("loop").checked ? count - 1 : count - 2);
  take(between(state.kept[from].latent, state.kept[(from + 1) % count].latent, t - from), { quiet: true });
}

function stop() {
  if (playing) cancelAnimationFrame(playing);
  playing = 0;
  $("play").textContent = "Play";
}

function play() {
  if (playing) return stop();
  let before = performance.now();
  const step = (now) => {
    if (state.kept.length < 2) return stop();
    const slider = $("along"), end = Number(slider.max);
    const t = (Number(slider.value) + (now - before) / 1600) % end;
    before = now;
    slider.step = "any";
    slider.value = t;
    walk(t);
    playing = requestAnimationFrame(step);
  };
  $("play").textContent = "Pause";
  playing = requestAnimationFrame(step);
}

// Files.
async function save(answer, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(await answer.blob()), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`Saved ${name}.`);
}

async function upload(file) {
  if (!file) return;
  say(`Reading ${file.name || "the picture"} …`);
  const steps = $("fit").checked ? 100 : 0;
  const found = await (await ask(`encode?steps=${steps}`, { method: "POST", body: file })).json();
  $("picture").src = found.picture;
  $("yours").hidden = false;
  take(found.latent);
  say(`${file.name || "Your picture"}: the face comes within ${found.psnr} dB of it.`);
}

function build(about) {
  state.about = about;
  state.z = new Float32Array(about.latent_dim);
  document.title = `${about.name} · vaegan explore`;
  $("name").textContent = about.name;
  $("trained").textContent = about.trained;
  about.decoders.forEach((name, i) => {
    const figure = document.createElement("figure"), button = document.createElement("button"), canvas = document.createElement("canvas"), caption = document.createElement("figcaption");
    Object.assign(canvas, { id: `face-${i}`, width: about.size, height: about.size });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `The face that the ${name} draws`);
    caption.textContent = name;
    button.append(canvas);
    button.setAttribute("aria-label", `Use the ${name} for strips and files`);
    button.onclick = () => choose(i);
    figure.append(about.decoders.length > 1 ? button : canvas, caption);
    $("shown").append(figure);
  });
  for (let axis = 0; axis < about.axes; axis++) $("sliders").append(slider(axis));
  for (const [id, chosen] of [["across", 0], ["up", 1]]) {
    for (let axis = 0; axis < about.axes; axis++) $(id).append(new Option(`axis ${axis + 1}`, axis, axis === chosen, axis === Math.min(chosen, about.axes - 1)));
    $(id).onchange = () => map.show(map.faces, [Number($("across").value), Number($("up").value)]) || shown();
  }
  $("axes-said").textContent = about.encoder ? "sorted by how much of the picture they move" : "not sorted: this GAN did not start from a VAE";
  $("map-said").textContent = `The map shows ${about.map}. ${about.notes.join(" ")}`;
  $("map-said").classList.toggle("wrong", !about.encoded || about.notes.length > 0);
  $("map").setAttribute("aria-label", `Map of ${about.faces} faces; the point is the face that is shown`);
  if (!about.encoder) { $("fit").checked = true; $("fit").disabled = true; $("fit").parentElement.title = "Without an encoder a picture's face is looked for step by step"; }
  choose(0);
  tray();
}

function slider(axis) {
  const { reach, stops, size } = state.about, edge = reach * stops / (stops - 1);
  const box = document.createElement("div"), strip = document.createElement("div"), canvas = document.createElement("canvas");
  const mark = document.createElement("span"), label = document.createElement("label"), input = document.createElement("input"), value = document.createElement("output");
  box.className = "axis";
  strip.className = "strip";
  Object.assign(mark, { className: "mark", id: `mark-${axis}` });
  Object.assign(canvas, { id: `strip-${axis}`, width: size * stops, height: size });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `The face with axis ${axis + 1} from -${reach} to ${reach}`);
  Object.assign(input, { type: "range", id: `axis-${axis}`, min: -edge, max: edge, step: 0.05 });
  value.id = `value-${axis}`;
  const set = (to) => { stop(); state.z[axis] = to; shown(); };
  input.oninput = () => set(input.valueAsNumber);
  const press = (event) => {
    const frame = strip.getBoundingClientRect();
    set(Math.min(Math.max((event.clientX - frame.left) / frame.width * 2 - 1, -1), 1) * edge);
  };
  strip.onpointerdown = (event) => { strip.setPointerCapture(event.pointerId); press(event); };
  strip.onpointermove = (event) => { if (event.buttons) press(event); };
  label.append(`Axis ${axis + 1}`, input, value);
  strip.append(canvas, mark);
  box.append(strip, label);
  return box;
}

function choose(decoder) {
  state.decoder = decoder;
  document.querySelectorAll("#shown figure:not(#yours)").forEach((figure, i) => {
    const chosen = i === decoder && state.about.decoders.length > 1;
    figure.classList.toggle("chosen", chosen);
    figure.querySelector("button")?.setAttribute("aria-pressed", chosen);
  });
  state.strips.due = true;
  flush();
}

function listen() {
  const seeded = doing(async () => {
    const seed = $("seed").valueAsNumber || 0, truncation = state.truncation;
    take((await (await ask(`seed?seed=${seed}&truncation=${truncation}`)).json()).latent, { truncation });
    say(`Seed ${seed}${truncation == 1 ? "" : `, truncation ${truncation}`}: vaegan sample --seeds ${seed} draws it too.`);
  });
  $("random").onclick = () => { $("seed").value = Math.floor(Math.random() * 2 ** 31); seeded(); };
  $("seed").onchange = seeded;
  $("average").onclick = () => { take(new Float32Array(state.z.length)); say("The average face."); };
  $("truncation").oninput = () => {
    const value = $("truncation").valueAsNumber, factor = value / state.truncation;
    stop();
    state.z = state.z.map((number) => number * factor);
    setTruncation(value);
    shown();
  };
  $("file").onchange = doing(async () => { await upload($("file").files[0]); $("file").value = ""; });
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
  addEventListener("drop", doing(async (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    await upload(event.dataTransfer.files[0]);
  }));
  addEventListener("paste", doing(async (event) => upload([...event.clipboardData.files].find((file) => file.type.startsWith("image/")))));
  $("keep").onclick = keep;
  const nearest = () => { const { length, latents } = map.faces; if (map.nearest >= 0) { take(latents.slice(map.nearest * length, (map.nearest + 1) * length)); say(`Face ${map.nearest + 1} of the map.`); } };
  $("take").onclick = nearest;
  $("map").addEventListener("take", nearest);
  $("in").onclick = () => map.zoom(1.5);
  $("out").onclick = () => map.zoom(1 / 1.5);
  $("whole").onclick = () => map.whole();
  $("png").onclick = doing(async () => save(await post("png", { latent: [...state.z], decoder: state.decoder }), `${state.about.name}-face.png`));
  $("latent").onclick = doing(async () => save(await post("latents", { latents: [[...state.z]] }), `${state.about.name}-face.safetensors`));
  const all = () => state.kept.map(({ latent }) => [...latent]);
  $("latents").onclick = doing(async () => save(await post("latents", { latents: all() }), `${state.about.name}-faces.safetensors`));
  $("gif").onclick = doing(async () => { say("Drawing the walk …"); await save(await post("gif", { latents: all(), decoder: state.decoder, loop: $("loop").checked }), `${state.about.name}-walk.gif`); });
  for (const mode of ["walk", "blend"]) {
    $(mode).onclick = () => {
      state.mode = mode;
      for (const other of ["walk", "blend"]) $(other).setAttribute("aria-pressed", other === mode);
      stop();
      tray();
    };
  }
  $("along").oninput = () => { stop(); walk(Math.min($("along").valueAsNumber, Number($("along").max))); };
  $("loop").onchange = tray;
  $("play").onclick = play;
}

async function start() {
  map = new FaceMap($("map"), dragged);
  build(await (await ask("about")).json());
  listen();
  connect();
  const { faces, latent_dim: length, tile, columns } = state.about;
  const [answer, sprite] = await Promise.all([ask("map.latents"), new Promise((done) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => done(null);
    image.src = "/api/map.jpg";
  })]);
  map.show({ count: faces, length, latents: new Float32Array(await answer.arrayBuffer()), tile, columns, sprite }, [0, Math.min(1, state.about.axes - 1)]);
  await $("seed").onchange();
  document.documentElement.dataset.ready = "yes";
}

doing(start)();
