"use strict";
// Charts: the value of every line under the pointer, or under a cursor that the arrow keys move.
for (const figure of document.querySelectorAll("figure.chart")) {
  const { lines, box } = JSON.parse(figure.querySelector("script").textContent);
  const svg = figure.querySelector("svg"), cursor = svg.querySelector(".cursor");
  const values = figure.querySelectorAll("ul.legend b"), dots = svg.querySelectorAll("circle"), at = figure.querySelector(".at");
  const last = at.textContent, ends = [...values].map((value) => value.textContent);
  const places = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
  let where = places.length - 1;
  const nearest = (all, x) => all.reduce((best, value, i) => (Math.abs(value - x) < Math.abs(all[best] - x) ? i : best), 0);
  const show = (x) => {
    cursor.setAttribute("x1", x); cursor.setAttribute("x2", x); cursor.style.display = "";
    lines.forEach((line, i) => {
      const k = nearest(line.x, x);
      values[i].textContent = line.value[k];
      dots[i].setAttribute("cx", line.x[k]); dots[i].setAttribute("cy", line.y[k]); dots[i].style.display = "";
      if (i === 0) at.textContent = line.at[k];
    });
  };
  const hide = () => {
    cursor.style.display = "none"; at.textContent = last;
    dots.forEach((dot) => { dot.style.display = "none"; });
    values.forEach((value, i) => { value.textContent = ends[i]; });
  };
  svg.addEventListener("pointermove", (event) => {
    const frame = svg.getBoundingClientRect();
    where = nearest(places, (event.clientX - frame.left) / frame.width * box);
    show(places[where]);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    where = Math.min(places.length - 1, Math.max(0, where + way));
    show(places[where]);
  });
}
// Previews over training time: one at a time, by hand or played.
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
