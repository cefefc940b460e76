// The socket: only the newest latent is ever sent, and faces are drawn once a frame of the screen.
"use strict";

const FACE = 1, STRIPS = 2, HEAD = 8, IN_FLIGHT = 2, PATIENCE = [500, 5000];

export class Live {
  // Handlers: face(pixels, rate), strip(axis, pixels), linked(yes), wrong(words).
  constructor(axes, handlers) {
    this.axes = axes;
    this.handlers = handlers;
    this.pause = PATIENCE[0];
    this.latent = null;
    this.decoder = 0;
    this.sent = 0;
    this.strips = { number: 0, left: 0 };
    this.due = { face: false, strips: false };
    this.face = null;
    this.shown = [];
    this.connect();
  }

  connect() {
    this.socket = new WebSocket(`ws://${location.host}/live`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.pause = PATIENCE[0];
      this.drawn = this.sent;
      this.strips.left = 0;
      this.handlers.linked(true);
      this.want(this.latent, this.decoder);
    };
    this.socket.onmessage = ({ data }) => (typeof data === "string" ? this.handlers.wrong(JSON.parse(data).error) : this.arrived(data));
    this.socket.onclose = () => {
      this.handlers.linked(false);
      setTimeout(() => this.connect(), this.pause);
      this.pause = Math.min(this.pause * 1.6, PATIENCE[1]);
    };
  }

  // Show this latent as soon as there is room for it; `face` false: its strips only.
  want(latent, decoder, face = true) {
    this.latent = latent;
    this.decoder = decoder;
    this.due.face ||= face;
    this.due.strips = true;
    this.flush();
  }

  flush() {
    if (!this.latent || this.socket.readyState !== WebSocket.OPEN) return;
    if (this.due.face && this.sent - this.drawn < IN_FLIGHT) {
      this.due.face = false;
      this.sent += 1;
      this.send(FACE, this.sent);
    }
    if (this.due.strips && this.strips.left <= 0) {
      this.due.strips = false;
      this.strips = { number: this.strips.number + 1, left: this.axes };
      this.send(STRIPS, this.strips.number);
    }
  }

  send(kind, number) {
    const content = new ArrayBuffer(HEAD + 4 * this.latent.length), head = new DataView(content);
    head.setUint8(0, kind);
    head.setUint8(1, this.decoder);
    head.setUint32(4, number, true);
    new Float32Array(content, HEAD).set(this.latent);
    this.socket.send(content);
  }

  arrived(content) {
    const head = new DataView(content), number = head.getUint32(4, true), pixels = new Uint8ClampedArray(content, HEAD);
    if (head.getUint8(0) === FACE) {
      if (!this.face) requestAnimationFrame(() => this.draw());
      this.face = { number, pixels };
    } else {
      this.handlers.strip(head.getUint8(1), pixels);
      if (number === this.strips.number && --this.strips.left === 0) this.flush();
    }
  }

  // A face answers for all that were asked for before it: the server skips what is no longer wanted.
  draw() {
    const { number, pixels } = this.face, now = performance.now();
    this.face = null;
    this.drawn = Math.max(this.drawn, number);
    this.shown.push(now);
    while (this.shown[0] < now - 1000) this.shown.shift();
    this.handlers.face(pixels, this.shown.length);
    this.flush();
  }
}
