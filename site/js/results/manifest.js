/** manifest.json: files, arrays and the offsets of their bytes. */

const BYTES = { "<f4": 4, "<f8": 8, "<i4": 4, "<i8": 8 };
const READERS = {
  "<f4": (view, at) => view.getFloat32(at, true),
  "<f8": (view, at) => view.getFloat64(at, true),
  "<i4": (view, at) => view.getInt32(at, true),
  "<i8": (view, at) => Number(view.getBigInt64(at, true)),
};

/**
 * An array in a file.
 *
 * @typedef {Object} Place
 * @property {string} key       of the file
 * @property {number} fileSize  bytes
 * @property {string} name
 * @property {string} dtype     such as "<f4"
 * @property {number[]} shape
 * @property {number} offset    bytes from the start of the file
 */

/**
 * Read and check a manifest: files without a key or size and arrays that do not fit are left out.
 *
 * @param {*} raw  parsed manifest.json
 * @returns {{id: string, kind: string, attempt: string, version: string, image: string, request: Object,
 *     inputs: Object[], started: string, units: Object, summary: Object, warnings: Object[],
 *     files: {key: string, name: string, size: number, sha256: string, arrays: Place[]}[]}}
 * @throws {Error} if it is not a manifest that this page supports
 */
export function readManifest(raw) {
  if (raw === null || typeof raw !== "object" || !Array.isArray(raw.files))
    throw new Error("the manifest lists no files");
  if (raw.schema !== 1)
    throw new Error(`the manifest has schema ${raw.schema}; this page supports schema 1`);
  const text = (value) => (typeof value === "string" ? value : "");
  const object = (value) => (value !== null && typeof value === "object" ? value : {});
  const list = (value) =>
    Array.isArray(value) ? value.filter((item) => item !== null && typeof item === "object") : [];
  const files = list(raw.files).filter(
    (file) => text(file.key) && Number.isSafeInteger(file.size) && file.size >= 0,
  );
  return {
    id: String(raw.id ?? ""),
    kind: text(raw.kind),
    attempt: text(raw.attempt),
    version: text(raw.version),
    image: text(raw.image),
    request: object(raw.request),
    inputs: list(raw.inputs),
    started: text(raw.started),
    units: object(raw.units),
    summary: object(raw.summary),
    warnings: list(raw.warnings),
    files: files.map((file) => ({
      key: file.key,
      name: shortName(file.key),
      size: file.size,
      sha256: text(file.sha256),
      arrays: list(file.arrays)
        .filter((array) => fits(array, file))
        .map((array) => placeOf(array, file)),
    })),
  };
}

function fits({ name, dtype, shape, offset }, file) {
  if (typeof name !== "string" || !(dtype in BYTES) || !Array.isArray(shape)) return false;
  if (![offset, ...shape].every((n) => Number.isSafeInteger(n) && n >= 0)) return false;
  return offset + BYTES[dtype] * shape.reduce((a, b) => a * b, 1) <= file.size;
}

function placeOf({ name, dtype, shape, offset }, { key, size }) {
  return { key, fileSize: size, name, dtype, shape, offset };
}

/** The last part of a key below its attempt: CORR/2019-01-01.h5. */
export function shortName(key) {
  return key.replace(/^processed\/[0-9]+\/(runs\/[^/]+\/)?/, "");
}

/** A file by its short name; undefined where there is none. */
export function fileOf(manifest, name) {
  return manifest.files.find((file) => file.name === name);
}

/** An array of a file; undefined where there is none. */
export function arrayOf(file, name) {
  return file?.arrays.find((array) => array.name === name);
}

/** The stack files that can be drawn: their `stack`, whether it has intervals, their table. */
export function stacksOf(manifest) {
  return manifest.files
    .filter((file) => /^STACK\/[^/]+\.h5$/.test(file.name))
    .map((file) => ({
      file,
      title: file.name.slice("STACK/".length, -".h5".length),
      stack: arrayOf(file, "stack"),
      table: fileOf(manifest, file.name.replace(/h5$/, "csv")),
    }))
    .filter(
      ({ stack }) =>
        stack && stack.dtype === "<f4" && (stack.shape.length === 2 || stack.shape.length === 3),
    );
}

/** The images of a manifest, each with the file of its text where there is one, in their order. */
export function imagesOf(manifest) {
  return manifest.files
    .filter((file) => /^PLOT\/.*\.png$/.test(file.name))
    .map((file) => ({
      file,
      text: fileOf(manifest, file.name.replace(/png$/, "txt")) ?? null,
      svg: fileOf(manifest, file.name.replace(/png$/, "svg")) ?? null,
    }));
}

/**
 * The bytes of consecutive rows (along the first axis) of an array.
 *
 * @returns {{start: number, end: number}}  end: exclusive
 */
export function rowBytes(place, first, count = 1) {
  const row = BYTES[place.dtype] * place.shape.slice(1).reduce((a, b) => a * b, 1);
  return { start: place.offset + first * row, end: place.offset + (first + count) * row };
}

/** Bytes -> numbers: Float32Array for "<f4", Float64Array for the others. */
export function decode(bytes, dtype) {
  const n = bytes.byteLength / BYTES[dtype];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isNative = dtype === "<f4" && new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
  if (isNative) return new Float32Array(bytes.slice().buffer);
  const values = dtype === "<f4" ? new Float32Array(n) : new Float64Array(n);
  for (let k = 0; k < n; k++) values[k] = READERS[dtype](view, k * BYTES[dtype]);
  return values;
}

/**
 * Where the pairs and windows of the daily files are.
 *
 * @param {*} raw  parsed CORR/rows.json
 * @returns {{day: string, name: string, rowOf: (pair: number) => number, starts: () => number[]}[]}  `rowOf`: row of a
 *     pair of the stack's table in the file, -1 where the day has it not; `starts`: s since 1970
 * @throws {Error} if it does not hold together
 */
export function readRows(raw) {
  const isRun = (run, n) => Array.isArray(run) && run.length === n && run.every(Number.isFinite);
  const tables = raw?.rows;
  const isGood =
    Array.isArray(tables) &&
    tables.every((runs) => Array.isArray(runs) && runs.every((run) => isRun(run, 2)));
  if (!isGood || !Array.isArray(raw.files))
    throw new Error("CORR/rows.json has an unsupported format");
  return raw.files.map(({ day, name, rows, window }) => {
    const runs = tables[rows];
    if (!runs || !Array.isArray(window) || !window.every((run) => isRun(run, 3))) {
      throw new Error("CORR/rows.json has an unsupported format");
    }
    return {
      day: String(day),
      name: String(name),
      rowOf: (pair) => rowIn(runs, pair),
      starts: () => startsIn(window),
    };
  });
}

function rowIn(runs, pair) {
  let before = 0;
  for (const [first, count] of runs) {
    if (pair >= first && pair < first + count) return before + pair - first;
    before += count;
  }
  return -1;
}

function startsIn(window) {
  return window.flatMap(([start, step, count]) =>
    Array.from({ length: count }, (_, k) => start + k * step),
  );
}
