// A slider for each leading latent dimension, with a strip of images along this dimension (a latent traversal).
"use strict";
import { $, drawPixels, make, makeImageCanvas } from "/dom.js";

export class Sliders {
  // onChange(dim, value) is called when the user moves a slider.
  constructor({ num_slider_dims: numDims, strip_range: range, strip_frames: numFrames, image_size: size }, onChange) {
    this.numDims = numDims;
    this.onChange = onChange;
    // The first and the last image of a strip are at -range and range, so its edges are half an image further out.
    this.max = range * numFrames / (numFrames - 1);
    for (let dim = 0; dim < numDims; dim++) {
      const label = `Images with dimension ${dim + 1} from -${range} to ${range}`;
      $("sliders").append(this.makeSlider(dim, makeImageCanvas(`strip-${dim}`, size * numFrames, size, label)));
    }
  }

  makeSlider(dim, canvas) {
    const input = make("input", { type: "range", id: `dim-${dim}`, min: -this.max, max: this.max, step: 0.05 });
    input.oninput = () => this.onChange(dim, input.valueAsNumber);
    const strip = make("div", { className: "strip" }, canvas, make("span", { className: "marker", id: `marker-${dim}` }));
    const setFromPointer = (event) => {
      const box = strip.getBoundingClientRect(), position = (event.clientX - box.left) / box.width * 2 - 1;
      this.onChange(dim, Math.min(Math.max(position, -1), 1) * this.max);
    };
    strip.onpointerdown = (event) => { strip.setPointerCapture(event.pointerId); setFromPointer(event); };
    strip.onpointermove = (event) => { if (event.buttons) setFromPointer(event); };
    const label = make("label", {}, `Dimension ${dim + 1}`, input, make("output", { id: `value-${dim}` }));
    return make("div", { className: "slider" }, strip, label);
  }

  drawStrip(dim, pixels) { drawPixels($(`strip-${dim}`), pixels); }

  show(latent) {
    for (let dim = 0; dim < this.numDims; dim++) this.showValue(dim, latent[dim]);
  }

  showValue(dim, value) {
    const text = value.toFixed(2), position = Math.min(Math.max(value, -this.max), this.max);
    $(`dim-${dim}`).value = value;
    $(`dim-${dim}`).setAttribute("aria-valuetext", text);
    $(`value-${dim}`).textContent = text;
    $(`marker-${dim}`).style.left = `${(position + this.max) / (2 * this.max) * 100}%`;
  }
}
