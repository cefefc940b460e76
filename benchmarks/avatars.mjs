// Draw avatars of other artists, as a dataset of faces that no default of vaegan was chosen on.
//
//   npm install @dicebear/core@9 @dicebear/collection@9 @resvg/resvg-js
//   node benchmarks/avatars.mjs adventurer 8000 avatars
//
// It writes PNG files of 64x64 pixels into the folder, and what each shows into a CSV file beside it, the labels of
// `python -m benchmarks.judges`. Several styles are joined by commas; then each has that many avatars.
import fs from "node:fs";
import * as styles from "@dicebear/collection";
import { createAvatar } from "@dicebear/core";
import { Resvg } from "@resvg/resvg-js";

const SIZE = 64;
const BACKGROUNDS = ["b6e3f4", "c0aede", "d1d4f9", "ffd5dc", "ffdfbf"];
const MAX_VALUES = 50; // labels with more values have too few images of each

const [names, count, folder] = process.argv.slice(2);
if (!folder || !(Number(count) > 0) || names.split(",").some((name) => !(name in styles))) {
  console.error(`usage: node avatars.mjs STYLE[,STYLE...] COUNT FOLDER; styles: ${Object.keys(styles).join(", ")}`);
  process.exit(2);
}
fs.mkdirSync(folder, { recursive: true });
const rows = [];
for (const style of names.split(",")) {
  for (let index = 0; index < Number(count); index++) {
    const avatar = createAvatar(styles[style], { seed: `${style}${index}`, backgroundColor: BACKGROUNDS });
    const image = new Resvg(avatar.toString(), { fitTo: { mode: "width", value: SIZE } }).render();
    const file = `${style}-${String(index).padStart(5, "0")}.png`;
    fs.writeFileSync(`${folder}/${file}`, image.asPng());
    rows.push({ file, style, ...avatar.toJson().extra });
  }
}

const text = (value) => String(value ?? "none").replaceAll(",", "+");
const keys = [...new Set(rows.flatMap(Object.keys))].filter((key) => {
  const numValues = new Set(rows.map((row) => text(row[key]))).size;
  return key === "file" || (numValues > 1 && numValues <= MAX_VALUES);
});
const lines = [keys, ...rows.map((row) => keys.map((key) => text(row[key])))];
fs.writeFileSync(`${folder}.csv`, lines.map((line) => line.join(",") + "\n").join(""));
