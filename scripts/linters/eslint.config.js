// Rules for the page and its tests; scripts/lint runs them.
import css from "@eslint/css";
import js from "@eslint/js";
import html from "@html-eslint/eslint-plugin";
import compat from "eslint-plugin-compat";
import esX from "eslint-plugin-es-x";
import globals from "globals";

// What ESLint's own set leaves out and what is most often a mistake.
const mistakes = {
  "array-callback-return": "error",
  eqeqeq: "error",
  "no-constructor-return": "error",
  "no-implicit-globals": "error",
  "no-implied-eval": "error",
  "no-eval": "error",
  "no-new-func": "error",
  "no-self-compare": "error",
  "no-shadow": "error",
  "no-template-curly-in-string": "error",
  "no-throw-literal": "error",
  "no-unmodified-loop-condition": "error",
  "no-unreachable-loop": "error",
  "no-use-before-define": ["error", { functions: false, variables: false, classes: false }],
  "no-var": "error",
  "prefer-const": "error",
  "prefer-promise-reject-errors": "error",
  radix: "error",
};

// ECMAScript 2025 and later is too new for .browserslistrc, and two things of 2024 are. Methods are
// told from others of their name by the type of what they are called on, where ESLint can see it;
// names that nothing older has are refused on anything.
const unmistakable =
  /no-iterator-prototype-(drop|take|toarray)|no-(set|(weak)?map|uint8array)-prototype-/;
const newer = {
  ...esX.configs["flat/restrict-to-es2024"].rules,
  ...esX.configs["flat/restrict-to-es2024-intl-api"].rules,
  ...esX.configs["flat/no-new-in-esnext"].rules,
};
const language = {
  ...Object.fromEntries(
    Object.keys(newer).map((rule) => [
      rule,
      unmistakable.test(rule) ? ["error", { aggressive: true }] : "error",
    ]),
  ),
  "es-x/no-array-fromasync": "off", // Chrome 121, Firefox 115, Safari 16.4
  "es-x/no-atomics-waitasync": "error",
  "es-x/no-resizable-and-growable-arraybuffers": "error",
  "no-restricted-syntax": [
    "error",
    {
      selector:
        "CallExpression[callee.property.name=/^(map|filter|flatMap|forEach|reduce|some|every|find)$/]" +
        "[callee.object.callee.property.name=/^(keys|values|entries|matchAll)$/]" +
        ":not([callee.object.callee.object.name='Object'])",
      message: "Methods of iterators need Safari 18.4; make an array first: [...x.values()]",
    },
  ],
};

// Widely available: in every engine for 30 months when the linter was made. What else the style
// sheets use does no harm where it is unknown, or is in the browsers of .browserslistrc.
const style = {
  available: "widely",
  allowFunctions: ["light-dark"], // Chrome 123, Firefox 120, Safari 17.5
  allowProperties: ["accent-color", "content-visibility", "resize", "scrollbar-width"],
  allowSelectors: ["details-content"], // on paper only
};

export default [
  { ignores: ["**/vendor/", "**/node_modules/"] },
  {
    files: ["site/js/**/*.js", "tests/site/*.mjs", "scripts/linters/*.js"],
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: { ...js.configs.recommended.rules, ...mistakes },
  },
  {
    files: ["site/js/**/*.js"],
    languageOptions: { globals: globals.browser },
    plugins: { compat, "es-x": esX },
    rules: {
      ...language,
      "compat/compat": "error",
      "max-lines-per-function": ["error", { max: 50, skipBlankLines: true, skipComments: true }],
    },
  },
  {
    files: ["tests/site/*.mjs", "scripts/linters/*.js"],
    languageOptions: { globals: globals.node },
  },
  {
    files: ["site/css/*.css"],
    language: "css/css",
    plugins: { css },
    rules: {
      ...css.configs.recommended.rules,
      "css/no-important": "off", // Leaflet's style sheet is overruled
      "css/no-invalid-properties": ["error", { allowUnknownVariables: true }], // of base.css
      "css/use-baseline": ["error", style],
    },
  },
  {
    files: ["site/*.html"],
    language: "html/html",
    plugins: { html },
    rules: {
      "html/no-duplicate-attrs": "error",
      "html/no-duplicate-id": "error",
      "html/no-obsolete-tags": "error",
      "html/use-baseline": ["error", { available: "widely" }],
    },
  },
];
