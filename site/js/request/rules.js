/** Rules between values: each declares the values that it needs (rules.py). */

import { formatValue } from "./csv_table.js";

/**
 * @typedef {Object} Rule
 * @property {string} column    that is to be changed where it is broken
 * @property {string[]} needs   names of the values that it is given
 * @property {(values: Object) => string} check  the need; empty where the rule holds
 */

/** @returns {Rule} */
export function rule(column, needs, check) {
  return { column, needs, check };
}

/**
 * Every rule that values, each right by itself, break together. A rule whose values are not all
 * there is not checked, and none sees a value that it does not declare.
 *
 * @param {Rule[]} rules
 * @param {Object} values  by column; those that are wrong by themselves are not there
 * @returns {{column: string, value: string, need: string}[]}
 */
export function broken(rules, values) {
  return rules.flatMap(({ column, needs, check }) => {
    if (!needs.every((name) => name in values)) return [];
    const need = check(only(values, needs));
    return need ? [{ column, value: formatValue(values[column]), need }] : [];
  });
}

function only(values, needs) {
  return new Proxy(values, {
    get(target, name) {
      if (!needs.includes(name)) throw new Error(`a rule reads ${String(name)} without needing it`);
      return target[name];
    },
  });
}
