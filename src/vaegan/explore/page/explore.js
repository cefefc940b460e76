// The page: shows the images of the current latent, and connects everything that changes this latent.
"use strict";
import { Attributes } from "/attributes.js";
import { $, drawPixels, make, makeImageCanvas, setStatus } from "/dom.js";
import { FaceSocket } from "/face_socket.js";
import { Keyframes } from "/keyframes.js";
import { LatentMap } from "/latent_map.js";
import { findNearest, weightedMean } from "/latents.js";
import { Sliders } from "/sliders.js";

const DETAILS_MS = 150; // while the latent moves, sliders and the nearest image are updated this often
const RATE_MS = 500; // the display of images per second is updated this often,
const RATE_HIDDEN_MS = 1000; // it is hidden this long after the last image,
const MIN_RATE = 6; // and lower rates are not shown
const STATUS_MS = 400; // a moved point is described in the status line after this pause
const OPTIMIZE_STEPS = 100;
const MAX_UNDO = 100, UNDO_PAUSE_MS = 600; // changes without such a pause are undone together

const state = {
  about: null, // GET /api/about
  z: null, // the current latent
  truncation: 1,
  seed: null, // of the current latent, if it is that of a seed
  decoder: 0, // index of the decoder for strips and files
  classNumber: 0, // of a model with classes
  shownClass: 0, // that of the latent on the page
  file: null, // the uploaded image
  earlier: [], // latents before the current one: { z, truncation, seed, classNumber }
  gradualTime: -Infinity, // of the last gradual change
  isReady: false, // from the first face on
};
let socket = null, map = null, sliders = null, keyframes = null, attributes = null;
let detailsTimer = 0, rateTimer = 0, rateTime = 0, statusTimer = 0;

// Requests to the server.

async function request(path, options) {
  const response = await fetch(`/api/${path}`, options).catch(() => {
    throw new Error("vaegan explore does not respond: is it still running?");
  });
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Error(body.error || `request failed with HTTP status ${response.status}`);
}

function post(path, value) {
  return request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });
}

// Wrap an event handler: show its exceptions in the status line.
function showErrors(handler) {
  return async (...args) => {
    try { await handler(...args); } catch (error) { setStatus(error.message, true); }
  };
}

function openSocket() {
  const { image_size: size, decoders, num_slider_dims: numDims } = state.about;
  socket = new FaceSocket(numDims, {
    onConnection(isConnected) {
      $("connection").classList.toggle("connected", isConnected);
      $("connection-text").textContent = isConnected ? "Connected" : "Disconnected: reconnecting";
    },
    onError: (message) => setStatus(message, true),
    onStrip: (dim, pixels) => sliders.drawStrip(dim, pixels),
    onFaces(pixels, facesPerSecond) {
      const imageBytes = 4 * size * size;
      decoders.forEach((_, i) => drawPixels($(`face-${i}`), pixels.subarray(i * imageBytes, (i + 1) * imageBytes)));
      document.documentElement.dataset.facesPerSecond = facesPerSecond;
      showRate(facesPerSecond);
    },
  });
}

function showRate(facesPerSecond) {
  clearTimeout(rateTimer);
  rateTimer = setTimeout(() => {
    if ($("connection").classList.contains("connected")) $("connection-text").textContent = "Connected";
  }, RATE_HIDDEN_MS);
  if (facesPerSecond < MIN_RATE || performance.now() < rateTime + RATE_MS) return;
  rateTime = performance.now();
  $("connection-text").textContent = `${facesPerSecond} images/s`;
}

// The current latent.

// Replace the current latent. `isMoving`: more changes follow soon. `isGradual`: it is undone together with them.
function showLatent(latent, { truncation = 1, isMoving = false, isGradual = isMoving, seed = null } = {}) {
  remember(isGradual);
  state.z = Float32Array.from(latent);
  setSeed(seed);
  showTruncation(truncation);
  if (!isMoving) keyframes.stop();
  update(isMoving);
}

function remember(isGradual) {
  const now = performance.now(), isNew = !isGradual || now > state.gradualTime + UNDO_PAUSE_MS;
  state.gradualTime = isGradual ? now : -Infinity;
  if (!isNew || !state.isReady) return;
  const { truncation, seed, shownClass: classNumber } = state;
  state.earlier.push({ z: Float32Array.from(state.z), truncation, seed, classNumber });
  state.earlier.splice(0, state.earlier.length - MAX_UNDO);
  $("undo").disabled = false;
}

function undo() {
  const { z, truncation, seed, classNumber } = state.earlier.pop();
  setClass(classNumber);
  $("undo").disabled = !state.earlier.length;
  keyframes.stop();
  state.z = z;
  setSeed(seed);
  showTruncation(truncation);
  update();
  setStatus("Went back to the face before.");
}

function setSeed(seed) {
  state.seed = seed;
  $("seed").value = seed ?? "";
}

function showTruncation(value) {
  if (value === state.truncation) return;
  state.truncation = value;
  $("truncation").value = value;
  $("truncation-value").textContent = Number(value).toFixed(2);
}

// Update the image and the map at once, and the rest now or, while the latent moves, from time to time.
function update(isMoving = false) {
  const [xDim, yDim] = map.dims;
  map.setPoint(state.z[xDim], state.z[yDim]);
  state.shownClass = state.classNumber;
  socket.request(state.z, state.decoder, state.classNumber);
  if (!isMoving) updateDetails();
  else detailsTimer ||= setTimeout(updateDetails, DETAILS_MS);
}

function updateDetails() {
  clearTimeout(detailsTimer);
  detailsTimer = 0;
  sliders.show(state.z);
  attributes.show(state.z);
  const { count, spriteSheet, tileSize } = map.images, canvas = $("nearest"), context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (count && spriteSheet) {
    const tile = map.tilePosition(findNearest(map.images, state.z));
    context.drawImage(spriteSheet, ...tile, tileSize, tileSize, 0, 0, canvas.width, canvas.height);
  }
  $("use-nearest").disabled = !count;
}

function moveOnMap(x, y) {
  keyframes.stop();
  const [xDim, yDim] = map.dims;
  let latent = state.z;
  if ($("follow").checked && map.images.count) {
    const neighbors = map.findNeighbors(x, y);
    latent = weightedMean(neighbors.map(({ index }) => map.latentOf(index)), neighbors.map(({ weight }) => weight));
  }
  latent = Float32Array.from(latent);
  latent[xDim] = x;
  latent[yDim] = y;
  showLatent(latent, { isMoving: true });
  clearTimeout(statusTimer);
  const text = `Dimension ${xDim + 1} is ${x.toFixed(2)}, dimension ${yDim + 1} is ${y.toFixed(2)}.`;
  statusTimer = setTimeout(() => setStatus(text), STATUS_MS);
}

function setDim(dim, value) {
  keyframes.stop();
  remember(true);
  state.z[dim] = value;
  setSeed(null);
  sliders.showValue(dim, value);
  update(true);
}

// A seed's latent moves towards the center of its own kind, any other towards the average face.
function setTruncation(truncation) {
  if (state.seed !== null) {
    showTruncation(truncation);
    showSeed(state.seed, true);
    return;
  }
  const factor = truncation / state.truncation;
  keyframes.stop();
  remember(true);
  state.z = state.z.map((value) => value * factor);
  showTruncation(truncation);
  update();
}

async function showSeed(seed, isGradual = false) {
  const truncation = state.truncation;
  const response = await request(`seed?seed=${seed}&truncation=${truncation}&class=${state.classNumber}`);
  showLatent((await response.json()).latent, { truncation, isGradual, seed });
  const suffix = truncation === 1 ? "" : `, truncation ${truncation}`;
  let flags = suffix && ` --truncation ${truncation}`;
  if (state.about.classes.length) flags += ` --class "${state.about.classes[state.classNumber]}"`;
  setStatus(`Seed ${seed}${suffix}: same image as vaegan sample ${state.about.checkpoint} --seeds ${seed}${flags}`);
}

// The latent of a seed depends on its class; any other latent stays and is shown in the chosen class.
async function chooseClass(number) {
  state.classNumber = number;
  if (state.seed !== null) {
    await showSeed(state.seed);
    return;
  }
  remember(false);
  update();
}

// Choose the class of a latent that is shown next; -1 is one that is not known.
function setClass(number) {
  if (!state.about.classes.length || number < 0) return;
  state.classNumber = number;
  $("class").value = number;
}

async function markAttribute(name, more, less) {
  const attribute = await (await post("attributes", { name, more, less })).json();
  attributes.add(attribute);
  attributes.clear("more");
  attributes.clear("less");
  $("attribute-name").value = "";
  setStatus(`Made the slider "${attribute.title}" and saved it with the model.`);
}

function markFace(side) {
  attributes.mark(side, state.z, $(`face-${state.decoder}`));
  setStatus(`Added this face to those that have ${side}.`);
}

function showNearest() {
  const nearest = findNearest(map.images, state.z);
  if (nearest < 0) return;
  setClass(state.about.map_classes[nearest] ?? -1);
  showLatent(map.latentOf(nearest));
  setStatus(`Image ${nearest + 1} of the latent map.`);
}

async function encode(file, steps = state.about.has_encoder ? 0 : OPTIMIZE_STEPS) {
  if (!file) return;
  const name = file.name || "Your image";
  setStatus(steps ? "Optimizing the latent: this takes some seconds …" : `Encoding ${file.name || "the image"} …`);
  $("optimize").disabled = true;
  const path = `encode?steps=${steps}&class=${state.classNumber}`;
  const { latent, psnr, image, class: classNumber } = await request(path, { method: "POST", body: file })
    .then((response) => response.json()).finally(() => { $("optimize").disabled = steps > 0; });
  state.file = file;
  $("uploaded-image").src = image;
  $("uploaded").hidden = false;
  setClass(classNumber);
  showLatent(latent);
  const hint = steps ? "" : '; "Optimize latent" comes closer';
  setStatus(`${name}: the reconstruction has PSNR ${psnr} dB (higher is closer)${hint}.`);
}

// Files.

async function download(response, name) {
  const link = make("a", { href: URL.createObjectURL(await response.blob()), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  setStatus(`Saved ${name}.`);
}

async function downloadAnimation(kind) {
  setStatus("Rendering the interpolation …");
  const value = { latents: keyframes.latents, decoder: state.decoder, class: state.classNumber, loop: $("loop").checked };
  await download(await post(kind, value), `${state.about.name}-interpolation.${kind}`);
}

// Set up the page.

function build(about) {
  state.about = about;
  state.z = new Float32Array(about.latent_dim);
  document.title = `${about.name} · vaegan explore`;
  $("title").textContent = about.name;
  $("training-info").textContent = about.training_info;
  about.decoders.forEach((name, i) => $("images").append(makeFigure(name, i)));
  sliders = new Sliders(about, setDim);
  keyframes = new Keyframes(about, showLatent);
  attributes = new Attributes(about.attributes, {
    onChange: (latent) => showLatent(latent, { truncation: state.truncation, isMoving: true }),
    onMark: showErrors(markAttribute),
  });
  for (const [id, defaultDim] of [["x-dim", 0], ["y-dim", 1]]) {
    const selected = Math.min(defaultDim, about.num_slider_dims - 1);
    for (let dim = 0; dim < about.num_slider_dims; dim++) {
      $(id).append(new Option(`dim ${dim + 1}`, dim, dim === selected, dim === selected));
    }
    $(id).onchange = () => { map.show(map.images, [Number($("x-dim").value), Number($("y-dim").value)]); update(); };
  }
  $("dims-note").textContent = about.has_encoder
    ? "sorted by how much they change the image" : "not sorted: this GAN was trained without a VAE";
  $("map-description").textContent = `The map shows ${about.map_description}. ${about.notes.join(" ")}`;
  $("map-description").classList.toggle("error", !about.map_is_encoded || about.notes.length > 0);
  $("map").setAttribute("aria-label", `Latent map of ${about.num_map_images} images; the point is the current latent`);
  $("optimize").hidden = !about.has_encoder; // without an encoder, every image is optimized
  $("class-control").hidden = !about.classes.length;
  if (about.classes.length) $("class-label").textContent = about.class_label;
  about.classes.forEach((name, number) => $("class").append(new Option(name, number)));
  chooseDecoder(0);
}

function makeFigure(name, i) {
  const { image_size: size, decoders } = state.about;
  const canvas = makeImageCanvas(`face-${i}`, size, size, `Image from the ${name}`);
  let content = canvas;
  if (decoders.length > 1) {
    content = make("button", { label: `Use the ${name} for strips and files` }, canvas);
    content.onclick = () => chooseDecoder(i);
  }
  return make("figure", {}, content, make("figcaption", { textContent: name }));
}

function chooseDecoder(index) {
  state.decoder = index;
  document.querySelectorAll("#images figure:not(#uploaded)").forEach((figure, i) => {
    const isSelected = i === index && state.about.decoders.length > 1;
    figure.classList.toggle("selected", isSelected);
    figure.querySelector("button")?.setAttribute("aria-pressed", isSelected);
  });
  socket?.request(state.z, index, state.classNumber, false);
}

function connectControls() {
  $("seed").onchange = showErrors(async () => {
    const seed = $("seed").valueAsNumber;
    if (Number.isNaN(seed)) return;
    if (!$("seed").validity.valid) throw new Error(`Seed ${seed}: expected a whole number from 0 to ${$("seed").max}`);
    await showSeed(seed);
  });
  $("random").onclick = showErrors(() => showSeed(Math.floor(Math.random() * 2 ** 31)));
  $("class").onchange = showErrors(() => chooseClass(Number($("class").value)));
  $("undo").onclick = undo;
  $("pixels").onchange = () => document.body.classList.toggle("pixels", $("pixels").checked);
  $("average").onclick = () => { showLatent(new Float32Array(state.z.length)); setStatus("The average face (z = 0)."); };
  $("truncation").oninput = () => setTruncation($("truncation").valueAsNumber);
  $("add-keyframe").onclick = () => {
    keyframes.add(state.z, $(`face-${state.decoder}`));
    setStatus(`Added keyframe ${keyframes.latents.length}.`);
  };
  $("use-nearest").onclick = showNearest;
  for (const side of ["more", "less"]) $(`mark-${side}`).onclick = () => markFace(side);
  $("map").addEventListener("use-nearest", showNearest);
  $("zoom-in").onclick = () => map.zoomAtPoint(1.5);
  $("zoom-out").onclick = () => map.zoomAtPoint(1 / 1.5);
  $("reset-view").onclick = () => map.resetView();
}

function connectUploads() {
  $("file").onchange = showErrors(async () => { await encode($("file").files[0]); $("file").value = ""; });
  $("optimize").onclick = showErrors(() => encode(state.file, OPTIMIZE_STEPS));
  $("remove-uploaded").onclick = () => { $("uploaded").hidden = true; $("file").focus(); };
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  addEventListener("drop", showErrors(async (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    await encode(event.dataTransfer.files[0]);
  }));
  addEventListener("paste", showErrors(async (event) => {
    await encode([...event.clipboardData.files].find((file) => file.type.startsWith("image/")));
  }));
}

function connectDownloads() {
  const { name } = state.about;
  $("save-png").onclick = showErrors(async () => {
    await download(await post("png", { latent: [...state.z], decoder: state.decoder, class: state.classNumber }), `${name}-face.png`);
  });
  $("save-latent").onclick = showErrors(async () => {
    await download(await post("latents", { latents: [[...state.z]], class: state.classNumber }), `${name}-latent.safetensors`);
  });
  $("save-latents").onclick = showErrors(async () => {
    await download(await post("latents", { latents: keyframes.latents, class: state.classNumber }), `${name}-latents.safetensors`);
  });
  for (const kind of ["gif", "mp4"]) $(`save-${kind}`).onclick = showErrors(() => downloadAnimation(kind));
}

async function drawLatent(latent) {
  const response = await post("png", { latent, decoder: state.decoder });
  return createImageBitmap(await response.blob());
}

function loadImage(url) {
  const image = Object.assign(new Image(), { src: url });
  return image.decode().then(() => image, () => null);
}

async function start() {
  map = new LatentMap($("map"), moveOnMap);
  const about = await (await request("about")).json();
  build(about);
  connectControls();
  connectUploads();
  connectDownloads();
  openSocket();
  const [response, spriteSheet] = await Promise.all([request("map.latents"), loadImage("/api/map.jpg")]);
  map.show({
    count: about.num_map_images,
    latentDim: about.latent_dim,
    latents: new Float32Array(await response.arrayBuffer()),
    tileSize: about.tile_size,
    tilesPerRow: about.tiles_per_row,
    spriteSheet,
  }, [0, Math.min(1, about.num_slider_dims - 1)]);
  await showSeed(about.first_seed);
  await keyframes.restore(drawLatent).catch(() => setStatus("The keyframes of this page could not be restored.", true));
  state.isReady = true;
  document.documentElement.dataset.ready = "yes";
}

showErrors(start)();
