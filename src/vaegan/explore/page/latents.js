// Latents: how far apart, mixed, and on the way from one to another.
"use strict";

const norm = (latent) => Math.hypot(...latent);

// A mean of latents, as long as they are on average: a plain mean is shorter than anything that was trained on.
export function mixed(latents, weights) {
  const total = weights.reduce((a, b) => a + b, 0) || 1, sum = new Float32Array(latents[0].length);
  let length = 0;
  latents.forEach((latent, i) => {
    const share = weights[i] / total;
    length += share * norm(latent);
    for (let k = 0; k < sum.length; k++) sum[k] += share * latent[k];
  });
  const scale = length / (norm(sum) || 1);
  return sum.map((value) => value * scale);
}

// The great arc from a to b, its length interpolated too: what vaegan interpolate walks on.
export function between(a, b, t) {
  const la = norm(a), lb = norm(b);
  let dot = 0;
  for (let k = 0; k < a.length; k++) dot += (a[k] / (la || 1)) * (b[k] / (lb || 1));
  const angle = Math.acos(Math.min(1, Math.max(-1, dot)));
  if (la < 1e-6 || lb < 1e-6 || angle < 1e-4 || Math.PI - angle < 1e-4) return a.map((value, k) => value + (b[k] - value) * t);
  const left = Math.sin((1 - t) * angle) / Math.sin(angle), right = Math.sin(t * angle) / Math.sin(angle), length = (1 - t) * la + t * lb;
  return a.map((value, k) => (left * value / la + right * b[k] / lb) * length);
}

// The row of `latents`, `length` numbers each, that is nearest to a latent; -1 where there is none.
export function closest({ count, length, latents }, latent) {
  let best = -1, least = Infinity;
  for (let face = 0; face < count; face++) {
    let far = 0;
    for (let k = 0; k < length && far < least; k++) far += (latents[face * length + k] - latent[k]) ** 2;
    if (far < least) { least = far; best = face; }
  }
  return best;
}
