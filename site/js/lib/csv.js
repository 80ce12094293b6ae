/** CSV text <-> rows of cells (RFC 4180), as Python's csv module reads and writes them. */

// The line ends of Python's str.splitlines.
// eslint-disable-next-line no-control-regex -- these are line ends to Python
const LINE_END = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/;
const BAD_QUOTES = "a quoted cell has no closing quote";

/**
 * Split a CSV into rows.
 *
 * @param {string} text  cells may be quoted
 * @returns {{line: number, cells: string[], wrong: string}[]}  `line`: from 1; `wrong`: a quote is
 *     not closed, or is followed by something else than a comma
 */
export function parseCsv(text) {
  const rows = [];
  const lines = text.replace(/^\uFEFF/, "").split(LINE_END);
  if (lines.at(-1) === "") lines.pop();
  for (let k = 0; k < lines.length; k++) {
    const cells = lines[k].includes('"') ? quotedCells(lines[k]) : lines[k].split(",");
    rows.push({ line: k + 1, cells: cells ?? [], wrong: cells ? "" : BAD_QUOTES });
  }
  return rows;
}

/** The cells of one line with quotes; no cell spans two lines. Null where the quotes are wrong. */
function quotedCells(line) {
  const cells = [];
  let rest = line;
  for (;;) {
    const match = /^(?:"((?:[^"]|"")*)"|([^",][^,]*|))(,|$)/.exec(rest);
    if (!match) return null;
    cells.push(match[1] === undefined ? match[2] : match[1].replaceAll('""', '"'));
    rest = rest.slice(match[0].length);
    if (match[3] === "") return cells;
  }
}

/** Rows of cells -> CSV text with LF; quotes only where they are needed. */
export function formatCsv(rows) {
  const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  return rows.map((row) => row.map((cell) => quoted(String(cell))).join(",") + "\n").join("");
}
