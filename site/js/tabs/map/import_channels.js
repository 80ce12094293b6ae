/** Import of channel lists: stations.csv, FDSN POST lines, BREQ_FAST requests. */

import { formatCsv } from "../../lib/csv.js";
import { problem } from "../../request/csv_table.js";
import { COLUMNS, parseStations } from "../../request/stations.js";

/**
 * Read a list in any of the three forms.
 *
 * - stations.csv, with or without its header;
 * - `NET STA LOC CHA START END` a line, as in FDSN requests (lines with = are left out);
 * - BREQ_FAST: `STA NET YYYY MM DD HH MM SS YYYY MM DD HH MM SS N CHA ... [LOC]` (lines with a dot
 *   first are left out).
 *
 * @param {string} text
 * @param {Object} limits  limits.json
 * @returns {{channels: Object[], problems: Object[]}}  as `parseStations`; lines are those of `text`
 */
export function importList(text, limits) {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  const first = lines.find((line) => line.trim() && !/^\s*\./.test(line)) ?? "";
  if (first.includes(",") && !/^\S+\s+\S+\s/.test(first.trim())) return parseStations(text, limits);
  const rows = [];
  const places = []; // the line of every row
  const wrong = [];
  lines.forEach((line, k) => {
    const words = line.trim().split(/\s+/);
    if (!line.trim() || line.trim().startsWith(".") || line.includes("=")) return;
    const read = words.length === 6 ? [words] : breqFast(words);
    if (!read) {
      wrong.push(
        problem(
          "the list",
          k + 1,
          "",
          "",
          "is neither NET STA LOC CHA START END nor a line of BREQ_FAST",
        ),
      );
      return;
    }
    rows.push(...read);
    places.push(...read.map(() => k + 1));
  });
  if (wrong.length || !rows.length)
    return { channels: [], problems: wrong.length ? wrong : parseStations("", limits).problems };
  const { channels, problems } = parseStations(formatCsv([COLUMNS, ...rows]), limits);
  return {
    channels,
    problems: problems.map((one) => ({
      ...one,
      file: "the list",
      line: one.line ? places[one.line - 2] : 0,
    })),
  };
}

/** Rows of one line of BREQ_FAST; null where it has another format. */
function breqFast(words) {
  const [station, network] = words;
  const n = Number(words[14]);
  const channels = words.slice(15, 15 + n);
  if (!(n >= 1) || channels.length !== n || words.length > 16 + n) return null;
  const times = [words.slice(2, 8), words.slice(8, 14)].map(
    ([year, month, day, hour, minute, second]) => {
      const two = (part) => part.padStart(2, "0");
      const [whole, fraction] = second.split(".");
      const rest = Number(fraction ?? 0) ? `.${fraction}` : "";
      return `${year}-${two(month)}-${two(day)}T${two(hour)}:${two(minute)}:${two(whole)}${rest}`;
    },
  );
  return channels.map((channel) => [network, station, words[15 + n] ?? "", channel, ...times]);
}

/** The text of a file; a SyntaxError where it is not UTF-8. */
export function decode(bytes) {
  const [a, b] = new Uint8Array(bytes.slice(0, 2));
  if ((a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff))
    throw new SyntaxError("is UTF-16; save it as UTF-8");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new SyntaxError("is not UTF-8 text; save it as UTF-8");
  }
}
