// Arithmetic of latents.
"use strict";

const norm = (latent) => Math.hypot(...latent);

// Weighted mean of latents, rescaled to their mean norm: a plain mean is shorter than the latents seen in training.
export function weightedMean(latents, weights) {
  const totalWeight = weights.reduce((a, b) => a + b, 0) || 1, mean = new Float32Array(latents[0].length);
  let meanNorm = 0;
  latents.forEach((latent, i) => {
    const weight = weights[i] / totalWeight;
    meanNorm += weight * norm(latent);
    for (let k = 0; k < mean.length; k++) mean[k] += weight * latent[k];
  });
  const scale = meanNorm / (norm(mean) || 1);
  return mean.map((value) => value * scale);
}

// Spherical interpolation from a (t = 0) to b (t = 1), with linear interpolation of the norm, as vaegan interpolate does.
export function slerp(a, b, t) {
  const normA = norm(a), normB = norm(b);
  let dot = 0;
  for (let k = 0; k < a.length; k++) dot += (a[k] / (normA || 1)) * (b[k] / (normB || 1));
  const angle = Math.acos(Math.min(1, Math.max(-1, dot)));
  const isDegenerate = normA < 1e-6 || normB < 1e-6 || angle < 1e-4 || Math.PI - angle < 1e-4;
  if (isDegenerate) return a.map((value, k) => value + (b[k] - value) * t);
  const weightA = Math.sin((1 - t) * angle) / Math.sin(angle), weightB = Math.sin(t * angle) / Math.sin(angle);
  const length = (1 - t) * normA + t * normB;
  return a.map((value, k) => (weightA * value / normA + weightB * b[k] / normB) * length);
}

// Index of the nearest of `count` latents, which lie one after another in `latents`; -1 if there are none.
export function findNearest({ count, latentDim, latents }, latent) {
  let nearest = -1, minDistance = Infinity;
  for (let i = 0; i < count; i++) {
    let distance = 0;
    for (let k = 0; k < latentDim && distance < minDistance; k++) distance += (latents[i * latentDim + k] - latent[k]) ** 2;
    if (distance < minDistance) { minDistance = distance; nearest = i; }
  }
  return nearest;
}
