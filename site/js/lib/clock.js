/** What time it is, whatever the clock of this computer says. */

const TOLERANCE = 120_000; // ms; a Date header has whole seconds, and an answer takes its time

/**
 * A clock set by the Date header of an answer of the page's own server.
 *
 * @param {string|null} date  the header; without one the computer is believed
 * @param {{own: () => number, ticks: () => number}} [computer]  its clock (ms since 1970) and a
 *     counter (ms) that nobody sets
 * @returns {{now: () => Date, offBy: number}}  `offBy`: ms that the computer is ahead; 0 where it
 *     agrees
 */
export function setClock(
  date,
  computer = { own: () => Date.now(), ticks: () => performance.now() },
) {
  const server = date ? Date.parse(date) : NaN;
  const ahead = computer.own() - server;
  if (!(Math.abs(ahead) > TOLERANCE)) return { now: () => new Date(computer.own()), offBy: 0 };
  const began = computer.ticks();
  return { now: () => new Date(server + computer.ticks() - began), offBy: ahead };
}
