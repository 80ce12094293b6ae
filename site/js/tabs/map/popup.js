/** The popup of a station on the map: its channels and epochs. */

import { button, make } from "../../lib/dom.js";
import { formatTime } from "../../request/stations.js";
import { stationXmlUrl } from "./query.js";

/**
 * @param {{code: string, latitude: number, longitude: number, channels: Object[]}} station
 * @param {{isSelected: (id: string) => boolean, onSelect: (ids: string[], isOn: boolean) => void,
 *     centre: {title: string, url: string}}} more
 * @returns {HTMLElement}
 */
export function stationFacts(station, { isSelected, onSelect, centre }) {
  const [network, code] = station.code.split(".");
  const ids = station.channels.map((c) => c.id);
  const elevation = station.channels[0].elevation;
  const place = `${degrees(station.latitude, "N", "S")}, ${degrees(station.longitude, "E", "W")}${elevation === null ? "" : `, ${elevation} m`}`;
  const boxes = station.channels.map((channel) =>
    channelLine(channel, isSelected(channel.id), (isOn) => onSelect([channel.id], isOn)),
  );
  const all = (isOn) => () => {
    onSelect(ids, isOn);
    for (const { box } of boxes) box.checked = isOn;
  };
  return make(
    "div",
    { className: "facts-of-station" },
    make("h3", { tabIndex: -1 }, `${network}.${code}`),
    make("p", { className: "quiet small" }, place),
    make("ul", { className: "channels" }, ...boxes.map(({ element }) => element)),
    make(
      "div",
      { className: "row" },
      button("Select all", all(true)),
      button("None", all(false), { className: "plain" }),
      make(
        "a",
        {
          className: "small push",
          href: stationXmlUrl(centre.url, network, code),
          target: "_blank",
          rel: "noopener",
        },
        "StationXML",
      ),
    ),
  );
}

function channelLine(channel, isOn, onChange) {
  const box = make("input", {
    type: "checkbox",
    checked: isOn,
    onchange: () => onChange(box.checked),
  });
  const epochs = channel.epochs.map((epoch) =>
    make(
      "li",
      {},
      `${day(epoch.start)} to ${epoch.end === null ? "now" : day(epoch.end)}`,
      epoch.sampleRate !== null && `, ${epoch.sampleRate} Hz`,
      epoch.sensor && make("span", { className: "quiet" }, ` ${epoch.sensor}`),
    ),
  );
  const element = make(
    "li",
    {},
    make(
      "label",
      { className: "check" },
      box,
      make("span", { className: "mono" }, `${channel.location || "--"} ${channel.channel}`),
    ),
    make("ul", { className: "epochs small" }, ...epochs),
  );
  return { element, box };
}

function day(ms) {
  return formatTime(ms).slice(0, 10);
}

function degrees(value, positive, negative) {
  return `${Math.abs(value).toFixed(4)}° ${value < 0 ? negative : positive}`;
}
