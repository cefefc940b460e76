// The latent map: images at the positions of two of their latent dimensions, and a point that can be dragged.
"use strict";

const KEY_STEP = 0.1, MAX_COORDINATE = 8;
const NUM_NEIGHBORS = 6;
const MIN_SCALE = 8, MAX_SCALE = 4000; // screen pixels per unit of a latent

export class LatentMap {
  // onMove(x, y) is called when the user moves the point.
  constructor(canvas, onMove) {
    this.canvas = canvas;
    this.onMove = onMove;
    this.images = { count: 0, latentDim: 0, latents: new Float32Array(0), tileSize: 1, tilesPerRow: 1, spriteSheet: null };
    this.dims = [0, 1];
    this.point = [0, 0];
    this.view = { x: 0, y: 0, scale: 0 };
    this.marker = canvas.parentElement.querySelector(".map-point");
    this.pointers = new Map();
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
    canvas.addEventListener("pointerdown", (event) => this.pointerDown(event));
    canvas.addEventListener("pointermove", (event) => this.pointerMove(event));
    for (const type of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(type, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * 0.0015), this.eventPosition(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.keyDown(event));
  }

  show(images, dims) {
    this.images = images;
    this.dims = dims;
    this.resetView();
  }

  latentOf(index) {
    const { latents, latentDim } = this.images;
    return latents.subarray(index * latentDim, (index + 1) * latentDim);
  }

  coordinate(index, dim) { return this.images.latents[index * this.images.latentDim + dim]; }

  // The position of an image in the sprite sheet.
  tilePosition(index) {
    const { tileSize, tilesPerRow } = this.images;
    return [(index % tilesPerRow) * tileSize, Math.floor(index / tilesPerRow) * tileSize];
  }

  resize() {
    const ratio = devicePixelRatio || 1, side = this.canvas.clientWidth;
    if (!side) return;
    this.ratio = ratio;
    this.side = side;
    this.canvas.width = this.canvas.height = Math.round(side * ratio);
    if (!this.view.scale) this.resetView();
    this.paint();
  }

  // Show all images except for the outermost percent.
  resetView() {
    const { count } = this.images, ranges = [3, 3];
    if (count > 20) {
      this.dims.forEach((dim, k) => {
        const distances = Array.from({ length: count }, (_, i) => Math.abs(this.coordinate(i, dim))).sort((a, b) => a - b);
        ranges[k] = distances[Math.floor(count * 0.99)] * 1.08;
      });
    }
    this.view = { x: 0, y: 0, scale: (this.side || 400) / 2 / Math.max(...ranges, 0.5) };
    this.paint();
  }

  // Zoom around a position on the screen, which keeps its latent.
  zoom(factor, position = [this.side / 2, this.side / 2]) {
    const before = this.toLatent(position);
    this.view.scale = Math.min(Math.max(this.view.scale * factor, MIN_SCALE), MAX_SCALE);
    const after = this.toLatent(position);
    this.view.x += before[0] - after[0];
    this.view.y += before[1] - after[1];
    this.paint();
  }

  // Zoom around the point, if it is in view.
  zoomAtPoint(factor) {
    const position = this.toScreen(...this.point), isInView = position.every((value) => value >= 0 && value <= this.side);
    this.zoom(factor, isInView ? position : undefined);
  }

  toScreen(x, y) {
    const { scale } = this.view;
    return [this.side / 2 + (x - this.view.x) * scale, this.side / 2 - (y - this.view.y) * scale];
  }

  toLatent([screenX, screenY]) {
    const { scale } = this.view;
    return [(screenX - this.side / 2) / scale + this.view.x, (this.side / 2 - screenY) / scale + this.view.y];
  }

  eventPosition(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.side / box.width, (event.clientY - box.top) * this.side / box.height];
  }

  pointerDown(event) {
    if (event.button > 1) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.eventPosition(event));
    this.isPanning = event.shiftKey || event.button === 1 || this.pointers.size > 1;
    if (!this.isPanning) this.movePoint(...this.toLatent(this.eventPosition(event)));
  }

  pointerMove(event) {
    const before = this.pointers.get(event.pointerId), now = this.eventPosition(event);
    if (!before) return;
    if (!this.isPanning) {
      this.pointers.set(event.pointerId, now);
      this.movePoint(...this.toLatent(now));
      return;
    }
    // With two fingers, each one moves the map by half, and their distance zooms.
    const otherFinger = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    this.view.x -= (now[0] - before[0]) / this.view.scale / (otherFinger ? 2 : 1);
    this.view.y += (now[1] - before[1]) / this.view.scale / (otherFinger ? 2 : 1);
    if (otherFinger) {
      const distance = ([x, y]) => Math.hypot(x - otherFinger[0], y - otherFinger[1]) || 1;
      this.zoom(distance(now) / distance(before), [(now[0] + otherFinger[0]) / 2, (now[1] + otherFinger[1]) / 2]);
    } else this.paint();
  }

  keyDown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // shortcuts of the browser
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const arrow = arrows[event.key], step = KEY_STEP * (event.shiftKey ? 5 : 1);
    if (arrow) this.movePoint(this.point[0] + arrow[0] * step, this.point[1] + arrow[1] * step);
    else if (event.key === "+" || event.key === "=") this.zoomAtPoint(1.3);
    else if (event.key === "-") this.zoomAtPoint(1 / 1.3);
    else if (event.key === "Enter") this.canvas.dispatchEvent(new CustomEvent("use-nearest"));
    else return;
    event.preventDefault();
  }

  setPoint(x, y) {
    this.point = [x, y].map((value) => Math.min(Math.max(value, -MAX_COORDINATE), MAX_COORDINATE));
    this.drawPoint();
  }

  movePoint(x, y) {
    this.setPoint(x, y);
    this.onMove(...this.point);
  }

  // The images nearest to a point of the map, in the two shown dimensions, with weights that fall with the distance.
  findNeighbors(x, y) {
    const nearest = []; // [squared distance, index], sorted
    for (let i = 0; i < this.images.count; i++) {
      const distance = (this.coordinate(i, this.dims[0]) - x) ** 2 + (this.coordinate(i, this.dims[1]) - y) ** 2;
      if (nearest.length < NUM_NEIGHBORS || distance < nearest[nearest.length - 1][0]) {
        nearest.push([distance, i]);
        nearest.sort((a, b) => a[0] - b[0]);
        nearest.length = Math.min(nearest.length, NUM_NEIGHBORS);
      }
    }
    return nearest.map(([distance, index]) => ({ index, weight: 1 / (distance + 0.003) }));
  }

  paint() {
    if (!this.side || !this.ratio) return;
    const context = this.canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.side, this.side);
    this.paintZeroLines(context, style.getPropertyValue("--line"));
    this.paintDots(context, style.getPropertyValue("--soft")); // also of images that others cover
    if (this.images.spriteSheet) this.paintThumbnails(context);
    this.drawPoint();
  }

  paintZeroLines(context, color) {
    const [x, y] = this.toScreen(0, 0);
    context.strokeStyle = color;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, this.side);
    context.moveTo(0, y);
    context.lineTo(this.side, y);
    context.stroke();
  }

  // Paint one thumbnail per grid cell, so that they do not cover each other.
  paintThumbnails(context) {
    const { count, spriteSheet, tileSize } = this.images;
    const size = Math.min(Math.max(this.view.scale * 0.26, 22), 72), shownSize = size * 0.94, usedCells = new Set();
    for (let i = 0; i < count; i++) {
      const [x, y] = this.toScreen(this.coordinate(i, this.dims[0]), this.coordinate(i, this.dims[1]));
      if (x < -size || y < -size || x > this.side + size || y > this.side + size) continue;
      const cell = `${Math.round(x / size)},${Math.round(y / size)}`;
      if (usedCells.has(cell)) continue;
      usedCells.add(cell);
      const target = [x - shownSize / 2, y - shownSize / 2, shownSize, shownSize];
      context.drawImage(spriteSheet, ...this.tilePosition(i), tileSize, tileSize, ...target);
    }
  }

  paintDots(context, color) {
    context.fillStyle = color;
    context.globalAlpha = 0.35;
    for (let i = 0; i < this.images.count; i++) {
      const [x, y] = this.toScreen(this.coordinate(i, this.dims[0]), this.coordinate(i, this.dims[1]));
      context.fillRect(x - 1.5, y - 1.5, 3, 3);
    }
    context.globalAlpha = 1;
  }

  // The point is an element above the canvas: moving it does not repaint the map.
  drawPoint() {
    if (!this.ratio) return;
    const [x, y] = this.toScreen(...this.point);
    this.marker.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
  }
}
