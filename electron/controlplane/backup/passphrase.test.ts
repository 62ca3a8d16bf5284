import { describe, expect, it } from 'vitest';
import { seededRandom } from '#kube/base/random.ts';
import { canonicalPassphrase, makePassphrase, passphraseProblem } from './passphrase.ts';

describe('a passphrase', () => {
  it('that is made has a hundred bits, and no letter that looks like another', () => {
    const made = makePassphrase(seededRandom(1));
    expect(made).toMatch(
      /^([abcdefghijkmnpqrstuvwxyz2-9]{4}-){4}[abcdefghijkmnpqrstuvwxyz2-9]{4}$/,
    );
    expect(makePassphrase(seededRandom(2))).not.toBe(made);
    expect(passphraseProblem(made)).toBeUndefined();
  });

  it('that was made is known however a person copies it', () => {
    const made = 'x7kd-abcd-efgh-2345-wxyz';
    for (const typed of [
      made,
      ' X7KD-ABCD-EFGH-2345-WXYZ ',
      'x7kd abcd efgh 2345 wxyz',
      made.replaceAll('-', ''),
    ])
      expect(canonicalPassphrase(typed)).toBe(made);
  });

  it('that is typed counts as it is, but for what can not be seen', () => {
    expect(canonicalPassphrase('  Correct Horse  ')).toBe('Correct Horse');
    expect(canonicalPassphrase('Ａbc')).toBe('Abc');
  });

  it('that can be guessed is refused', () => {
    const cases = {
      short: 'must have at least 14 characters',
      aaaaaaaaaaaaaaaaaaaaaaaaa: 'must have at least 7 different characters',
      'two\nlines of a passphrase': 'must be one line',
      ['x'.repeat(1025)]: 'must have at most 1024 characters',
    };
    for (const [typed, problem] of Object.entries(cases))
      expect(passphraseProblem(typed)).toBe(problem);
    expect(passphraseProblem('my dog likes bread')).toBeUndefined();
  });
});
