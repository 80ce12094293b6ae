/** CSV text -> rows and values, each checked by itself, as the worker checks them (csvtable.py). */

import { parseCsv } from "./csv.js";
import { general, shortest } from "./numbers.js";

const NUMBER = /^[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,4})?$/;
const JOB_ID = /^[0-9]{1,16}$/;
const INTERVAL = /^[1-9][0-9]{0,3}(h|D|ME)$/;
const CHANNEL = "[A-Z0-9]{1,8}\\.[A-Z0-9]{1,8}\\.[A-Z0-9]{0,2}\\.[A-Z0-9]{1,3}";
const LISTS = {
  channels: [new RegExp(`^${CHANNEL}$`), "NO.NAO00..BHZ;NO.NAO01..BHZ"],
  pairs: [new RegExp(`^${CHANNEL}\\|${CHANNEL}$`), "NO.NAO00..BHZ|NO.NAO01..BHZ"],
};
const MAX_LISTED = 20;

/**
 * One thing wrong in a file.
 *
 * @typedef {Object} Problem
 * @property {string} file
 * @property {number} line    1 is the first line; 0 speaks of the whole file
 * @property {string} column  as in the header; empty where the whole line is meant
 * @property {string} value
 * @property {string} need    what is needed, to read after the value
 */

/** @returns {Problem} */
export function problem(file, line, column, value, need) {
  return { file, line, column, value, need };
}

/** A problem as a sentence, the one that the worker would write. */
export function problemText({ file, line, column, value, need }) {
  const where = line ? `${file} line ${line}` : file;
  const what = [
    column,
    value || column ? ascii(value.length <= 40 ? value : `${value.slice(0, 37)}...`) : "",
  ]
    .filter(Boolean)
    .join(" ");
  return what ? `${where}: ${what} ${need}` : `${where}: ${need}`;
}

/** A text in quotes, as Python's `ascii` shows it. */
function ascii(text) {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const named = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  const shown = [...text].map((char) => {
    const code = char.codePointAt(0);
    if (char === quote) return `\\${char}`;
    if (named[char]) return named[char];
    if (code >= 32 && code < 127) return char;
    const [mark, width] = code < 256 ? ["x", 2] : code < 65536 ? ["u", 4] : ["U", 8];
    return `\\${mark}${code.toString(16).padStart(width, "0")}`;
  });
  return quote + shown.join("") + quote;
}

/**
 * The rows of a CSV with their line numbers, by column name, and what is wrong with its shape.
 *
 * A file without a header line is read as if it had the required columns in their order.
 *
 * @param {string} file  its name, for messages
 * @param {string} text
 * @param {string[]} required
 * @param {string[]} optional
 * @param {Object} limits  the section `stations` of limits.json
 * @returns {{rows: [number, Object<string, string>][], problems: Problem[]}}
 */
export function rowsOf(file, text, required, optional, limits) {
  const no = (need) => ({ rows: [], problems: [problem(file, 0, "", "", need)] });
  if (new Blob([text]).size > limits.max_bytes)
    return no(`is larger than ${limits.max_bytes} bytes`);
  if (text.includes("\0")) return no("holds NUL bytes; it must be text in UTF-8");
  let table;
  try {
    table = parseCsv(text).map(({ line, cells }) => ({
      line,
      cells: cells.map((cell) => cell.trim()),
    }));
  } catch (error) {
    return no(`is not CSV: ${error.message}`);
  }
  if (table.length > limits.max_rows + 1) return no(`has more than ${limits.max_rows} rows`);
  table = table.filter(({ cells }) => cells.some(Boolean));
  if (!table.length) return no("is empty");
  const known = [...required, ...optional];
  let header = table[0].cells;
  const headLine = table[0].line;
  if (header.some((name) => known.includes(name))) table.shift();
  else header = required;
  const problems = headerProblems(file, headLine, header, required, known);
  if (problems.length) return { rows: [], problems };
  const rows = [];
  for (const { line, cells } of table) {
    if (cells.length === header.length)
      rows.push([line, Object.fromEntries(header.map((name, k) => [name, cells[k]]))]);
    else
      problems.push(
        problem(
          file,
          line,
          "",
          "",
          `has ${cells.length} fields; ${header.length} are needed: ${header.join(",")}`,
        ),
      );
  }
  return { rows, problems };
}

function headerProblems(file, line, header, required, known) {
  const most = 2 * known.length;
  if (header.length > most)
    return [problem(file, line, "", "", `has ${header.length} columns; at most ${most} are read`)];
  const problems = required
    .filter((name) => !header.includes(name))
    .map((name) => problem(file, line, "", "", `lacks the column ${name}`));
  header.forEach((name, k) => {
    if (!known.includes(name)) {
      problems.push(
        problem(
          file,
          line,
          "",
          name || " ",
          `is not a column of this file; it may have ${known.join(", ")}`,
        ),
      );
    } else if (header.indexOf(name) < k) {
      problems.push(problem(file, line, name, name, "stands twice in the header"));
    }
  });
  return problems;
}

/**
 * The values of a file of one row, each checked by itself.
 *
 * @param {string} file
 * @param {string} text
 * @param {Object} section  of limits.json, such as `params`
 * @param {Object} limits   all of limits.json
 * @returns {{values: Object|null, line: number, problems: Problem[]}}  `values`: null where there
 *     are problems; `line`: where they stand
 */
export function oneRow(file, text, section, limits) {
  const required = Object.keys(section).filter((name) => section[name].required);
  const optional = Object.keys(section).filter((name) => !section[name].required);
  const { rows, problems } = rowsOf(file, text, required, optional, limits.stations);
  if (!problems.length && rows.length !== 1) {
    problems.push(problem(file, 0, "", "", `has ${rows.length} rows of values; it must have one`));
  }
  if (problems.length) return { values: null, line: 0, problems };
  const [line, row] = rows[0];
  const checked = checkRow(row, section);
  return { ...checked, line, problems: checked.problems.map((one) => ({ ...one, file, line })) };
}

/**
 * Texts by name -> values, with defaults for what is optional and empty or not given.
 *
 * @param {Object<string, string>} row
 * @param {Object} section  of limits.json
 * @returns {{values: Object|null, problems: {column: string, value: string, need: string}[]}}
 */
export function checkRow(row, section) {
  const values = {};
  const problems = [];
  for (const [name, text] of Object.entries(row)) {
    if (!text && !section[name].required) continue;
    try {
      values[name] = parseValue(section[name], text);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      problems.push({ column: name, value: text, need: error.message });
    }
  }
  if (problems.length) return { values: null, problems };
  for (const [name, limit] of Object.entries(section)) {
    if (!limit.required && values[name] === undefined) values[name] = defaultOf(limit);
  }
  return { values, problems };
}

/** The value of a column that is empty or not there. */
export function defaultOf(limit) {
  return limit.kind === "components" || limit.kind in LISTS ? [] : limit.default;
}

/** The value that a text means; a RangeError says what is needed instead. */
function parseValue(limit, text) {
  const parse = {
    number() {
      const number = parseNumber(text);
      if (number === null)
        throw new RangeError(`is not a finite number (${limit.help}, in ${limit.unit})`);
      const need = outOf(limit, number);
      if (need) throw new RangeError(need);
      return number;
    },
    flag() {
      if (!["true", "false"].includes(text.toLowerCase()))
        throw new RangeError("is neither true nor false");
      return text.toLowerCase() === "true";
    },
    choice() {
      if (!limit.choices.includes(text))
        throw new RangeError(`is not one of ${limit.choices.join(", ")}`);
      return text;
    },
    components() {
      if (text === "all") return [];
      const parts = text.split(";");
      if (parts.every((part) => /^[A-Z0-9?]{2}$/.test(part))) return parts;
      throw new RangeError("is neither all nor a list such as ZZ;NN or Z?;?Z");
    },
    job() {
      if (!JOB_ID.test(text))
        throw new RangeError("is not the id of a job; write its 1 to 16 digits");
      return text;
    },
    interval() {
      if (INTERVAL.test(text)) return text;
      throw new RangeError("is not a number of hours, days or months such as 6h, 7D or 1ME");
    },
    name() {
      if (!/^[A-Za-z0-9_-]{1,32}$/.test(text))
        throw new RangeError("is not the name of a data source");
      return text;
    },
  };
  return limit.kind in LISTS ? parseList(limit.kind, text) : parse[limit.kind]();
}

function parseList(kind, text) {
  const [pattern, example] = LISTS[kind];
  const parts = text.split(";");
  if (!parts.every((part) => pattern.test(part)))
    throw new RangeError(`is not a list of ${kind} such as ${example}`);
  if (parts.length > MAX_LISTED)
    throw new RangeError(`names ${parts.length} ${kind}; at most ${MAX_LISTED} are drawn`);
  return parts;
}

/** What a number outside its limits needs; empty where it is inside. */
export function outOf(limit, number) {
  const low = limit.above ?? limit.min;
  const isInside = ("above" in limit ? number > low : number >= low) && number <= limit.max;
  if (isInside && Number.isFinite(number)) return "";
  const unit = limit.unit === "1" ? "" : `${limit.unit} `;
  return `${unit}is not ${"above" in limit ? "above" : "from"} ${general(low)} and at most ${general(limit.max)}`;
}

/** A finite number in plain or exponent notation, else null. */
export function parseNumber(text) {
  const number = NUMBER.test(text) ? Number(text) : NaN;
  return Number.isFinite(number) ? number : null;
}

/** A value as it stands in a file; null is an empty cell. */
export function formatValue(value) {
  if (value === null) return "";
  if (Array.isArray(value)) return value.join(";");
  return typeof value === "number" ? shortest(value) : String(value);
}
