// The page: one latent, and everything that moves it or shows it.
"use strict";
import { between, closest, mixed } from "/latents.js";
import { Live } from "/live.js";
import { FaceMap } from "/map.js";

const $ = (id) => document.getElementById(id);
const BESIDE = 150;
const state = { about: null, z: null, decoder: 0, kept: [], mode: "walk", truncation: 1 };
let live = null, map = null, playing = 0, counting = 0, resting = 0, besides = 0;

const say = (text, wrong = false) => { $("said").textContent = text; $("said").classList.toggle("wrong", wrong); };

async function ask(path, options) {
  const answer = await fetch(`/api/${path}`, options).catch(() => { throw new Error("vaegan explore does not answer: is it still running?"); });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.error || `refused (${answer.status})`);
}
const post = (path, value) => ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });
const doing = (work) => async (...given) => { try { await work(...given); } catch (error) { say(error.message, true); } };

// What the server draws.
function link() {
  live = new Live(state.about.axes, {
    linked(yes) {
      $("link").classList.toggle("linked", yes);
      $("linked").textContent = yes ? "Ready" : "Not connected: trying again";
    },
    wrong: (words) => say(words, true),
    strip: (axis, pixels) => picture($(`strip-${axis}`), pixels),
    face(pixels, rate) {
      const { size, decoders } = state.about, bytes = 4 * size * size;
      decoders.forEach((_, i) => picture($(`face-${i}`), pixels.subarray(i * bytes, (i + 1) * bytes)));
      document.documentElement.dataset.facesPerSecond = rate;
      counted(rate);
    },
  });
}

function picture(canvas, pixels) {
  canvas.getContext("2d").putImageData(new ImageData(pixels, canvas.width, canvas.height), 0, 0);
}

// Twice a second, how many faces were drawn in the last one, while something moves.
function counted(rate) {
  clearTimeout(resting);
  resting = setTimeout(() => { if ($("link").classList.contains("linked")) $("linked").textContent = "Ready"; }, 1000);
  if (rate < 6 || performance.now() < counting + 500) return;
  counting = performance.now();
  $("linked").textContent = `${rate} faces/s`;
}

// Latents.
function take(latent, { truncation = 1, moving = false } = {}) {
  state.z = Float32Array.from(latent);
  setTruncation(truncation);
  if (!moving) stop();
  shown(moving);
}

function setTruncation(value) {
  if (value === state.truncation) return;
  state.truncation = value;
  $("truncation").value = value;
  $("truncated").textContent = Number(value).toFixed(2);
}

// Show the latent: its face and the point at once, and what stands beside them now or, while it moves, now and then.
function shown(moving = false) {
  const [a, b] = map.axes;
  map.moveTo(state.z[a], state.z[b]);
  live.want(state.z, state.decoder);
  if (!moving) beside();
  else besides ||= setTimeout(beside, BESIDE);
}

function beside() {
  clearTimeout(besides);
  besides = 0;
  for (let axis = 0; axis < state.about.axes; axis++) place(axis);
  thumbnail($("near"), closest(map.faces, state.z));
  $("take").disabled = !map.faces.count;
}

function place(axis) {
  const value = state.z[axis], slider = $(`axis-${axis}`), edge = Number(slider.max);
  slider.value = value;
  slider.setAttribute("aria-valuetext", value.toFixed(2));
  $(`value-${axis}`).textContent = value.toFixed(2);
  $(`mark-${axis}`).style.left = `${(Math.min(Math.max(value, -edge), edge) + edge) / (2 * edge) * 100}%`;
}

function thumbnail(canvas, face) {
  const { sprite, tile, columns } = map.faces, brush = canvas.getContext("2d");
  brush.clearRect(0, 0, canvas.width, canvas.height);
  if (face >= 0 && sprite) brush.drawImage(sprite, (face % columns) * tile, Math.floor(face / columns) * tile, tile, tile, 0, 0, canvas.width, canvas.height);
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
  take(latent, { moving: true });
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
  $("mp4").disabled = !many || state.about.no_mp4 !== "";
  $("no-mp4").hidden = !many || !state.about.no_mp4;
  $("latents").disabled = !state.kept.length;
  $("along").max = state.kept.length - ($("loop").checked ? 0 : 1);
}

function blend() {
  stop();
  if (state.kept.some(({ weight }) => weight > 0)) take(mixed(state.kept.map(({ latent }) => latent), state.kept.map(({ weight }) => weight)));
}

function walk(t) {
  const count = state.kept.length, from = Math.min(Math.floor(t), $("loop").checked ? count - 1 : count - 2);
  take(between(state.kept[from].latent, state.kept[(from + 1) % count].latent, t - from), { moving: true });
}

function stop() {
  if (!playing) return;
  cancelAnimationFrame(playing);
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
  say(`${file.name || "Your picture"}: its face is as close as PSNR ${found.psnr} dB (higher is closer)${steps ? "" : "; Fit closely gets nearer"}.`);
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
  $("no-mp4").textContent = about.no_mp4;
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
  const set = (to) => { stop(); state.z[axis] = to; place(axis); shown(true); };
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
  live?.want(state.z, decoder, false);
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
  $("forget").onclick = () => { $("yours").hidden = true; $("file").focus(); };
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
  addEventListener("drop", doing(async (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    await upload(event.dataTransfer.files[0]);
  }));
  addEventListener("paste", doing(async (event) => upload([...event.clipboardData.files].find((file) => file.type.startsWith("image/")))));
  $("keep").onclick = keep;
  const nearest = () => {
    const { length, latents } = map.faces, face = closest(map.faces, state.z);
    if (face < 0) return;
    take(latents.subarray(face * length, (face + 1) * length));
    say(`Face ${face + 1} of the map.`);
  };
  $("take").onclick = nearest;
  $("map").addEventListener("take", nearest);
  $("in").onclick = () => map.zoom(1.5);
  $("out").onclick = () => map.zoom(1 / 1.5);
  $("whole").onclick = () => map.whole();
  $("png").onclick = doing(async () => save(await post("png", { latent: [...state.z], decoder: state.decoder }), `${state.about.name}-face.png`));
  $("latent").onclick = doing(async () => save(await post("latents", { latents: [[...state.z]] }), `${state.about.name}-face.safetensors`));
  const all = () => state.kept.map(({ latent }) => [...latent]);
  $("latents").onclick = doing(async () => save(await post("latents", { latents: all() }), `${state.about.name}-faces.safetensors`));
  for (const kind of ["gif", "mp4"]) {
    $(kind).onclick = doing(async () => {
      say("Drawing the walk …");
      await save(await post(kind, { latents: all(), decoder: state.decoder, loop: $("loop").checked }), `${state.about.name}-walk.${kind}`);
    });
  }
  for (const mode of ["walk", "blend"]) {
    $(mode).onclick = () => {
      state.mode = mode;
      for (const other of ["walk", "blend"]) $(other).setAttribute("aria-pressed", other === mode);
      stop();
      tray();
      if (mode === "blend" && state.kept.length > 1) blend();
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
  link();
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
