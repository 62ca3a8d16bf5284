// Base64 as Go's standard encoding reads it: padded, newlines ignored, errors by position.
// Source: Go encoding/base64 decodeQuantum.

/** Go's message of what is wrong; undefined when the text is legal. */
export function base64Problem(text: string): string | undefined {
  const at = firstCorruptByte(text);
  return at === undefined ? undefined : `illegal base64 data at input byte ${at}`;
}

const alphabet = /^[A-Za-z0-9+/]$/;

function firstCorruptByte(text: string): number | undefined {
  if (/^[A-Za-z0-9+/]*={0,2}$/.test(text) && text.length % 4 === 0) return undefined;
  let inQuantum = 0;
  for (let index = 0; index < text.length; index++) {
    const char = text.charAt(index);
    if (char === '\n' || char === '\r') continue;
    if (char === '=') return corruptPadding(text, index, inQuantum);
    if (!alphabet.test(char)) return index;
    inQuantum = (inQuantum + 1) % 4;
  }
  return inQuantum === 0 ? undefined : text.length - inQuantum;
}

function corruptPadding(text: string, index: number, inQuantum: number): number | undefined {
  if (inQuantum < 2) return index;
  let next = skipNewlines(text, index + 1);
  if (inQuantum === 2) {
    if (next === text.length) return text.length;
    if (text.charAt(next) !== '=') return next - 1;
    next = skipNewlines(text, next + 1);
  }
  return next < text.length ? next : undefined;
}

function skipNewlines(text: string, from: number): number {
  let index = from;
  while (text.charAt(index) === '\n' || text.charAt(index) === '\r') index++;
  return index;
}

/** Bytes a legal text decodes to. */
export function base64Size(text: string): number {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  return Math.floor((text.length * 3) / 4) - padding;
}

export function encodeBase64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}

export function decodeBase64(text: string): string {
  return Buffer.from(text, 'base64').toString('utf8');
}
