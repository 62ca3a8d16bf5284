import { describe, expect, it } from 'vitest';
import { toApiRequest, type Incoming } from './node-http.ts';

function headersOf(...lines: readonly (readonly [string, string])[]) {
  const incoming = {
    url: '/api',
    method: 'GET',
    socket: {},
    headers: Object.fromEntries(
      lines.map(([name]) => [
        name.toLowerCase(),
        lines
          .filter(([other]) => other.toLowerCase() === name.toLowerCase())
          .map(([, value]) => value)
          .join(', '),
      ]),
    ),
    rawHeaders: lines.flat(),
  } as unknown as Incoming;
  return toApiRequest(incoming, { signal: new AbortController().signal }).headers;
}

describe('the headers of a request', () => {
  it('that come twice are one, by commas', () => {
    expect(headersOf(['Accept', 'a/b'], ['accept', 'c/d'])).toEqual({ accept: 'a/b, c/d' });
  });

  it('that impersonate keep their commas', () => {
    const found = headersOf(
      ['Impersonate-Group', 'CN=x,OU=y'],
      ['Impersonate-User', 'ann'],
      ['impersonate-group', 'devs'],
    );
    expect(found).toEqual({ 'impersonate-group': 'CN=x,OU=y\ndevs', 'impersonate-user': 'ann' });
  });
});
