// YAML as Go programs read and write it, in the form of tags for the `yaml` package: Kubernetes reads
// YAML 1.1 (`0644` is 420, `on` is true), that package 1.2. Texts that either would read as something
// else are written in quotes.
// Source: go-yaml v2 resolve.go, encode.go.

interface ScalarTag {
  readonly tag: string;
  readonly default: true;
  readonly test: RegExp;
  readonly identify?: (value: unknown) => boolean;
  readonly resolve: (text: string, onError: unknown, options: IntegerOptions) => unknown;
  readonly stringify?: (item: { readonly value: unknown }) => string;
}

interface IntegerOptions {
  readonly intAsBigInt?: boolean;
}

const truth: ScalarTag = {
  tag: 'tag:yaml.org,2002:bool',
  default: true,
  test: /^(?:y|Y|yes|Yes|YES|on|On|ON|n|N|no|No|NO|off|Off|OFF)$/,
  resolve: (text) => /^(?:y|on)/i.test(text),
};

/** What YAML 1.2 reads as a decimal number or as no number at all. */
const integer: ScalarTag = {
  tag: 'tag:yaml.org,2002:int',
  default: true,
  test: /^[-+]?(?:0[0-7_]+|0[bB]_*[01][01_]*|0[oO]_*[0-7][0-7_]*|0[xX]_*[\da-fA-F][\da-fA-F_]*|[1-9][\d_]*)$/,
  resolve(text, _onError, { intAsBigInt }) {
    const digits = text.replaceAll('_', '').replace(/^[-+]/, '');
    const value = BigInt(digits.replace(/^0(?=[0-7])/, '0o'));
    const signed = text.startsWith('-') ? -value : value;
    return intAsBigInt === true ? signed : Number(signed);
  },
};

/** For reading, before the package's own and with its option `merge`. */
export const readTags: readonly ScalarTag[] = [truth, integer];

/** What Go or YAML 1.1 reads as something else, beside what the package knows of in version 1.1. */
const otherwise =
  // oxlint-disable-next-line no-control-regex
  /^(?:=|<<|[-+]?0(?:[oO][0-7_]+|[xX][\da-f_]+|[bB][01_]+)|[-+]?\.(?:inf|nan))$|[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/i;

const quoted: ScalarTag = {
  tag: 'tag:yaml.org,2002:str',
  default: true,
  test: /(?!)/,
  identify: (value) => typeof value === 'string' && otherwise.test(value),
  resolve: (text) => text,
  stringify: ({ value }) =>
    JSON.stringify(value).replaceAll(
      // oxlint-disable-next-line no-control-regex
      /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g,
      (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
    ),
};

/** For writing, before the package's own of version 1.1. */
export const writeTags: readonly ScalarTag[] = [quoted];
