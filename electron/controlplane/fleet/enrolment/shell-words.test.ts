import { execFileSync } from 'node:child_process';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { commandLine, shellWord } from './shell-words.ts';

describe('a word for a shell', () => {
  it.each([
    ['plain', 'plain'],
    ['/usr/bin/a-b_c.d:e@f%g+h,i', '/usr/bin/a-b_c.d:e@f%g+h,i'],
    ['', "''"],
    ['two words', "'two words'"],
    ["it's", String.raw`'it'\''s'`],
    ['a\\b', String.raw`'a'\\'b'`],
    ['$(reboot)', "'$(reboot)'"],
    ['~root', "'~root'"],
    ['-n', '-n'],
  ])('%s', (given, want) => expect(shellWord(given)).toBe(want));

  it('a NUL is refused, as no argument can hold it', () => {
    expect(() => commandLine('echo', ['a\0b'])).toThrow(RangeError);
  });

  it.runIf(process.platform === 'linux')('comes through sh as it was', () => {
    const word = fc
      .string({ unit: 'binary', maxLength: 30 })
      .map((text) => text.replaceAll('\0', ''));
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 60 }), (words) => {
        const wanted = words.map((text) => text.toWellFormed());
        const line = commandLine('printf', [String.raw`%s\0`, ...wanted]);
        const said = execFileSync('sh', ['-c', line], { encoding: 'utf8' });
        expect(said.split('\0').slice(0, -1)).toEqual(wanted);
      }),
      { numRuns: 4 },
    );
  });
});
