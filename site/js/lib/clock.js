/** The current time, also where the clock of this computer is wrong. */

const TOLERANCE = 120_000; // ms; a Date header has whole seconds, and a response takes some time

/**
 * A clock set by the Date header of a response from the page's own server.
 *
 * @param {string|null} date  the header; without one the clock of the computer is used
 * @param {{own: () => number, ticks: () => number}} [computer]  its clock (ms since 1970) and a
 *     counter (ms) that is never set
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
