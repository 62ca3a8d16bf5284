// Timestamps as the API reads and prints them: RFC 3339 in, UTC out. No clock here.
// Source: kubernetes apimachinery pkg/apis/meta/v1/{time,micro_time}.go; Go time.Parse's errors.
import { rfc3339 } from '../base/clock.ts';
import { badRequest } from './status.ts';

const layout = '2006-01-02T15:04:05Z07:00';

/** The pieces of the layout in order, each with what a text must have there. */
const pieces: readonly (readonly [layoutPiece: string, pattern: RegExp])[] = [
  ['2006', /^\d{4}/],
  ['-', /^-/],
  ['01', /^\d{2}/],
  ['-', /^-/],
  ['02', /^\d{2}/],
  ['T', /^T/],
  ['15', /^\d{2}/],
  [':', /^:/],
  ['04', /^\d{2}/],
  [':', /^:/],
  ['05', /^\d{2}(?:[.,]\d+)?/],
  ['Z07:00', /^(?:Z|[-+]\d{2}:\d{2})/],
];

interface ParsedTime {
  /** Milliseconds since the epoch. */
  readonly ms: number;
  /** Digits behind the point, in whole microseconds. */
  readonly micros: number;
}

/** Milliseconds since the epoch. Throws 400 with Go's message. */
export function parseTime(text: string): number {
  return parse(text).ms;
}

/** `metav1.Time`: UTC with whole seconds. Throws 400. */
export function canonicalTime(text: string): string {
  return rfc3339(Math.floor(parse(text).ms / 1000) * 1000);
}

/** `metav1.MicroTime`: UTC with microseconds. Throws 400. */
export function canonicalMicroTime(text: string): string {
  const { ms, micros } = parse(text);
  const seconds = rfc3339(Math.floor(ms / 1000) * 1000).slice(0, -1);
  return `${seconds}.${String(micros).padStart(6, '0')}Z`;
}

function parse(text: string): ParsedTime {
  const parts: string[] = [];
  let rest = text;
  for (const [layoutPiece, pattern] of pieces) {
    const found = pattern.exec(rest)?.[0];
    if (found === undefined) throw failure(text, `cannot parse "${rest}" as "${layoutPiece}"`);
    parts.push(found);
    rest = rest.slice(found.length);
  }
  if (rest !== '') throw failure(text, `extra text: "${rest}"`, ': ');
  const [
    year = '',
    ,
    month = '',
    ,
    day = '',
    ,
    hour = '',
    ,
    minute = '',
    ,
    second = '',
    zone = '',
  ] = parts;
  const [year_, month_, day_] = [Number(year), Number(month), Number(day)];
  if (month_ < 1 || month_ > 12) throw failure(text, 'month out of range', ': ');
  if (day_ < 1 || day_ > daysIn(year_, month_)) throw failure(text, 'day out of range', ': ');
  if (Number(hour) > 23) throw failure(text, 'hour out of range', ': ');
  if (Number(minute) > 59) throw failure(text, 'minute out of range', ': ');
  const wholeSecond = Number(second.slice(0, 2));
  if (wholeSecond > 59) throw failure(text, 'second out of range', ': ');
  const micros = Number(second.slice(3).padEnd(6, '0').slice(0, 6));
  const utcMs = Date.UTC(year_, month_ - 1, day_, Number(hour), Number(minute), wholeSecond);
  return { ms: utcMs - offsetMinutes(zone) * 60_000 + Math.floor(micros / 1000), micros };
}

function offsetMinutes(zone: string): number {
  if (zone === 'Z') return 0;
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4, 6));
  return zone.startsWith('-') ? -minutes : minutes;
}

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}

function failure(text: string, detail: string, separator = ` as "${layout}": `): Error {
  return badRequest(`parsing time "${text}"${separator}${detail}`);
}
