// Draw avatars of other artists: datasets of faces for which no default of vaegan was chosen. One style is not new any
// more: modulation was chosen with "adventurer", among others.
//
//   mkdir avatars && cp benchmarks/avatars.mjs avatars && cd avatars
//   npm install @dicebear/core@9.4.3 @dicebear/collection@9.4.3 @resvg/resvg-js@2.6.2
//   node avatars.mjs lorelei 8000 lorelei
//
// It writes PNG files of 64x64 pixels into the folder. A CSV file beside it holds what each shows: the labels of
// `python -m benchmarks.judges`. Several styles are joined by commas; then each has that many avatars. Every style has
// its own license, see the folders of node_modules/@dicebear.
import fs from "node:fs";
import * as styles from "@dicebear/collection";
import { createAvatar } from "@dicebear/core";
import { Resvg } from "@resvg/resvg-js";

const SIZE = 64;
const BACKGROUNDS = ["b6e3f4", "c0aede", "d1d4f9", "ffd5dc", "ffdfbf"];
const UNSEEN = ["secondaryBackgroundColor", "backgroundRotation"]; // of gradients, and there are none
const MAX_VALUES = 40; // benchmarks.judges leaves out labels with more

const [names, count, path] = process.argv.slice(2);
const folder = path?.replace(/\/+$/, "");
if (!folder || !(Number.isInteger(Number(count)) && Number(count) > 0) || names.split(",").some((name) => !(name in styles))) {
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
  return key === "file" || (numValues > 1 && numValues <= MAX_VALUES && !UNSEEN.includes(key));
});
const lines = [keys, ...rows.map((row) => keys.map((key) => text(row[key])))];
fs.writeFileSync(`${folder}.csv`, lines.map((line) => line.join(",") + "\n").join(""));
