// Which texts are legal names, label keys and label values. Each rule returns the messages of
// what is wrong, in Kubernetes' wording; an empty list means legal.
// Source: kubernetes apimachinery pkg/util/validation/validation.go, pkg/api/validation/generic.go.

/** `isPrefix`: the text is a generateName, so a trailing dash is fine. */
export type NameRule = (name: string, isPrefix: boolean) => readonly string[];

const labelPattern = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const subdomainPattern = `${labelPattern}(\\.${labelPattern})*`;
const dns1035Pattern = '[a-z]([-a-z0-9]*[a-z0-9])?';
const qualifiedPattern = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';
const labelValuePattern = `(${qualifiedPattern})?`;

const labelRegex = whole(labelPattern);
const subdomainRegex = whole(subdomainPattern);
const dns1035Regex = whole(dns1035Pattern);
const qualifiedRegex = whole(qualifiedPattern);
const labelValueRegex = whole(labelValuePattern);

const labelMessage = regexMessage(
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
  labelPattern,
  ['my-name', '123-abc'],
);
const subdomainMessage = regexMessage(
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
  subdomainPattern,
  ['example.com'],
);
const dns1035Message = regexMessage(
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
  dns1035Pattern,
  ['my-name', 'abc-123'],
);
const qualifiedMessage = regexMessage(
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  qualifiedPattern,
  ['MyName', 'my.name', '123-abc'],
);
const labelValueMessage = regexMessage(
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  labelValuePattern,
  ['MyValue', 'my_value', '12345'],
);

export const labelMaxLength = 63;
export const subdomainMaxLength = 253;

export function isDns1123Label(text: string): string[] {
  return check(text, labelMaxLength, labelRegex, labelMessage);
}

export function isDns1123Subdomain(text: string): string[] {
  return check(text, subdomainMaxLength, subdomainRegex, subdomainMessage);
}

export function isDns1035Label(text: string): string[] {
  return check(text, labelMaxLength, dns1035Regex, dns1035Message);
}

/** Label and annotation keys, finalizers, extended resources: `example.com/name` or `name`. */
export function isQualifiedName(text: string): string[] {
  const messages: string[] = [];
  const parts = text.split('/');
  const name = parts.at(-1) ?? '';
  if (parts.length > 2)
    return [
      `a qualified name ${qualifiedMessage} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  if (parts.length === 2) {
    const prefix = parts[0] ?? '';
    if (prefix === '') messages.push(`prefix part ${emptyMessage}`);
    else messages.push(...isDns1123Subdomain(prefix).map((message) => `prefix part ${message}`));
  }
  if (name === '') messages.push(`name part ${emptyMessage}`);
  else if (byteLength(name) > labelMaxLength)
    messages.push(`name part ${maxLengthMessage(labelMaxLength)}`);
  if (!qualifiedRegex.test(name)) messages.push(`name part ${qualifiedMessage}`);
  return messages;
}

export function isLabelValue(text: string): string[] {
  return check(text, labelMaxLength, labelValueRegex, labelValueMessage);
}

/** What every name needs that becomes a segment of a URL. */
export function isPathSegmentName(name: string, isPrefix = false): string[] {
  if (!isPrefix && (name === '.' || name === '..')) return [`may not be '${name}'`];
  return ['/', '%']
    .filter((part) => name.includes(part))
    .map((part) => `may not contain '${part}'`);
}

export const dns1123LabelName: NameRule = (name, isPrefix) =>
  isDns1123Label(isPrefix ? maskTrailingDash(name) : name);

export const dns1123SubdomainName: NameRule = (name, isPrefix) =>
  isDns1123Subdomain(isPrefix ? maskTrailingDash(name) : name);

export const dns1035LabelName: NameRule = (name, isPrefix) =>
  isDns1035Label(isPrefix ? maskTrailingDash(name) : name);

export const pathSegmentName: NameRule = isPathSegmentName;

const emptyMessage = 'must be non-empty';

export function maxLengthMessage(maxLength: number): string {
  return `must be no more than ${maxLength} bytes`;
}

/** The size of a text in UTF-8: Kubernetes counts bytes everywhere. */
export function byteLength(text: string): number {
  let bytes = text.length;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit < 0x80) continue;
    // A surrogate pair is 4 bytes in two units; other units take 2 or 3.
    if (unit < 0x8_00 || (unit >= 0xd8_00 && unit <= 0xdf_ff)) bytes += 1;
    else bytes += 2;
  }
  return bytes;
}

/** A generated suffix will follow the dash: judge the prefix as if it had. */
function maskTrailingDash(name: string): string {
  return name.length > 1 && name.endsWith('-') ? `${name.slice(0, -2)}a` : name;
}

function check(text: string, maxLength: number, regex: RegExp, message: string): string[] {
  const messages: string[] = [];
  if (byteLength(text) > maxLength) messages.push(maxLengthMessage(maxLength));
  if (!regex.test(text)) messages.push(message);
  return messages;
}

function whole(pattern: string): RegExp {
  return new RegExp(`^(?:${pattern})$`);
}

/** Kubernetes leaves two blanks before `or`: kept, since clients compare texts. */
export function regexMessage(
  message: string,
  pattern: string,
  examples: readonly string[],
): string {
  const shown = examples.map((example) => `'${example}', `).join(' or ');
  const prefix = shown === '' ? '' : `e.g. ${shown}`;
  return `${message} (${prefix}regex used for validation is '${pattern}')`;
}
