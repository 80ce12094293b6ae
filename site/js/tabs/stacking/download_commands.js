/** Commands for a terminal, and the provenance of results. */

/** A text as one argument of a POSIX shell. */
export function quoted(text) {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The command that downloads one file into the current folder. */
export function curlFile(url) {
  return `curl -fSLO --retry 3 ${quoted(url)}`;
}

/**
 * The command that downloads every file of a job into a folder named after it; a second call resumes
 * an interrupted download.
 *
 * files.txt lists the keys, a line each, and ends with `done`.
 */
export function curlAll(results, id) {
  const get = `curl -fSL --retry 3 -C - --create-dirs -o "$f.part" ${quoted(results)}/"$k" && mv "$f.part" "$f"`;
  const list = `curl -fsS ${quoted(`${results}/processed/${id}/files.txt`)} | grep /`;
  return `${list} | while read -r k; do f="\${k#processed/}"; [ -e "$f" ] || { ${get}; }; done`;
}

/**
 * The command of the AWS tools that copies a file, or with the permission to list, all of them; "" where
 * the results are not read from S3 itself.
 *
 * @param {string} results  URL of the bucket
 * @param {string} key      of a file, or a prefix that ends with a slash
 */
export function awsLine(results, key) {
  const place = bucketOf(results);
  if (!place) return "";
  const { bucket, endpoint } = place;
  const where = endpoint ? ` --endpoint-url ${quoted(endpoint)}` : "";
  const source = quoted(`s3://${bucket}/${key}`);
  if (key.endsWith("/"))
    return `aws s3 sync ${source} ${quoted(key.replace(/^processed\//, "").replace(/\/$/, ""))}${where}`;
  return `aws s3 cp ${source} .${where} --no-sign-request`;
}

/**
 * Bucket and endpoint of an S3 URL, by host or by path; no endpoint: Amazon's own. Null for
 * other URLs, as behind a content delivery network.
 */
export function bucketOf(results) {
  const { host, hostname, protocol, pathname } = new URL(results);
  const named = /^(.+)\.s3[.-](?:[a-z0-9-]+\.)?amazonaws\.com$/.exec(hostname);
  if (named) return { bucket: named[1], endpoint: "" };
  const bucket = pathname.split("/")[1];
  if (!bucket) return null;
  return { bucket, endpoint: /(^|\.)amazonaws\.com$/.test(hostname) ? "" : `${protocol}//${host}` };
}

/**
 * The provenance of results, as pairs of a name and a text.
 *
 * @param {Object} manifest  see readManifest
 */
export function provenance(manifest) {
  const { units, request } = manifest;
  const failed = Array.isArray(units.failed) ? units.failed.length : 0;
  const facts = [
    ["Job", manifest.id],
    ["Attempt", manifest.attempt],
    ["Software", `xcor-daemon ${manifest.version}`],
    ["Image", manifest.image],
    ["Started", manifest.started],
    ["Days", `${units.done ?? 0} with data, ${units.empty ?? 0} without, ${failed} failed`],
    ["Stacked job", manifest.kind === "stack" ? String(request.params?.job ?? "") : ""],
    ["Channels", Array.isArray(request.channels) ? String(request.channels.length) : ""],
    ["Data centres", centresOf(request.channels)],
  ];
  return facts.filter(([, text]) => text);
}

function centresOf(channels) {
  if (!Array.isArray(channels)) return "";
  return [
    ...new Set(channels.map((channel) => channel?.data_center || "default of the service")),
  ].join(", ");
}

/** The parameters of a request as texts, with defaults, without those that are not set. */
export function parameters(request) {
  const params =
    request.params !== null && typeof request.params === "object" ? request.params : {};
  const text = (value) => (Array.isArray(value) ? value.join(";") : String(value));
  return Object.entries(params)
    .filter(([, value]) => value !== null && text(value) !== "")
    .map(([name, value]) => [name, text(value)]);
}
