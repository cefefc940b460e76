// A slider for each attribute, and the faces from which the user makes a new one.
"use strict";
import { $, make } from "/dom.js";

const THUMBNAIL_SIZE = 40;

export class Attributes {
  // onChange(latent) is called when the user moves a slider, onMark(name, more, less) to make a new attribute.
  constructor(attributes, { onChange, onMark }) {
    this.onChange = onChange;
    this.attributes = [];
    this.marked = { more: [], less: [] };
    attributes.forEach((attribute) => this.add(attribute));
    for (const side of ["more", "less"]) $(`clear-${side}`).onclick = () => this.clear(side);
    $("make-attribute").onclick = () => {
      const latents = (side) => this.marked[side].map((latent) => [...latent]);
      return onMark($("attribute-name").value, latents("more"), latents("less"));
    };
    $("attribute-name").oninput = () => this.showMarked();
    this.showMarked();
  }

  // Add a slider; one of the same title is replaced.
  add(attribute) {
    const known = this.attributes.findIndex(({ title }) => title === attribute.title);
    const input = make("input", {
      type: "range", min: attribute.min, max: attribute.max, step: (attribute.max - attribute.min) / 200,
    });
    const reading = make("output");
    const row = make("label", { className: "attribute" }, make("span", { textContent: attribute.title }), input, reading);
    const item = { ...attribute, input, reading, row };
    input.oninput = () => this.onChange(this.moved(item, input.valueAsNumber));
    if (known < 0) {
      this.attributes.push(item);
      $("attribute-sliders").append(row);
    } else {
      this.attributes[known].row.replaceWith(row);
      this.attributes[known] = item;
    }
    $("no-attributes").hidden = this.attributes.length > 0;
    if (this.latent) this.showOne(item);
  }

  score({ weight, bias }, latent) {
    return weight.reduce((sum, value, i) => sum + value * latent[i], bias);
  }

  // The latent with an attribute's score changed by the shortest step.
  moved(attribute, score) {
    const change = score - this.score(attribute, this.latent);
    return this.latent.map((value, i) => value + change * attribute.direction[i]);
  }

  show(latent) {
    this.latent = Float32Array.from(latent);
    this.attributes.forEach((attribute) => this.showOne(attribute));
  }

  showOne({ input, reading, kind, ...attribute }) {
    const score = this.score(attribute, this.latent);
    const text = kind === "numeric" ? score.toPrecision(3) : `${Math.round(100 / (1 + Math.exp(-score)))} %`;
    if (document.activeElement !== input) input.value = score;
    input.setAttribute("aria-valuetext", text);
    reading.textContent = text;
  }

  // Remember the current face as one that has more, or less, of what the user has in mind.
  mark(side, latent, face) {
    const thumbnail = make("canvas", { width: THUMBNAIL_SIZE, height: THUMBNAIL_SIZE });
    thumbnail.getContext("2d").drawImage(face, 0, 0, THUMBNAIL_SIZE, THUMBNAIL_SIZE);
    const copy = Float32Array.from(latent);
    const button = make("button", { label: `Remove this face from ${side}` }, thumbnail);
    button.onclick = () => {
      this.marked[side] = this.marked[side].filter((other) => other !== copy);
      button.remove();
      this.showMarked();
    };
    this.marked[side].push(copy);
    $(`marked-${side}`).append(button);
    this.showMarked();
  }

  clear(side) {
    this.marked[side] = [];
    $(`marked-${side}`).replaceChildren();
    this.showMarked();
  }

  showMarked() {
    const { more, less } = this.marked;
    $("make-attribute").disabled = !(more.length && less.length && $("attribute-name").value.trim());
    for (const side of ["more", "less"]) $(`clear-${side}`).hidden = !this.marked[side].length;
  }
}
