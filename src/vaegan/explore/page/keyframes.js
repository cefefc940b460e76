// Keyframes: latents that the user has collected, to interpolate between them or to blend them.
"use strict";
import { $, make } from "/dom.js";
import { slerp, weightedMean } from "/latents.js";

const SEGMENT_MS = 1600; // duration from one keyframe to the next
const MODES = ["interpolate", "blend"];

export class Keyframes {
  // showLatent(latent, { isMoving }) shows a latent on the page.
  constructor({ checkpoint, training_info: info, image_size: imageSize, mp4_unavailable: mp4Unavailable }, showLatent) {
    this.storageKey = `vaegan keyframes of ${checkpoint}, ${info}`;
    this.imageSize = imageSize;
    this.canSaveMp4 = mp4Unavailable === "";
    this.showLatent = showLatent;
    this.frames = []; // { latent, canvas, weight }
    this.mode = "interpolate";
    this.animation = 0; // the running requestAnimationFrame, or 0
    $("mp4-unavailable").textContent = mp4Unavailable;
    for (const mode of MODES) $(mode).onclick = () => this.setMode(mode);
    $("position").oninput = () => {
      this.stop();
      this.showPosition(Math.min($("position").valueAsNumber, Number($("position").max)));
    };
    $("loop").onchange = () => this.render();
    $("play").onclick = () => this.play();
    this.render();
  }

  get latents() { return this.frames.map(({ latent }) => [...latent]); }

  add(latent, imageCanvas) {
    const canvas = make("canvas", { width: this.imageSize, height: this.imageSize });
    canvas.getContext("2d").drawImage(imageCanvas, 0, 0, this.imageSize, this.imageSize);
    this.frames.push({ latent: Float32Array.from(latent), canvas, weight: 1 });
    this.store();
    this.render();
  }

  // Add the keyframes that the page had before it was loaded again. drawLatent(latent) returns a promise of an image.
  async restore(drawLatent) {
    for (const latent of this.storedLatents()) this.add(latent, await drawLatent(latent));
  }

  storedLatents() {
    try { return JSON.parse(localStorage.getItem(this.storageKey)) || []; } catch { return []; }
  }

  store() {
    try { localStorage.setItem(this.storageKey, JSON.stringify(this.latents)); } catch { /* the browser forbids it */ }
  }

  remove(index) {
    this.frames.splice(index, 1);
    this.store();
    this.render();
    const removeButtons = $("keyframe-list").querySelectorAll(".remove");
    (removeButtons[Math.max(0, index - 1)] || $("add-keyframe")).focus();
  }

  setMode(mode) {
    this.mode = mode;
    for (const other of MODES) $(other).setAttribute("aria-pressed", other === mode);
    this.stop();
    this.render();
    if (mode === "blend" && this.frames.length > 1) this.blend();
  }

  render() {
    const isPlural = this.frames.length > 1, isInterpolating = this.mode === "interpolate";
    $("keyframe-list").replaceChildren(...this.frames.map((frame, i) => this.makeItem(frame, i)));
    $("keyframes-help").hidden = isPlural;
    $("player").hidden = !isPlural || !isInterpolating;
    $("save-gif").disabled = !isPlural;
    $("save-mp4").disabled = !isPlural || !this.canSaveMp4;
    $("mp4-unavailable").hidden = !isPlural || this.canSaveMp4;
    $("save-latents").disabled = !this.frames.length;
    $("position").max = this.frames.length - ($("loop").checked ? 0 : 1);
  }

  makeItem(frame, i) {
    const show = make("button", { className: "thumbnail", label: `Show keyframe ${i + 1}` }, frame.canvas);
    show.onclick = () => { this.showLatent(frame.latent); $("position").value = i; };
    const remove = make("button", { className: "remove", textContent: "Remove", label: `Remove keyframe ${i + 1}` });
    remove.onclick = () => this.remove(i);
    const item = make("li", {}, show);
    if (this.frames.length > 1 && this.mode === "blend") {
      const label = `Weight of keyframe ${i + 1}`;
      const weight = make("input", { type: "range", min: 0, max: 1, step: 0.01, value: frame.weight, label });
      weight.oninput = () => { frame.weight = weight.valueAsNumber; this.blend(); };
      item.append(weight);
    }
    item.append(remove);
    return item;
  }

  blend() {
    this.stop();
    const weights = this.frames.map(({ weight }) => weight);
    if (weights.some((weight) => weight > 0)) this.showLatent(weightedMean(this.frames.map(({ latent }) => latent), weights));
  }

  // Show the interpolated latent at a position: 1.5 is halfway between the second and the third keyframe.
  showPosition(position) {
    const count = this.frames.length, lastStart = $("loop").checked ? count - 1 : count - 2;
    const start = Math.min(Math.floor(position), lastStart), end = (start + 1) % count;
    const latent = slerp(this.frames[start].latent, this.frames[end].latent, position - start);
    this.showLatent(latent, { isMoving: true });
  }

  play() {
    if (this.animation) return this.stop();
    let before;  // the first frame's own time: the clock may be ahead of it
    const step = (now) => {
      before ??= now;
      if (this.frames.length < 2) return this.stop();
      const slider = $("position");
      const position = (Number(slider.value) + (now - before) / SEGMENT_MS) % Number(slider.max);
      before = now;
      slider.step = "any";
      slider.value = position;
      this.showPosition(position);
      this.animation = requestAnimationFrame(step);
    };
    $("play").textContent = "Pause";
    this.animation = requestAnimationFrame(step);
  }

  stop() {
    if (!this.animation) return;
    cancelAnimationFrame(this.animation);
    this.animation = 0;
    $("play").textContent = "Play";
  }
}
