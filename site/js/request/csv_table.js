/** CSV text -> rows and values, each checked by itself, as in the worker (request/csv_table.py). */

import { parseCsv } from "../lib/csv.js";
import { isJobId } from "../lib/job_id.js";
import { general, shortest } from "../lib/python_numbers.js";

const NUMBER = /^[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,4})?$/;
const INTERVAL = /^[1-9][0-9]{0,3}(h|D|ME)$/;
const CHANNEL = "[A-Z0-9]{1,8}\\.[A-Z0-9]{1,8}\\.[A-Z0-9]{0,2}\\.[A-Z0-9]{1,3}";
const LISTS = {
  channels: [new RegExp(`^${CHANNEL}$`), "NO.NAO00..BHZ;NO.NAO01..BHZ"],
  pairs: [new RegExp(`^${CHANNEL}\\|${CHANNEL}$`), "NO.NAO00..BHZ|NO.NAO01..BHZ"],
};
const MAX_LISTED = 20;
// Values that a message shows as they are: numbers, dates, codes, lists of them.
const PLAIN = /^[A-Za-z0-9_.:;|?+-]{1,40}$/;
const ROWS_READ = 10; // of a file that must have one

/**
 * One error in a file.
 *
 * @typedef {Object} Problem
 * @property {string} file
 * @property {number} line    1 is the first line; 0: the file as a whole
 * @property {string} column  as in the header; empty for the line as a whole
 * @property {string} value
 * @property {string} need    the rest of the sentence, to be read after the value
 */

/** @returns {Problem} */
export function problem(file, line, column, value, need) {
  return { file, line, column, value, need };
}

/** A problem as a sentence, the same as the worker's. */
export function problemText({ file, line, column, value, need }) {
  const where = line ? `${file} line ${line}` : file;
  const subject = [column, shownValue(column, value)].filter(Boolean).join(" = ");
  return subject ? `${where}: ${subject} ${need}` : `${where}: ${need}`;
}

/** A value, printable and short enough for a message; in quotes unless it is plain. */
function shownValue(column, value) {
  if (!value) return "";
  if (column && PLAIN.test(value)) return value;
  return ascii(value.length <= 40 ? value : `${value.slice(0, 37)}...`);
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
 * The rows of a CSV that can be read, and the errors in its structure.
 *
 * @typedef {Object} Table
 * @property {[number, Object<string, string>][]} rows  line, texts by column; those known for certain
 * @property {Problem[]} problems
 * @property {number} nRows  lines below the header, those with too many or too few fields as well
 * @property {Set<string>} unknown  columns without known values: missing, repeated or unknown
 */

/**
 * The rows of a CSV by column name. An error in one line or column does not hide the others.
 *
 * A file without a header line is read as if it had the required columns in their order.
 *
 * @param {string} file  its name, for messages
 * @param {string} text
 * @param {string[]} required
 * @param {string[]} optional
 * @param {Object} limits  the section `stations` of limits.json
 * @returns {Table}
 */
export function rowsOf(file, text, required, optional, limits) {
  const none = (problems, nRows = 0) => ({ rows: [], problems, nRows, unknown: new Set() });
  const no = (need) => none([problem(file, 0, "", "", need)]);
  if (new Blob([text]).size > limits.max_bytes)
    return no(`is larger than ${limits.max_bytes} bytes`);
  if (text.includes("\0")) return no("contains NUL bytes; it must be UTF-8 text");
  const lines = parseCsv(text);
  if (lines.length > limits.max_rows + 1) return no(`has more than ${limits.max_rows} rows`);
  const { problems, table } = cellsOf(file, lines);
  // If the first line is invalid, there is no header.
  if (problems.length && (!table.length || problems[0].line < table[0].line))
    return none(problems, problems.length);
  if (!table.length) return no("is empty");
  const known = [...required, ...optional];
  const hasHeader = table[0].cells.some((name) => known.includes(name));
  const header = hasHeader ? table[0].cells : required;
  const below = hasHeader ? table.slice(1) : table;
  const nRows = below.length + problems.length;
  const most = 2 * known.length;
  if (header.length > most) {
    const need = `has ${header.length} columns; at most ${most} are read`;
    return none([...problems, problem(file, table[0].line, "", "", need)], nRows);
  }
  problems.push(...headerProblems(file, table[0].line, header, required, known));
  const isKnown = (name) =>
    known.includes(name) && header.indexOf(name) === header.lastIndexOf(name);
  const rows = [];
  for (const { line, cells } of below) {
    const fields = header.map((name, k) => [name, cells[k]]).filter(([name]) => isKnown(name));
    const need = `has ${cells.length} fields instead of ${header.length}: ${header.join(",")}`;
    if (cells.length === header.length) rows.push([line, Object.fromEntries(fields)]);
    else problems.push(problem(file, line, "", "", need));
  }
  const missing = required.filter((name) => !header.includes(name));
  const unknown = new Set([...missing, ...header.filter((name) => !isKnown(name))]);
  return { rows, problems, nRows, unknown };
}

/** The lines with cells, and a problem for each that is not CSV. */
function cellsOf(file, lines) {
  const problems = lines
    .filter(({ wrong }) => wrong)
    .map(({ line, wrong }) => problem(file, line, "", "", `is not CSV: ${wrong}`));
  const table = lines
    .filter(({ wrong }) => !wrong)
    .map(({ line, cells }) => ({ line, cells: cells.map((cell) => cell.trim()) }))
    .filter(({ cells }) => cells.some(Boolean));
  return { problems, table };
}

function headerProblems(file, line, header, required, known) {
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
          `is not a column of this file; allowed: ${known.join(", ")}`,
        ),
      );
    } else if (header.indexOf(name) < k) {
      problems.push(problem(file, line, name, "", "appears twice in the header"));
    }
  });
  return problems;
}

/**
 * A file that must have one row: its valid values, and every problem.
 *
 * Of many rows only the first ten are read.
 *
 * @param {string} file
 * @param {string} text
 * @param {Object} section  of limits.json, such as `params`
 * @param {Object} limits   all of limits.json
 * @param {(values: Object) => Object[]} together  errors between valid values
 * @returns {{values: Object, problems: Problem[]}}  no values where there is not one row
 */
export function oneRow(file, text, section, limits, together) {
  const required = Object.keys(section).filter((name) => section[name].required);
  const optional = Object.keys(section).filter((name) => !section[name].required);
  const { rows, nRows, unknown, ...table } = rowsOf(
    file,
    text,
    required,
    optional,
    limits.stations,
  );
  const problems = [...table.problems];
  if (nRows !== 1 && (nRows || !problems.length))
    problems.push(
      problem(file, 0, "", "", `has ${nRows} rows of values; it must have exactly one`),
    );
  const read = rows
    .slice(0, ROWS_READ)
    .map(([line, row]) => [line, checkRow(row, section, unknown)]);
  const placed = (line, some) => some.map((one) => ({ ...one, file, line }));
  for (const [line, checked] of read) problems.push(...placed(line, checked.problems));
  for (const [line, { values }] of read) problems.push(...placed(line, together(values)));
  return { values: rows.length === 1 && nRows === 1 ? read[0][1].values : {}, problems };
}

/**
 * Texts by name -> values, with defaults for what is optional and empty or not given.
 *
 * @param {Object<string, string>} row
 * @param {Object} section  of limits.json
 * @param {Set<string>} [unknown]  columns without known values; they get no default
 * @returns {{values: Object, problems: {column: string, value: string, need: string}[]}}  `values`:
 *     those that are right
 */
export function checkRow(row, section, unknown = new Set()) {
  const values = {};
  const problems = [];
  for (const [name, text] of Object.entries(row)) {
    if (!text && !section[name].required) continue;
    try {
      values[name] = PARSERS[section[name].kind](text, section[name]);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      problems.push({ column: name, value: text, need: error.message });
    }
  }
  const failed = new Set(problems.map(({ column }) => column));
  for (const [name, limit] of Object.entries(section)) {
    const isGiven = limit.required || unknown.has(name) || failed.has(name) || name in values;
    if (!isGiven) values[name] = defaultOf(limit);
  }
  return { values, problems };
}

/** The value of a column that is empty or not there. */
export function defaultOf(limit) {
  return limit.kind === "components" || limit.kind in LISTS ? [] : limit.default;
}

// By kind of limits.json: (text, limit) -> the value; the message of a RangeError has the rule that
// the text breaks.
const PARSERS = {
  number(text, limit) {
    const number = parseNumber(text);
    if (number === null) {
      const unit = limit.unit === "1" ? "" : `, in ${limit.unit}`;
      throw new RangeError(`is not a finite number (${limit.help}${unit})`);
    }
    const need = limitViolation(limit, number);
    if (need) throw new RangeError(need);
    return number;
  },
  flag(text) {
    if (!["true", "false"].includes(text.toLowerCase()))
      throw new RangeError("is neither true nor false");
    return text.toLowerCase() === "true";
  },
  choice(text, { choices }) {
    if (!choices.includes(text)) throw new RangeError(`is not one of ${choices.join(", ")}`);
    return text;
  },
  components(text) {
    if (text === "all") return [];
    const parts = text.split(";");
    if (parts.every((part) => /^[A-Z0-9?]{2}$/.test(part))) return parts;
    throw new RangeError("is neither all nor a list such as ZZ;NN or Z?;?Z");
  },
  job(text) {
    if (!isJobId(text)) throw new RangeError("is not a job id (1 to 16 digits)");
    return text;
  },
  interval(text) {
    if (INTERVAL.test(text)) return text;
    throw new RangeError("is not a number of hours, days or months such as 6h, 7D or 1ME");
  },
  name(text) {
    if (/^[A-Za-z0-9_-]{1,32}$/.test(text)) return text;
    throw new RangeError("is not a valid name of a data source (up to 32 letters, digits, _ or -)");
  },
  channels: (text) => parseList("channels", text),
  pairs: (text) => parseList("pairs", text),
};

function parseList(kind, text) {
  const [pattern, example] = LISTS[kind];
  const parts = text.split(";");
  if (!parts.every((part) => pattern.test(part)))
    throw new RangeError(`is not a list of ${kind} such as ${example}`);
  if (parts.length > MAX_LISTED)
    throw new RangeError(`lists ${parts.length} ${kind}; at most ${MAX_LISTED} are plotted`);
  return parts;
}

/** The rule that a number outside its limits breaks; empty where it is inside. */
export function limitViolation(limit, number) {
  const low = limit.above ?? limit.min;
  const isInside = ("above" in limit ? number > low : number >= low) && number <= limit.max;
  if (isInside && Number.isFinite(number)) return "";
  const unit = limit.unit === "1" ? "" : limit.unit;
  const bound = "above" in limit ? "above" : "at least";
  const most = `${general(limit.max)} ${unit}`.trim();
  return `${unit} is out of range (${bound} ${general(low)} and at most ${most})`.trim();
}

/** A finite number in plain or exponent notation, else null. */
export function parseNumber(text) {
  const number = NUMBER.test(text) ? Number(text) : NaN;
  return Number.isFinite(number) ? number : null;
}

/** A value as text for a file; null is an empty cell. */
export function formatValue(value) {
  if (value === null) return "";
  if (Array.isArray(value)) return value.join(";");
  return typeof value === "number" ? shortest(value) : String(value);
}
