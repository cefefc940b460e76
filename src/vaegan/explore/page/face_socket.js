// The WebSocket: sends the newest latent, receives images and strips. See websocket.py for the messages.
"use strict";

const FACE = 1, STRIPS = 2, HEADER_BYTES = 8;
const MAX_IN_FLIGHT = 2; // face requests that are not answered yet
const MIN_RECONNECT_MS = 500, MAX_RECONNECT_MS = 5000;

export class FaceSocket {
  // Handlers: onFaces(pixels, facesPerSecond), onStrip(dim, pixels), onConnection(isConnected), onError(message).
  constructor(numStrips, handlers) {
    this.numStrips = numStrips;
    this.handlers = handlers;
    this.reconnectMs = MIN_RECONNECT_MS;
    this.latent = null;
    this.decoder = 0;
    this.classNumber = 0;
    this.needsFace = false;
    this.needsStrips = false;
    this.lastSent = 0; // number of the newest face request
    this.lastShown = 0; // number of the newest face on the screen
    this.strips = { number: 0, numMissing: 0 };
    this.newestFace = null; // received, but not drawn yet
    this.drawTimes = [];
    this.connect();
  }

  connect() {
    this.socket = new WebSocket(`ws://${location.host}/live`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.reconnectMs = MIN_RECONNECT_MS;
      this.lastShown = this.lastSent;
      this.strips.numMissing = 0;
      this.handlers.onConnection(true);
      this.request(this.latent, this.decoder, this.classNumber);
    };
    this.socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.handlers.onError(JSON.parse(data).error);
      else this.receive(data);
    };
    this.socket.onclose = () => {
      this.handlers.onConnection(false);
      setTimeout(() => this.connect(), this.reconnectMs);
      this.reconnectMs = Math.min(this.reconnectMs * 1.6, MAX_RECONNECT_MS);
    };
  }

  // Request the images and strips of a latent; `withFace` false: only the strips.
  request(latent, decoder, classNumber, withFace = true) {
    this.latent = latent;
    this.decoder = decoder;
    this.classNumber = classNumber;
    this.needsFace ||= withFace;
    this.needsStrips = true;
    this.sendRequests();
  }

  sendRequests() {
    if (!this.latent || this.socket.readyState !== WebSocket.OPEN) return;
    if (this.needsFace && this.lastSent - this.lastShown < MAX_IN_FLIGHT) {
      this.needsFace = false;
      this.lastSent += 1;
      this.send(FACE, this.lastSent);
    }
    if (this.needsStrips && this.strips.numMissing <= 0) {
      this.needsStrips = false;
      this.strips = { number: this.strips.number + 1, numMissing: this.numStrips };
      this.send(STRIPS, this.strips.number);
    }
  }

  send(kind, number) {
    const message = new ArrayBuffer(HEADER_BYTES + 4 * this.latent.length), header = new DataView(message);
    header.setUint8(0, kind);
    header.setUint8(1, this.decoder);
    header.setUint16(2, this.classNumber, true);
    header.setUint32(4, number, true);
    new Float32Array(message, HEADER_BYTES).set(this.latent);
    this.socket.send(message);
  }

  receive(message) {
    const header = new DataView(message), number = header.getUint32(4, true);
    const pixels = new Uint8ClampedArray(message, HEADER_BYTES);
    if (header.getUint8(0) === FACE) {
      if (!this.newestFace) requestAnimationFrame(() => this.draw());
      this.newestFace = { number, pixels };
    } else {
      this.handlers.onStrip(header.getUint8(1), pixels);
      if (number === this.strips.number && --this.strips.numMissing === 0) this.sendRequests();
    }
  }

  // Draw once per screen frame. A face also answers older requests, because the server skips outdated ones.
  draw() {
    const { number, pixels } = this.newestFace, now = performance.now();
    this.newestFace = null;
    this.lastShown = Math.max(this.lastShown, number);
    this.drawTimes.push(now);
    while (this.drawTimes[0] < now - 1000) this.drawTimes.shift();
    this.handlers.onFaces(pixels, this.drawTimes.length);
    this.sendRequests();
  }
}
