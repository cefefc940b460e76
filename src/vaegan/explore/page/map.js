// The map: faces at two of their latents, drawn as thumbnails where there is room, else as dots.
"use strict";

const KEY_STEP = 0.1, MANY = 6;

export class FaceMap {
  constructor(canvas, moved) {
    this.canvas = canvas;
    this.moved = moved;
    this.faces = { count: 0, length: 0, latents: new Float32Array(0), tile: 1, columns: 1, sprite: null };
    this.axes = [0, 1];
    this.point = [0, 0];
    this.view = { x: 0, y: 0, scale: 0 };
    this.marker = canvas.parentElement.querySelector(".point");
    this.pointers = new Map();
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * 0.0015), this.place(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  show(faces, axes) {
    this.faces = faces;
    this.axes = axes;
    this.whole();
  }

  at(face, axis) { return this.faces.latents[face * this.faces.length + axis]; }

  resize() {
    const ratio = devicePixelRatio || 1, side = this.canvas.clientWidth;
    if (!side) return;
    this.ratio = ratio;
    this.side = side;
    this.canvas.width = this.canvas.height = Math.round(side * ratio);
    if (!this.view.scale) this.whole();
    this.paint();
  }

  // All faces but the outermost in a hundred.
  whole() {
    const { count } = this.faces, reach = [3, 3];
    if (count > 20) {
      this.axes.forEach((axis, k) => {
        const far = Array.from({ length: count }, (_, face) => Math.abs(this.at(face, axis))).sort((a, b) => a - b);
        reach[k] = far[Math.floor(count * 0.99)] * 1.08;
      });
    }
    this.view = { x: 0, y: 0, scale: (this.side || 400) / 2 / Math.max(...reach, 0.5) };
    this.paint();
  }

  zoom(factor, about = [this.side / 2, this.side / 2]) {
    const before = this.world(about);
    this.view.scale = Math.min(Math.max(this.view.scale * factor, 8), 4000);
    const after = this.world(about);
    this.view.x += before[0] - after[0];
    this.view.y += before[1] - after[1];
    this.paint();
  }

  screen(x, y) { return [this.side / 2 + (x - this.view.x) * this.view.scale, this.side / 2 - (y - this.view.y) * this.view.scale]; }
  world([a, b]) { return [(a - this.side / 2) / this.view.scale + this.view.x, (this.side / 2 - b) / this.view.scale + this.view.y]; }
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.side / box.width, (event.clientY - box.top) * this.side / box.height];
  }

  down(event) {
    if (event.button > 1) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.place(event));
    this.panning = event.shiftKey || event.button === 1 || this.pointers.size > 1;
    if (!this.panning) this.moveTo(...this.world(this.place(event)), true);
  }

  move(event) {
    const old = this.pointers.get(event.pointerId), now = this.place(event);
    if (!old) return;
    if (!this.panning) {
      this.pointers.set(event.pointerId, now);
      this.moveTo(...this.world(now), true);
      return;
    }
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    this.view.x -= (now[0] - old[0]) / this.view.scale / (other ? 2 : 1);
    this.view.y += (now[1] - old[1]) / this.view.scale / (other ? 2 : 1);
    if (other) {
      const far = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
      this.zoom(far(now) / far(old), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
    } else this.paint();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // the browser's own
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const step = KEY_STEP * (event.shiftKey ? 5 : 1);
    if (ways[event.key]) this.moveTo(this.point[0] + ways[event.key][0] * step, this.point[1] + ways[event.key][1] * step, true);
    else if (event.key === "+" || event.key === "=") this.zoom(1.3);
    else if (event.key === "-") this.zoom(1 / 1.3);
    else if (event.key === "Enter") this.canvas.dispatchEvent(new CustomEvent("take"));
    else return;
    event.preventDefault();
  }

  moveTo(x, y, tell = false) {
    this.point = [x, y].map((value) => Math.min(Math.max(value, -8), 8));
    if (tell) this.moved(...this.point);
    this.draw();
  }

  // The faces nearest to the point on the map, and how much each counts.
  around(x, y) {
    const best = [];
    for (let face = 0; face < this.faces.count; face++) {
      const far = (this.at(face, this.axes[0]) - x) ** 2 + (this.at(face, this.axes[1]) - y) ** 2;
      if (best.length < MANY || far < best[best.length - 1][0]) {
        best.push([far, face]);
        best.sort((a, b) => a[0] - b[0]);
        best.length = Math.min(best.length, MANY);
      }
    }
    return best.map(([far, face]) => ({ face, weight: 1 / (far + 0.003) }));
  }

  paint() {
    if (!this.side || !this.ratio) return;
    const brush = this.canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    const { count, sprite, tile, columns } = this.faces;
    brush.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    brush.clearRect(0, 0, this.side, this.side);
    brush.strokeStyle = style.getPropertyValue("--line");
    const [zx, zy] = this.screen(0, 0);
    brush.beginPath();
    brush.moveTo(zx, 0); brush.lineTo(zx, this.side); brush.moveTo(0, zy); brush.lineTo(this.side, zy);
    brush.stroke();
    const size = Math.min(Math.max(this.view.scale * 0.26, 22), 72), taken = new Set(), left = [];
    for (let face = 0; face < count; face++) {
      const [x, y] = this.screen(this.at(face, this.axes[0]), this.at(face, this.axes[1]));
      if (x < -size || y < -size || x > this.side + size || y > this.side + size) continue;
      const cell = `${Math.round(x / size)},${Math.round(y / size)}`;
      if (taken.has(cell) || !sprite) { left.push([x, y]); continue; }
      taken.add(cell);
      const from = [(face % columns) * tile, Math.floor(face / columns) * tile];
      brush.drawImage(sprite, ...from, tile, tile, x - size * 0.47, y - size * 0.47, size * 0.94, size * 0.94);
    }
    brush.fillStyle = style.getPropertyValue("--soft");
    brush.globalAlpha = 0.35;
    if (!sprite) for (const [x, y] of left) brush.fillRect(x - 1.5, y - 1.5, 3, 3);
    brush.globalAlpha = 1;
    this.draw();
  }

  // The point is an element above the canvas: moving it draws nothing anew.
  draw() {
    if (!this.ratio) return;
    const [x, y] = this.screen(...this.point);
    this.marker.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
  }
}
