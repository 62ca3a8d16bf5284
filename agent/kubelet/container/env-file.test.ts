import { describe, expect, it } from 'vitest';
import { envFileValue } from './env-file.ts';

const cases: { name: string; text: string; want: string | undefined }[] = [
  { name: 'a value as it stands', text: `A='x $HOME \\n "y" #z'`, want: 'x $HOME \\n "y" #z' },
  {
    name: 'one after others, comments and blank lines',
    text: `# c\n\n \tB='1'\n  A='2' # c`,
    want: '2',
  },
  {
    name: 'one over several lines',
    text: `A='one\n two # no comment\n'\nB='1'`,
    want: 'one\n two # no comment\n',
  },
  { name: 'the first of its name', text: `A='1'\nA='2'`, want: '1' },
  { name: 'an empty one', text: `A=''`, want: '' },
  { name: 'nothing after a space', text: `A= '1'`, want: '' },
  { name: 'none that is not there', text: `AA='1'\nB='A=2'`, want: undefined },
  { name: 'none of an empty file', text: '', want: undefined },
  { name: 'what comes before the trouble', text: `A='1'\nB=2`, want: '1' },
  { name: 'lines of Windows', text: `A='1'\r\nB='2'\r\n`, want: '1' },
];
it.each(cases)('reads $name', ({ text, want }) => {
  expect(envFileValue(text, 'A')).toBe(want);
});

describe('a file', () => {
  it.each([
    ['A', "line 1: missing '='"],
    [`='1'`, 'line 1: empty variable name'],
    [`B='1'\nA ='1'`, "line 2: whitespace before '=' is not allowed"],
    ['A=1', 'line 1: value must be enclosed in single quotes'],
    ['A="1"', 'line 1: value must be enclosed in single quotes'],
    [`A='1' 2`, 'line 1: unexpected content after closing quote'],
    [`B='1\n2' 3`, 'line 2: unexpected content after closing quote'],
    [`\nA='1\n2`, 'line 2: unclosed single quote'],
  ])('with %j is none', (text, why) => {
    expect(() => envFileValue(text, 'A')).toThrow(`invalid environment variable format at ${why}`);
  });
});
