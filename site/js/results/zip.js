/** Files as one ZIP, uncompressed. PKWARE's APPNOTE 6.3.9, sections 4.3 to 4.5. */

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

/** Checksum of bytes, as ZIP has it. */
export function crc32(bytes) {
  let c = 0xffffffff;
  for (const byte of bytes) c = TABLE[(c ^ byte) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

/**
 * A ZIP of some files.
 *
 * @param {{name: string, bytes: Uint8Array}[]} files  fewer than 65,535, less than 4 GiB together
 * @param {Date} date  when they were changed; a ZIP has it to 2 s, from 1980 on
 * @returns {Blob}
 */
export function zipOf(files, date) {
  const parts = [];
  const directory = [];
  let at = 0;
  for (const { name, bytes } of files) {
    const utf8 = new TextEncoder().encode(name);
    const about = describe(crc32(bytes), bytes.length, utf8.length, date);
    const head = numbers([4, 0x04034b50], ...about);
    directory.push(
      numbers([4, 0x02014b50], [2, 20], ...about, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]),
      utf8,
    );
    parts.push(head, utf8, bytes);
    at += head.length + utf8.length + bytes.length;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const end = numbers(
    [4, 0x06054b50],
    [2, 0],
    [2, 0],
    [2, files.length],
    [2, files.length],
    [4, size],
    [4, at],
    [2, 0],
  );
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** The fields common to a file's header and its directory entry; bit 11: the name is UTF-8. */
function describe(crc, size, nameLength, date) {
  const time =
    (date.getUTCHours() << 11) | (date.getUTCMinutes() << 5) | (date.getUTCSeconds() >> 1);
  const day =
    (Math.max(0, date.getUTCFullYear() - 1980) << 9) |
    ((date.getUTCMonth() + 1) << 5) |
    date.getUTCDate();
  return [
    [2, 20],
    [2, 0x0800],
    [2, 0],
    [2, time],
    [2, day],
    [4, crc],
    [4, size],
    [4, size],
    [2, nameLength],
    [2, 0],
  ];
}

/** Little-endian numbers of 2 or 4 bytes. */
function numbers(...fields) {
  const bytes = new Uint8Array(fields.reduce((sum, [width]) => sum + width, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [width, value] of fields) {
    if (width === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += width;
  }
  return bytes;
}
