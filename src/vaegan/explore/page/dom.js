// Helpers for the elements of the page.
"use strict";

export const $ = (id) => document.getElementById(id);

// Create an element. `label` is its accessible name.
export function make(tag, { label = "", ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  if (label) element.setAttribute("aria-label", label);
  element.append(...children);
  return element;
}

// Create a canvas that screen readers treat as an image.
export function makeImageCanvas(id, width, height, label) {
  const canvas = make("canvas", { id, width, height, label });
  canvas.setAttribute("role", "img");
  return canvas;
}

export function drawPixels(canvas, pixels) {
  canvas.getContext("2d").putImageData(new ImageData(pixels, canvas.width, canvas.height), 0, 0);
}

export function setStatus(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}
