"use strict";
// Line charts: show the values at the position under the pointer, or under a cursor that the arrow keys move.
for (const figure of document.querySelectorAll("figure.lines")) {
  const { lines, width } = JSON.parse(figure.querySelector("script").textContent);
  const svg = figure.querySelector("svg"), cursor = svg.querySelector(".cursor"), dots = svg.querySelectorAll("circle");
  const values = figure.querySelectorAll("ul.legend b"), position = figure.querySelector(".position");
  const lastPosition = position.textContent, lastValues = [...values].map((value) => value.textContent);
  const xs = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
  let current = xs.length - 1;
  const nearest = (all, x) => all.reduce((best, value, i) => (Math.abs(value - x) < Math.abs(all[best] - x) ? i : best), 0);
  const show = (x) => {
    cursor.setAttribute("x1", x); cursor.setAttribute("x2", x); cursor.style.display = "";
    lines.forEach((line, i) => {
      const k = nearest(line.x, x);
      values[i].textContent = line.value[k];
      dots[i].setAttribute("cx", line.x[k]); dots[i].setAttribute("cy", line.y[k]); dots[i].style.display = "";
      if (i === 0) position.textContent = line.position[k];
    });
  };
  const hide = () => {
    cursor.style.display = "none"; position.textContent = lastPosition;
    dots.forEach((dot) => { dot.style.display = "none"; });
    values.forEach((value, i) => { value.textContent = lastValues[i]; });
  };
  svg.addEventListener("pointermove", (event) => {
    const frame = svg.getBoundingClientRect();
    current = nearest(xs, (event.clientX - frame.left) / frame.width * width);
    show(xs[current]);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    event.preventDefault();
    current = Math.min(xs.length - 1, Math.max(0, current + move));
    show(xs[current]);
  });
}
// Previews during training: a slider, or played as an animation.
for (const player of document.querySelectorAll(".player")) {
  const frames = player.querySelectorAll(".frames img"), slider = player.querySelector("input");
  const output = player.querySelector("output"), button = player.querySelector("button");
  let timer = 0;
  const show = () => {
    frames.forEach((frame, i) => { frame.hidden = i !== slider.valueAsNumber; });
    output.textContent = frames[slider.valueAsNumber].alt;
    slider.setAttribute("aria-valuetext", output.textContent);
  };
  const stop = () => { clearInterval(timer); timer = 0; button.textContent = "Play"; };
  slider.addEventListener("input", () => { stop(); show(); });
  button.addEventListener("click", () => {
    if (timer) return stop();
    if (slider.value === slider.max) slider.value = 0;
    button.textContent = "Pause";
    show();
    timer = setInterval(() => {
      slider.valueAsNumber += 1;
      show();
      if (slider.value === slider.max) stop();
    }, 600);
  });
  player.querySelector(".controls").hidden = false;
}
